/** Figures of this moment, fed by each settled interval: for the page, the events and Prometheus. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Footprint } from './energy.ts';
import { headlineRur } from './impact.ts';
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

const windowMs = 60_000;

export class LiveFigures {
  #recent: IntervalRow[] = [];
  #energyJ = 0;
  #carbonG = 0;
  #requests = 0;
  readonly #metrics: Metrics;
  readonly #weights: { cpu: number; memory: number };

  constructor(registry: Registry, weights: { cpu: number; memory: number }) {
    this.#weights = weights;
    this.#metrics = registerMetrics(registry);
  }

  settled({ row, requests, energyByKind, energyJ, carbonG, avoidedJ }: Settlement): void {
    if (!row) return;
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
    this.#metrics.residual.set(row.energy_j > 0 ? Math.abs(energyJ - row.energy_j) / row.energy_j : 0);
    this.#metrics.power.reset();
    const live = this.read();
    this.#metrics.power.set({ quality: row.quality, method: row.method }, live.powerW ?? 0);
    if (live.rur !== null) this.#metrics.rur.set(live.rur);
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
      help: 'Difference between the meter and the sum of all entries of the last interval, relative; promised to stay below 1e-9',
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
    requests: new Counter({
      name: 'commonwatt_requests_total',
      help: 'Requests booked, by kind',
      labelNames: ['kind'],
      registers,
    }),
  };
}
