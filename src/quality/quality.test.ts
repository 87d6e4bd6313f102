import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadedDataset } from '../datasets/datasets.ts';
import { CommonwattError } from '../errors.ts';
import { recordAudit } from '../gate/audit.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { parseGate } from './gate.ts';
import { type EvaluationRequest, Evaluations } from './quality.ts';
import { dataset, FunctionInferrer, servedVersion, signature } from './testing/served.ts';

const principal = {
  organisationId: 'o1',
  organisation: 'acme',
  member: 'ann',
  memberId: 'm-ann',
  keyId: 'k1',
};
const now = '2026-01-01T00:00:00.000Z';
let db: Db;
let ids = 0;

beforeEach(async () => {
  db = await openDatabase(':memory:');
  await db.insertInto('organisations').values({ id: 'o1', name: 'acme', created_at: now }).execute();
  await db
    .insertInto('models')
    .values({ id: 'm1', organisation_id: 'o1', name: 'digits', created_at: now })
    .execute();
  for (const number of [1, 2]) {
    await db
      .insertInto('versions')
      .values({
        id: `v${number}`,
        model_id: 'm1',
        number,
        format: 'onnx',
        artifact_sha256: '',
        onnx_sha256: '',
        size_bytes: 1,
        signature: '{}',
        created_at: now,
        created_by: 'ann',
        job_id: null,
        dataset_id: 'ds1',
      })
      .execute();
  }
});
afterEach(() => db.destroy());

/** 200 test rows with two features; the label is 1 where the first is above .5, and every tenth label is wrong. */
const digits = dataset(
  ['p0', 'p1'],
  Array.from({ length: 230 }, (_, row) => {
    const x0 = ((row * 37) % 100) / 100;
    const right = x0 > 0.5 ? 1 : 0;
    const split = row < 20 ? 'train' : row < 30 ? 'validation' : 'test';
    return { x: [x0, row], y: row % 10 === 0 ? 1 - right : right, split };
  }),
);
const good = () => new FunctionInferrer((x) => x[0]! * 0.9 + 0.05);
const useless = () => new FunctionInferrer(() => 0.25);

function evaluations(inferrer: FunctionInferrer, data: LoadedDataset = digits) {
  return new Evaluations({
    db,
    inferrer,
    datasets: {
      load: async (_, name) => {
        if (name === 'digits') return data;
        throw new CommonwattError('NOT_FOUND', `data set ${name} does not exist`);
      },
    },
    newRequestId: () => `r${String(ids++).padStart(6, '0')}`,
    audit: recordAudit,
  });
}

function request(change: Partial<EvaluationRequest> = {}): EvaluationRequest {
  return {
    principal,
    served: servedVersion(1, 2),
    model: 'acme/digits',
    dataset: 'digits',
    split: 'test',
    ...change,
  };
}

test('runs the test split through the batcher and reports metrics, verdict and cost', async () => {
  const inferrer = good();
  const room = evaluations(inferrer);
  const evaluation = await room.evaluate(request());

  expect(evaluation).toMatchObject({
    version: 1,
    dataset: 'digits',
    split: 'test',
    rows: 200,
    createdBy: 'ann',
    passed: true,
    gate: { passed: true, rules: [{ metric: 'accuracyOverMajority' }, { metric: 'rocAucLow' }] },
  });
  expect(evaluation.metrics.accuracy.value).toBeCloseTo(0.9, 12);
  expect(evaluation.metrics.accuracy.low).toBeGreaterThan(0.8);
  expect(evaluation.metrics.accuracy.high).toBeLessThan(0.97);
  expect(evaluation.impact).toMatchObject({
    energyWh: expect.closeTo(0.2, 12),
    waterL: null,
    unknown: { waterL: 'no WUE is configured' },
  });

  expect(inferrer.calls.map(({ rows }) => rows)).toEqual([64, 64, 64, 8]);
  expect(inferrer.mostInFlight).toBeLessThanOrEqual(4);
  const { id } = evaluation;
  expect(inferrer.calls.map(({ context }) => context.requestId)).toEqual([
    id,
    `${id}.1`,
    `${id}.2`,
    `${id}.3`,
  ]);
  expect(inferrer.calls[0]!.context).toMatchObject({
    kind: 'evaluation',
    consumer: { organisationId: 'o1', organisation: 'acme' },
    keyId: 'k1',
    grantId: null,
  });
  expect(await db.selectFrom('audit_events').selectAll().execute()).toMatchObject([
    { action: 'evaluation.create', subject: 'acme/digits:1', actor: 'acme/ann', organisation_id: 'o1' },
  ]);
});

