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
  /** Null: from the beginning. */
  from: TrainState | null;
  /** Least time between two states that are reported, ms; null: none is. */
  stateEveryMs: number | null;
}

/** Where a training was at the end of an epoch: going on from here gives what going on there would have given. */
export interface TrainState {
  epoch: number;
  /** Kernel and bias of each layer, then what the optimizer remembers, each row-major. */
  weights: Float32Array[];
  optimizer: { name: string; shape: number[]; values: Float32Array }[];
  /** Steps of the optimizer so far. */
  iterations: number;
  /** Of adam: its two running products, which a power would give but to a rounding; others have none. */
  decay: number[];
}

/** What the server tells a trainer at work: report the state at the end of this epoch, then wait for your end. */
export type TrainerOrder = { type: 'train'; order: TrainOrder } | { type: 'pause' };

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
  | { type: 'state'; state: TrainState }
  | { type: 'done'; layers: TrainedLayer[] }
  /** `diverged`: the loss is no longer a number, which is the configuration's doing and not the trainer's. */
  | { type: 'failed'; reason: 'diverged' | 'error'; message: string };
