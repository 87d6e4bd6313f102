/**
 * Prometheus metrics of what is served, with the meaning of Triton's `nv_inference_*` (docs/user_guide/metrics.md).
 * They are read from the statistics when somebody scrapes: a request costs nothing more for them.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { deploymentOf, type Live } from './live.ts';
import type { Residency } from './residency.ts';
import type { RunnersFacts } from './runner/runners.ts';
import { addStatistics, emptyStatistics, type ModelStatistics } from './statistics.ts';

interface Served {
  lives: Iterable<Live>;
  residency: Residency;
  runners(): RunnersFacts;
}

/** Versions with series of their own; all further ones are added up under the model `other`. */
const versionsAtMost = 500;
const batchSizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

type Label = 'model' | 'version';
type Labels = Record<Label, string>;

interface Figure {
  labels: Labels;
  statistics: ModelStatistics;
  pending: number;
}

export function serveMetrics(registry: Registry, served: Served): void {
  for (const [name, help, read] of counters) counter(registry, served, name, help, read);
  failures(registry, served);
  new Gauge({
    name: 'commonwatt_inference_pending_request_count',
    help: 'Requests that wait or are being computed.',
    labelNames: ['model', 'version'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, pending } of figures(served.lives)) this.inc(labels, pending);
    },
  });
  new BatchSizes(registry, served);
  memory(registry, served);
}

const us = (ns: number) => ns / 1000;
const counters: [string, string, (statistics: ModelStatistics) => number][] = [
  ['request_success', 'Requests answered.', ({ success }) => success.count],
  ['count', 'Rows computed; answers used again are not among them.', ({ inferenceCount }) => inferenceCount],
  ['exec_count', 'Batches computed.', ({ executionCount }) => executionCount],
  [
    'request_duration_us',
    'From arrival in the queue to the answer, all requests together.',
    (s) => us(s.success.ns),
  ],
  ['queue_duration_us', 'Time in the queue, all requests together.', ({ queue }) => us(queue.ns)],
  ['compute_input_duration_us', 'Reading inputs in the runner.', (s) => us(s.computeInput.ns)],
  ['compute_infer_duration_us', 'Computing in the runner.', (s) => us(s.computeInfer.ns)],
  ['compute_output_duration_us', 'Writing outputs in the runner.', (s) => us(s.computeOutput.ns)],
  ['cache_hit_count', 'Requests answered by an answer of before.', ({ cacheHit }) => cacheHit.count],
  ['cache_miss_count', 'Requests that might have been, and had to be computed.', (s) => s.cacheMiss.count],
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
    name: 'commonwatt_inference_request_failure',
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

/** Rows of each computed batch. The counts are in the statistics already; a histogram of its own would count twice. */
class BatchSizes extends Histogram<Label | 'le'> {
  readonly #lives: Iterable<Live>;
  /** Never observed: what a histogram says of itself. */
  readonly #empty: Histogram<Label | 'le'>;

  constructor(registry: Registry, { lives }: Served) {
    const help = 'Rows of the batches that were computed.';
    const of = { name: 'commonwatt_inference_batch_size', help, labelNames: ['model', 'version'] as Label[] };
    super({ ...of, buckets: batchSizes, registers: [registry] });
    this.#empty = new Histogram({ ...of, buckets: batchSizes, registers: [] });
    this.#lives = lives;
  }

  override async get() {
    return { ...(await this.#empty.get()), values: figures(this.#lives).flatMap(batchValues) };
  }

  /** What prom-client asks for when it writes the text of a scrape. */
  getForPromString() {
    return this.get();
  }
}

function batchValues({ labels, statistics: { batches } }: Figure) {
  const metricName = 'commonwatt_inference_batch_size';
  let sum = 0;
  let count = 0;
  const upTo = new Map<number, number>();
  for (const [rows, { computeInfer }] of batches) {
    sum += rows * computeInfer.count;
    count += computeInfer.count;
    const bucket = batchSizes.find((size) => rows <= size);
    if (bucket !== undefined) upTo.set(bucket, (upTo.get(bucket) ?? 0) + computeInfer.count);
  }
  let below = 0;
  const buckets = batchSizes.map((le) => {
    below += upTo.get(le) ?? 0;
    return { metricName: `${metricName}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${metricName}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${metricName}_sum`, labels, value: sum },
    { metricName: `${metricName}_count`, labels, value: count },
  ];
}

function memory(registry: Registry, served: Served): void {
  const { lives, residency } = served;
  const registers = [registry];
  new Gauge({
    name: 'commonwatt_model_memory_bytes',
    help: 'Held in runners by a version, estimated; nothing when it is not in memory.',
    labelNames: ['model', 'version'],
    registers,
    collect() {
      this.reset();
      for (const { use, place } of lives) {
        const { memoryBytes } = place.state;
        if (memoryBytes > 0) this.inc({ model: use.model, version: String(use.version) }, memoryBytes);
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
    ['commonwatt_model_loads', 'Models brought into memory.', () => residency.counts.loads],
    ['commonwatt_model_unloads', 'Models taken out of memory.', () => residency.counts.unloads],
    ['commonwatt_model_load_failures', 'Models that could not be loaded.', () => residency.counts.failures],
    [
      'commonwatt_runner_restarts',
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
      'Held by models in all runners, estimated.',
      () => residency.heldBytes,
    ],
    ['commonwatt_models_memory_budget_bytes', 'What models may hold.', () => residency.budgetBytes],
    [
      'commonwatt_runners_resident_bytes',
      'Resident memory of the runner processes.',
      () => served.runners().processes.reduce((sum, { residentBytes }) => sum + residentBytes, 0),
    ],
    ['commonwatt_runners', 'Runner processes.', () => served.runners().processes.length],
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

/** Of every version that was asked something, oldest deployment first, so that series do not change places. */
function figures(lives: Iterable<Live>): Figure[] {
  const own: Figure[] = [];
  const rest = { labels: { model: 'other', version: '' }, statistics: emptyStatistics(), pending: 0 };
  for (const { use, place, borrowed } of lives) {
    const { statistics, pending } = place;
    if (!statistics || borrowed) continue;
    if (own.length < versionsAtMost) {
      own.push({ labels: { model: use.model, version: String(use.version) }, statistics, pending });
      continue;
    }
    addStatistics(rest.statistics, statistics);
    rest.pending += pending;
  }
  return own.length < versionsAtMost ? own : [...own, rest];
}
