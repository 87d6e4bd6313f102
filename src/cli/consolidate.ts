/** `commonwatt consolidate`: fewer, fuller runners; shown, performed, or taken back. For the operator. */
import type { ConsolidationState, ConsolidationStep } from '@commonwatt/client';
import type { Command } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { showBytes } from './quantities.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  perform?: boolean;
  undo?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option('--perform', 'do what is proposed; no request fails for it')
    .option('--undo', 'take back what was performed last')
    .addHelpText('after', '\nExamples:\n  $ commonwatt consolidate\n  $ commonwatt consolidate --perform')
    .action(async (options: Options) => {
      if (options.perform && options.undo)
        throw new WrongUse('--perform and --undo were given at once', 'give one of them');
      const { consolidation } = connect(options, terminal);
      const state = options.perform
        ? await consolidation.perform()
        : options.undo
          ? await consolidation.undo()
          : await consolidation.get();
      answer(terminal, options.json, state, stateLines(state));
    });
}

export function stateLines({ steps, before, after, windowS, performed }: ConsolidationState): string[] {
  const minutes = Math.round(windowS / 60);
  const rur = (value: number | null) => (value === null ? '–' : `${(value * 100).toFixed(1)} %`);
  const shapes = table([
    ['', 'RUNNERS', 'COPIES', 'RESERVED', 'RUR'],
    ...[['now', before] as const, ['then', after] as const].map(([name, shape]) => [
      name,
      String(shape.runners),
      String(shape.copies),
      showBytes(shape.reservedBytes),
      rur(shape.rur),
    ]),
  ]);
  const proposed =
    steps.length === 0
      ? [`nothing to consolidate, by what was seen in ${minutes} min`]
      : [...table(steps.map((step) => [`  ${stepText(step)}`, step.why])), ...shapes];
  return [...proposed, ...(performed ? performedLines(performed) : [])];
}

function stepText(step: ConsolidationStep): string {
  if (step.kind === 'unload') return `unload ${step.name} (${showBytes(step.freesBytes)})`;
  if (step.kind === 'runners') return `runners ${step.from} → ${step.to}`;
  return `${step.name} ${step.kind} ${step.from} → ${step.to}`;
}

function performedLines(performed: NonNullable<ConsolidationState['performed']>): string[] {
  const { at, by, steps, skipped, undoneAt, before, after, afterUnknown } = performed;
  const figures = (name: string, measured: NonNullable<typeof before>) => [
    `  ${name}`,
    `${measured.gCo2ePerHour.toPrecision(3)} gCO2e/h`,
    `${measured.energyWhPerHour.toPrecision(3)} Wh/h`,
    `RUR ${measured.rur === null ? '–' : `${(measured.rur * 100).toFixed(1)} %`}`,
    `${measured.requestsPerS.toPrecision(3)} requests/s`,
  ];
  return [
    `performed ${at} by ${by}: ${steps.map(stepText).join(', ') || 'nothing'}`,
    ...skipped.map(({ step, why }) => `  not done: ${stepText(step)}: ${why}`),
    ...(undoneAt ? [`  taken back ${undoneAt}`] : []),
    ...(before && after ? table([figures('measured before', before), figures('measured after', after)]) : []),
    ...(afterUnknown ? [`  not measured yet: ${afterUnknown}`] : []),
  ];
}
