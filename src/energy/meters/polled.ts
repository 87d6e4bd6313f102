/** A meter whose source answers only when it is asked and takes its time: it is asked in the background. */
import { joules } from '../units.ts';
import {
  type Coverage,
  type Interval,
  type Meter,
  type MeterReading,
  type MonotonicClock,
  monotonicSeconds,
} from './meter.ts';
import { EnergyTrack, type SourceSample } from './track.ts';

/** What a source told; the time is added here. */
export type SourceAnswer = Omit<SourceSample, 'at'> & {
  /** Accelerators only: the part of the time they computed, 0 to 1. */
  utilisation?: number;
  /** How long ago it was true, s; absent: between the question and the answer. */
  ageS?: number;
};

export interface Source {
  name: string;
  methodVersion: string;
  covers: Coverage;
  readonly interval: Interval;
  /** What it is, for people; the rest of the sentence "energy is measured by …". */
  readonly told: string;
  /** How often it is asked, s. */
  everyS: number;
  /** Throws an Error that says what is wrong. */
  ask(signal: AbortSignal): Promise<SourceAnswer>;
  close?(): Promise<void>;
}

export interface PolledOptions {
  /** Above this power a counter was reset, not used, W. */
  ceilingW: number;
  clock?: MonotonicClock;
  /** Tests ask by hand. */
  manual?: boolean;
}

/** After so many answers that did not come, a source is taken for gone. */
const missedAnswers = 3;
const shortestTimeoutMs = 2000;

export class PolledMeter implements Meter {
  readonly quality = 'measured';
  readonly name: string;
  readonly methodVersion: string;
  readonly covers: Coverage;
  description = '';
  interval: Interval;
  uncertainty = 0;
  /** Told of each answer from the last one on. */
  #listener: ((answer: SourceAnswer) => void) | undefined;
  #answer: SourceAnswer | undefined;
  readonly #source: Source;
  readonly #options: PolledOptions;
  readonly #clock: MonotonicClock;
  readonly #track: EnergyTrack;
  #question: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;
  #answeredAt: number | undefined;
  #failure: string | null = null;

  constructor(source: Source, options: PolledOptions) {
    this.#source = source;
    this.#options = options;
    this.#clock = options.clock ?? monotonicSeconds;
    this.#track = new EnergyTrack(options.ceilingW);
    const { name, methodVersion, covers } = source;
    this.name = name;
    this.methodVersion = methodVersion;
    this.covers = covers;
    this.interval = source.interval;
    this.#describe();
  }

  /** Of some sources known only when they have answered. */
  #describe(): void {
    this.interval = this.#source.interval;
    this.uncertainty = Math.max(1 - this.interval.low, this.interval.high - 1);
    this.description = `measured by ${this.#source.told}`;
  }

  /** The first answer's failure; null: it answered. */
  get failure(): string | null {
    return this.#failure;
  }

  async start(): Promise<void> {
    if (this.#timer) return;
    await this.ask();
    if (this.#options.manual) return;
    this.#timer = setInterval(() => void this.ask(), this.#source.everyS * 1000);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#question?.abort(new Error('the meter is stopped'));
    await this.#asking;
    await this.#source.close?.();
  }

  /** One question at a time: a source that is slow is not asked again meanwhile. */
  ask(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<void> {
    const timeoutMs = Math.max(shortestTimeoutMs, this.#source.everyS * 1000);
    const asked = this.#clock();
    const question = new AbortController();
    this.#question = question;
    const timeout = setTimeout(
      () => question.abort(new Error(`no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      const answer = await this.#source.ask(question.signal);
      const { utilisation: _, ageS, ...sample } = answer;
      const answered = this.#clock();
      const at = ageS === undefined ? (asked + answered) / 2 : answered - ageS;
      this.#failure = this.#track.add({ ...sample, at });
      this.#answeredAt = answered;
      this.#answer = answer;
      this.#describe();
      this.#listener?.(answer);
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
    } finally {
      clearTimeout(timeout);
    }
  }

  listen(listener: (answer: SourceAnswer) => void): void {
    this.#listener = listener;
    if (this.#answer) listener(this.#answer);
  }

  read(): MeterReading {
    const at = this.#clock();
    const silentS = this.#answeredAt === undefined ? Infinity : at - this.#answeredAt;
    if (silentS > missedAnswers * Math.max(this.#source.everyS, shortestTimeoutMs / 1000)) {
      this.#track.lose();
      return { missing: this.#failure ?? `no answer for ${Math.round(silentS)} s` };
    }
    const reading = this.#track.read(at);
    if ('missing' in reading) return { missing: this.#failure ?? reading.missing };
    return { energyJ: joules(reading.energyJ) };
  }
}
