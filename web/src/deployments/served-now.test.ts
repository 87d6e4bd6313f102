import { describe, expect, it } from 'vitest';
import type { Deployment, VersionCounts } from '../server/shapes.ts';
import { lastUse, reusedShare, servedNow } from './served-now.ts';

const deployment = (model: string, version: number, state: Deployment['state'] = 'ready'): Deployment => ({
  id: `${model}-${version}`,
  model,
  version,
  state,
  reason: null,
  memoryBytes: 0,
  settings: null,
  createdAt: '2026-11-01T00:00:00Z',
});

const counts = (version: string, success: number, hits: number): VersionCounts => ({
  name: 'acme/digits',
  version,
  last_inference: 1,
  inference_stats: { success: { count: success }, cache_hit: { count: hits } },
});

describe('the list of deployments', () => {
  it('puts what failed first, then goes by name and by newest version', () => {
    const listed = servedNow(
      [
        deployment('acme/digits', 1),
        deployment('acme/digits', 2),
        deployment('acme/zinc', 1, 'quarantined'),
        deployment('acme/apple', 1),
      ],
      [],
    );
    expect(listed.map(({ id }) => id)).toEqual([
      'acme/zinc-1',
      'acme/apple-1',
      'acme/digits-2',
      'acme/digits-1',
    ]);
  });

  it('gives each version its own counts, and none to those of other organisations', () => {
    const [two, one, other] = servedNow(
      [deployment('acme/digits', 1), deployment('acme/digits', 2), deployment('globex/digits', 1)],
      [counts('1', 4, 1), counts('2', 0, 0)],
    );
    expect([one?.counts?.version, two?.counts?.version, other?.counts]).toEqual(['1', '2', null]);
  });

  it('tells the part that was answered without computing, and nothing where nothing was answered', () => {
    expect(reusedShare(counts('1', 4, 1))).toBe(0.25);
    expect(reusedShare(counts('1', 0, 0))).toBeNull();
  });

  it('says when a model was last wanted', () => {
    const now = 100 * 86_400_000;
    expect(lastUse(0, now)).toBeNull();
    expect(lastUse(now + 5, now)).toBe('just now');
    expect(lastUse(now - 59_000, now)).toBe('just now');
    expect(lastUse(now - 60_000, now)).toBe('1 min ago');
    expect(lastUse(now - 7_200_000, now)).toBe('2 h ago');
    expect(lastUse(now - 3 * 86_400_000, now)).toBe('3 d ago');
  });
});
