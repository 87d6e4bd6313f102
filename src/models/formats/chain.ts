/**
 * A network as a plain chain of layers: what every importable Keras model comes down to, and what is written
 * as ONNX. Shapes leave out the batch dimension.
 */

/** An element-wise function, or softmax over the last axis. Parameters are spelled out, never assumed. */
export type Activation =
  | {
      kind:
        | 'relu'
        | 'sigmoid'
        | 'tanh'
        | 'softplus'
        | 'softsign'
        | 'exponential'
        | 'gelu'
        | 'silu'
        | 'mish'
        | 'softmax'
        | 'logSoftmax';
    }
  | { kind: 'clip'; min: number; max: number }
  | { kind: 'leakyRelu'; alpha: number }
  | { kind: 'elu'; alpha: number }
  | { kind: 'selu'; alpha: number; gamma: number }
  /** max(0, min(1, alpha·x + beta)) */
  | { kind: 'hardSigmoid'; alpha: number; beta: number }
  /** x · hardSigmoid(x) with alpha 1/6, beta 1/2 */
  | { kind: 'hardSwish' };

/** `W` is what stands for a weight: its place in the file before it is read, its values afterwards. */
export type Step<W> =
  | { type: 'dense'; name: string; inputs: number; units: number; kernel: W; bias: W | null }
  | { type: 'activation'; name: string; activation: Activation }
  | { type: 'flatten'; name: string }
  | {
      type: 'batchNormalization';
      name: string;
      size: number;
      epsilon: number;
      /** null: not scaled, not centred. */
      gamma: W | null;
      beta: W | null;
      mean: W;
      variance: W;
    };

export interface Chain<W> {
  inputShape: number[];
  outputShape: number[];
  steps: Step<W>[];
}

/** A layer as a user knows it. */
export interface LayerInfo {
  name: string;
  type: string;
  units?: number;
  activation?: string;
  parameters: number;
}
