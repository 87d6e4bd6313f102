/**
 * The difference between sharing and everyone running their own. Pure. Every cost is three numbers (idle and
 * dynamic watt-hours, embodied grams), so that both sides are priced with the same PUE, intensity and draws.
 *
 * C_own = Σ_i n_i [PUE·I·(P0·T_on,i + (Pmax − P0)·busy_i) + M·T_own,i]; C_shared = everything metered.
 * Saving = C_own − C_shared; a negative one is shown. It is never called an offset.
 */
import { probit, quantile } from 'simple-statistics';

export interface Burden {
  idleWh: number;
  dynamicWh: number;
  embodiedG: number;
}

export interface Carbon {
  pue: number;
  /** gCO2e per kWh. */
  intensity: number;
}

/** g = PUE·I·(idle + dynamic) + embodied. */
export function gramsOf({ idleWh, dynamicWh, embodiedG }: Burden, { pue, intensity }: Carbon): number {
  return ((idleWh + dynamicWh) / 1000) * pue * intensity + embodiedG;
}

/** The server each would run: the same as the shared one. */
interface OwnServer {
  idleW: number;
  maxW: number;
  embodiedGPerH: number;
  cpus: number;
  memoryBytes: number;
  /** Part of its CPUs that the service uses without any request; absent: 0. */
  standingUse?: number;
}

export interface Tenant {
  id: string;
  /** Time in which its requests would keep a whole server busy that it has for itself (own batches), h: u·T. */
  busyH: number;
  /** Hours of the window in which it had requests, rounded up to whole hours but never beyond the window. */
  activeH: number;
  /** Memory that its models need. */
  memoryBytes: number;
  /** Part of its demand that sharing itself caused (rebound): alone it would not be there. Absent: 0. */
  induced?: number;
}

export type BaselineId = 'B0' | 'B1' | 'B2' | 'B3' | 'B4' | 'B5';

export interface Baseline {
  id: BaselineId;
  name: string;
  description: string;
  burden: Burden;
}

export interface SharingFacts {
  windowH: number;
  server: OwnServer;
  tenants: readonly Tenant[];
  /** Everything metered for serving: requests, gateway, spares, platform idle. */
  shared: Burden;
}

/** Hours a day that a server which is switched off out of hours is on (B1). */
const officeHours = 8;

/** The baselines, from generous to strict. */
export function baselines({ windowH, server, tenants, shared }: SharingFacts): Baseline[] {
  const onB1 = windowH * (officeHours / 24);
  const everyone = (
    onH: (tenant: Tenant) => number,
    ownedH: (tenant: Tenant) => number,
    part = wholeServers,
  ) =>
    sum(
      tenants.map((tenant) =>
        scale(
          own(server, tenant.busyH, onH(tenant), ownedH(tenant), part(server, tenant)),
          1 - (tenant.induced ?? 0),
        ),
      ),
    );
  return [
    {
      id: 'B0',
      name: 'always on',
      description: 'each organisation runs a server like this one all the time',
      burden: everyone(
        () => windowH,
        () => windowH,
      ),
    },
    {
      id: 'B1',
      name: 'switched off out of hours',
      description: `each runs a server like this one ${officeHours} hours a day; its hardware is there all the time`,
      burden: everyone(
        () => onB1,
        () => windowH,
      ),
    },
    {
      id: 'B2',
      name: 'rented by the hour',
      description: 'each rents a server like this one for the hours in which it had requests',
      burden: everyone(
        ({ activeH }) => activeH,
        ({ activeH }) => activeH,
      ),
    },
    {
      id: 'B3',
      name: 'right-sized',
      description:
        'each rents, for the hours in which it had requests, the smallest slice of whole CPUs that holds its models and its load',
      burden: everyone(
        ({ activeH }) => activeH,
        ({ activeH }) => activeH,
        smallestSlice,
      ),
    },
    {
      id: 'B4',
      name: 'another shared API',
      description: 'each would call a shared service as well used as this one: nothing is saved',
      burden: shared,
    },
    {
      id: 'B5',
      name: 'would not run at all',
      description: 'without this service nothing would be computed: everything it uses is additional',
      burden: { idleWh: 0, dynamicWh: 0, embodiedG: 0 },
    },
  ];
}

/**
 * The headline is the most conservative plausible baseline. B3: who needs little rents little. B4 and B5 are what
 * one must believe for there to be nothing to save; they are shown beside it.
 */
export const headlineBaseline: BaselineId = 'B3';

function own(server: OwnServer, busyH: number, onH: number, ownedH: number, servers: number): Burden {
  return {
    idleWh: servers * server.idleW * onH,
    dynamicWh: (server.maxW - server.idleW) * (busyH + (server.standingUse ?? 0) * onH),
    embodiedG: servers * server.embodiedGPerH * ownedH,
  };
}

