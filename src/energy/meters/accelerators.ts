/**
 * Accelerators beside a host's meter. A meter of the CPU leaves them out, so theirs is added; a meter of the machine
 * or at the wall includes them, so theirs only says which part of it they are.
 */
import { joules } from '../units.ts';
import { IdlePower } from './idle-power.ts';
import type { Coverage, Interval, Meter, MeterReading, MonotonicClock } from './meter.ts';
import { monotonicSeconds } from './meter.ts';
import type { AcceleratorAnswer } from './nvidia.ts';
import type { PolledMeter } from './polled.ts';

interface Taken {
  energyJ: number;
  idleW: number;
  seconds?: { supplied: number; busy: number };
  partly?: string;
}

export class Accelerators {
  readonly meter: PolledMeter;
  readonly #clock: MonotonicClock;
  #idle = new IdlePower(0, { fixed: false });
  #assumedIdleW = 0;
  /** Stands in while they do not answer. */
  #powerW: number | null = null;
  #takenAt: number | undefined;
  readonly #busy = new BusyTime();
  /** Of the interval that was closed last. */
  last: Taken = { energyJ: 0, idleW: 0 };

  constructor(meter: PolledMeter, clock: MonotonicClock = monotonicSeconds) {
    this.meter = meter;
    this.#clock = clock;
    meter.listen((answer) => this.#answered(answer));
  }

  /** Once for each interval. */
  take(): Taken {
    const at = this.#clock();
    const seconds = this.#takenAt === undefined ? 0 : at - this.#takenAt;
    this.#takenAt = at;
    const reading = this.meter.read();
    const idleW = this.#idle.watts;
    const told = this.#busy.take(at);
    if ('energyJ' in reading) {
      if (seconds > 0) this.#powerW = reading.energyJ / seconds;
      this.last = { energyJ: reading.energyJ, idleW, ...(told ? { seconds: told } : {}) };
    } else {
      const partly = `accelerators: ${reading.missing}`;
      this.last = { energyJ: (this.#powerW ?? idleW) * seconds, idleW, partly };
    }
    return this.last;
  }

  #answered({ powerW, utilisation, idleW, devices }: AcceleratorAnswer): void {
    this.#busy.told(this.#clock(), utilisation, devices === undefined ? 1 : devices.split(',').length);
    if (idleW !== undefined && idleW !== this.#assumedIdleW) {
      this.#assumedIdleW = idleW;
      this.#idle = new IdlePower(idleW, { fixed: false });
    }
    if (powerW !== undefined && utilisation !== undefined) this.#idle.observe(powerW, utilisation);
  }
}

/** Integrates how busy the devices are from one answer to the next. Example: .5 of two devices for 10 s → 10 of 20 device·s. */
class BusyTime {
  #now: { at: number; utilisation: number; count: number } | undefined;
  #supplied = 0;
  #busy = 0;

  told(at: number, utilisation: number | undefined, count: number): void {
    this.#goOn(at);
    this.#now = utilisation === undefined ? undefined : { at, utilisation: bounded(utilisation), count };
  }

  take(at: number): Taken['seconds'] {
    this.#goOn(at);
    const seconds = { supplied: this.#supplied, busy: this.#busy };
    this.#supplied = 0;
    this.#busy = 0;
    return seconds.supplied > 0 ? seconds : undefined;
  }

  #goOn(at: number): void {
    if (!this.#now) return;
    const suppliedS = Math.max(0, at - this.#now.at) * this.#now.count;
    this.#supplied += suppliedS;
    this.#busy += suppliedS * this.#now.utilisation;
    this.#now.at = at;
  }
}

function bounded(part: number): number {
  return Math.min(1, Math.max(0, part));
}

export class WithAccelerators implements Meter {
  readonly name: string;
  readonly quality: Meter['quality'];
  readonly methodVersion: string;
  readonly description: string;
  readonly covers: Coverage;
  readonly interval: Interval;
  readonly uncertainty: number;
  readonly #host: Meter;
  readonly #accelerators: Accelerators;
  readonly #standsIn: boolean;

  /** `standsIn`: it is read right after another one that has taken the accelerators' reading. */
  constructor(host: Meter, accelerators: Accelerators, { standsIn = false } = {}) {
    this.#host = host;
    this.#accelerators = accelerators;
    this.#standsIn = standsIn;
    const { meter } = accelerators;
    const added = host.covers === 'cpu';
    this.name = `${host.name}+${meter.name}`;
    this.quality = host.quality;
    this.methodVersion = `${host.methodVersion}.${meter.methodVersion}`;
    this.covers = host.covers;
    this.interval = added ? widest(host.interval, meter.interval) : host.interval;
    this.uncertainty = added ? Math.max(host.uncertainty, meter.uncertainty) : host.uncertainty;
    this.description = `${host.description}; ${added ? 'with' : 'of it'} the accelerators, ${meter.description}`;
  }

  read(): MeterReading {
    const taken = this.#standsIn ? this.#accelerators.last : this.#accelerators.take();
    const host = this.#host.read();
    if ('missing' in host) return host;
    const added = this.covers === 'cpu';
    return {
      energyJ: joules(added ? host.energyJ + taken.energyJ : host.energyJ),
      // A part cannot be more than the whole, whatever two sensors say of a moment.
      acceleratorJ: joules(added ? taken.energyJ : Math.min(host.energyJ, taken.energyJ)),
      acceleratorIdleW: taken.idleW,
      ...(taken.seconds === undefined ? {} : { acceleratorS: taken.seconds }),
      ...(taken.partly === undefined ? {} : { partly: taken.partly }),
    };
  }

  async start(): Promise<void> {
    await this.#host.start?.();
  }

  async stop(): Promise<void> {
    await this.#host.stop?.();
  }
}

function widest(a: Interval, b: Interval): Interval {
  return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
}
