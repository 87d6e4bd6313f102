import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import type { Datatype, Tensor } from '../runtimes/tensor.ts';
import { fingerprintOf, requestDigest, sameInputs } from './request-key.ts';
import { AnswerCache, copyTensors } from './reuse.ts';
import { InferCall, type Inference } from './serve.ts';
import { defaultSettings } from './settings.ts';
import { callOf, context, doubled, doubler, sleep, tensorOf, turn } from './testing/calls.ts';

const policyVersion = 1;
const shared = () => new AnswerCache(1 << 20);

/** One after the other. */
async function ask(batcher: ReturnType<typeof doubler>['batcher'], calls: InferCall[]): Promise<Inference[]> {
  const answers: Inference[] = [];
  for (const call of calls) answers.push(await batcher.infer(call));
  return answers;
}
const same = (count: number, options: Parameters<typeof callOf>[2] = {}, value = 7) =>
  Array.from({ length: count }, (_, index) =>
    callOf([value], `${options.tenant ?? 'a'}${index}`, { policyVersion, ...options }),
  );
const sources = (answers: Inference[]) => answers.map(({ source }) => source);

describe('a request that was given up while its batch failed', () => {
  const failures: [string, CommonwattError][] = [
    ['refused by the model', new CommonwattError('INVALID_TENSOR', 'no')],
    ['lost with its runner', new CommonwattError('RUNNER_FAILED', 'died')],
  ];
  it.each(failures)('(%s) keeps nobody waiting who sends the same later', async (_name, failure) => {
    let first = true;
    let given: (() => void) | undefined;
    const run = async (inputs: readonly TensorParts[]) => {
      if (!first) return doubled(inputs);
      first = false;
      await new Promise<void>((resolve) => {
        given = resolve;
      });
      throw failure;
    };
    const { batcher } = doubler({ answers: shared(), target: { run, runAlone: async (i) => doubled(i) } });
    const [gone, mate] = [callOf([7], 'gone', { policyVersion }), callOf([8], 'mate', { policyVersion })];
    const answers = Promise.allSettled([batcher.infer(gone), batcher.infer(mate)]);
    while (!given) await turn();
    gone.cancel();
    given();
    expect((await answers).map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    const [later] = await ask(batcher, same(1));
    expect(later?.outputs[0]?.data[0]).toBe(14);
    expect(batcher.pending).toBe(0);
  });
});

describe('an answer used again', () => {
  it('is the same answer, from the third time on, and is booked as avoided', async () => {
    const { batcher, bookedIds, avoided } = doubler({ answers: shared() });
    const answers = await ask(batcher, same(4));
    expect(sources(answers)).toEqual(['computed', 'computed', 'cached', 'cached']);
    for (const { outputs } of answers) expect(outputs).toEqual(answers[0]?.outputs);
    expect(bookedIds()).toEqual(['a0', 'a1']);
    expect(avoided.flatMap(({ items }) => items)).toMatchObject([
      { context: { requestId: 'a2' }, rows: 1, computeNs: 1000 },
      { context: { requestId: 'a3' } },
    ]);
    expect(batcher.statistics).toMatchObject({
      success: { count: 4 },
      cacheHit: { count: 2 },
      cacheMiss: { count: 2 },
      inferenceCount: 2,
    });
    await batcher.drained();
  });

  it('belongs to its caller: writing into it changes nobody else’s', async () => {
    const { batcher } = doubler({ answers: shared() });
    const answers = await ask(batcher, same(4));
    for (const { outputs } of answers.slice(1, 3)) outputs[0]?.data.fill(99 as never);
    const [again] = await ask(batcher, same(1));
    expect([answers[3], again].map((answer) => answer?.outputs[0]?.data[0])).toEqual([14, 14]);
  });

  it('is of one organisation, unless the owner says that it may be everyone’s', async () => {
    for (const scope of ['organisation', 'everyone'] as const) {
      const cache = { ...defaultSettings.cache, scope };
      const { batcher } = doubler({ answers: shared(), settings: { cache } });
      await ask(batcher, same(3));
      const [stranger] = await ask(batcher, same(1, { tenant: 'b' }));
      expect(stranger?.source).toBe(scope === 'everyone' ? 'cached' : 'computed');
    }
  });

  it('is of one policy, one version, and its time', async () => {
    const answers = shared();
    const cache = { ...defaultSettings.cache, maxAgeS: 0.03 };
    const { batcher } = doubler({ answers, settings: { cache }, target: { versionId: 'v1' } });
    await ask(batcher, same(3));
    const later = doubler({ answers, target: { versionId: 'v2' } });
    expect(sources(await ask(later.batcher, same(1)))).toEqual(['computed']);
    expect(sources(await ask(batcher, same(1, { policyVersion: 2 })))).toEqual(['computed']);
    expect(sources(await ask(batcher, same(1)))).toEqual(['cached']);
    await sleep(40);
    expect(sources(await ask(batcher, same(1)))).toEqual(['computed']);
  });

  it('is not used when the caller, the model or the kind of work forbids it', async () => {
    const { batcher, booked } = doubler({ answers: shared() });
    await ask(batcher, same(4, { reuse: false }));
    await ask(
      batcher,
      [1, 2, 3].map(() => callOf([7], 'no policy')),
    );
    const explanation = { ...context('e'), kind: 'explanation' as const };
    await ask(
      batcher,
      [1, 2, 3].map(() => new InferCall(tensorOf([7]), explanation, { policyVersion })),
    );
    expect(booked).toHaveLength(10);
    const random = doubler({ answers: shared(), target: { deterministic: false } });
    await ask(random.batcher, same(4));
    expect(random.booked).toHaveLength(4);
    const off = doubler({
      answers: shared(),
      settings: { cache: { ...defaultSettings.cache, enabled: false } },
    });
    await ask(off.batcher, same(4));
    expect(off.booked).toHaveLength(4);
  });

  it('is never an error', async () => {
    let broken = true;
    const run = async (inputs: Parameters<typeof doubled>[0]) => {
      await turn();
      if (broken) throw new CommonwattError('INVALID_TENSOR', 'no');
      return doubled(inputs);
    };
    const { batcher } = doubler({ answers: shared(), target: { run } });
    for (const call of same(3))
      await expect(batcher.infer(call)).rejects.toMatchObject({ code: 'INVALID_TENSOR' });
    broken = false;
    expect(sources(await ask(batcher, same(2)))).toEqual(['computed', 'cached']);
  });
});

describe('the same request under way', () => {
  it('is computed once for all, each with a copy of the answer', async () => {
    const { batcher, bookedIds, avoided } = doubler({ answers: shared() });
    const answers = await Promise.all(same(10).map((call) => batcher.infer(call)));
    expect(sources(answers).filter((source) => source === 'joined')).toHaveLength(9);
    expect(bookedIds()).toEqual(['a0']);
    expect(avoided.flatMap(({ items }) => items)).toHaveLength(9);
    expect(new Set(answers.map(({ outputs }) => outputs[0]?.data.buffer)).size).toBe(10);
    for (const { outputs } of answers) expect(outputs[0]?.data[0]).toBe(14);
  });

  it('goes on for the others when one leaves, even the first; and ends when all have left', async () => {
    const { batcher, bookedIds } = doubler({ answers: shared() });
    const calls = same(4);
    const answers = calls.map((call) => batcher.infer(call));
    calls[0]?.cancel();
    calls[2]?.cancel();
    const results = await Promise.allSettled(answers);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    expect(bookedIds()).toEqual(['a1']);
    const gone = same(2, {}, 8);
    const lost = Promise.allSettled(gone.map((call) => batcher.infer(call)));
    for (const call of gone) call.cancel();
    expect((await lost).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await batcher.drained();
    expect(bookedIds()).toEqual(['a1']);
    expect(batcher.pending).toBe(0);
  });

  it('is handed over when the first may not wait any longer', async () => {
    let awake: (() => void) | undefined;
    let loading: Promise<void> | undefined = new Promise((resolve) => {
      awake = () => {
        loading = undefined;
        resolve();
      };
    });
    const { batcher, bookedIds } = doubler({ answers: shared(), target: { awake: () => loading } });
    const hasty = batcher.infer(callOf([7], 'hasty', { policyVersion, deadlineAtMs: performance.now() + 5 }));
    const patient = batcher.infer(callOf([7], 'patient', { policyVersion }));
    await expect(hasty).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    awake?.();
    expect((await patient).outputs[0]?.data[0]).toBe(14);
    expect(bookedIds()).toEqual(['patient']);
  });

  it('fails for all when it fails', async () => {
    const run = async () => {
      await turn();
      throw new CommonwattError('INVALID_TENSOR', 'no');
    };
    const { batcher } = doubler({ answers: shared(), target: { run } });
    const results = await Promise.allSettled(same(3).map((call) => batcher.infer(call)));
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'INVALID_TENSOR' } });
    expect(batcher.statistics.fail.count).toBe(3);
  });
});

