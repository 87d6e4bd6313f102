/** Parts of the impact report for people: who used how much of the supply, where a saving comes from, what would be better. */
import type { Figure, ImpactReport, Range, SavingByCause } from '@commonwatt/client';
import { showBytes, showCarbon, showEnergy, showPercent, significant } from './quantities.ts';
import { table } from './terminal.ts';

/** More are in --json. */
const shownAtMost = 10;

export function useLines({ accelerator, goodput, nodes, models, tenants }: ImpactReport['rur']): string[] {
  return [
    ...(accelerator
      ? [
          `  accelerators ${showPercent(accelerator.usedOverSupplied)}: ${showPercent(accelerator.usedOverReserved)} of what is reserved, ${showPercent(accelerator.reservedOverSupplied)} reserved`,
        ]
      : []),
    `  goodput ${showPercent(goodput.usedOverSupplied)} of the supply, ${showPercent(goodput.partOfUsed)} of what was used`,
    ...parts(
      nodes.length > 1 ? nodes : [],
      ['  NODE', 'RUR', 'CPU', 'MEMORY'],
      ({ node, headline, cpu, memory }) => [
        node,
        showPercent(headline),
        showPercent(cpu.usedOverSupplied),
        showPercent(memory.usedOverSupplied),
      ],
    ),
    ...parts(
      models,
      ['  MODEL', 'CPU', 'MEMORY RESERVED', 'OF IT USED', 'GOODPUT'],
      ({ model, cpu, memory, goodputOverSupplied }) => [
        model,
        showPercent(cpu.usedOverSupplied),
        showPercent(memory.reservedOverSupplied),
        showPercent(memory.usedOverReserved),
        showPercent(goodputOverSupplied),
      ],
    ),
    ...parts(
      tenants,
      ['  TENANT', 'CPU', 'OF WHAT WAS USED', 'GOODPUT'],
      ({ tenant, cpuOverSupplied, partOfUsed, goodputOverSupplied }) => [
        tenant,
        showPercent(cpuOverSupplied),
        showPercent(partOfUsed),
        showPercent(goodputOverSupplied),
      ],
    ),
  ];
}

function parts<Part>(
  all: readonly Part[],
  heading: string[],
  cells: (part: Part) => [string, ...string[]],
): string[] {
  if (all.length === 0) return [];
  const rows = all.slice(0, shownAtMost).map((part) => {
    const [name, ...rest] = cells(part);
    return [`  ${name}`, ...rest];
  });
  return [
    ...table([heading, ...rows]),
    ...(all.length > shownAtMost ? [`  and ${all.length - shownAtMost} more: --json`] : []),
  ];
}

export function betterLines({ function: f, best, sloSafe }: ImpactReport['impact']): string[] {
  return [
    `  f(u) = ${f.formula} (${f.kind})`,
    ...(best
      ? [`  least at ${showPercent(best.utilisation)} use: ${showCarbon(best.gCo2ePerRequest)} a request`]
      : []),
    ...(sloSafe
      ? [
          `  least that keeps the latency: ${showPercent(sloSafe.utilisation)} use, ${showCarbon(sloSafe.gCo2ePerRequest)} a request; ${sloSafe.model} answers 95 % within ${significant(sloSafe.p95Ms)} of ${significant(sloSafe.objectiveMs)} ms there (${sloSafe.method}); saves ${showCarbon(sloSafe.savingGCo2ePerHour)} an hour`,
        ]
      : []),
  ];
}

const causes: readonly (readonly [keyof SavingByCause, string])[] = [
  ['utilisationGCo2e', 'idle power shared'],
  ['batchingGCo2e', 'CPU time in common batches'],
  ['pueGCo2e', 'building'],
  ['gridGCo2e', 'grid'],
  ['embodiedGCo2e', 'hardware'],
];

export function savingLines({ decomposition, own, rebound }: ImpactReport['sharing']): string[] {
  const range = ({ value, low, high }: Range, show: (value: number) => string) =>
    `${show(value)} (${show(low)} … ${show(high)})`;
  const rows = causes.map(([cause, name]) => [`  ${name}`, signed(decomposition[cause])]);
  return [
    '  the saving comes from',
    ...table(rows.map(([name = '', amount = '']) => [`  ${name}`, amount])),
    ...(own.instances > 0
      ? [
          `  ${own.instances} instances of their own would use (5–95 %) ${range(own.cpuSeconds, (s) => `${significant(s)} CPU s`)}, ${range(own.energyWh, showEnergy)}${own.memoryBytes ? `, ${range(own.memoryBytes, showBytes)}` : ''}`,
        ]
      : []),
    `  demand that sharing caused: ${showPercent(rebound.assumedPart, 0)} assumed${rebound.breakEvenPart === null ? '' : `; at ${showPercent(rebound.breakEvenPart)} nothing would be saved`}`,
  ];
}

function signed(grams: Figure): string {
  return grams !== null && grams > 0 ? `+${showCarbon(grams)}` : showCarbon(grams);
}
