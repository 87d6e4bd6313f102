/**
 * The trainer process: tfjs-layers (same layers and semantics as Keras) on its WASM backend. Started by
 * trainer.ts, it gets one order, reports each epoch, hands back the weights, and ends with its server.
 * The same order gives the same weights, interrupted or not: initial weights and the order of rows come from the seed,
 * and the arithmetic runs on one thread.
 */
import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { initializers, type LayersModel, layers, sequential } from '@tensorflow/tfjs-layers';
import { seededRandom, shuffle } from '../quality/seeded.ts';
import type { Backend, TrainedLayer, TrainerMessage, TrainerOrder, TrainOrder } from './protocol.ts';
import { restoreState, stateOf } from './state.ts';

/** Rows evaluated in one go. */
const evaluationRows = 1024;

class Diverged extends Error {}

yieldToTheServer();
process.on('disconnect', () => process.exit(1));
let pausing = false;
process.on('message', (message: TrainerOrder) => {
  if (message.type === 'pause') {
    pausing = true;
    return;
  }
  run(message.order).catch((error: unknown) => {
    send({
      type: 'failed',
      reason: error instanceof Diverged ? 'diverged' : 'error',
      message: error instanceof Error ? error.message : String(error),
    });
  });
});

async function run(order: TrainOrder): Promise<void> {
  const { backend, note } = await startBackend();
  send({ type: 'started', backend, note });
  const optimizer = tf.train[order.optimizer](order.learningRate);
  const model = build(order, optimizer);
  if (order.from) await restoreState(order.from, model, optimizer);
  const random = seededRandom(order.seed);
  const rows = Uint32Array.from(order.y.keys());
  let reportedMs = performance.now();
  for (let epoch = 1; epoch <= order.epochs; epoch++) {
    shuffle(rows, random);
    // Done by an earlier process; its rows were shuffled all the same.
    if (epoch <= (order.from?.epoch ?? 0)) continue;
    const [loss, accuracy] = await trainEpoch(model, order, rows);
    if (!Number.isFinite(loss)) throw new Diverged(`the loss became ${loss} in epoch ${epoch}`);
    for (const layer of model.layers) assertFinite(layer, epoch);
    const [valLoss, valAccuracy] = evaluate(model, order);
    send({ type: 'epoch', epoch, loss, accuracy, valLoss, valAccuracy });
    const { stateEveryMs, epochs } = order;
    const due = stateEveryMs !== null && performance.now() - reportedMs >= stateEveryMs;
    if (epoch === epochs || !(due || pausing)) continue;
    send({ type: 'state', state: await stateOf(epoch, model, optimizer) });
    reportedMs = performance.now();
    if (pausing) return;
  }
  send({ type: 'done', layers: weightsOf(model, order) });
}

async function startBackend(): Promise<{ backend: Backend; note: string | null }> {
  // Silences the banner and skips the checks meant for development.
  tf.enableProdMode();
  setWasmPaths(fileURLToPath(new URL('./', import.meta.resolve('@tensorflow/tfjs-backend-wasm'))));
  try {
    if (await tf.setBackend('wasm')) return { backend: 'wasm', note: null };
    return { backend: await cpuBackend(), note: 'WebAssembly did not start' };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { backend: await cpuBackend(), note: `WebAssembly did not start: ${reason}` };
  }
}

async function cpuBackend(): Promise<'cpu'> {
  await import('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  return 'cpu';
}

function build(order: TrainOrder, optimizer: tf.Optimizer): LayersModel {
  const model = sequential();
  order.layers.forEach(({ units, activation }, index) => {
    model.add(
      layers.dense({
        name: index === 0 ? 'dense' : `dense_${index}`,
        units,
        activation,
        // Keras's default initialisation; each layer has its own seed.
        kernelInitializer: initializers.glorotUniform({ seed: order.seed * 1000 + index + 1 }),
        ...(index === 0 ? { inputShape: [order.features] } : {}),
      }),
    );
  });
  model.compile({
    optimizer,
    loss: order.loss,
    metrics: ['accuracy'],
  });
  return model;
}

async function trainEpoch(
  model: LayersModel,
  order: TrainOrder,
  rows: Uint32Array,
): Promise<[loss: number, accuracy: number]> {
  let loss = 0;
  let accuracy = 0;
  for (let start = 0; start < rows.length; start += order.batchSize) {
    const batch = rows.subarray(start, start + order.batchSize);
    const x = tf.tensor2d(gather(order.x, order.features, batch), [batch.length, order.features]);
    const y = tf.tensor2d(gather(order.y, 1, batch), [batch.length, 1]);
    const [batchLoss = Number.NaN, batchAccuracy = Number.NaN] = [await model.trainOnBatch(x, y)].flat();
    tf.dispose([x, y]);
    loss += batchLoss * batch.length;
    accuracy += batchAccuracy * batch.length;
    await setImmediate(); // lets the end of the server be noticed
  }
  return [loss / rows.length, accuracy / rows.length];
}

function evaluate(model: LayersModel, order: TrainOrder): [loss: number, accuracy: number] {
  return tf.tidy(() => {
    const rows = order.validationY.length;
    const x = tf.tensor2d(order.validationX, [rows, order.features]);
    const y = tf.tensor2d(order.validationY, [rows, 1]);
    const [loss, accuracy] = [model.evaluate(x, y, { batchSize: evaluationRows })].flat();
    return [loss?.dataSync()[0] ?? Number.NaN, accuracy?.dataSync()[0] ?? Number.NaN];
  });
}

/** relu and the clipping in the loss swallow NaN in WebAssembly, so that the loss may look sound when weights are not. */
function assertFinite(layer: LayersModel['layers'][number], epoch: number): void {
  if (!layer.getWeights().every((tensor) => tensor.dataSync().every(Number.isFinite)))
    throw new Diverged(`a weight of ${layer.name} became NaN or infinite in epoch ${epoch}`);
}

function weightsOf(model: LayersModel, order: TrainOrder): TrainedLayer[] {
  return model.layers.map((layer, index) => {
    const [kernel, bias] = layer.getWeights();
    const settings = order.layers[index];
    if (!kernel || !bias || !settings) throw new Error(`layer ${layer.name} has no weights`);
    return {
      name: layer.name,
      units: settings.units,
      activation: settings.activation,
      kernel: Float32Array.from(kernel.dataSync()),
      bias: Float32Array.from(bias.dataSync()),
    };
  });
}

function gather(values: Float32Array, width: number, rows: Uint32Array): Float32Array {
  const result = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    result.set(values.subarray(row * width, (row + 1) * width), i * width);
  });
  return result;
}

/** Answers come first: the trainer gives way in the scheduler, and is the one to go when memory runs out. */
function yieldToTheServer(): void {
  try {
    setPriority(10);
    writeFileSync('/proc/self/oom_score_adj', '500');
  } catch {
    // Not every system has these; training works without.
  }
}

function send(message: TrainerMessage): void {
  process.send?.(message);
}
