/** The part of a report that compares sharing with everyone running their own. */
import {
  type BaselineId,
  type Burden,
  baselines,
  breakEvenInduced,
  gramsOf,
  headlineBaseline,
  type SharingFacts,
  saving,
  savingBand,
  type Tenant,
  type Uncertainty,
} from './counterfactual.ts';
import { type Decomposition, decompose } from './decomposition.ts';
import type { InstanceMemory } from './instance-memory.ts';
import { alone, type ServingInterval, type ServingModel, servingModel } from './own-instances.ts';
import { inducedPart } from './rebound.ts';
import type { TenantUse } from './report-queries.ts';
import type { ReportHost } from './reports.ts';

/** The middle, and where the truth is believed to be in 90 of 100 cases. */
interface Range {
  value: number;
  low: number;
  high: number;
}

/** Grams saved by each cause; they sum to the saving. */
type SavingByCause = Record<`${keyof Decomposition}GCo2e`, number>;

export interface SharingReport {
  headlineBaseline: BaselineId;
  savingGCo2e: number;
  savingPercent: number | null;
  /** 5th and 95th percentile of the saving, in percent; null as `savingPercent` is. */
  low: number | null;
  high: number | null;
  distinguishable: boolean;
  decomposition: SavingByCause;
  shared: { carbonGCo2e: number; energyWh: number; cpuSeconds: number; memoryBytes: number | null };
  /** What one own instance for each organisation, always on, would use: to be checked by experiment. */
  own: { instances: number; cpuSeconds: Range; energyWh: Range; memoryBytes: Range | null };
  /** Part of the demand that sharing caused: as assumed, and at which nothing would be saved (null: nothing is). */
  rebound: { assumedPart: number; breakEvenPart: number | null };
  baselines: {
    id: BaselineId;
    name: string;
    description: string;
    carbonGCo2e: number;
    energyWh: number;
    savingGCo2e: number;
    savingPercent: number | null;
    low: number | null;
    high: number | null;
    distinguishable: boolean;
    decomposition: SavingByCause;
  }[];
  tenants: number;
  assumptions: string[];
}

export interface SharingInput {
  host: ReportHost;
  windowH: number;
  effectiveMaxW: number;
  embodiedGPerH: number;
  tenants: readonly TenantUse[];
  shared: Burden;
  /** CPU time of all that serves, in the window. */
  servingCpuS: number;
  /** Some of its intervals, one by one. */
  intervals: readonly ServingInterval[];
}

/** Yearly averages differ from the hours of use, and embodied estimates from each other, by about this much. */
const intensityUncertainty = 0.1;
const embodiedUncertainty = 0.5;
const likelyPue = { low: 1, high: 1.6 };
/** 5th and 95th percentile of a normal distribution, in standard deviations. */
const band90 = 1.645;

export function sharingReport(input: SharingInput): SharingReport {
  const { host, shared } = input;
  const carbon = { pue: host.basis.pue.value, intensity: host.basis.intensity.value };
  const model = servingModel(input.intervals);
  const facts = factsOf(input, model);
  const uncertainty = uncertaintyOf(host, model);
  const all = baselines(facts).map(({ burden, ...about }) => {
    const { savingG, percent } = saving(burden, shared, carbon);
    // What one would call is this service itself: no own instance, whose work would have to be guessed.
    const guessed = about.id === 'B4' || about.id === 'B5' ? { ...uncertainty, ownWork: 0 } : uncertainty;
    const {
      lowPercent: low,
      highPercent: high,
      distinguishable,
    } = savingBand(burden, shared, carbon, guessed);
    return {
      ...about,
      carbonGCo2e: gramsOf(burden, carbon),
      energyWh: burden.idleWh + burden.dynamicWh,
      savingGCo2e: savingG,
      savingPercent: percent,
      low,
      high,
      distinguishable,
      decomposition: byCause(decompose({ ...burden, ...carbon }, { ...shared, ...carbon })),
      breakEven: breakEvenInduced({ savingG, percent }),
    };
  });
  const headline = all.find(({ id }) => id === headlineBaseline) ?? all[0];
  if (!headline) throw new Error('there is no baseline');
  return {
    headlineBaseline,
    savingGCo2e: headline.savingGCo2e,
    savingPercent: headline.savingPercent,
    low: headline.low,
    high: headline.high,
    distinguishable: headline.distinguishable,
    decomposition: headline.decomposition,
    shared: {
      carbonGCo2e: gramsOf(shared, carbon),
      energyWh: shared.idleWh + shared.dynamicWh,
      cpuSeconds: input.servingCpuS,
      memoryBytes: host.instance ? host.instance.now + host.instance.modelsBytes : null,
    },
    own: ownOf(facts, host.instance ?? null, model),
    rebound: { assumedPart: assumedPart(facts), breakEvenPart: headline.breakEven },
    baselines: all.map(({ breakEven: _, ...baseline }) => baseline),
    tenants: facts.tenants.length,
    assumptions: assumptionsOf(model),
  };
}

