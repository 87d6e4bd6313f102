/**
 * The runner process: loads models into a runtime and computes what the gateway sends, in order of arrival.
 * It speaks frames over the socket at file descriptor 3, holds models in memory only, and ends when the gateway
 * does. A crash here costs one runner, not the service.
 */
import { Socket } from 'node:net';
import {
  type Frame,
  FrameReader,
  frameHead,
  frameKinds,
  readTensors,
  tensorFrame,
} from '../../runtimes/frames.ts';
import { type LoadedModel, runtimeFor } from '../../runtimes/runtime.ts';

const gateway = new Socket({ fd: 3, readable: true, writable: true });
const replicas = new Map<number, LoadedModel>();

function fail(frame: Frame, error: unknown) {
  const message = Buffer.from(error instanceof Error ? error.message : String(error));
  gateway.write(
    Buffer.concat([frameHead(frameKinds.failed, frame.id, frame.replica, 0, message.length), message]),
  );
}

async function load(frame: Frame) {
  const runtime = await runtimeFor(frame.payload);
  replicas.set(frame.replica, await runtime.load(frame.payload, { threads: 1, executionProviders: ['cpu'] }));
  gateway.write(frameHead(frameKinds.loaded, frame.id, frame.replica, process.memoryUsage.rss(), 0));
}

async function unload(frame: Frame) {
  const model = replicas.get(frame.replica);
  replicas.delete(frame.replica);
  await model?.release();
  gateway.write(frameHead(frameKinds.unloaded, frame.id, frame.replica, process.memoryUsage.rss(), 0));
}

async function run(frame: Frame) {
  const model = replicas.get(frame.replica);
  if (!model) throw new Error(`replica ${frame.replica} is not loaded`);
  const inputs = readTensors(frame.payload);
  const start = process.hrtime.bigint();
  const outputs = await model.run(inputs);
  const computeNs = Number(process.hrtime.bigint() - start);
  const parts = outputs.map((output) => ({ ...output, parts: [output.data] }));
  gateway.write(tensorFrame(frameKinds.result, frame.id, frame.replica, computeNs, parts));
}

const handlers = { [frameKinds.load]: load, [frameKinds.unload]: unload, [frameKinds.run]: run } as const;

const reader = new FrameReader((frame) => {
  const handler =
    frame.kind === frameKinds.load || frame.kind === frameKinds.unload || frame.kind === frameKinds.run
      ? handlers[frame.kind]
      : undefined;
  if (!handler) throw new Error(`frame of kind ${frame.kind} is not for a runner`);
  handler(frame).catch((error: unknown) => fail(frame, error));
});
gateway.on('data', (chunk) => reader.push(chunk));
// The gateway is gone: nobody is left to compute for.
gateway.on('close', () => process.exit(0));
gateway.on('error', () => process.exit(0));
// A signal to the process group (Ctrl-C) is the gateway's to handle; it drains first.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
