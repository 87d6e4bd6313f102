/** The part of a report that compares sharing with everyone running their own. */
import {
  type BaselineId,
  type Burden,
  baselines,
  gramsOf,
  headlineBaseline,
  saving,
  savingBand,
  type Tenant,
} from './counterfactual.ts';
import type { TenantUse } from './report-queries.ts';
import type { ReportHost } from './reports.ts';

export interface SharingReport {
  headlineBaseline: BaselineId;
  savingGCo2e: number;
  savingPercent: number | null;
  /** 5th and 95th percentile of the saving, in percent. */
  low: number;
  high: number;
  distinguishable: boolean;
  shared: { carbonGCo2e: number; energyWh: number };
  baselines: {
    id: BaselineId;
    name: string;
    description: string;
    carbonGCo2e: number;
    energyWh: number;
    savingGCo2e: number;
    savingPercent: number | null;
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
}

/** Yearly averages differ from the hours of use, and embodied estimates from each other, by about this much. */
const intensityUncertainty = 0.1;
const embodiedUncertainty = 0.5;
const likelyPue = { low: 1, high: 1.6 };

export function sharingReport(input: SharingInput): SharingReport {
  const { host, windowH, shared } = input;
  const carbon = { pue: host.basis.pue.value, intensity: host.basis.intensity.value };
  const server = {
    idleW: host.idleW,
    maxW: input.effectiveMaxW,
    embodiedGPerH: input.embodiedGPerH,
    cpus: host.cpuCount,
    memoryBytes: host.memoryBytes,
  };
  const tenants = input.tenants.map(
    ({ id, cpuS, hours, modelIds }): Tenant => ({
      id,
      busyH: cpuS / host.cpuCount / 3600,
      activeH: Math.min(windowH, hours),
      memoryBytes: modelIds.reduce((sum, modelId) => sum + (host.memoryOfModels[modelId] ?? 0), 0),
    }),
  );
  const all = baselines({ windowH, server, tenants, shared });
  const headline = all.find(({ id }) => id === headlineBaseline)?.burden ?? shared;
  const { savingG, percent } = saving(headline, shared, carbon);
  const band = savingBand(headline, shared, carbon, {
    idlePower: host.uncertainty,
    dynamicPower: host.uncertainty,
    intensity: intensityUncertainty,
    embodied: embodiedUncertainty,
    pue: host.basis.pue.assumed ? likelyPue : null,
  });
  return {
    headlineBaseline,
    savingGCo2e: savingG,
    savingPercent: percent,
    low: band.lowPercent,
    high: band.highPercent,
    distinguishable: band.distinguishable,
    shared: { carbonGCo2e: gramsOf(shared, carbon), energyWh: shared.idleWh + shared.dynamicWh },
    baselines: all.map(({ id, name, description, burden }) => {
      const against = saving(burden, shared, carbon);
      return {
        id,
        name,
        description,
        carbonGCo2e: gramsOf(burden, carbon),
        energyWh: burden.idleWh + burden.dynamicWh,
        savingGCo2e: against.savingG,
        savingPercent: against.percent,
      };
    }),
    tenants: tenants.length,
    assumptions: [
      'every organisation would run the same model, at the same precision, on the same kind of server, grid and building',
      'each would need the same CPU time for its requests as it used here',
      'training and other processes of this host are on neither side; gateway and platform idle are counted as shared',
      'carbon includes embodied hardware; the saving is a difference in emissions, not an offset',
      'the band is the 5th to 95th percentile over idle and full-load power, intensity, embodied carbon and PUE',
    ],
  };
}
