/** An interval whose time is over: what the meter and the processes told of it, made plausible, and how it is to be settled. */
import { hostname } from 'node:os';
import type { JobUse, OtherWork } from './attribution.ts';
import { type Basis, basisOver, ratesOf } from './basis.ts';
import type { Reservation } from './energy.ts';
import type { GridSignal } from './grid.ts';
import type { ChosenMeter } from './meters/choose.ts';
import type { Meter, MeterSample } from './meters/meter.ts';
import { plausibleAccelerator, plausibleCpu, plausibleReading, plausibleTimes } from './plausible.ts';
import type { TakenUse } from './processes.ts';
import type { MeteredInterval } from './unsettled.ts';

/** Of one core: what an idle server may use for itself. */
const housekeeping = 0.005;

/** What says whose figures these are. */
export interface Place {
  node: string;
  basis: Basis;
  /** Absent: the basis' own intensity holds at all times. */
  grid?: GridSignal | undefined;
}

export const thisNode = (): string => hostname();

export function basisAt({ basis, grid }: Place, startMs: number, endMs: number): Basis {
  return grid ? basisOver(basis, grid, startMs, endMs) : basis;
}

export interface Sample {
  sample: MeterSample;
  source: Meter;
  /** Why the sensor's own sample is missing. */
  missing: string | null;
}

/** The meter's sample, else the estimate's, else undefined: nothing is known of this time yet. */
export function sampleOf({ meter, fallback }: ChosenMeter, durationS: number): Sample | undefined {
  const reading = plausibleReading(meter.read(), durationS);
  const estimate = fallback === meter ? reading : plausibleReading(fallback.read(), durationS);
  if ('energyJ' in reading) return { sample: reading, source: meter, missing: null };
  if ('energyJ' in estimate) return { sample: estimate, source: fallback, missing: reading.missing };
  return undefined;
}

export interface Closing {
  id: string;
  file: string | null;
  items: number;
  startMs: number;
  nowMs: number;
  durationS: number;
  taken: Sample;
  idleW: number;
  host: { cpuCount: number; memoryBytes: number };
  used: TakenUse;
  jobs: readonly JobUse[];
  /** Of runners, by pid. */
  unbookedS: ReadonlyMap<number, number>;
  otherWork: Omit<OtherWork, 'cpuSPerRequest'> | undefined;
  gatewayCpuSPerRequest: number;
  reservations: readonly Reservation[];
  /** Versions (`useKey`) that could compute with accelerators at some time in it. */
  acceleratorUsers: readonly string[];
  place: Place;
  chosen: ChosenMeter;
  methodVersion: string;
}

/**
 * Doors cannot be asked when they passed other work on: of what they used beyond the price of requests, it is as much
 * as this process itself used for it, at most; what a door uses while it starts is no request's at all.
 */
function withDoors({
  otherWork,
  used,
  items,
  gatewayCpuSPerRequest: cpuSPerRequest,
}: Closing): OtherWork | undefined {
  const beyondS = Math.max(0, used.doorsS - items * cpuSPerRequest);
  const doorsS = used.newDoors ? beyondS : Math.min(beyondS, otherWork?.cpuS ?? 0);
  if (!otherWork && doorsS === 0) return undefined;
  return { cpuS: (otherWork?.cpuS ?? 0) + doorsS, requests: otherWork?.requests ?? 0, cpuSPerRequest };
}

export function meteredInterval(closing: Closing): MeteredInterval {
  const { durationS, host, used, taken, place } = closing;
  const otherWork = withDoors(closing);
  const { startMs, endMs, notes: ofTimes } = plausibleTimes(closing.startMs, closing.nowMs, durationS);
  const cpu = plausibleCpu(
    {
      hostBusyS: used.hostBusyS,
      gatewayCpuS: used.gatewayS,
      runners: used.runners,
      helpers: used.helpers,
      jobs: closing.jobs,
    },
    host.cpuCount,
    durationS,
  );
  const { accelerator, notes: ofAccelerator } = plausibleAccelerator(taken.sample, closing.acceleratorUsers);
  const bounded = <T extends { cpuS: number }>(each: T): T =>
    cpu.factor === 1 ? each : { ...each, cpuS: cpu.factor === 0 ? 0 : each.cpuS * cpu.factor };
  const basis = basisAt(place, startMs, endMs);
  return {
    kind: 'metered',
    id: closing.id,
    file: closing.file,
    items: closing.items,
    facts: {
      startMs,
      endMs,
      durationS,
      energyJ: taken.sample.energyJ,
      idleW: closing.idleW,
      cpuCount: host.cpuCount,
      memoryBytes: host.memoryBytes,
      hostBusyS: cpu.hostBusyS,
      gatewayCpuS: bounded({ cpuS: used.gatewayS }).cpuS,
      housekeepingS: housekeeping * durationS,
      ...(otherWork ? { otherWork: bounded(otherWork) } : {}),
      ...(accelerator ? { accelerator } : {}),
      helpers: used.helpers.map(bounded),
      runners: used.runners.map(({ pid, cpuS }) => ({
        pid,
        cpuS: cpuS === null ? null : bounded({ cpuS }).cpuS,
        unbookedNs: Math.min(durationS, closing.unbookedS.get(pid) ?? 0) * 1e9,
      })),
      jobs: closing.jobs.map(bounded),
      reservations: closing.reservations,
      rates: ratesOf(basis, durationS),
    },
    method: taken.source.name,
    quality: taken.source.quality,
    missing: taken.missing ?? taken.sample.partly ?? null,
    notes: [...ofTimes, ...cpu.notes, ...ofAccelerator],
    memoryUsedBytes: used.runners.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
    rowBasis: {
      basis,
      node: place.node,
      watts: closing.chosen.watts,
      methodVersion: closing.methodVersion,
      meter: { covers: taken.source.covers, interval: taken.source.interval },
    },
  };
}
