/** An impact report for people. Every figure says how it is known; what is unknown says why; losses are shown. */
import type { Figure, ImpactReport } from '@commonwatt/client';
import { betterLines, savingLines, useLines } from './impact-details.ts';
import { showCarbon, showEnergy, showPercent, showWater, significant } from './quantities.ts';
import { table } from './terminal.ts';

export function impactLines(report: ImpactReport): string[] {
  const { consumption, avoided, supply, split, impact, rur } = report;
  return [
    `Impact ${report.from} … ${report.to}`,
    `  ${report.quality} by ${report.method}; grid ${report.zone} ${significant(report.intensityGPerKwh.value)} gCO2e/kWh (${report.intensityGPerKwh.kind}, ${report.intensityGPerKwh.source}); PUE ${report.pue.value}${report.pue.assumed ? ' (assumed)' : ''}`,
    'Consumption',
    `  ${showEnergy(consumption.energyWh)}, ${showCarbon(consumption.carbonGCo2e)}, embodied ${showCarbon(consumption.embodiedGCo2e)}, water ${showWater(consumption.waterL)}`,
    `  ${consumption.requests} requests, ${consumption.jobs} jobs`,
    ...reservedLines(consumption),
    ...(avoided.requests > 0
      ? [
          `  avoided by using answers again (${avoided.quality}): ${showEnergy(avoided.energyWh)}, ${showCarbon(avoided.carbonGCo2e)}, ${avoided.requests} requests`,
        ]
      : []),
    'Where the energy of the platform went',
    ...table(
      (
        [
          ['requests', split.requestsWh],
          ['jobs', split.jobsWh],
          ['idle', split.idleWh],
          ['overhead', split.overheadWh],
          ['unattributed', split.unattributedWh],
          ['meter', split.meterWh],
        ] as const
      ).map(([name, wh]) => [`  ${name}`, showEnergy(wh), share(wh, split.meterWh)]),
    ),
    'Supply and utilisation of the platform',
    `  ${significant(supply.cpuSeconds)} CPU s, ${significant(supply.memoryGbSeconds)} GB s, ${showEnergy(supply.energyWh)}`,
    `  RUR ${showPercent(rur.headline)}  (CPU ${showPercent(rur.cpu.usedOverSupplied)}, memory ${showPercent(rur.memory.usedOverSupplied)})`,
    ...useLines(rur),
    'Impact f(RUR)',
    `  ${showCarbon(impact.totalGCo2e)} in total; booked for a request ${showCarbon(impact.perRequestGCo2e)} and ${showEnergy(impact.perRequestWh)}`,
    ...operatingLine(impact),
    ...betterLines(impact),
    'Sharing against everyone running their own',
    ...sharingLines(report),
    ...groupLines(report),
    ...Object.entries(report.unknown).map(([field, why]) => `unknown: ${field}: ${why}`),
    ...report.notes.map((note) => `note: ${note}`),
  ];
}

function reservedLines({ allocated, waste, whPerRequest }: ImpactReport['consumption']): string[] {
  return [
    ...(allocated && waste
      ? [
          `  reserved ${showEnergy(allocated.energyWh)}, ${showCarbon(allocated.carbonGCo2e)}; of it neither requests nor jobs used ${showEnergy(waste.energyWh)}, ${showCarbon(waste.carbonGCo2e)}`,
        ]
      : []),
    ...(whPerRequest
      ? [
          `  an inference: half of them up to ${showEnergy(whPerRequest.p50)}, 90 % ${showEnergy(whPerRequest.p90)}, 99 % ${showEnergy(whPerRequest.p99)}`,
        ]
      : []),
  ];
}

/** Both figures are the platform's, with all that stands ready: never beside what was booked for one request. */
function operatingLine({ operatingPoint, atFullUtilisationGCo2e }: ImpactReport['impact']): string[] {
  if (!operatingPoint) return [];
  const { utilisation, gCo2ePerRequest } = operatingPoint;
  return [
    `  with all that stands ready, a request of the platform costs ${showCarbon(gCo2ePerRequest)} at ${showPercent(utilisation)} use of its CPUs, and would cost ${showCarbon(atFullUtilisationGCo2e)} at full use`,
  ];
}

function sharingLines({ sharing }: ImpactReport): string[] {
  const baseline = sharing.baselines.find(({ id }) => id === sharing.headlineBaseline);
  const costs = sharing.savingGCo2e !== null && sharing.savingGCo2e < 0;
  const amount = costs && sharing.savingGCo2e !== null ? -sharing.savingGCo2e : sharing.savingGCo2e;
  const percent = (value: Figure) => showPercent(value === null ? null : value / 100);
  return [
    `  ${costs ? 'costs' : 'saves'} ${showCarbon(amount)} (${percent(sharing.savingPercent)}; 5–95 %: ${percent(sharing.low)} … ${percent(sharing.high)}) against ${sharing.headlineBaseline}${baseline ? `, ${baseline.name}` : ''}${sharing.distinguishable ? '' : ': not distinguishable from 0'}`,
    ...table(
      sharing.baselines.map(({ id, name, carbonGCo2e, savingPercent }) => [
        `  ${id}`,
        name,
        showCarbon(carbonGCo2e),
        percent(savingPercent),
      ]),
    ),
    ...savingLines(sharing),
  ];
}

function groupLines({ groups }: ImpactReport): string[] {
  if (groups.length === 0) return [];
  return [
    'Groups',
    ...table([
      ['  WHO', 'REQUESTS', 'ENERGY', 'OF IT IDLE', 'CARBON', 'HALF UP TO', '99 % UP TO', 'SETTLED'],
      ...groups.map((group) => [
        `  ${group.key}`,
        String(group.requests),
        showEnergy(group.energyWh),
        showEnergy(group.idleShareWh),
        showCarbon(group.carbonGCo2e),
        group.whPerRequest ? showEnergy(group.whPerRequest.p50) : '',
        group.whPerRequest ? showEnergy(group.whPerRequest.p99) : '',
        group.settled === null ? '' : group.settled ? 'yes' : 'no',
      ]),
    ]),
  ];
}

const share = (part: Figure, whole: Figure) =>
  part !== null && whole !== null && whole > 0 ? showPercent(part / whole) : '';
