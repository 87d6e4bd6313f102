import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Frame,
  FrameReader,
  frameHead,
  frameKinds,
  loadHead,
  readLoad,
  readResult,
  readTensors,
  resultFrame,
  runFrame,
} from './frames.ts';
import {
  type Datatype,
  datatypes,
  elementsOf,
  emptyData,
  packBytes,
  type Tensor,
  type TensorData,
} from './tensor.ts';

const tensor: fc.Arbitrary<Tensor> = fc
  .record({
    name: fc.string({ maxLength: 12 }),
    datatype: fc.constantFrom(...datatypes),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
    seed: fc.integer(),
  })
  .map(({ name, datatype, shape, seed }) => {
    return { name, datatype, shape, data: filled(datatype, elementsOf(shape), seed) };
  });

function filled(datatype: Datatype, elements: number, seed: number): TensorData {
  // Any bytes will do, but NaN payloads do not compare equal.
  const byte = (index: number) => (seed + index * 7) & 0x3f;
  if (datatype === 'BYTES')
    return packBytes(Array.from({ length: elements }, (_, i) => Buffer.alloc(byte(i) % 7, byte(i))));
  const data = emptyData(datatype, elements);
  new Uint8Array(data.buffer).forEach((_, index, bytes) => {
    bytes[index] = byte(index);
  });
  return data;
}

function toParts(t: Tensor) {
  return { ...t, parts: [t.data] };
}

function readAll(stream: Buffer, cuts: number[]): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader((frame) => frames.push({ ...frame, payload: Buffer.from(frame.payload) }));
  let from = 0;
  for (const cut of [...cuts.map((c) => c % (stream.length + 1)).sort((a, b) => a - b), stream.length]) {
    reader.push(stream.subarray(from, cut));
    from = cut;
  }
  return frames;
}

describe('frames between gateway and runner', () => {
  it('arrive as they were sent, however the socket cuts the stream', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(tensor, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        (batches, cuts) => {
          const stream = Buffer.concat(
            batches.map((tensors, id) =>
              resultFrame({ id, replica: 7 }, { inputNs: id, computeNs: id / 3 }, tensors.map(toParts)),
            ),
          );
          const frames = readAll(stream, cuts);
          expect(frames.map(({ kind, id, replica, number }) => ({ kind, id, replica, number }))).toEqual(
            batches.map((_, id) => ({ kind: frameKinds.result, id, replica: 7, number: id / 3 })),
          );
          const results = frames.map(readResult);
          expect(results.map(({ outputs }) => outputs)).toEqual(batches);
          expect(results.map(({ inputNs }) => inputNs)).toEqual(batches.map((_, id) => id));
          expect(results.every(({ outputNs }) => outputNs > 0 && outputNs < 1e9)).toBe(true);
        },
      ),
    );
  });

  it('join the rows of several callers in order', () => {
    const frame = runFrame(1, 1, [
      {
        name: 'x',
        datatype: 'FP32',
        shape: [3, 2],
        parts: [Float32Array.of(1, 2), Float32Array.of(3, 4, 5, 6)],
      },
    ]);
    const [read] = readAll(frame, []);
    expect(read && readTensors(read.payload)[0]?.data).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
  });

  it('refuse a length that cannot be a frame', () => {
    const reader = new FrameReader(() => {});
    expect(() => reader.push(Buffer.from([1, 0, 0, 0, 9]))).toThrow('frame of 1 bytes');
  });

  it('refuse a tensor that runs past its frame', () => {
    const frame = runFrame(1, 1, [
      { name: 'x', datatype: 'FP32', shape: [1, 2], parts: [Float32Array.of(1, 2)] },
    ]);
    const [whole] = readAll(frame, []);
    expect(() => readTensors(whole?.payload.subarray(0, -4) ?? Buffer.alloc(0))).toThrow('wrong size');
    expect(frameHead(frameKinds.load, 1, 1, 0, 5).readUInt32LE(0)).toBe(22);
  });

  it('carry a model and how it is to be loaded', () => {
    const options = { threads: 3, executionProviders: ['cuda', 'cpu'] };
    const [read] = readAll(Buffer.concat([loadHead(1, 2, options, 5), Buffer.from('model')]), [2, 3, 20, 23]);
    expect(read && readLoad(read.payload)).toEqual({ ...options, bytes: Buffer.from('model') });
  });

  it('gather what is larger than a chunk in one buffer of its size', () => {
    const data = Float32Array.from({ length: 50_000 }, (_, index) => index);
    const stream = runFrame(9, 1, [{ name: 'x', datatype: 'FP32', shape: [50_000], parts: [data] }]);
    const frames: Frame[] = [];
    const reader = new FrameReader((frame) => frames.push(frame));
    for (let at = 0; at < stream.length; at += 4099) reader.push(stream.subarray(at, at + 4099));
    expect(frames.map(({ payload }) => readTensors(payload)[0]?.data)).toEqual([data]);
    expect(frames[0]?.payload.buffer.byteLength).toBe(stream.length);
  });

  it('that are garbage are refused as such, whatever is wrong with them', () => {
    const good = resultFrame({ id: 1, replica: 1 }, { inputNs: 1, computeNs: 1 }, [
      { name: 'x', datatype: 'INT64', shape: [2, 2], parts: [BigInt64Array.of(1n, 2n, 3n, 4n)] },
      { name: 'y', datatype: 'BYTES', shape: [2], parts: [packBytes([Buffer.from('a'), Buffer.alloc(0)])] },
    ]);
    const damage = fc.record({
      at: fc.nat(good.length - 1),
      byte: fc.integer({ min: 0, max: 255 }),
      cut: fc.nat(good.length),
      noise: fc.uint8Array({ maxLength: 64 }),
      raw: fc.boolean(),
    });
    let refused = 0;
    fc.assert(
      fc.property(damage, ({ at, byte, cut, noise, raw }) => {
        const bytes = raw
          ? Buffer.from(noise)
          : Buffer.concat([good.subarray(0, cut), noise, good.subarray(cut)]);
        if (!raw) bytes[at] = byte;
        try {
          const reader = new FrameReader((frame) => {
            readResult(frame);
            readLoad(frame.payload);
            readTensors(frame.payload);
          }, 1e6);
          reader.push(bytes.subarray(0, at));
          reader.push(bytes.subarray(at));
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          refused++;
        }
      }),
      { numRuns: 30_000 },
    );
    expect(refused).toBeGreaterThan(10_000);
  });
});
