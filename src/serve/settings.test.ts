import { describe, expect, it } from 'vitest';
import { defaultSettings, effectiveSettings, mergeSettings, readSettings } from './settings.ts';

const server = { defaults: {}, maxBatchSize: 128 };

describe('settings of a deployment', () => {
  it('are the defaults, those of the server, then what is given', () => {
    expect(effectiveSettings({}, server)).toEqual(defaultSettings);
    const defaults = { idleUnloadS: 60, pinned: true, cache: { maxAgeS: 5 } };
    const settings = effectiveSettings({ pinned: false, cache: { enabled: false } }, { ...server, defaults });
    expect(settings).toMatchObject({ idleUnloadS: 60, pinned: false });
    expect(settings.cache).toEqual({ enabled: false, maxAgeS: 5, scope: 'organisation' });
  });

  it('that change keep the others, in the cache too', () => {
    const before = { maxBatchSize: 4, cache: { maxAgeS: 5 } };
    expect(mergeSettings(before, { pinned: true, cache: { enabled: false } })).toEqual({
      maxBatchSize: 4,
      pinned: true,
      cache: { maxAgeS: 5, enabled: false },
    });
    expect(mergeSettings({}, {})).toEqual({});
  });

  it('hold together: no batch is preferred or warmed up that is never computed', () => {
    const refused = (field: string) =>
      expect.objectContaining({ code: 'INVALID_REQUEST', where: `settings.${field}` });
    const of = (given: object) => () => effectiveSettings(given, { ...server, maxBatchSize: 16 });
    expect(of({ warmUpBatchSizes: [1, 32] })).toThrow(refused('warmUpBatchSizes'));
    expect(of({ maxBatchSize: 32, warmUpBatchSizes: [1, 32] })).not.toThrow();
    expect(of({ preferredBatchSizes: [8, 4] })).toThrow(refused('preferredBatchSizes'));
    expect(of({ preferredBatchSizes: [4, 4] })).toThrow(refused('preferredBatchSizes'));
  });

  it('are read as they were kept, or not at all', () => {
    expect(readSettings('{"maxBatchSize":4}')).toEqual({ maxBatchSize: 4 });
    expect(() => readSettings('{"maxBatchSize":"4"}')).toThrow(/maxBatchSize/);
    expect(() => readSettings('{"warp":9}')).toThrow(/warp/);
  });
});
