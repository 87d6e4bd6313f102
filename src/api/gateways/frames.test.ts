import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unmetered } from '../../energy/footprint.ts';
import { joules } from '../../energy/units.ts';
import { CommonwattError } from '../../errors.ts';
import { bytesPerElement, datatypes, elementsOf, emptyData, type Tensor } from '../../runtimes/tensor.ts';
import type { Inference } from '../../serve/serve.ts';
import { Fields, kinds, Outbox, readFrames } from './frames.ts';
import { answerReader, answerWriter, putInputs, refusalOf, refusalText, takeInputs } from './messages.ts';

const tensor: fc.Arbitrary<Tensor> = fc
  .tuple(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(...datatypes),
    fc.array(fc.nat({ max: 4 }), { maxLength: 4 }),
    fc.uint8Array({ maxLength: 16 }),
  )
  .map(([name, datatype, shape, seed]) => {
    const width = bytesPerElement(datatype);
    const data = emptyData(datatype, width === null ? seed.length : elementsOf(shape));
    const bytes = new Uint8Array(data.buffer);
    for (let at = 0; at < bytes.length; at++) bytes[at] = seed[at % Math.max(1, seed.length)] ?? 0;
    return { name, datatype, shape, data };
  });

/** What arrives when what was said is cut into pieces of these sizes. */
async function across(
  say: (outbox: Outbox) => void,
  sizes: readonly number[],
): Promise<{ frames: { kind: number; fields: Fields }[]; broken: unknown[] }> {
  const wire = new PassThrough();
  const outbox = new Outbox(wire);
  say(outbox);
  await new Promise((resolve) => setImmediate(resolve));
  const said = (wire.read() as Buffer | null) ?? Buffer.alloc(0);
  return received(said, sizes);
}

function received(said: Buffer, sizes: readonly number[]) {
  const frames: { kind: number; fields: Fields }[] = [];
  const broken: unknown[] = [];
  const far = new PassThrough();
  readFrames(
    far,
    (kind, fields) => frames.push({ kind, fields }),
    (error) => broken.push(error),
  );
  for (let at = 0, turn = 0; at < said.length; turn++) {
    const size = sizes[turn % Math.max(1, sizes.length)] ?? said.length;
    far.emit('data', said.subarray(at, at + size));
    at += size;
  }
  return { frames, broken };
}

const pieces = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 });
const bytesOf = ({ data }: Tensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
const plain = (tensors: readonly Tensor[]) => tensors.map((each) => ({ ...each, data: bytesOf(each) }));

const times = { batchMs: 0.5, computeMs: 2, batchRows: 3, batchRequests: 2, share: 1 / 3 };

function inferenceOf(outputs: Tensor[]): Inference {
  return { outputs, footprint: unmetered, source: 'computed', queueMs: 1, ...times };
}

describe('frames between doors and the server', () => {
  it('bring inputs whole, however they are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(tensor, { maxLength: 5 }), pieces, async (inputs, sizes) => {
        const { frames, broken } = await across((outbox) => {
          outbox.begin(kinds.infer).u32(7).text('é');
          putInputs(outbox, inputs);
          outbox.end();
          outbox.begin(kinds.forget).end();
        }, sizes);
        expect(broken).toEqual([]);
        expect(frames.map(({ kind }) => kind)).toEqual([kinds.infer, kinds.forget]);
        const fields = frames[0]?.fields as Fields;
        expect([fields.u32(), fields.text()]).toEqual([7, 'é']);
        expect(plain(takeInputs(fields, inputs))).toEqual(plain(inputs));
      }),
      { numRuns: 300 },
    );
  });

  it('bring answers with their own footprint, said once for a batch', async () => {
    const footprints = [unmetered, { ...unmetered, energyJ: joules(1 / 3), waterL: null }] as const;
    const answer = fc.tuple(fc.array(tensor, { maxLength: 3 }), fc.constantFrom(...footprints), fc.double());
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { maxLength: 6 }), pieces, async (answers, sizes) => {
        const given = answers.map(
          ([outputs, footprint, queueMs]): Inference => ({
            outputs,
            footprint,
            source: 'joined',
            queueMs,
            ...times,
            share: null,
          }),
        );
        const { frames } = await across((outbox) => {
          const write = answerWriter(outbox);
          given.forEach((inference, call) => {
            write(call, inference);
          });
        }, sizes);
        const read = answerReader();
        frames.forEach(({ fields }, call) => {
          expect(fields.u32()).toBe(call);
          const { outputs, ...rest } = read(fields);
          const { outputs: expected, ...others } = given[call] as Inference;
          expect(rest).toEqual(others);
          expect(plain(outputs)).toEqual(plain(expected));
        });
        expect(frames).toHaveLength(given.length);
      }),
      { numRuns: 200 },
    );
  });

  it('carry as many tensors as a model has', async () => {
    const many = Array.from({ length: 300 }, (_, index): Tensor => {
      return { name: `t${index}`, datatype: 'INT32', shape: [1], data: Int32Array.of(index) };
    });
    const { frames } = await across(
      (outbox) => {
        outbox.begin(kinds.infer);
        putInputs(outbox, many);
        outbox.end();
        answerWriter(outbox)(1, inferenceOf(many));
      },
      [1000],
    );
    expect(plain(takeInputs(frames[0]?.fields as Fields, many))).toEqual(plain(many));
    expect(frames[1]?.fields.u32()).toBe(1);
    expect(plain(answerReader()(frames[1]?.fields as Fields).outputs)).toEqual(plain(many));
  });

  it('that could not be written are left out, and what follows is whole', async () => {
    const bad: Tensor = { name: 'y', datatype: 'INT32', shape: [-1], data: Int32Array.of(1) };
    const good: Tensor = { ...bad, shape: [1] };
    const { frames, broken } = await across(
      (outbox) => {
        const write = answerWriter(outbox);
        expect(() => write(1, inferenceOf([good, bad]))).toThrow(RangeError);
        write(2, inferenceOf([good]));
        expect(() => write(3, inferenceOf([bad]))).toThrow(RangeError);
      },
      [1000],
    );
    expect(broken).toEqual([]);
    expect(frames.map(({ fields }) => fields.u32())).toEqual([2]);
    expect(answerReader()(frames[0]?.fields as Fields)).toMatchObject(inferenceOf([good]));
  });

  it('bring refusals with all that was said', () => {
    const error = new CommonwattError('LIMIT_EXCEEDED', 'all are used', { hint: 'wait', retryAfterS: 3 });
    expect(refusalOf(refusalText(error))).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      status: 429,
      message: 'all are used',
      hint: 'wait',
      where: undefined,
      retryAfterS: 3,
    });
  });

  it('that are nonsense are refused once, and nothing is read after them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), pieces, (junk, sizes) => {
        const zero = Buffer.from([0, 0, 0, 0]);
        const { frames, broken } = received(Buffer.concat([zero, junk]), sizes);
        expect([frames.length, broken.length]).toEqual([0, 1]);
        // Fields past the end of their frame are an error, never memory of something else.
        const fields = new Fields(Buffer.from(junk));
        expect(() => {
          for (;;) fields.bytes();
        }).toThrow(RangeError);
      }),
      { numRuns: 2000 },
    );
  });
});