/** n = max(to hold the models, to carry the load), whole servers. */
function wholeServers(server: OwnServer, { memoryBytes, busyH, activeH }: Tenant): number {
  const load = activeH > 0 ? busyH / activeH : 0;
  return Math.max(1, Math.ceil(memoryBytes / server.memoryBytes), Math.ceil(load - 1e-9));
}

/** The same in whole CPUs, each with its share of memory, as a part of the server. */
function smallestSlice(server: OwnServer, { memoryBytes, busyH, activeH }: Tenant): number {
  const load = activeH > 0 ? (busyH / activeH) * server.cpus : 0;
  const cpus = Math.max(
    1,
    Math.ceil(memoryBytes / (server.memoryBytes / server.cpus)),
    Math.ceil(load - 1e-9),
  );
  return cpus / server.cpus;
}

function scale({ idleWh, dynamicWh, embodiedG }: Burden, factor: number): Burden {
  return { idleWh: idleWh * factor, dynamicWh: dynamicWh * factor, embodiedG: embodiedG * factor };
}

function sum(burdens: readonly Burden[]): Burden {
  return burdens.reduce(
    (total, { idleWh, dynamicWh, embodiedG }) => ({
      idleWh: total.idleWh + idleWh,
      dynamicWh: total.dynamicWh + dynamicWh,
      embodiedG: total.embodiedG + embodiedG,
    }),
    { idleWh: 0, dynamicWh: 0, embodiedG: 0 },
  );
}

export interface Saving {
  savingG: number;
  /** Of what everyone running their own would cause; null when that is nothing. */
  percent: number | null;
}

/** Example: own 9589.8, shared 3000.8 g/h → 68.7 %. */
export function saving(own: Burden, shared: Burden, carbon: Carbon): Saving {
  const ownG = gramsOf(own, carbon);
  const savingG = ownG - gramsOf(shared, carbon);
  return { savingG, percent: ownG > 0 ? (savingG / ownG) * 100 : null };
}

/**
 * Demand that sharing itself caused saves nothing: of everyone's own cost, only (1 − ρ) would have been. The saving is 0
 * at ρ = saving / C_own. Example: own 9589.8, shared 3000.8 g → nothing is saved when 68.7 % of the demand is induced.
 * Null: nothing is saved anyway.
 */
export function breakEvenInduced({ savingG, percent }: Saving): number | null {
  return savingG > 0 && percent !== null ? percent / 100 : null;
}

/** Relative standard deviations of what is uncertain (log-normal), and the range of an unknown PUE. */
export interface Uncertainty {
  idlePower: number;
  dynamicPower: number;
  intensity: number;
  embodied: number;
  /** Of the CPU time that everyone's own instances would use, for the same watts; absent: known. */
  ownWork?: number;
  /** Null: the PUE is known. */
  pue: { low: number; high: number } | null;
}

export interface Band {
  /** Null: a saving against nobody's use is no part of it. */
  lowPercent: number | null;
  highPercent: number | null;
  /** False when the 5–95 % band spans 0. What would not run at all surely costs whatever it uses. */
  distinguishable: boolean;
}

/**
 * 5th and 95th percentile of the saving in percent. Paired: both sides see the same draw, since they run the same
 * hardware on the same grid. The same seed gives the same band.
 */
export function savingBand(
  own: Burden,
  shared: Burden,
  carbon: Carbon,
  uncertainty: Uncertainty,
  { draws = 2000, seed = 42 } = {},
): Band {
  const random = seededRandom(seed);
  const factor = (relative: number) =>
    Math.exp(relative * probit(Math.min(1 - 1e-9, Math.max(1e-9, random()))));
  const percents: number[] = [];
  for (let draw = 0; draw < draws; draw++) {
    const idle = factor(uncertainty.idlePower);
    const dynamic = factor(uncertainty.dynamicPower);
    const embodied = factor(uncertainty.embodied);
    const ownWork = uncertainty.ownWork ? factor(uncertainty.ownWork) : 1;
    const drawn = {
      intensity: carbon.intensity * factor(uncertainty.intensity),
      pue: uncertainty.pue
        ? uncertainty.pue.low + (uncertainty.pue.high - uncertainty.pue.low) * random()
        : carbon.pue,
    };
    const drawOf = (burden: Burden, work = 1): Burden => ({
      idleWh: burden.idleWh * idle,
      dynamicWh: burden.dynamicWh * dynamic * work,
      embodiedG: burden.embodiedG * embodied,
    });
    const { percent } = saving(drawOf(own, ownWork), drawOf(shared), drawn);
    if (percent !== null) percents.push(percent);
  }
  if (percents.length === 0)
    return { lowPercent: null, highPercent: null, distinguishable: gramsOf(shared, carbon) > 0 };
  const lowPercent = quantile(percents, 0.05);
  const highPercent = quantile(percents, 0.95);
  return { lowPercent, highPercent, distinguishable: lowPercent > 0 || highPercent < 0 };
}

/** mulberry32: small and repeatable; nothing secret depends on it. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
