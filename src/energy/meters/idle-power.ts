/** The idle power P0 of the host: configured, else watched, else assumed. */
import { quantile } from 'simple-statistics';

const enough = 20;
const remembered = 600;

/**
 * With a sensor, P0 is the 5th percentile of power while less than 2 % of the CPUs were busy (a leftover of
 * utilisation, (1 − u)·P, would vanish at full load). Until enough quiet samples are seen, the assumed value.
 */
export class IdlePower {
  readonly #given: number;
  readonly #fixed: boolean;
  readonly #quiet: number[] = [];
  #watched: number | undefined;

  constructor(watts: number, options: { fixed: boolean }) {
    this.#given = watts;
    this.#fixed = options.fixed;
  }

  get watts(): number {
    return this.#watched ?? this.#given;
  }

  get source(): 'given' | 'watched' {
    return this.#watched === undefined ? 'given' : 'watched';
  }

  /** One interval of a sensor: its mean power, and which part of the CPUs was busy. */
  observe(powerW: number, utilisation: number): void {
    if (this.#fixed || utilisation >= 0.02) return;
    this.#quiet.push(powerW);
    if (this.#quiet.length > remembered) this.#quiet.shift();
    if (this.#quiet.length >= enough) this.#watched = quantile(this.#quiet, 0.05);
  }
}
