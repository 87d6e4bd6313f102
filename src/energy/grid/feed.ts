/** One source with what it has said so far: asked when it is time, patient after failures, kept on disk. */
import { CommonwattError } from '../../errors.ts';
import { keep, readKept } from './cache.ts';
import { type GridPoint, implausible, ordered } from './series.ts';
import type { GridSource } from './source.ts';

/** For intervals that are settled late. */
const rememberedMs = 3 * 24 * 3_600_000;
const firstPauseMs = 30_000;
const longestPauseMs = 3_600_000;

export interface FeedLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface FeedOptions {
  source: GridSource;
  dataFolder: string | null;
  log: FeedLog;
  now: () => number;
}

export class Feed {
  readonly source: GridSource;
  readonly #options: FeedOptions;
  points: readonly GridPoint[] = [];
  updatedAtMs: number | null = null;
  /** Not asked before. */
  nextAtMs = 0;
  /** What went wrong last; null after a success. */
  problem: string | null = null;
  /** Values of the last answer that cannot be true, and why the first of them. */
  refused: { count: number; reason: string } | null = null;
  #failures = 0;
  #running: Promise<void> | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.source = options.source;
  }

  /** Takes what is on disk; a file of one's own is read at once, and refused when it is wrong. */
  async start(signal: AbortSignal): Promise<void> {
    const { source, dataFolder } = this.#options;
    if (source.local) {
      this.#take(await source.read(signal));
      return;
    }
    const kept = dataFolder === null ? null : await readKept(dataFolder, source);
    if (!kept) return;
    this.points = kept.points;
    this.updatedAtMs = kept.updatedAtMs;
    // A clock that was set back must not silence a source for long.
    this.nextAtMs = Math.min(kept.nextAtMs, this.#options.now() + source.everyMs);
  }

  /** Asks when it is time (`force`: now, unless the source asked for patience). Never throws. */
  refresh(signal: AbortSignal, { force = false } = {}): Promise<void> {
    const patient = this.#failures > 0 || !force;
    if (this.#running) return this.#running;
    if (patient && this.#options.now() < this.nextAtMs) return Promise.resolve();
    this.#running = this.#ask(signal).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** When nothing is under way any more. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { source, log } = this.#options;
    try {
      this.#take(await source.read(signal));
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
      return;
    }
    await this.#keep().catch((error: unknown) => {
      log.warn({ source: source.name, err: error }, 'grid values could not be kept on disk');
    });
  }

  #take(answer: readonly GridPoint[]): void {
    const { source, now, log } = this.#options;
    const nowMs = now();
    const good: GridPoint[] = [];
    const left: string[] = [];
    for (const point of answer) {
      const reason = implausible(point.gPerKwh, source.scope);
      if (reason === null) good.push(point);
      else left.push(`${point.gPerKwh} ${reason}`);
    }
    const refused = left[0] === undefined ? null : { count: left.length, reason: left[0] };
    if (refused)
      log.warn({ source: source.name, ...refused }, 'grid values that cannot be true are left out');
    // What has been is remembered; an older forecast is not mixed with the new one.
    const isPast = ({ startMs, endMs }: GridPoint) => startMs <= nowMs && endMs > nowMs - rememberedMs;
    const older = source.local ? [] : this.points.filter(isPast);
    this.points = ordered([...older, ...good]);
    this.refused = refused;
    if (this.problem !== null) log.info({ source: source.name }, 'the grid source answers again');
    this.problem = null;
    this.#failures = 0;
    this.updatedAtMs = nowMs;
    this.nextAtMs = nowMs + source.everyMs;
  }

  #failed(error: unknown): void {
    const { source, now, log } = this.#options;
    const known = error instanceof CommonwattError ? error : null;
    const message = known?.message ?? (error instanceof Error ? error.message : String(error));
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** this.#failures++);
    this.nextAtMs = now() + Math.max(pauseMs, (known?.retryAfterS ?? 0) * 1000);
    // Once for each kind of failure, not each time.
    if (message !== this.problem) log.warn({ source: source.name, hint: known?.hint }, message);
    this.problem = message;
  }

  async #keep(): Promise<void> {
    const { dataFolder, source } = this.#options;
    if (dataFolder === null || source.local || this.updatedAtMs === null) return;
    await keep(dataFolder, source, {
      updatedAtMs: this.updatedAtMs,
      nextAtMs: this.nextAtMs,
      points: [...this.points],
    });
  }
}
