import { quantity } from '../format.ts';
import type { ConsolidationStep } from '../server/shapes.ts';

const shrunk = { replicas: 'copies', threads: 'threads', maxBatchSize: 'rows in a batch' } as const;

export function stepText(step: ConsolidationStep): string {
  switch (step.kind) {
    case 'unload':
      return `Unload ${step.name}: frees ${quantity(step.freesBytes, 'B')}`;
    case 'runners':
      return `${step.from} → ${step.to} processes`;
    default:
      return `${step.name}, ${step.from} → ${step.to} ${shrunk[step.kind]}`;
  }
}

/** Null where one of the two is not known. */
export function change(before: number | null, after: number | null): number | null {
  return before === null || after === null ? null : after - before;
}