function factsOf(input: SharingInput, model: ServingModel | null): SharingFacts {
  const { host, windowH, intervals } = input;
  return {
    windowH,
    shared: input.shared,
    server: {
      idleW: host.idleW,
      maxW: input.effectiveMaxW,
      embodiedGPerH: input.embodiedGPerH,
      cpus: host.cpuCount,
      memoryBytes: host.memoryBytes,
      standingUse: (model?.standing ?? 0) / host.cpuCount,
    },
    tenants: input.tenants.map(
      ({ id, name, cpuS, hours, modelIds }): Tenant => ({
        id,
        busyH: ((model ? alone(model, intervals, id) : 1) * cpuS) / host.cpuCount / 3600,
        activeH: Math.min(windowH, hours),
        memoryBytes:
          modelIds.reduce((sum, modelId) => sum + (host.memoryOfModels[modelId] ?? 0), 0) +
          (host.instance?.now ?? 0),
        induced: host.rebound ? inducedPart(host.rebound, name) : 0,
      }),
    ),
  };
}

function uncertaintyOf(host: ReportHost, model: ServingModel | null): Uncertainty {
  return {
    idlePower: host.uncertainty,
    dynamicPower: host.uncertainty,
    intensity: intensityUncertainty,
    embodied: embodiedUncertainty,
    ...(model ? { ownWork: model.spread } : {}),
    pue: host.basis.pue.assumed ? likelyPue : null,
  };
}

function ownOf(
  { windowH, server, tenants }: SharingFacts,
  instance: InstanceMemory | null,
  model: ServingModel | null,
): SharingReport['own'] {
  const whole = tenants.filter(({ induced = 0 }) => induced < 1);
  const standingH = (server.standingUse ?? 0) * windowH;
  const busyH = whole.reduce((sum, tenant) => sum + tenant.busyH + standingH, 0);
  // Without a model of its costs, what was lost by running alone is not in the middle, and the range is wide.
  const spread = model?.spread ?? 0.5;
  const around = (value: number): Range => ({
    value,
    low: value * Math.exp(-band90 * spread),
    high: value * Math.exp(band90 * spread),
  });
  const dynamic = around((server.maxW - server.idleW) * busyH);
  const idleWh = whole.length * server.idleW * windowH;
  return {
    instances: whole.length,
    cpuSeconds: around(busyH * server.cpus * 3600),
    energyWh: { value: idleWh + dynamic.value, low: idleWh + dynamic.low, high: idleWh + dynamic.high },
    memoryBytes: instance && memoryRange(whole, instance),
  };
}

/** As much as this instance held at least and at most besides models, and the organisation's own models. */
function memoryRange(tenants: readonly Tenant[], instance: InstanceMemory): Range {
  const models = tenants.reduce(
    (sum, tenant) => sum + (tenant.memoryBytes - instance.now) * instance.heldPart,
    0,
  );
  const of = (bytes: number) => tenants.length * bytes + models;
  return { value: of((instance.low + instance.high) / 2), low: of(instance.low), high: of(instance.high) };
}

/** Weighted by what each uses. */
function assumedPart({ tenants }: SharingFacts): number {
  const busyH = tenants.reduce((sum, tenant) => sum + tenant.busyH, 0);
  const induced = tenants.reduce((sum, tenant) => sum + tenant.busyH * (tenant.induced ?? 0), 0);
  return busyH > 0 ? induced / busyH : 0;
}

function byCause(parts: Decomposition): SavingByCause {
  return {
    utilisationGCo2e: parts.utilisation,
    batchingGCo2e: parts.batching,
    pueGCo2e: parts.pue,
    gridGCo2e: parts.grid,
    embodiedGCo2e: parts.embodied,
  };
}

function assumptionsOf(model: ServingModel | null): string[] {
  return [
    'every organisation would run the same model, at the same precision, for the same latency, on the same kind of server, grid and building',
    model
      ? `alone, each would need the CPU time that ${model.intervals} intervals of this window imply: ${figure(model.perActiveS)} CPU·s for each second with requests and ${figure(model.perRequestS)} for each request`
      : 'each would need the same CPU time for its requests as it used here: too few intervals to tell what common batches spare',
    'training and other processes of this host are on neither side; gateway and platform idle are counted as shared',
    'demand that sharing itself caused saves nothing; how much there is, is declared (energy.rebound), not measured',
    'carbon includes embodied hardware; the saving is a difference in emissions, not an offset',
    'the bands are the 5th to 95th percentile over idle and full-load power, own CPU time, intensity, embodied carbon and PUE',
  ];
}

const figure = (value: number) => value.toPrecision(2);
