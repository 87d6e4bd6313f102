/**
 * Energy of a source that is asked now and then: a counter, a power, or both. Between answers the power is taken to
 * go on; whenever the counter moves, the sum is set to it, so that readings add up to the counter however coarse
 * (watt-hours) or late (every half minute) it is.
 */
export interface SourceSample {
  /** When it was true, on the clock that never steps, s. */
  at: number;
  /** Joules since some time; only grows, and may be reset. */
  counterJ?: number;
  powerW?: number;
  /** Which devices are counted: another set is another counter. */
  devices?: string;
}

export type TrackReading = { energyJ: number } | { missing: string };

/** A counter that has not moved for so long is taken for broken, s. */
const frozenAfterS = 900;
/** How far a plug's watts may be off its own counter. */
const gainBounds = { low: 0.5, high: 2 };

interface Anchor {
  at: number;
  counterJ: number | null;
  /** Since then by power alone, J. */
  shapedJ: number;
}

export class EnergyTrack {
  readonly #ceilingW: number;
  #last: SourceSample | undefined;
  #anchor: Anchor | undefined;
  /** Whether the counter has moved since the anchor was set: before that its first step is of unknown size. */
  #moved = false;
  /** Energy from the start to the anchor, J. */
  #baseJ = 0;
  #gain = 1;
  /** From the counter's last two steps; null: not known yet. */
  #rateW: number | null = null;
  #stepJ = Infinity;
  #integratedTo = 0;
  #given: { at: number; totalJ: number } | undefined;

  /** More power than the ceiling is a reset of a counter, or nonsense. */
  constructor(ceilingW: number) {
    this.#ceilingW = ceilingW;
  }

  /** What was wrong with a sample that is not used; null: nothing. */
  add(sample: SourceSample): string | null {
    const { powerW, counterJ } = sample;
    if (powerW !== undefined && !(Number.isFinite(powerW) && powerW > 0 && powerW <= this.#ceilingW))
      return this.#refuse(`${powerW} W cannot be what this host draws`);
    if (counterJ !== undefined && !(Number.isFinite(counterJ) && counterJ >= 0))
      return this.#refuse(`${counterJ} J is no state of a counter`);
    const last = this.#last;
    if (last && sample.at <= last.at) return null;
    if (!last || !this.#anchor || last.devices !== sample.devices) {
      this.#restart(sample);
      return null;
    }
    this.#integrate(sample.at);
    this.#last = sample;
    return counterJ === undefined ? null : this.#follow(sample.at, counterJ);
  }

  /** Nothing is known of the time since the last sample: what comes next starts anew. */
  lose(): void {
    this.#last = undefined;
    this.#anchor = undefined;
    this.#given = undefined;
  }

  /** Energy since the last reading. */
  read(at: number): TrackReading {
    const anchor = this.#anchor;
    if (!anchor || !this.#last) return { missing: 'the meter has just been started' };
    this.#integrate(at);
    const powerW = this.#powerW(at);
    const given = this.#given;
    if (powerW === null) return { missing: 'the counter has not moved yet' };
    if (this.#frozen(at)) {
      this.lose();
      return { missing: `the counter has not moved for ${frozenAfterS} s` };
    }
    const totalJ = this.#baseJ + anchor.shapedJ;
    if (!given) {
      this.#given = { at, totalJ };
      return { missing: 'the meter has just been started' };
    }
    const seconds = at - given.at;
    if (seconds <= 0) return { missing: 'no time has passed since the last reading' };
    // What was given too early is taken back over the next readings, none of which falls to 0.
    const energyJ = Math.max(totalJ - given.totalJ, (powerW * seconds) / 2);
    this.#given = { at, totalJ: given.totalJ + energyJ };
    return { energyJ };
  }

  #restart(sample: SourceSample): void {
    this.#last = sample;
    this.#anchor = { at: sample.at, counterJ: sample.counterJ ?? null, shapedJ: 0 };
    this.#moved = false;
    this.#baseJ = 0;
    this.#rateW = null;
    this.#stepJ = Infinity;
    this.#given = undefined;
    this.#integratedTo = sample.at;
  }

  #refuse(reason: string): string {
    this.lose();
    return reason;
  }

  #integrate(at: number): void {
    const anchor = this.#anchor;
    if (!anchor || at <= this.#integratedTo) return;
    anchor.shapedJ += (this.#powerW(at) ?? 0) * (at - this.#integratedTo);
    // A counter that should have moved by now bounds what was used since.
    if (this.#last?.powerW === undefined) anchor.shapedJ = Math.min(anchor.shapedJ, this.#stepJ);
    this.#integratedTo = at;
  }

  /** Now, W: as told, or as the counter went; less, when it has not moved for longer than that. */
  #powerW(at: number): number | null {
    const told = this.#last?.powerW;
    if (told !== undefined) return told * this.#gain;
    if (this.#rateW === null || !this.#anchor) return null;
    const sinceS = at - this.#anchor.at;
    return sinceS > 0 ? Math.min(this.#rateW, this.#stepJ / sinceS) : this.#rateW;
  }

  #follow(at: number, counterJ: number): string | null {
    const anchor = this.#anchor;
    if (!anchor || anchor.counterJ === null || !this.#last) return null;
    const stepJ = counterJ - anchor.counterJ;
    const seconds = at - anchor.at;
    if (stepJ === 0) return null;
    if (stepJ < 0) {
      this.#restart(this.#last);
      return 'the counter went backwards: it was reset';
    }
    // The first step may have begun long before.
    if (this.#moved && stepJ / seconds > this.#ceilingW) {
      this.#restart(this.#last);
      return `${Math.round(stepJ / seconds)} W is more than this host can draw: the counter was reset`;
    }
    if (this.#moved) {
      this.#learn(stepJ, seconds, anchor.shapedJ);
      this.#baseJ += stepJ;
    } else this.#baseJ += anchor.shapedJ;
    this.#moved = true;
    this.#anchor = { at, counterJ, shapedJ: 0 };
    return null;
  }

  #learn(stepJ: number, seconds: number, shapedJ: number): void {
    this.#rateW = stepJ / seconds;
    this.#stepJ = stepJ;
    if (this.#last?.powerW === undefined || shapedJ <= 0) return;
    const gain = (this.#gain * stepJ) / shapedJ;
    this.#gain = Math.min(gainBounds.high, Math.max(gainBounds.low, gain));
  }

  #frozen(at: number): boolean {
    const { at: movedAt, counterJ } = this.#anchor ?? { at, counterJ: null };
    return counterJ !== null && this.#last?.powerW === undefined && at - movedAt > frozenAfterS;
  }
}
