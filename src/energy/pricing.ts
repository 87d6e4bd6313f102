/**
 * What a request used, told at once: its CPU time at the price of the last settled interval. The ledger entry of
 * the same id is settled when its interval closes; the sum of both differs only by how prices moved meanwhile.
 */
import { readinessS, useKey } from './allocation.ts';
import { ratesOf } from './basis.ts';
import type { Footprint, ModelUse, Reservation } from './energy.ts';
import { joulesPerKwh } from './grid.ts';
import type { LedgerOptions } from './ledger-options.ts';
import { gramsCo2e, joules, litres } from './units.ts';
import type { Learnt } from './unsettled.ts';

/** Learnt at each settlement. */
export interface Prices {
  /** Dynamic energy of one CPU second, J. */
  joulesPerCpuS: number;
  /** CPU seconds of a runner for each second that it computes (it may use several threads). */
  cpuPerComputeS: number;
  /** Accelerators' energy for each second that a runner computes, J; 0: none is known. */
  acceleratorJPerComputeS: number;
  gatewayCpuSPerRequest: number;
  idleW: number;
  pue: number;
  gPerKwh: number;
  litresPerKwh: number | null;
  embodiedGPerCpuS: number;
  quality: Footprint['quality'];
  method: string;
  methodVersion: string;
  unknown: Readonly<Record<string, string>>;
}

/** Before anything has been learnt: the host's power as a straight line, and a request of 100 µs for the gateway. */
export function firstPrices(
  { basis, host, chosen: { meter, watts } }: Pick<LedgerOptions, 'basis' | 'host' | 'chosen'>,
  methodVersion: string,
): Prices {
  const { pue, gPerKwh, litresPerKwh, embodiedG } = ratesOf(basis, 1);
  return {
    joulesPerCpuS: (watts.maxW - watts.idleW) / host.cpuCount,
    cpuPerComputeS: 1,
    acceleratorJPerComputeS: 0,
    gatewayCpuSPerRequest: 100e-6,
    idleW: watts.idleW,
    pue,
    gPerKwh,
    litresPerKwh,
    embodiedGPerCpuS: embodiedG / host.cpuCount,
    quality: meter.quality,
    method: meter.name,
    methodVersion: `${methodVersion}.${meter.methodVersion}`,
    unknown: basis.water.unknown,
  };
}

/** Provisional figures of one row of a batch and of the batch as a whole. */
export interface BatchPrice {
  cpuSPerRow: number;
  dynamicJPerRow: number;
  idleJPerRow: number;
  /** Each request's part of the gateway, whatever its rows. */
  gatewayCpuS: number;
  gatewayJ: number;
}

export class Pricer {
  prices: Prices;
  #shares = new Map<string, number>();
  readonly #pricedUntilMs = new Map<string, number>();

  constructor(prices: Prices) {
    this.prices = prices;
  }

  setReservations(reservations: readonly Reservation[], memoryBytes: number): void {
    const bytes = reservations.reduce((sum, reservation) => sum + reservation.memoryBytes, 0);
    const capacity = Math.max(bytes, memoryBytes);
    this.#shares = new Map();
    for (const { use, memoryBytes: held } of reservations) {
      const key = useKey(use);
      this.#shares.set(key, (this.#shares.get(key) ?? 0) + held / capacity);
    }
    for (const key of this.#pricedUntilMs.keys()) if (!this.#shares.has(key)) this.#pricedUntilMs.delete(key);
  }

  /**
   * Idle power since the model's last batch (at most a second, as at settlement) is carried by this batch, so
   * that every idle joule is handed out once.
   */
  price(use: ModelUse, computeNs: number, rows: number, nowMs: number): BatchPrice {
    const key = useKey(use);
    const { joulesPerCpuS, cpuPerComputeS, acceleratorJPerComputeS, gatewayCpuSPerRequest, idleW } =
      this.prices;
    const sinceS = Math.min(readinessS, Math.max(0, nowMs - (this.#pricedUntilMs.get(key) ?? 0)) / 1000);
    this.#pricedUntilMs.set(key, nowMs);
    const cpuSPerRow = rows > 0 ? ((computeNs / 1e9) * cpuPerComputeS) / rows : 0;
    return {
      cpuSPerRow,
      dynamicJPerRow:
        cpuSPerRow * joulesPerCpuS + (rows > 0 ? ((computeNs / 1e9) * acceleratorJPerComputeS) / rows : 0),
      idleJPerRow: rows > 0 ? (sinceS * idleW * (this.#shares.get(key) ?? 0)) / rows : 0,
      gatewayCpuS: gatewayCpuSPerRequest,
      gatewayJ: gatewayCpuSPerRequest * joulesPerCpuS,
    };
  }

  /** What so much computing would have used, J. */
  avoidedJ(computeNs: number): number {
    const { cpuPerComputeS, joulesPerCpuS, acceleratorJPerComputeS } = this.prices;
    return (computeNs / 1e9) * (cpuPerComputeS * joulesPerCpuS + acceleratorJPerComputeS);
  }

  /** Of the grid as it was when the last interval closed. */
  setIntensity(gPerKwh: number): void {
    this.prices = { ...this.prices, gPerKwh };
  }

  /** The prices of the next interval's provisional figures are those of a settled one. */
  learn(learnt: Learnt, { quality, method }: Pick<Prices, 'quality' | 'method'>): void {
    const { joulesPerCpuS, hostBusyS, cpuCount, idleW, computeS, runnerS, requests } = learnt;
    const { prices } = this;
    // While there was other work, the price of a request was an assumption, not an observation.
    const observed = requests >= 10 && learnt.amongOtherWork < requests / 2;
    this.prices = {
      ...prices,
      joulesPerCpuS: joulesPerCpuS !== null && hostBusyS > 0.05 ? joulesPerCpuS : prices.joulesPerCpuS,
      cpuPerComputeS:
        computeS > 0.02 ? Math.min(cpuCount, Math.max(0.1, runnerS / computeS)) : prices.cpuPerComputeS,
      acceleratorJPerComputeS: learnt.acceleratorJPerS ?? prices.acceleratorJPerComputeS,
      gatewayCpuSPerRequest: observed ? learnt.gatewayCpuSPerRequest : prices.gatewayCpuSPerRequest,
      idleW,
      quality,
      method,
    };
  }

  footprint(cpuS: number, dynamicJ: number, idleShareJ: number, settled = false): Footprint {
    const { pue, gPerKwh, litresPerKwh, embodiedGPerCpuS, quality, method, methodVersion, unknown } =
      this.prices;
    const energyJ = dynamicJ + idleShareJ;
    return {
      energyJ: joules(energyJ),
      dynamicJ: joules(dynamicJ),
      idleShareJ: joules(idleShareJ),
      carbonGCo2e: gramsCo2e((energyJ / joulesPerKwh) * pue * gPerKwh),
      embodiedGCo2e: gramsCo2e(cpuS * embodiedGPerCpuS),
      waterL: litresPerKwh === null ? null : litres((energyJ / joulesPerKwh) * litresPerKwh),
      quality,
      method,
      methodVersion,
      settled,
      unknown,
    };
  }
}
