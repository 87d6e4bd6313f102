/**
 * How a batch is computed, whatever goes wrong with it: one that may go no longer goes without them, one bad input
 * does not fail its mates, and what does not come back row for row is never cut up.
 */
import { admitBatch, isCrash, isRefusal, Thinned, tryApart } from './apart.ts';
import { batchRows, gather, rowForRow } from './batch.ts';
import type { BatcherOptions, BatchTarget } from './batcher.ts';
import type { Delivery } from './delivery.ts';
import type { Pace } from './pace.ts';
import { type Computed, NotComputable } from './runner/replica.ts';
import { cancelled, deadlineExceeded, type Waiting } from './waiting.ts';

interface ComputingOptions {
  target: BatchTarget;
  pace: Pace;
  delivery: Delivery;
  log: BatcherOptions['log'];
  fail(waiting: Waiting, error: unknown): void;
  /** Refuses such a request from now on. */
  poison(waiting: Waiting): void;
  /** The version has answered before. */
  hasAnswered(): boolean;
}

export class Computing {
  readonly #options: ComputingOptions;
  #isRowForRow = true;

  constructor(options: ComputingOptions) {
    this.#options = options;
  }

  /** False: one request at a time. */
  get batchable(): boolean {
    return this.#isRowForRow && this.#options.target.batchable;
  }

  /** Throws only when the runner died. */
  async compute(batch: readonly Waiting[]): Promise<void> {
    const rows = batchRows(batch);
    const startedAt = performance.now();
    let computed: Computed;
    try {
      computed = await this.#options.target.run(gather(batch, rows), () => admitBatch(batch));
    } catch (error) {
      if (error instanceof Thinned) return this.#computeWanted(batch);
      if (isCrash(error)) throw error;
      const again = isRefusal(error) && batch.length > 1;
      if (error instanceof NotComputable) this.#options.delivery.failed(batch, error, { again });
      if (again) return this.#halve(batch);
      for (const waiting of batch) this.#options.fail(waiting, error);
      return;
    }
    this.#options.pace.computed(rows, performance.now() - startedAt);
    if (this.batchable && !rowForRow(computed.outputs, rows)) {
      this.#isRowForRow = false;
      this.#options.log?.warn(
        { model: `${this.#options.target.use.model}:${this.#options.target.use.version}`, rows },
        'this model does not answer a row for each row: from now on its requests are computed one by one',
      );
    }
    if (!this.batchable && batch.length > 1) {
      this.#options.delivery.failed(batch, computed, { again: true });
      return this.#oneByOne(batch);
    }
    this.#deliver(batch, rows, computed, startedAt);
  }

  #deliver(batch: readonly Waiting[], rows: number, computed: Computed, startedAt: number): void {
    try {
      this.#options.delivery.computed(batch, rows, computed, startedAt);
    } catch (error) {
      for (const waiting of batch) this.#options.fail(waiting, error);
    }
  }

  /** One bad input must not fail its mates: the halves are tried, and theirs, until it is alone. */
  async #halve(batch: readonly Waiting[]): Promise<void> {
    const middle = batch.length >> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) await this.#computeWanted(half);
  }

  async #oneByOne(batch: readonly Waiting[]): Promise<void> {
    for (const waiting of batch) await this.#computeWanted([waiting]);
  }

  async #computeWanted(batch: readonly Waiting[]): Promise<void> {
    const wanted = this.#stillWanted(batch);
    if (wanted.length > 0) await this.compute(wanted);
  }

  /** Of what is to be computed once more. */
  #stillWanted(batch: readonly Waiting[]): Waiting[] {
    const now = performance.now();
    return batch.filter((waiting) => {
      if (waiting.wanted && waiting.deadlineAt > now) return true;
      // Also one that nobody wants any more: nobody may join it from now on.
      this.#options.fail(waiting, waiting.wanted ? deadlineExceeded() : cancelled());
      return false;
    });
  }

  /** Each request of a batch whose runner died, alone. */
  async tryApart(batch: readonly Waiting[], crash: unknown): Promise<void> {
    const { target, poison, hasAnswered, fail, delivery } = this.#options;
    await tryApart(batch, crash, {
      target,
      poison,
      hasAnswered: hasAnswered(),
      deliver: (waiting, computed, startedAt) => this.#deliver([waiting], waiting.rows, computed, startedAt),
      failed: (waiting, computed) => delivery.failed([waiting], computed),
      fail,
    });
  }
}