describe('the kept answers', () => {
  const bond = { versionId: 'v', scope: 'a', policyVersion: 1 };
  const inputs = tensorOf([1]);
  const answer = (values: Float32Array) => ({
    outputs: [{ name: 'y', datatype: 'FP32' as const, shape: [1, values.length], data: values }],
    computeNs: 1,
  });

  it('stay within their bytes, the least recently used going first', () => {
    const cache = new AnswerCache(10_000);
    const kept = (fingerprint: number, now: number) => cache.get(fingerprint, bond, inputs, 1e9, now);
    for (let index = 0; index < 100; index++) {
      cache.put(index, bond, inputs, answer(new Float32Array(10).fill(index)), index * 1000);
      kept(0, index * 1000);
      expect(cache.bytes).toBeLessThanOrEqual(10_000);
    }
    expect(cache.size).toBeGreaterThan(6);
    expect(kept(0, 1e5)?.outputs[0]?.data[0]).toBe(0);
    expect(kept(1, 1e5)).toBeUndefined();
    cache.put(200, bond, inputs, answer(new Float32Array(1000)), 1e5);
    expect(kept(200, 1e5)).toBeUndefined();
  });

  it('are copies, even of what came as a Buffer', () => {
    const cache = new AnswerCache(1 << 20);
    const given = Buffer.alloc(9).subarray(1);
    const output: Tensor = { name: 'y', datatype: 'UINT8', shape: [1, 8], data: given };
    cache.put(1, bond, inputs, { outputs: [output], computeNs: 1 }, 0);
    given.fill(7);
    expect(cache.get(1, bond, inputs, 1000, 0)?.outputs[0]?.data[0]).toBe(0);
    expect(fingerprintOf(1, [output])).toBe(fingerprintOf(1, copyTensors([output])));
  });

  it('hold on to no buffer of a whole batch', () => {
    const cache = new AnswerCache(1 << 20);
    cache.put(1, bond, inputs, answer(new Float32Array(100_000).subarray(2, 4)), 0);
    expect(cache.get(1, bond, inputs, 1000, 0)?.outputs[0]?.data.buffer.byteLength).toBe(8);
  });

  it('answer only what is the same in every part, whatever the fingerprint says', () => {
    for (const width of [1, 1000]) {
      const cache = new AnswerCache(1 << 20);
      const asked = tensorOf(new Array(width).fill(3), width);
      cache.put(1, bond, asked, answer(new Float32Array(1)), 0);
      const get = (other: typeof bond, others: Tensor[]) => cache.get(1, other, others, 1000, 0);
      expect(get(bond, tensorOf(new Array(width).fill(3), width))).toBeDefined();
      for (const other of [{ versionId: 'w' }, { scope: '' }, { policyVersion: 2 }])
        expect(get({ ...bond, ...other }, asked)).toBeUndefined();
      const [tensor] = asked;
      if (!tensor) throw new Error('no tensor');
      const changed = tensor.data.slice();
      changed[width - 1] = 4;
      for (const other of [
        [{ ...tensor, data: changed }],
        [{ ...tensor, name: 'z' }],
        [{ ...tensor, datatype: 'INT32' as const }],
        [{ ...tensor, shape: [width, 1, 1] }],
        [tensor, tensor],
        [],
      ])
        expect(get(bond, other)).toBeUndefined();
    }
  });
});

