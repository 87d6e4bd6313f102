/** Histograms that are in the statistics already: one of prom-client's own would count everything twice. */
import { Histogram, type Registry } from 'prom-client';
import type { Figure, Label } from './metrics.ts';
import { latencyBounds, type ModelStatistics } from './statistics.ts';

interface Distribution {
  /** Observations up to each bound, and not up to the one before; what is beyond the last bound only counts. */
  upTo: readonly number[];
  count: number;
  sum: number;
}

interface Shape {
  name: string;
  help: string;
  buckets: readonly number[];
  of(statistics: ModelStatistics): Distribution;
}

class Counted extends Histogram<Label | 'le'> {
  readonly #shape: Shape;
  readonly #figures: () => readonly Figure[];
  /** Never observed: what a histogram says of itself. */
  readonly #empty: Histogram<Label | 'le'>;

  constructor(registry: Registry, shape: Shape, figures: () => readonly Figure[]) {
    const { name, help, buckets } = shape;
    const of = { name, help, buckets: [...buckets], labelNames: ['model', 'version'] as Label[] };
    super({ ...of, registers: [registry] });
    this.#empty = new Histogram({ ...of, registers: [] });
    this.#shape = shape;
    this.#figures = figures;
  }

  override async get() {
    return {
      ...(await this.#empty.get()),
      values: this.#figures().flatMap((figure) => this.#values(figure)),
    };
  }

  /** What prom-client asks for when it writes the text of a scrape. */
  getForPromString() {
    return this.get();
  }

  #values({ labels, statistics }: Figure) {
    const { name: metricName, buckets, of } = this.#shape;
    const { upTo, count, sum } = of(statistics);
    let below = 0;
    return [
      ...buckets.map((le, at) => {
        below += upTo[at] ?? 0;
        return { metricName: `${metricName}_bucket`, labels: { ...labels, le }, value: below };
      }),
      { metricName: `${metricName}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
      { metricName: `${metricName}_sum`, labels, value: sum },
      { metricName: `${metricName}_count`, labels, value: count },
    ];
  }
}

const batchSizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

export class BatchSizes extends Counted {
  constructor(registry: Registry, figures: () => readonly Figure[]) {
    const name = 'commonwatt_inference_batch_size';
    const help = 'Rows of the batches that were computed.';
    super(registry, { name, help, buckets: batchSizes, of: batchesOf }, figures);
  }
}

function batchesOf({ batches }: ModelStatistics): Distribution {
  const upTo = batchSizes.map(() => 0);
  let sum = 0;
  let count = 0;
  for (const [rows, { computeInfer }] of batches) {
    sum += rows * computeInfer.count;
    count += computeInfer.count;
    const bucket = batchSizes.findIndex((size) => rows <= size);
    if (bucket >= 0) upTo[bucket] = (upTo[bucket] ?? 0) + computeInfer.count;
  }
  return { upTo, count, sum };
}

export class Latencies extends Counted {
  constructor(registry: Registry, figures: () => readonly Figure[]) {
    const name = 'commonwatt_inference_request_duration_seconds';
    const help = 'From arrival in the queue to the answer, of requests that were answered, seconds.';
    const of = ({ success, latencies }: ModelStatistics) => ({
      upTo: latencies,
      count: success.count,
      sum: success.ns / 1e9,
    });
    super(registry, { name, help, buckets: latencyBounds, of }, figures);
  }
}
