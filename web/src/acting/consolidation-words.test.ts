import { expect, it } from 'vitest';
import { change, stepText } from './consolidation-words.ts';

it('says each step', () => {
  expect(stepText({ kind: 'unload', id: 'd', name: 'acme/iris:1', freesBytes: 2e6 })).toBe(
    'Unload acme/iris:1: frees 2\u00a0MB',
  );
  expect(stepText({ kind: 'replicas', id: 'd', name: 'acme/iris:1', from: 3, to: 1 })).toBe(
    'acme/iris:1, 3 → 1 copies',
  );
  expect(stepText({ kind: 'runners', from: 2, to: 1 })).toBe('2 → 1 processes');
});

it('knows no difference to what is unknown', () => {
  expect(change(2, 3.5)).toBe(1.5);
  expect(change(null, 3)).toBeNull();
  expect(change(2, null)).toBeNull();
});
