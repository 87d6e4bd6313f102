/** What the server and a trainer process tell each other, over the channel that `fork` opens; never over disk. */

/** Those that Keras, tfjs-layers and the conversion to ONNX define alike. */
export const activations = [
  'linear',
  'relu',
  'sigmoid',
  'tanh',
  'elu',
  'selu',
  'softplus',
  'softsign',
] as const;
type Activation = (typeof activations)[number];

interface DenseSettings {
  units: number;
  activation: Activation;
}

/** The order to train, sent once. Rows are row-major. */
export interface TrainOrder {
  features: number;
  layers: DenseSettings[];
  optimizer: 'adam' | 'sgd' | 'rmsprop';
  learningRate: number;
  loss: 'binaryCrossentropy' | 'meanSquaredError';
  epochs: number;
  batchSize: number;
  seed: number;
  x: Float32Array;
  y: Float32Array;
  validationX: Float32Array;
  validationY: Float32Array;
}

export interface EpochResult {
  /** From 1. */
  epoch: number;
  /** Means over the rows of the epoch, as they were before each step. */
  loss: number;
  accuracy: number;
  /** After the epoch. */
  valLoss: number;
  valAccuracy: number;
}

export interface TrainedLayer {
  name: string;
  units: number;
  activation: Activation;
  /** Row-major, inputs × units. */
  kernel: Float32Array;
  bias: Float32Array;
}

export type Backend = 'wasm' | 'cpu';

export type TrainerMessage =
  | { type: 'started'; backend: Backend; note: string | null }
  | ({ type: 'epoch' } & EpochResult)
  | { type: 'done'; layers: TrainedLayer[] }
  /** `diverged`: the loss is no longer a number, which is the configuration's doing and not the trainer's. */
  | { type: 'failed'; reason: 'diverged' | 'error'; message: string };
