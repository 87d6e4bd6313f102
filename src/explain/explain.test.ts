import { expect, test } from 'vitest';
import { CommonwattError } from '../errors.ts';
import { dataset, FunctionInferrer, servedVersion, signature } from '../quality/testing/served.ts';
import { trainingBackground, zeroBackground } from './background.ts';
import { Explainer, type ExplainRequest } from './explain.ts';

const sigmoid = (level: number) => 1 / (1 + Math.exp(-level));
const model = (x: Float32Array) => sigmoid(2 * x[0]! - 3 * x[1]! + x[0]! * x[2]!);

/** 30 rows to train on and one secret row that is for testing only. */
const digits = dataset(
  ['left', 'middle', 'right'],
  Array.from({ length: 31 }, (_, row) => ({
    x: row === 30 ? [99, 99, 99] : [row / 30, 1 - row / 30, (row % 7) / 7],
    y: row % 2,
    split: row === 30 ? ('test' as const) : ('train' as const),
  })),
);
const context = {
  requestId: 'r1',
  consumer: { organisationId: 'o2', organisation: 'globex' },
  keyId: 'k2',
  grantId: 'g1',
};

function explainer(inferrer: FunctionInferrer) {
  const loads: string[] = [];
  const room = new Explainer({
    inferrer,
    datasets: {
      load: async (organisationId, name) => {
        loads.push(`${organisationId}/${name}`);
        if (name === 'ds1') return digits;
        throw new CommonwattError('NOT_FOUND', 'no such data set');
      },
    },
  });
  return { room, loads };
}

function request(change: Partial<ExplainRequest> = {}): ExplainRequest {
  return {
    served: servedVersion(1, 3),
    background: trainingBackground(digits, 3),
    featureNames: digits.record.features,
    instances: [[0.2, 0.9, 0.5]],
    context,
    ...change,
  };
}

test('explains an answer by its features, additive to 1e-6, with what it cost', async () => {
  const inferrer = new FunctionInferrer(model);
  const { room } = explainer(inferrer);
  const [explanation] = await room.explain(request());
  expect(explanation).toMatchObject({
    attributions: [{ feature: 'left' }, { feature: 'middle' }, { feature: 'right' }],
    output: 'probability',
    method: 'permutation_shap',
    background: 'training sample of 20 rows',
    prediction: Math.fround(model(Float32Array.of(0.2, 0.9, 0.5))),
    modelRows: inferrer.rows,
    impact: { energyWh: expect.closeTo(inferrer.rows / 1000, 9), waterL: null },
  });
  const sum = explanation!.attributions.reduce((total, { value }) => total + value, 0);
  expect(Math.abs(explanation!.prediction - explanation!.baseValue - sum)).toBeLessThan(1e-6);
  expect(explanation!.attributions[1]!.value).toBeLessThan(0);
});

test('goes through the batcher in small chunks, few at a time, each named as a part of the request', async () => {
  const inferrer = new FunctionInferrer(model);
  await explainer(inferrer).room.explain(request({ maxCalls: 500 }));
  expect(inferrer.calls.length).toBeGreaterThan(10);
  expect(Math.max(...inferrer.calls.map(({ rows }) => rows))).toBeLessThanOrEqual(128);
  expect(inferrer.mostInFlight).toBe(4);
  const ids = inferrer.calls.map((call) => call.context.requestId);
  expect(ids).toEqual(ids.map((_, part) => (part === 0 ? 'r1' : `r1.${part}`)));
  expect(inferrer.calls[0]!.context).toEqual({ kind: 'explanation', ...context, jobId: null });
});

test('100 features against 20 rows cost at most 4,000 rows a pair', async () => {
  const inferrer = new FunctionInferrer((x) => sigmoid(x.reduce((total, value) => total + value, 0) / 100));
  const background = { x: new Float32Array(2000).fill(0.5), rows: 20, description: 'test' };
  const instances = [Array.from({ length: 100 }, (_, feature) => feature / 100)];
  const [explanation] = await explainer(inferrer).room.explain(
    request({ served: servedVersion(1, 100), background, featureNames: undefined, instances }),
  );
  // Feature 50 is .5 as in every background row: never switched, exactly 0.
  expect(explanation!.modelRows).toBe(1 + 20 + 2 * 98 * 20);
  expect(explanation!.modelCalls).toBe(2 + 2 * 98);
  expect(explanation!.attributions[50]).toEqual({ feature: 'f50', value: 0 });
});

test('several instances are explained in order, the same for the same seed', async () => {
  const instances = [
    [0.2, 0.9, 0.5],
    [1, 0, 0],
  ];
  const { room } = explainer(new FunctionInferrer(model));
  const both = await room.explain(request({ instances, seed: 7, maxCalls: 1 }));
  const [second] = await room.explain(request({ instances: [instances[1]!], seed: 7, maxCalls: 1 }));
  expect(both).toHaveLength(2);
  expect(both[1]).toEqual(second);
});

