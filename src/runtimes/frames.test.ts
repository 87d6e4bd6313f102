import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Frame, FrameReader, frameHead, frameKinds, readTensors, tensorFrame } from './frames.ts';
import { datatypes, elementsOf, emptyData, type Tensor } from './tensor.ts';

const tensor: fc.Arbitrary<Tensor> = fc
  .record({
    name: fc.string({ maxLength: 12 }),
    datatype: fc.constantFrom(...datatypes),
    shape: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
    seed: fc.integer(),
  })
  .map(({ name, datatype, shape, seed }) => {
    const data = emptyData(datatype, elementsOf(shape));
    new Uint8Array(data.buffer).forEach((_, index, bytes) => {
      // Any bytes will do, but NaN payloads do not compare equal.
      bytes[index] = (seed + index * 7) & 0x3f;
    });
    return { name, datatype, shape, data };
  });

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
              tensorFrame(
                frameKinds.run,
                id,
                7,
                id / 3,
                tensors.map((t) => ({ ...t, parts: [t.data] })),
              ),
            ),
          );
          const frames = readAll(stream, cuts);
          expect(frames.map(({ kind, id, replica, number }) => ({ kind, id, replica, number }))).toEqual(
            batches.map((_, id) => ({ kind: frameKinds.run, id, replica: 7, number: id / 3 })),
          );
          expect(frames.map(({ payload }) => readTensors(payload))).toEqual(batches);
        },
      ),
    );
  });

  it('join the rows of several callers in order', () => {
    const frame = tensorFrame(frameKinds.run, 1, 1, 0, [
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
    const frame = tensorFrame(frameKinds.run, 1, 1, 0, [
      { name: 'x', datatype: 'FP32', shape: [1, 2], parts: [Float32Array.of(1, 2)] },
    ]);
    const [whole] = readAll(frame, []);
    expect(() => readTensors(whole?.payload.subarray(0, -4) ?? Buffer.alloc(0))).toThrow('wrong size');
    expect(frameHead(frameKinds.load, 1, 1, 0, 5).readUInt32LE(0)).toBe(22);
  });
});
