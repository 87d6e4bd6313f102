/**
 * The frames a gateway and a runner speak over a local socket: binary, no base64, no JSON for tensors.
 *
 *   frame  = u32 length of what follows ‖ u8 kind ‖ u32 id ‖ u32 replica ‖ f64 number ‖ payload        (little-endian)
 *   tensor = u8 datatype ‖ u8 rank ‖ u16 name length ‖ rank × u32 dimension ‖ u32 byte length ‖ name ‖ bytes
 *   payload of LOAD: u8 threads ‖ u8 count ‖ count × (u8 length ‖ execution provider) ‖ the model's bytes;
 *   of RUN: u16 count ‖ tensors; of RESULT: f64 ns of reading inputs ‖ f64 ns of writing outputs ‖ u16 count ‖ tensors;
 *   of FAILED: a message in UTF-8.
 * `number` carries the wall time of the computation itself in ns (RESULT), the runner's resident bytes (LOADED,
 * UNLOADED, ALIVE) or 1 where the fault is the execution provider's and not the model's (FAILED).
 */
import { FrameCutter } from './frame-cutter.ts';
import {
  bytesPerElement,
  type Datatype,
  datatypes,
  elementsOf,
  emptyData,
  type Tensor,
  type TensorData,
} from './tensor.ts';

/** Frames are private to one gateway and its runners, which are of the same build: no version is spoken. */
export const frameKinds = {
  load: 1,
  unload: 2,
  run: 3,
  loaded: 4,
  unloaded: 5,
  result: 6,
  failed: 7,
  /** Is anybody there? Answered by `alive`. */
  ping: 8,
  alive: 9,
} as const;
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export interface Frame {
  kind: FrameKind;
  id: number;
  replica: number;
  number: number;
  payload: Buffer;
}

const headerBytes = 1 + 4 + 4 + 8;
const timesBytes = 16;

export function frameHead(
  kind: FrameKind,
  id: number,
  replica: number,
  number: number,
  payloadBytes: number,
): Buffer {
  const head = Buffer.allocUnsafe(4 + headerBytes);
  writeHead(head, kind, id, replica, number, payloadBytes);
  return head;
}

function writeHead(
  target: Buffer,
  kind: FrameKind,
  id: number,
  replica: number,
  number: number,
  payloadBytes: number,
) {
  target.writeUInt32LE(headerBytes + payloadBytes, 0);
  target.writeUInt8(kind, 4);
  target.writeUInt32LE(id, 5);
  target.writeUInt32LE(replica, 9);
  target.writeDoubleLE(number, 13);
}

/** What LOAD says before the model's bytes, which follow as they are. */
export function loadHead(
  id: number,
  replica: number,
  { threads, executionProviders }: LoadOptions,
  modelBytes: number,
): Buffer {
  const options = Buffer.concat([
    Buffer.of(threads, executionProviders.length),
    ...executionProviders.flatMap((name) => [Buffer.of(name.length), Buffer.from(name, 'latin1')]),
  ]);
  return Buffer.concat([frameHead(frameKinds.load, id, replica, 0, options.length + modelBytes), options]);
}

export function readLoad(payload: Buffer): LoadOptions & { bytes: Buffer } {
  const threads = payload.readUInt8(0);
  const executionProviders: string[] = [];
  let at = 2;
  for (let count = payload.readUInt8(1); count > 0; count--) {
    const end = at + 1 + payload.readUInt8(at);
    executionProviders.push(payload.toString('latin1', at + 1, end));
    at = end;
  }
  return { threads, executionProviders, bytes: payload.subarray(at) };
}

interface LoadOptions {
  threads: number;
  executionProviders: readonly string[];
}

/** One input of a batch: the parts of its callers, laid one after another along the first dimension. */
export interface TensorParts {
  name: string;
  datatype: Datatype;
  shape: readonly number[];
  parts: readonly TensorData[];
}

/** One batch to compute, ready to be sent. */
export function runFrame(id: number, replica: number, tensors: readonly TensorParts[]): Buffer {
  return filledFrame(frameKinds.run, id, replica, 0, tensors, 0);
}

/** The answer to RUN. */
export function resultFrame(
  { id, replica }: Pick<Frame, 'id' | 'replica'>,
  times: { inputNs: number; computeNs: number },
  tensors: readonly TensorParts[],
): Buffer {
  const start = process.hrtime.bigint();
  const frame = filledFrame(frameKinds.result, id, replica, times.computeNs, tensors, timesBytes);
  const at = frame.writeDoubleLE(times.inputNs, 4 + headerBytes);
  frame.writeDoubleLE(Number(process.hrtime.bigint() - start), at);
  return frame;
}

