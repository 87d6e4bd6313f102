/** A deployment that is computed by others (an ensemble): opened when it is first used, it holds no memory of its own. */
import { CommonwattError } from '../errors.ts';
import type { Compose, Composition, Place } from './place.ts';
import type { Engine, InferCall, Inference, LoadState, ServedVersion } from './serve.ts';
import { emptyStatistics, type ModelStatistics } from './statistics.ts';

export class ComposedPlace implements Place {
  readonly #compose: Compose;
  #composition: Composition;
  #opener: Opener;
  readonly #draining = new Set<Opener>();

  constructor(compose: Compose, composition: Composition) {
    this.#compose = compose;
    this.#composition = composition;
    this.#opener = new Opener(() => compose(composition));
  }

  engine(): Engine {
    return this.#opener;
  }

  get pending(): number {
    let pending = this.#opener.pending;
    for (const opener of this.#draining) pending += opener.pending;
    return pending;
  }

  get statistics(): ModelStatistics {
    return this.#opener.statistics;
  }

  get answers(): boolean {
    return this.#opener.error === undefined;
  }

  get state(): LoadState {
    const { error } = this.#opener;
    if (error === undefined) return { state: 'loaded', reason: null, memoryBytes: 0 };
    return {
      state: 'failed',
      reason: error instanceof Error ? error.message : String(error),
      memoryBytes: 0,
    };
  }

  async load(): Promise<void> {
    await this.#opener.open();
  }

  used(): void {}

  apply(served: ServedVersion): void {
    const old = this.#opener;
    this.#composition = { ...this.#composition, served };
    const composition = this.#composition;
    this.#opener = new Opener(() => this.#compose(composition));
    this.#draining.add(old);
    void old.drained().then(() => this.#draining.delete(old));
  }

  async drained(): Promise<void> {
    await Promise.all([this.#opener, ...this.#draining].map((opener) => opener.drained()));
  }

  discard(): Promise<void> {
    return this.drained();
  }

  holds(): [] {
    return [];
  }
}

/** Makes its engine with the first request, and again after a failure. */
class Opener implements Engine {
  readonly #make: () => Promise<Engine>;
  readonly #none = emptyStatistics();
  #engine: Engine | undefined;
  #opening: Promise<Engine> | undefined;
  #waiting = 0;
  error: unknown;

  constructor(make: () => Promise<Engine>) {
    this.#make = make;
  }

  get pending(): number {
    return this.#waiting + (this.#engine?.pending ?? 0);
  }

  get statistics(): ModelStatistics {
    return this.#engine?.statistics ?? this.#none;
  }

  open(): Promise<Engine> {
    if (this.#engine) return Promise.resolve(this.#engine);
    this.#opening ??= this.#make()
      .then(
        (engine) => {
          this.error = undefined;
          this.#engine = engine;
          return engine;
        },
        (error: unknown) => {
          this.error = error;
          throw error;
        },
      )
      .finally(() => {
        this.#opening = undefined;
      });
    return this.#opening;
  }

  async infer(call: InferCall): Promise<Inference> {
    if (this.#engine) return this.#engine.infer(call);
    this.#waiting++;
    const engine = await this.open().finally(() => this.#waiting--);
    if (call.cancelled)
      throw new CommonwattError('CANCELLED', 'the caller left before the request was computed');
    return engine.infer(call);
  }

  async drained(): Promise<void> {
    if (this.#opening) await this.#opening.catch(() => undefined);
    await this.#engine?.drained();
  }
}