const bytesTensor = fc
  .tuple(
    fc.string({ maxLength: 4 }),
    fc.constantFrom<Datatype>('UINT8', 'INT8', 'BOOL', 'BYTES'),
    fc.uint8Array({ maxLength: 8 }),
  )
  .map(([name, datatype, data]): Tensor => {
    const own = datatype === 'INT8' ? Int8Array.from(data) : Uint8Array.from(data);
    return { name, datatype, shape: [own.length], data: own };
  });

it('two requests have one digest only if they are the same to the last bit', () => {
  const side = fc.tuple(
    fc.array(fc.string({ maxLength: 3 }), { minLength: 1, maxLength: 3 }),
    fc.array(bytesTensor, { maxLength: 3 }),
  );
  fc.assert(
    fc.property(side, side, ([who, inputs], [otherWho, others]) => {
      const equal = JSON.stringify(who) === JSON.stringify(otherWho) && sameInputs(inputs, others);
      expect(requestDigest(who, inputs) === requestDigest(otherWho, others)).toBe(equal);
      const copies = copyTensors(inputs);
      expect(sameInputs(inputs, copies)).toBe(true);
      expect(requestDigest(who, copies)).toBe(requestDigest(who, inputs));
      expect(fingerprintOf(1, copies)).toBe(fingerprintOf(1, inputs));
    }),
    { numRuns: 2000 },
  );
  // What a separator would confuse.
  expect(requestDigest(['a', 'b1'], [])).not.toBe(requestDigest(['ab', '1'], []));
  expect(requestDigest(['1:a'], [])).not.toBe(requestDigest(['1', 'a'], []));
});

it('fingerprints seldom meet, even of small whole numbers as floats', () => {
  const seen = new Set<number>();
  for (let index = 0; index < 20_000; index++) {
    const data = new Float32Array(100);
    data[index % 100] = 1 + Math.floor(index / 100);
    seen.add(fingerprintOf(5, [{ name: 'x', datatype: 'FP32', shape: [1, 100], data }]));
  }
  expect(seen.size).toBeGreaterThan(19_990);
  // Wherever the bytes lie.
  const bytes = new Uint8Array(41).map((_, index) => index * 7);
  const at = (offset: number): Tensor[] => [
    { name: 'x', datatype: 'UINT8', shape: [8], data: bytes.slice(0, 8 + offset).subarray(offset) },
  ];
  const aligned = at(0);
  const moved: Tensor[] = [
    { name: 'x', datatype: 'UINT8', shape: [8], data: new Uint8Array([0, ...bytes.slice(0, 8)]).subarray(1) },
  ];
  expect(sameInputs(aligned, moved)).toBe(true);
  expect(fingerprintOf(1, aligned)).toBe(fingerprintOf(1, moved));
});