/** The times and the tensors of RESULT. Throws a RangeError. */
export function readResult({ number, payload }: Frame) {
  return {
    outputs: readTensors(payload.subarray(timesBytes)),
    computeNs: number,
    inputNs: payload.readDoubleLE(0),
    outputNs: payload.readDoubleLE(8),
  };
}

function filledFrame(
  kind: FrameKind,
  id: number,
  replica: number,
  number: number,
  tensors: readonly TensorParts[],
  before: number,
): Buffer {
  let payloadBytes = before + 2;
  const names = tensors.map((tensor) => Buffer.from(tensor.name));
  tensors.forEach((tensor, index) => {
    payloadBytes += 8 + tensor.shape.length * 4 + (names[index]?.length ?? 0);
    payloadBytes += partsBytes(tensor);
  });
  const frame = Buffer.allocUnsafe(4 + headerBytes + payloadBytes);
  writeHead(frame, kind, id, replica, number, payloadBytes);
  let at = 4 + headerBytes + before;
  at = frame.writeUInt16LE(tensors.length, at);
  tensors.forEach((tensor, index) => {
    const name = names[index] ?? Buffer.alloc(0);
    at = frame.writeUInt8(datatypes.indexOf(tensor.datatype), at);
    at = frame.writeUInt8(tensor.shape.length, at);
    at = frame.writeUInt16LE(name.length, at);
    for (const dimension of tensor.shape) at = frame.writeUInt32LE(dimension, at);
    at = frame.writeUInt32LE(partsBytes(tensor), at);
    at += name.copy(frame, at);
    for (const part of tensor.parts) {
      frame.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
      at += part.byteLength;
    }
  });
  return frame;
}

function partsBytes({ parts }: TensorParts): number {
  let bytes = 0;
  for (const part of parts) bytes += part.byteLength;
  return bytes;
}

/** Decodes the tensors of a payload into arrays of their own (aligned, independent of the socket's buffer). */
export function readTensors(payload: Buffer): Tensor[] {
  const tensors: Tensor[] = [];
  const count = payload.readUInt16LE(0);
  let at = 2;
  for (let index = 0; index < count; index++) {
    const datatype = datatypes[payload.readUInt8(at)];
    if (!datatype) throw new RangeError('frame with an unknown datatype');
    const rank = payload.readUInt8(at + 1);
    const nameBytes = payload.readUInt16LE(at + 2);
    at += 4;
    const shape: number[] = [];
    for (let d = 0; d < rank; d++, at += 4) shape.push(payload.readUInt32LE(at));
    const byteLength = payload.readUInt32LE(at);
    at += 4;
    const name = payload.toString('utf8', at, at + nameBytes);
    at += nameBytes;
    const elementBytes = bytesPerElement(datatype);
    const length = byteLength / (elementBytes ?? 1);
    if ((elementBytes !== null && length !== elementsOf(shape)) || at + byteLength > payload.length)
      throw new RangeError(`frame with a tensor of the wrong size: ${name}`);
    const data = emptyData(datatype, length);
    new Uint8Array(data.buffer).set(payload.subarray(at, at + byteLength));
    at += byteLength;
    tensors.push({ name, datatype, shape, data });
  }
  if (at !== payload.length) throw new RangeError(`frame with ${payload.length - at} bytes too many`);
  return tensors;
}

/** Feed it every chunk of a stream; it calls back once for each whole frame (see `FrameCutter`). */
export class FrameReader {
  readonly #cutter: FrameCutter;

  /** Throws a RangeError from `push` when a frame announces more than `maxBytes`. */
  constructor(onFrame: (frame: Frame) => void, maxBytes?: number) {
    this.#cutter = new FrameCutter((frame) => onFrame(openFrame(frame)), headerBytes, maxBytes);
  }

  push(chunk: Buffer): void {
    this.#cutter.push(chunk);
  }
}

function openFrame(frame: Buffer): Frame {
  return {
    kind: frame.readUInt8(4) as FrameKind,
    id: frame.readUInt32LE(5),
    replica: frame.readUInt32LE(9),
    number: frame.readDoubleLE(13),
    payload: frame.subarray(4 + headerBytes),
  };
}
