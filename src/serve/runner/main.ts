/**
 * The runner process: loads models into runtimes and computes what the gateway sends, one after another in order of
 * arrival (a computation may use several threads, two at a time would only take them from each other). It speaks
 * frames over the socket at file descriptor 3, holds models in memory only, and ends when the gateway does.
 * A crash here costs one runner, not the service.
 */
import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import {
  type Frame,
  FrameReader,
  frameHead,
  frameKinds,
  readLoad,
  readTensors,
  resultFrame,
} from '../../runtimes/frames.ts';
import { ProviderError } from '../../runtimes/provider-error.ts';
import { type LoadedModel, runtimeFor } from '../../runtimes/runtime.ts';
import { endWithParent } from './orphan.ts';

const gateway = new Socket({ fd: 3, readable: true, writable: true });
const replicas = new Map<number, LoadedModel>();
const waiting: Frame[] = [];
let busy = false;
/** All that it has computed, ns: what is told for single runs must add up to it. */
let computedNs = 0;
/** A collection takes some milliseconds: small models are not worth it. */
const worthCollecting = 4 * 1024 * 1024;

/** `number`: of a load, 1 when its execution provider is at fault; of a run, how long it computed before, ns. */
function fail(frame: Frame, error: unknown, number = error instanceof ProviderError ? 1 : 0) {
  const message = Buffer.from(error instanceof Error ? error.message : String(error));
  gateway.write(frameHead(frameKinds.failed, frame.id, frame.replica, number, message.length));
  gateway.write(message);
}

async function load(frame: Frame) {
  const { bytes, ...options } = readLoad(frame.payload);
  const runtime = await runtimeFor(bytes);
  replicas.set(frame.replica, await runtime.load(bytes, options));
}

async function unload(frame: Frame) {
  const model = replicas.get(frame.replica);
  replicas.delete(frame.replica);
  await model?.release();
}

async function run(frame: Frame) {
  const model = replicas.get(frame.replica);
  if (!model) throw new Error(`replica ${frame.replica} is not loaded`);
  const start = process.hrtime.bigint();
  const inputs = readTensors(frame.payload);
  const computeStart = process.hrtime.bigint();
  const sinceNs = () => Number(process.hrtime.bigint() - computeStart);
  let outputs: Awaited<ReturnType<LoadedModel['run']>>;
  try {
    outputs = await model.run(inputs);
  } catch (error) {
    const failedNs = sinceNs();
    computedNs += failedNs;
    fail(frame, error, failedNs);
    return;
  }
  const computeNs = sinceNs();
  computedNs += computeNs;
  const times = { inputNs: Number(computeStart - start), computeNs };
  gateway.write(
    resultFrame(
      frame,
      times,
      outputs.map((output) => ({ ...output, parts: [output.data] })),
    ),
  );
}

/**
 * What loading took besides the model itself (the file's bytes) is given back before memory is measured. The runtime
 * holds it until this turn of the event loop is over.
 */
async function giveBack(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc?.();
  // The first frees buffers in the background; the second waits for that.
  globalThis.gc?.();
}

function acknowledge(kind: typeof frameKinds.loaded | typeof frameKinds.unloaded, { id, replica }: Frame) {
  gateway.write(frameHead(kind, id, replica, process.memoryUsage.rss(), 0));
}

function sayAlive() {
  const payload = Buffer.alloc(8);
  payload.writeDoubleLE(computedNs);
  gateway.write(frameHead(frameKinds.alive, 0, 0, process.memoryUsage.rss(), payload.length));
  gateway.write(payload);
}

async function handle(frame: Frame) {
  try {
    if (frame.kind === frameKinds.run) await run(frame);
    else if (frame.kind === frameKinds.load) {
      await load(frame);
      const bytes = frame.payload.length;
      frame.payload = Buffer.alloc(0);
      if (bytes > worthCollecting) await giveBack();
      acknowledge(frameKinds.loaded, frame);
    } else {
      await unload(frame);
      acknowledge(frameKinds.unloaded, frame);
    }
  } catch (error) {
    fail(frame, error);
  }
}

async function work() {
  busy = true;
  for (let frame = waiting.shift(); frame; frame = waiting.shift()) await handle(frame);
  busy = false;
}

const reader = new FrameReader((frame) => {
  if (frame.kind === frameKinds.ping) {
    sayAlive();
    return;
  }
  waiting.push(frame);
  if (!busy) void work();
});

gateway.on('data', (chunk) => reader.push(chunk));
// The gateway is gone: nobody is left to compute for.
gateway.on('close', () => process.exit(0));
gateway.on('error', () => process.exit(0));
// A signal to the process group (Ctrl-C) is the gateway's to handle; it drains first.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

endWithParent(process.argv);

try {
  // When memory runs out, the kernel ends this process before the gateway, and before most others.
  writeFileSync('/proc/self/oom_score_adj', '800');
} catch {
  // Not Linux, or not allowed: the limit that the gateway watches remains.
}

// All that a runner needs is there: from now on a death is the doing of what it computes.
sayAlive();