test('the background is a sample of the training split, of the data set the version came from', async () => {
  const { room, loads } = explainer(new FunctionInferrer(model));
  const lineage = { organisationId: 'o1', datasetId: 'ds1' };
  const { background, featureNames } = await room.sourcesOf(servedVersion(1, 3), lineage);
  expect(featureNames).toEqual(['left', 'middle', 'right']);
  expect(background).toMatchObject({ rows: 20, description: 'training sample of 20 rows' });
  expect(background.x).not.toContain(99);
  const firsts = new Set(Array.from({ length: 20 }, (_, row) => background.x[row * 3]));
  expect(firsts.size).toBe(20);
  // The same again, without decrypting the data set again.
  expect((await room.sourcesOf(servedVersion(1, 3), lineage)).background).toBe(background);
  expect(loads).toEqual(['o1/ds1']);
});

test('without a known data set the background is zeros, and the explanation says so', async () => {
  const { room } = explainer(new FunctionInferrer(model));
  for (const [version, datasetId] of [null, 'gone'].entries()) {
    const sources = await room.sourcesOf(servedVersion(version, 3), { organisationId: 'o1', datasetId });
    expect(sources).toEqual({ background: zeroBackground(3), featureNames: undefined });
  }
  const [explanation] = await room.explain(
    request({ background: zeroBackground(3), featureNames: undefined }),
  );
  expect(explanation!.background).toBe('zeros');
  expect(explanation!.baseValue).toBeCloseTo(0.5, 6);
  expect(explanation!.attributions.map(({ feature }) => feature)).toEqual(['f0', 'f1', 'f2']);
});

test('answers outside [0, 1] are not called probabilities', async () => {
  const { room } = explainer(new FunctionInferrer((x) => 10 * x[0]!));
  const [explanation] = await room.explain(request());
  expect(explanation!.output).toBe('value');
});

test.each([
  {
    what: 'too few numbers',
    change: { instances: [[1, 2, 3], [1]] },
    error: { code: 'INVALID_TENSOR', where: 'instances[1]', message: 'instance 1 has 1 numbers' },
  },
  {
    what: 'NaN',
    change: { instances: [[1, Number.NaN, 3]] },
    error: { code: 'INVALID_TENSOR', where: 'instances[0][1]', message: 'value 1 of instance 0 is NaN' },
  },
  {
    what: 'a number beyond FP32',
    change: { instances: [[1, 2, 1e300]] },
    error: { code: 'INVALID_TENSOR', where: 'instances[0][2]' },
  },
  { what: 'no instance', change: { instances: [] }, error: { code: 'INVALID_TENSOR', where: 'instances' } },
  {
    what: '17 instances',
    change: { instances: Array.from({ length: 17 }, () => [1, 2, 3]) },
    error: { code: 'INVALID_TENSOR', hint: 'send 1 to 16 instances of 3 numbers each' },
  },
  { what: 'a budget of 0', change: { maxCalls: 0 }, error: { code: 'INVALID_REQUEST', where: 'maxCalls' } },
  {
    what: 'a budget without end',
    change: { maxCalls: 1e9 },
    error: { code: 'INVALID_REQUEST', hint: 'give a whole number from 1 to 10000' },
  },
  { what: 'half a seed', change: { seed: 0.5 }, error: { code: 'INVALID_REQUEST', where: 'seed' } },
  {
    what: 'a model with ten outputs',
    change: { served: { ...servedVersion(1, 3), signature: signature(3, 10) } },
    error: { code: 'INVALID_TENSOR', where: 'outputs' },
  },
  {
    what: 'a model with too many features',
    change: { served: servedVersion(1, 5000), instances: [new Array<number>(5000).fill(0)] },
    error: { code: 'INVALID_TENSOR', hint: 'permutation_shap explains models of at most 2048 features' },
  },
])('$what is refused before anything is computed', async ({ change, error }) => {
  const inferrer = new FunctionInferrer(model);
  await expect(explainer(inferrer).room.explain(request(change))).rejects.toMatchObject(error);
  expect(inferrer.calls).toEqual([]);
});

test('a runner that fails, or a caller who leaves, ends the explanation', async () => {
  const inferrer = new FunctionInferrer(model);
  inferrer.failingCall = 3;
  await expect(explainer(inferrer).room.explain(request())).rejects.toMatchObject({ code: 'RUNNER_FAILED' });
  const signal = AbortSignal.abort();
  await expect(explainer(inferrer).room.explain(request({ signal }))).rejects.toMatchObject({
    code: 'CANCELLED',
  });
});
