/**
 * The frames a gateway and a runner speak over a local socket: binary, no base64, no JSON for tensors.
 *
 *   frame  = u32 length of what follows ‖ u8 kind ‖ u32 id ‖ u32 replica ‖ f64 number ‖ payload        (little-endian)
 *   tensor = u8 datatype ‖ u8 rank ‖ u16 name length ‖ rank × u32 dimension ‖ u32 byte length ‖ name ‖ bytes
 *   payload of LOAD: the model's bytes; of RUN and RESULT: u8 count ‖ tensors; of FAILED: a message in UTF-8.
 * `number` carries the wall time of a computation in ns (RESULT) or the runner's resident bytes (LOADED).
 */
import {
  bytesPerElement,
  type Datatype,
  datatypes,
  elementsOf,
  emptyData,
  type Tensor,
  type TensorData,
} from './tensor.ts';

export const frameKinds = {
  load: 1,
  unload: 2,
  run: 3,
  loaded: 4,
  unloaded: 5,
  result: 6,
  failed: 7,
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
/** A frame larger than this is a fault of the peer, not a tensor. */
const maxFrameBytes = 0x7fffffff;

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

/** One input of a batch: the parts of its callers, laid one after another along the first dimension. */
export interface TensorParts {
  name: string;
  datatype: Datatype;
  shape: readonly number[];
  parts: readonly TensorData[];
}

export function tensorFrame(
  kind: FrameKind,
  id: number,
  replica: number,
  number: number,
  tensors: readonly TensorParts[],
): Buffer {
  let payloadBytes = 1;
  const names = tensors.map((tensor) => Buffer.from(tensor.name));
  tensors.forEach((tensor, index) => {
    payloadBytes += 8 + tensor.shape.length * 4 + (names[index]?.length ?? 0);
    payloadBytes += partsBytes(tensor);
  });
  const frame = Buffer.allocUnsafe(4 + headerBytes + payloadBytes);
  writeHead(frame, kind, id, replica, number, payloadBytes);
  let at = 4 + headerBytes;
  at = frame.writeUInt8(tensors.length, at);
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
  const count = payload.readUInt8(0);
  let at = 1;
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
  return tensors;
}

/** Cuts a stream of chunks into frames. Feed it every chunk; it calls back once for each whole frame. */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #wanted = 4;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered < this.#wanted) return;
    let data = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#buffered);
    while (data.length >= 4) {
      const length = data.readUInt32LE(0);
      if (length < headerBytes || length > maxFrameBytes) throw new RangeError(`frame of ${length} bytes`);
      if (data.length < 4 + length) break;
      this.#onFrame({
        kind: data.readUInt8(4) as FrameKind,
        id: data.readUInt32LE(5),
        replica: data.readUInt32LE(9),
        number: data.readDoubleLE(13),
        payload: data.subarray(4 + headerBytes, 4 + length),
      });
      data = data.subarray(4 + length);
    }
    this.#chunks = data.length > 0 ? [data] : [];
    this.#buffered = data.length;
    this.#wanted = data.length >= 4 ? 4 + data.readUInt32LE(0) : 4;
  }
}
