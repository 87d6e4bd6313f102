/**
 * The estimate for intervals in which a sensor is away: what CPU time tells, times what the sensor showed for it while
 * both were there. So a sensor of the whole machine is not followed by an interval of the CPU alone.
 */
import { joules } from '../units.ts';
import type { Coverage, Interval, Meter, MeterReading } from './meter.ts';

/** How much of the sums is kept with each interval: about the last hundred count. */
const kept = 0.99;
/** Fewer intervals say nothing. */
const enough = 10;
/** Beyond it is no matter of coverage. */
const bounds = { low: 0.1, high: 30 };

/** Remembers its last reading. */
export class Remembered {
  readonly meter: Meter;
  last: MeterReading | undefined;

  constructor(meter: Meter) {
    this.meter = {
      ...meter,
      read: () => {
        this.last = meter.read();
        return this.last;
      },
      stop: async () => meter.stop?.(),
    };
  }
}

export class StandIn implements Meter {
  readonly name: string;
  readonly quality = 'estimated';
  readonly methodVersion: string;
  readonly description: string;
  readonly covers: Coverage;
  readonly interval: Interval;
  readonly uncertainty: number;
  readonly #estimate: Meter;
  readonly #sensor: Remembered;
  #measuredJ = 0;
  #estimatedJ = 0;
  #count = 0;

  constructor(estimate: Meter, sensor: Remembered) {
    this.#estimate = estimate;
    this.#sensor = sensor;
    this.name = estimate.name;
    this.methodVersion = estimate.methodVersion;
    this.description = estimate.description;
    this.covers = sensor.meter.covers;
    this.interval = estimate.interval;
    this.uncertainty = estimate.uncertainty;
  }

  /** After the sensor was read for the same interval. */
  read(): MeterReading {
    const estimated = this.#estimate.read();
    const measured = this.#sensor.last;
    if ('missing' in estimated || !measured) return estimated;
    if ('energyJ' in measured) {
      this.#measuredJ = kept * this.#measuredJ + measured.energyJ;
      this.#estimatedJ = kept * this.#estimatedJ + estimated.energyJ;
      this.#count++;
      return estimated;
    }
    return { energyJ: joules(estimated.energyJ * this.#factor()) };
  }

  #factor(): number {
    if (this.#count < enough || !(this.#estimatedJ > 0)) return 1;
    return Math.min(bounds.high, Math.max(bounds.low, this.#measuredJ / this.#estimatedJ));
  }
}
