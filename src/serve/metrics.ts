/**
 * Prometheus metrics of what is served, with the meaning of Triton's `nv_inference_*` (docs/user_guide/metrics.md), in
 * Prometheus' own units and names.
 * They are read from the statistics when somebody scrapes: a request costs nothing more for them.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import { deploymentOf, type Live } from './live.ts';
import { BatchSizes, Latencies } from './metric-histograms.ts';
import type { Residency } from './residency.ts';
import type { RunnersFacts } from './runner/runners.ts';
import { addStatistics, emptyStatistics, type ModelStatistics } from './statistics.ts';

interface Served {
  lives: Iterable<Live>;
  residency: Residency;
  runners(): RunnersFacts;
}

/** Versions with series of their own; all further ones are added up under the model `other`. */
const versionsAtMost = 200;

export type Label = 'model' | 'version';
type Labels = Record<Label, string>;

export interface Figure {
  labels: Labels;
  statistics: ModelStatistics;
  pending: number;
}

export function serveMetrics(registry: Registry, served: Served): void {
  for (const [name, help, read] of counters) counter(registry, served, name, help, read);
  failures(registry, served);
  new Gauge({
    name: 'commonwatt_inference_pending_requests',
    help: 'Requests that wait or are being computed.',
    labelNames: ['model', 'version'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, pending } of figures(served.lives)) this.inc(labels, pending);
    },
  });
  const read = () => figures(served.lives);
  new BatchSizes(registry, read);
  new Latencies(registry, read);
  memory(registry, served);
}

const seconds = ({ ns }: { ns: number }) => ns / 1e9;
const counters: [string, string, (statistics: ModelStatistics) => number][] = [
  ['request_success_total', 'Requests answered.', ({ success }) => success.count],
  ['rows_total', 'Rows computed; answers used again are not among them.', (s) => s.inferenceCount],
  ['batches_total', 'Batches computed.', ({ executionCount }) => executionCount],
  [
    'queue_seconds_total',
    'Time in the queue of all computed requests together, seconds.',
    ({ queue }) => seconds(queue),
  ],
  [
    'compute_input_seconds_total',
    'Reading inputs in the runner, for each request the time of its batch, seconds.',
    ({ computeInput }) => seconds(computeInput),
  ],
  [
    'compute_infer_seconds_total',
    'Computing in the runner, for each request the time of its batch, seconds.',
    ({ computeInfer }) => seconds(computeInfer),
  ],
  [
    'compute_output_seconds_total',
    'Writing outputs in the runner, for each request the time of its batch, seconds.',
    ({ computeOutput }) => seconds(computeOutput),
  ],
  ['cache_hits_total', 'Requests answered by an answer of before.', ({ cacheHit }) => cacheHit.count],
  [
    'cache_misses_total',
    'Requests that might have been, and had to be computed.',
    ({ cacheMiss }) => cacheMiss.count,
  ],
];

function counter(
  registry: Registry,
  { lives }: Served,
  name: string,
  help: string,
  read: (statistics: ModelStatistics) => number,
): void {
  new Counter({
    name: `commonwatt_inference_${name}`,
    help,
    labelNames: ['model', 'version'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, statistics } of figures(lives)) this.inc(labels, read(statistics));
    },
  });
}

function failures(registry: Registry, { lives }: Served): void {
  new Counter({
    name: 'commonwatt_inference_request_failure_total',
    help: 'Requests without an answer. CANCELED: their callers left; OTHER: refused or failed.',
    labelNames: ['model', 'version', 'reason'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, statistics } of figures(lives)) {
        this.inc({ ...labels, reason: 'CANCELED' }, statistics.cancelled);
        this.inc({ ...labels, reason: 'OTHER' }, statistics.fail.count);
      }
    },
  });
}

function memory(registry: Registry, served: Served): void {
  const { lives, residency } = served;
  const registers = [registry];
  new Gauge({
    name: 'commonwatt_model_memory_bytes',
    help: 'Held in runners by a version, estimated, bytes; nothing when it is not in memory.',
    labelNames: ['model', 'version'],
    registers,
    collect() {
      this.reset();
      let shown = 0;
      for (const { use, place } of lives) {
        const { memoryBytes } = place.state;
        if (memoryBytes === 0) continue;
        shown += 1;
        this.inc(shown <= versionsAtMost ? labelsOf(use) : otherLabels, memoryBytes);
      }
    },
  });
  new Gauge({
    name: 'commonwatt_deployments',
    help: 'Deployments by state: loading, ready, idle (not in memory), failed, quarantined.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset();
      for (const state of ['loading', 'ready', 'idle', 'failed', 'quarantined']) this.set({ state }, 0);
      for (const live of lives) this.inc({ state: deploymentOf(live).state });
    },
  });
  const counts: [string, string, () => number][] = [
    ['commonwatt_model_loads_total', 'Models brought into memory.', () => residency.counts.loads],
    ['commonwatt_model_unloads_total', 'Models taken out of memory.', () => residency.counts.unloads],
    [
      'commonwatt_model_load_failures_total',
      'Models that could not be loaded.',
      () => residency.counts.failures,
    ],
    [
      'commonwatt_runner_restarts_total',
      'Runner processes that ended by themselves or had to be ended.',
      () => served.runners().restarts,
    ],
  ];
  for (const [name, help, read] of counts)
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  const gauges: [string, string, () => number][] = [
    [
      'commonwatt_models_memory_bytes',
      'Held by models in all runners, estimated, bytes.',
      () => residency.heldBytes,
    ],
    ['commonwatt_models_memory_budget_bytes', 'What models may hold, bytes.', () => residency.budgetBytes],
  ];
  for (const [name, help, read] of gauges)
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
}

const otherLabels: Labels = { model: 'other', version: '' };

function labelsOf({ model, version }: Live['use']): Labels {
  return { model, version: String(version) };
}

/** Of every version that was asked something, oldest deployment first, so that series do not change places. */
function figures(lives: Iterable<Live>): Figure[] {
  const own: Figure[] = [];
  const rest = { labels: otherLabels, statistics: emptyStatistics(), pending: 0 };
  for (const { use, place, borrowed } of lives) {
    const { statistics, pending } = place;
    if (!statistics || borrowed) continue;
    if (own.length < versionsAtMost) {
      own.push({ labels: labelsOf(use), statistics, pending });
      continue;
    }
    addStatistics(rest.statistics, statistics);
    rest.pending += pending;
  }
  return own.length < versionsAtMost ? own : [...own, rest];
}
