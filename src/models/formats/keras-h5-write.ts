/** Writes a trained network as a Keras 3 `.h5` file, in the layout of `model.save("model.h5")`. */
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import { type H5Plan, withH5 } from './h5-process.ts';

/** Activations that mean the same in every version of Keras and in TensorFlow.js. */
export const writableActivations = [
  'linear',
  'relu',
  'relu6',
  'sigmoid',
  'tanh',
  'softmax',
  'softplus',
  'softsign',
  'elu',
  'selu',
] as const;
type WritableActivation = (typeof writableActivations)[number];

interface KerasDense {
  name: string;
  type: 'dense';
  units: number;
  activation: WritableActivation;
  /** Inputs × units, row-major. */
  kernel: Float32Array;
  bias: Float32Array;
}

export interface KerasSequential {
  name: string;
  inputSize: number;
  layers: KerasDense[];
  /** How it was trained, so that Keras can go on with it. */
  training?: KerasTraining;
}

interface KerasTraining {
  /** adam, sgd, rmsprop, … */
  optimizer: string;
  learningRate: number;
  /** In Keras's spelling or that of TensorFlow.js: binary_crossentropy, binaryCrossentropy. */
  loss: string;
  metrics: string[];
}

const optimizers = new Map([
  ['adam', 'Adam'],
  ['adamax', 'Adamax'],
  ['sgd', 'SGD'],
  ['rmsprop', 'RMSprop'],
  ['adagrad', 'Adagrad'],
  ['adadelta', 'Adadelta'],
]);

/** The layout written is that of Keras 3; every 3.x reads it. */
const kerasVersion = '3.0.0';
const backend = 'tensorflow';

/** Throws INVALID_REQUEST when the network is not consistent; the message names the layer. */
export async function writeKerasH5(model: KerasSequential): Promise<Uint8Array> {
  check(model);
  const weights = model.layers.reduce(
    (sum, layer) => sum + layer.kernel.byteLength + layer.bias.byteLength,
    0,
  );
  const plan = planOf(model);
  const limits = { maxWasmBytes: 128 * 1024 * 1024 + 3 * weights, deadlineMs: 60_000 };
  return withH5(limits, (process) => process.write(plan));
}

function planOf(model: KerasSequential): H5Plan {
  const plan: H5Plan = {
    groups: ['model_weights', 'model_weights/top_level_model_weights'],
    datasets: [],
    attributes: [
      { path: '/', name: 'keras_version', value: kerasVersion },
      { path: '/', name: 'backend', value: backend },
      { path: '/', name: 'model_config', value: JSON.stringify(modelConfig(model)) },
      { path: 'model_weights', name: 'keras_version', value: kerasVersion },
      { path: 'model_weights', name: 'backend', value: backend },
      { path: 'model_weights', name: 'layer_names', value: model.layers.map((layer) => layer.name) },
      { path: 'model_weights/top_level_model_weights', name: 'weight_names', value: [] },
    ],
  };
  if (model.training)
    plan.attributes.push({
      path: '/',
      name: 'training_config',
      value: JSON.stringify(trainingConfig(model.training)),
    });
  for (const layer of model.layers) {
    const group = `model_weights/${layer.name}`;
    const inside = `${model.name}/${layer.name}`;
    plan.groups.push(group, `${group}/${model.name}`, `${group}/${inside}`);
    plan.attributes.push({
      path: group,
      name: 'weight_names',
      value: [`${inside}/kernel`, `${inside}/bias`],
    });
    plan.datasets.push(
      {
        path: `${group}/${inside}/kernel`,
        data: layer.kernel,
        shape: [layer.kernel.length / layer.units, layer.units],
      },
      { path: `${group}/${inside}/bias`, data: layer.bias, shape: [layer.units] },
    );
  }
  return plan;
}

const float32Policy = {
  module: 'keras',
  class_name: 'DTypePolicy',
  config: { name: 'float32' },
  registered_name: null,
};

function modelConfig(model: KerasSequential): object {
  const shape = [null, model.inputSize];
  const input = {
    class_name: 'InputLayer',
    config: { batch_shape: shape, dtype: 'float32', sparse: false, name: 'input_layer' },
  };
  const layers = model.layers.map((layer) => ({
    class_name: 'Dense',
    config: {
      name: layer.name,
      trainable: true,
      dtype: float32Policy,
      units: layer.units,
      activation: layer.activation,
      use_bias: true,
      kernel_initializer: initialiser('GlorotUniform', { seed: null }),
      bias_initializer: initialiser('Zeros', {}),
      kernel_regularizer: null,
      bias_regularizer: null,
      kernel_constraint: null,
      bias_constraint: null,
    },
  }));
  return {
    class_name: 'Sequential',
    config: {
      name: model.name,
      trainable: true,
      dtype: float32Policy,
      layers: [input, ...layers],
      build_input_shape: shape,
    },
  };
}

function initialiser(className: string, config: object): object {
  return { module: 'keras.initializers', class_name: className, config, registered_name: null };
}

function trainingConfig({ optimizer, learningRate, loss, metrics }: KerasTraining): object {
  const className = optimizers.get(optimizer.toLowerCase());
  if (!className)
    throw invalid(`the optimizer ${quote(optimizer)} is not known to Keras files`, 'training.optimizer', [
      ...optimizers.keys(),
    ]);
  return {
    loss: snakeCase(loss),
    loss_weights: null,
    metrics: metrics.map(snakeCase),
    weighted_metrics: null,
    run_eagerly: false,
    steps_per_execution: 1,
    jit_compile: false,
    optimizer_config: {
      class_name: className,
      config: { name: optimizer.toLowerCase(), learning_rate: learningRate },
    },
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function check(model: KerasSequential): void {
  if (!Number.isSafeInteger(model.inputSize) || model.inputSize < 1)
    throw invalid(`the input size ${model.inputSize} is not a positive whole number`, 'inputSize');
  checkName(model.name, 'model');
  const names = new Set(['input_layer', 'top_level_model_weights']);
  let inputs = model.inputSize;
  for (const layer of model.layers) {
    checkName(layer.name, 'layer');
    const label = `layer ${quote(layer.name)}`;
    if (names.has(layer.name)) throw invalid(`${label} has a name that is already taken`, layer.name);
    names.add(layer.name);
    if (!writableActivations.includes(layer.activation))
      throw invalid(
        `${label} has the activation ${quote(layer.activation)}`,
        layer.name,
        writableActivations,
      );
    if (layer.kernel.length !== inputs * layer.units || layer.bias.length !== layer.units)
      throw invalid(
        `${label} has ${layer.kernel.length} kernel and ${layer.bias.length} bias weights; ${inputs} inputs and ${layer.units} units need ${inputs * layer.units} and ${layer.units}`,
        layer.name,
      );
    inputs = layer.units;
  }
  if (model.layers.length === 0) throw invalid('the network has no layers', 'layers');
}

/** A slash would be a group of its own in the file. */
function checkName(name: string, what: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/.test(name))
    throw invalid(`the ${what} name ${quote(name)} cannot be written to a Keras file`, what);
}

function invalid(message: string, where: string, allowed?: readonly string[]): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', message, {
    where,
    ...(allowed ? { hint: `use one of ${allowed.join(', ')}` } : {}),
  });
}