test('keeps evaluations; the latest one decides whether the gate was passed', async () => {
  expect(await evaluations(good()).passedGate('v1')).toBe(false);
  const first = await evaluations(useless()).evaluate(request());
  expect(first.passed).toBe(false);
  expect(await evaluations(good()).passedGate('v1')).toBe(false);

  const room = evaluations(good());
  const second = await room.evaluate(
    request({ split: 'validation', gate: parseGate({ logLoss: { max: 1 } }) }),
  );
  expect(await room.passedGate('v1')).toBe(true);
  expect(await room.passedGate('v2')).toBe(false);
  expect(await room.list('v1')).toEqual([second, first].map((each) => JSON.parse(JSON.stringify(each))));
});

test('passing on the training split opens nothing', async () => {
  const room = evaluations(good());
  const gate = parseGate({ logLoss: { max: 1 } });
  expect(await room.evaluate(request({ split: 'train', gate }))).toMatchObject({ passed: true });
  expect(await room.passedGate('v1')).toBe(false);
});

test('compares with the version in production, on the same split of the same data set', async () => {
  await evaluations(good()).evaluate(request());
  await db
    .insertInto('aliases')
    .values({ model_id: 'm1', name: 'production', version_id: 'v1', updated_at: now, updated_by: 'ann' })
    .execute();
  const gate = parseGate({ accuracy: { minGain: 0.01 } });
  const room = evaluations(useless());
  const second = await room.evaluate(request({ served: servedVersion(2, 2), gate }));
  expect(second.gate.rules).toMatchObject([{ metric: 'accuracy', incumbent: 0.9, passed: false }]);
  const elsewhere = await room.evaluate(request({ served: servedVersion(2, 2), split: 'validation', gate }));
  expect(elsewhere.gate).toMatchObject({ passed: false, rules: [{ passed: null }] });
});

test('a split of one class is reported without a ROC-AUC, and its gate fails with the reason', async () => {
  const ones = dataset(
    ['p0', 'p1'],
    Array.from({ length: 20 }, () => ({ x: [1, 1], y: 1, split: 'test' as const })),
  );
  const evaluation = await evaluations(good(), ones).evaluate(request());
  expect(evaluation.metrics.rocAuc.value).toBeNull();
  expect(evaluation.gate.rules[1]).toMatchObject({ passed: false, reason: /both classes/ });
});

test.each([
  {
    what: 'a data set with other features',
    change: { served: servedVersion(1, 3) },
    error: { code: 'INVALID_TENSOR', message: 'data set digits has 2 features, acme/digits:1 takes 3' },
  },
  {
    what: 'a model with ten outputs',
    change: { served: { ...servedVersion(1, 2), signature: signature(2, 10) } },
    error: { code: 'INVALID_TENSOR', message: expect.stringContaining('outputs FP32 [-1, 10]') },
  },
  {
    what: 'a data set that does not exist',
    change: { dataset: 'nothing' },
    error: { code: 'NOT_FOUND' },
  },
])('$what is refused before anything is computed', async ({ change, error }) => {
  const inferrer = good();
  await expect(evaluations(inferrer).evaluate(request(change))).rejects.toMatchObject(error);
  expect(inferrer.calls).toEqual([]);
});

test('a model that answers outside [0, 1] is refused and nothing is kept', async () => {
  const room = evaluations(new FunctionInferrer(() => 7));
  await expect(room.evaluate(request())).rejects.toMatchObject({
    code: 'INVALID_TENSOR',
    message: 'the model answered 7 for row 0',
  });
  expect(await room.list('v1')).toEqual([]);
});

test('an empty split and labels that are not binary are refused', async () => {
  const data = dataset(['p0', 'p1'], [{ x: [1, 2], y: 3, split: 'test' }]);
  const room = evaluations(good(), data);
  await expect(room.evaluate(request())).rejects.toMatchObject({ code: 'INVALID_DATASET' });
  await expect(room.evaluate(request({ split: 'validation' }))).rejects.toMatchObject({
    code: 'INVALID_DATASET',
    message: 'the validation split of digits has no rows',
  });
});

test('the first failure of a runner is the error, and nothing is kept', async () => {
  const inferrer = good();
  inferrer.failingCall = 1;
  const room = evaluations(inferrer);
  await expect(room.evaluate(request())).rejects.toMatchObject({ code: 'RUNNER_FAILED' });
  expect(await room.list('v1')).toEqual([]);
});

test('a caller who leaves ends the evaluation', async () => {
  const room = evaluations(good());
  await expect(room.evaluate(request({ signal: AbortSignal.abort() }))).rejects.toMatchObject({
    code: 'CANCELLED',
  });
});
