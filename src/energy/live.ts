/** Figures of this moment, fed by each settled interval: for the page, the events and Prometheus. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Footprint } from './energy.ts';
import { headlineRur } from './impact.ts';
import { allowedResidual } from './residual.ts';
import type { IntervalRow } from './settlement.ts';
import type { Settlement } from './unsettled.ts';

export interface Live {
  /** Over the last minute; null before anything was metered. */
  rur: number | null;
  /** Since the start of this server. */
  energyWh: number | null;
  carbonGCo2e: number | null;
  requests: number;
  powerW: number | null;
  quality: Footprint['quality'] | null;
}

export const nothingMetered: Live = {
  rur: null,
  energyWh: null,
  carbonGCo2e: null,
  requests: 0,
  powerW: null,
  quality: null,
};

/** The self-check of the ledger since the start: do the entries of each interval add up to its meter? */
export interface SelfCheck {
  /** Largest relative difference of the last interval; null before anything was settled. */
  residualRatio: number | null;
  /** Intervals in which it was above what is promised. */
  alarms: number;
  lastAlarm: { interval: string; residualRatio: number } | null;
}

export const nothingChecked: SelfCheck = { residualRatio: null, alarms: 0, lastAlarm: null };

const windowMs = 60_000;
const alarmEveryMs = 60_000;

interface AlarmLog {
  error(fields: object, message: string): void;
}

export class LiveFigures {
  #recent: IntervalRow[] = [];
  #energyJ = 0;
  #carbonG = 0;
  #requests = 0;
  readonly #metrics: Metrics;
  readonly #weights: { cpu: number; memory: number };
  readonly #log: AlarmLog;
  readonly #now: () => number;
  #toldAtMs = -Infinity;
  #check = nothingChecked;

  constructor(
    registry: Registry,
    weights: { cpu: number; memory: number },
    { log, now = Date.now }: { log: AlarmLog; now?: () => number },
  ) {
    this.#weights = weights;
    this.#log = log;
    this.#now = now;
    this.#metrics = registerMetrics(registry);
  }

  get selfCheck(): SelfCheck {
    return this.#check;
  }

  settled({ row, requests, energyByKind, carbonG, avoidedJ, computedS, residualRatio }: Settlement): void {
    if (!row) return;
    this.#checkResidual(row.id, residualRatio);
    this.#energyJ += row.energy_j;
    this.#carbonG += row.carbon_g;
    this.#requests += requests;
    this.#recent.push(row);
    this.#recent = this.#recent.filter(({ end_ms }) => end_ms > row.end_ms - windowMs);
    for (const [kind, sum] of Object.entries(energyByKind)) {
      this.#metrics.energy.inc({ kind }, sum.energyJ);
      if (sum.requests > 0) this.#metrics.requests.inc({ kind }, sum.requests);
    }
    this.#metrics.carbon.inc(carbonG);
    this.#metrics.avoided.inc(avoidedJ);
    this.#metrics.computed.inc(computedS);
    this.#metrics.power.reset();
    const live = this.read();
    this.#metrics.power.set({ quality: row.quality, method: row.method }, live.powerW ?? 0);
    if (live.rur !== null) this.#metrics.rur.set(live.rur);
  }

  /** A sum that does not hold is a fault of this program: it is said at once, and then once a minute. */
  #checkResidual(interval: string, residualRatio: number): void {
    this.#metrics.residual.set(residualRatio);
    this.#check = { ...this.#check, residualRatio };
    // Also what is no number at all.
    if (residualRatio <= allowedResidual) return;
    this.#metrics.alarms.inc();
    this.#check = {
      residualRatio,
      alarms: this.#check.alarms + 1,
      lastAlarm: { interval, residualRatio },
    };
    if (this.#now() - this.#toldAtMs < alarmEveryMs) return;
    this.#toldAtMs = this.#now();
    const { alarms } = this.#check;
    this.#log.error({ interval, residualRatio, alarms }, 'the ledger does not add up to the meter');
  }

  read(): Live {
    const last = this.#recent.at(-1);
    if (!last) return nothingMetered;
    const total = (pick: (row: IntervalRow) => number) =>
      this.#recent.reduce((sum, row) => sum + pick(row), 0);
    const part = (used: number, supplied: number) => (supplied > 0 ? used / supplied : null);
    const seconds = (last.end_ms - last.start_ms) / 1000;
    return {
      rur: headlineRur([
        {
          rur: part(
            total((row) => row.cpu_s_used),
            total((row) => row.cpu_s_supplied),
          ),
          weight: this.#weights.cpu,
        },
        {
          rur: part(
            total((row) => row.memory_gbs_used),
            total((row) => row.memory_gbs_supplied),
          ),
          weight: this.#weights.memory,
        },
      ]),
      energyWh: this.#energyJ / 3600,
      carbonGCo2e: this.#carbonG,
      requests: this.#requests,
      powerW: seconds > 0 ? last.energy_j / seconds : null,
      quality: last.quality,
    };
  }
}

type Metrics = ReturnType<typeof registerMetrics>;

function registerMetrics(registry: Registry) {
  const registers = [registry];
  return {
    residual: new Gauge({
      name: 'commonwatt_ledger_residual_ratio',
      help: 'Difference between the meter and the sum of all entries of the last interval, relative, the worst of energy, carbon, water and embodied on both bases; promised to stay below 1e-9',
      registers,
    }),
    alarms: new Counter({
      name: 'commonwatt_ledger_residual_alarms_total',
      help: 'Intervals whose entries differed from the meter by more than 1e-9',
      registers,
    }),
    energy: new Counter({
      name: 'commonwatt_energy_joules_total',
      help: 'Energy booked, by what it was booked to',
      labelNames: ['kind'],
      registers,
    }),
    power: new Gauge({
      name: 'commonwatt_power_watts',
      help: 'Mean power of the host in the last interval',
      labelNames: ['quality', 'method'],
      registers,
    }),
    rur: new Gauge({
      name: 'commonwatt_rur',
      help: 'Resource utilization rate of the last minute, 0 to 1',
      registers,
    }),
    carbon: new Counter({
      name: 'commonwatt_carbon_grams_total',
      help: 'Carbon of the energy booked, gCO2e',
      registers,
    }),
    avoided: new Counter({
      name: 'commonwatt_energy_avoided_joules_total',
      help: 'Energy that using answers again avoided, estimated; not a part of any energy booked',
      registers,
    }),
    computed: new Counter({
      name: 'commonwatt_ledger_compute_seconds_total',
      help: 'Computing time of runners that is booked to somebody; their own account of it has warm-ups besides',
      registers,
    }),
    requests: new Counter({
      name: 'commonwatt_requests_total',
      help: 'Requests booked, by kind',
      labelNames: ['kind'],
      registers,
    }),
  };
}
