import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lintMetrics } from '../../test/telemetry/lint-metrics.ts';
import type { Live } from './live.ts';
import { serveMetrics } from './metrics.ts';
import { countAnswer, countBatch, emptyStatistics } from './statistics.ts';
import { type Deployed, deployed } from './testing/deployed.ts';

let house: Deployed;
let registry: Registry;

beforeEach(async () => {
  house = await deployed();
  registry = new Registry();
  serveMetrics(registry, house.deployments);
});
afterEach(() => house.close());

async function value(line: string): Promise<number | undefined> {
  const found = (await registry.metrics()).split('\n').find((text) => text.startsWith(`${line} `));
  return found === undefined ? undefined : Number(found.slice(line.length));
}

describe('metrics of serving', () => {
  it('tell what was answered, in what batches, and what is held; the same at each scrape', async () => {
    const version = await house.version(3);
    const { id } = await house.deployments.create(house.model, version, 'ada');
    const of = 'model="acme/line",version="1"';
    // Nobody asked anything: no series, whatever is deployed.
    expect(await value(`commonwatt_inference_request_success_total{${of}}`)).toBeUndefined();
    await house.ask({});
    await Promise.all([1, 2, 3].map(() => house.ask({})));
    for (let scrape = 0; scrape < 2; scrape++) {
      expect(await value(`commonwatt_inference_request_success_total{${of}}`)).toBe(4);
      expect(await value(`commonwatt_inference_rows_total{${of}}`)).toBe(4);
      const batches = (await value(`commonwatt_inference_batches_total{${of}}`)) ?? 0;
      expect(await value(`commonwatt_inference_batch_size_bucket{${of},le="+Inf"}`)).toBe(batches);
      expect(await value(`commonwatt_inference_batch_size_count{${of}}`)).toBe(batches);
      expect(await value(`commonwatt_inference_batch_size_sum{${of}}`)).toBe(4);
      expect(await value(`commonwatt_inference_batch_size_bucket{${of},le="4"}`)).toBe(batches);
    }
    expect(await value(`commonwatt_inference_compute_infer_seconds_total{${of}}`)).toBeGreaterThan(0);
    expect(await value(`commonwatt_inference_pending_requests{${of}}`)).toBe(0);
    expect(await value(`commonwatt_model_memory_bytes{${of}}`)).toBeGreaterThan(0);
    const took = 'commonwatt_inference_request_duration_seconds';
    expect(await value(`${took}_count{${of}}`)).toBe(4);
    expect(await value(`${took}_bucket{${of},le="30"}`)).toBe(4);
    expect(await value(`${took}_sum{${of}}`)).toBeGreaterThan(0);
    expect(lintMetrics(await registry.metrics())).toEqual([]);
    expect(await value('commonwatt_deployments{state="ready"}')).toBe(1);
    expect(await value('commonwatt_model_loads_total')).toBe(1);
    expect(await value('commonwatt_models_memory_budget_bytes')).toBe(2 ** 30);
    await house.deployments.remove(id, 'ada');
    expect(await value(`commonwatt_inference_request_success_total{${of}}`)).toBeUndefined();
    expect(await value('commonwatt_models_memory_bytes')).toBe(0);
    expect(await value('commonwatt_model_unloads_total')).toBe(1);
  });

  it('count what failed and why', async () => {
    const version = await house.version(3);
    await house.deployments.create(house.model, version, 'ada');
    await house.ask({});
    await expect(house.ask({}, 2)).rejects.toMatchObject({ code: 'INVALID_TENSOR' });
    const of = 'model="acme/line",version="1"';
    expect(await value(`commonwatt_inference_request_failure_total{${of},reason="OTHER"}`)).toBe(1);
    expect(await value(`commonwatt_inference_request_failure_total{${of},reason="CANCELED"}`)).toBe(0);
  });

  it('have a bounded number of series however many models are asked, and lose none of them', async () => {
    const many = new Registry();
    const lives = Array.from({ length: 1000 }, (_, at) => livesOf(at));
    serveMetrics(many, {
      lives,
      residency: house.deployments.residency,
      runners: () => house.deployments.runners(),
    });
    const text = await many.metrics();
    expect(lintMetrics(text)).toEqual([]);
    const lines = text.split('\n').filter((line) => !line.startsWith('#'));
    expect(lines.length).toBeLessThan(10_000);
    const sum = (name: string) =>
      lines
        .filter((line) => line.startsWith(`${name}{`))
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
    expect(sum('commonwatt_inference_rows_total')).toBe((1000 * 1001) / 2);
    expect(sum('commonwatt_inference_request_success_total')).toBe(1000);
    expect(sum('commonwatt_inference_request_duration_seconds_count')).toBe(1000);
    expect(sum('commonwatt_inference_batch_size_count')).toBe(1000);
    expect(sum('commonwatt_model_memory_bytes')).toBe(1000 * 7);
  });
});

/** A deployment whose version computed one batch of `at + 1` rows. */
function livesOf(at: number): Live {
  const statistics = emptyStatistics();
  const times = { inputNs: 1, computeNs: 2, outputNs: 3 };
  countBatch(statistics, at + 1, times);
  countAnswer(statistics, 1, at, times);
  return {
    use: { model: `acme/m${at}`, version: 1 },
    borrowed: false,
    routed: true,
    place: {
      statistics,
      pending: 0,
      answers: true,
      state: { state: 'loaded', reason: null, memoryBytes: 7 },
    },
    served: { settings: {} },
    version: {},
  } as unknown as Live;
}
