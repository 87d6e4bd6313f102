import { describe, expect, it } from 'vitest';
import { Quarantine, quarantinedError } from './quarantine.ts';

const minute = 60_000;

function quarantineAt() {
  const clock = { now: Date.parse('2026-01-01T00:00:00Z') };
  return { clock, quarantine: new Quarantine(() => clock.now) };
}

describe('quarantine', () => {
  it('begins at the third death within five minutes and ends after a minute', () => {
    const { clock, quarantine } = quarantineAt();
    expect(quarantine.strike('v', 'signal SIGSEGV')).toBe(false);
    clock.now += minute;
    expect(quarantine.strike('v', 'signal SIGSEGV')).toBe(false);
    expect(quarantine.of('v')).toBeUndefined();
    clock.now += minute;
    expect(quarantine.strike('v', 'signal SIGABRT')).toBe(true);
    const found = quarantine.of('v');
    expect(found).toEqual({
      why: 'signal SIGABRT',
      since: new Date('2026-01-01T00:02:00Z'),
      until: new Date('2026-01-01T00:03:00Z'),
    });
    expect(found && quarantinedError('acme/m:1', found).message).toBe(
      'acme/m:1 is not served since 2026-01-01T00:02:00.000Z: the process that computes it kept ending (signal SIGABRT)',
    );
    expect(quarantine.of('other')).toBeUndefined();
    clock.now += minute;
    expect(quarantine.of('v')).toBeUndefined();
  });

  it('does not begin for deaths that are far apart', () => {
    const { clock, quarantine } = quarantineAt();
    for (let death = 0; death < 20; death++) {
      expect(quarantine.strike('v', 'crash')).toBe(false);
      clock.now += 2.6 * minute;
    }
  });

  it('takes twice as long each time, at the first death after it, up to an hour', () => {
    const { clock, quarantine } = quarantineAt();
    quarantine.strike('v', 'crash');
    quarantine.strike('v', 'crash');
    for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
      expect(quarantine.strike('v', 'crash')).toBe(true);
      clock.now += minutes * minute - 1;
      expect(quarantine.of('v')).toBeDefined();
      expect(quarantine.suspect('v')).toBe(true);
      clock.now += 1;
      expect(quarantine.of('v')).toBeUndefined();
    }
  });

  it('blames the request and not the version for a death alone, once others are answered', () => {
    const { quarantine } = quarantineAt();
    quarantine.strike('v', 'crash');
    for (let poison = 0; poison < 10; poison++) {
      expect(quarantine.strike('v', 'crash', { alone: true })).toBe(false);
      quarantine.answered('v', poison % 2 === 0);
    }
    quarantine.strike('v', 'crash', { alone: true });
    expect(quarantine.strike('v', 'crash', { alone: true })).toBe(true);
  });

  it('takes a death for an accident when all that it cost was then answered alone', () => {
    const { quarantine } = quarantineAt();
    for (let accident = 0; accident < 10; accident++) {
      expect(quarantine.strike('v', 'signal SIGBUS')).toBe(false);
      quarantine.answered('v', true);
      quarantine.answered('v', true);
    }
    // One request that kills each time, among others that are answered, in any order.
    for (let incident = 0; incident < 2; incident++) {
      expect(quarantine.strike('v', 'crash')).toBe(false);
      quarantine.answered('v', true);
      expect(quarantine.strike('v', 'crash', { alone: true })).toBe(false);
      quarantine.answered('v', true);
    }
    expect(quarantine.strike('v', 'crash')).toBe(true);
  });

  it('ends its probation with an answer, and at once with a pardon', () => {
    const { clock, quarantine } = quarantineAt();
    for (let death = 0; death < 3; death++) quarantine.strike('v', 'crash');
    clock.now += minute;
    quarantine.answered('v', false);
    expect(quarantine.suspect('v')).toBe(false);
    expect(quarantine.strike('v', 'crash')).toBe(false);
    for (let death = 0; death < 2; death++) quarantine.strike('v', 'crash');
    expect(quarantine.of('v')).toBeDefined();
    quarantine.pardon('v');
    expect(quarantine.of('v')).toBeUndefined();
    expect(quarantine.suspect('v')).toBe(false);
  });

  it('suspects a version that died while it was loaded, until it answers', () => {
    const { quarantine } = quarantineAt();
    quarantine.strike('v', 'crash', { loading: true });
    expect(quarantine.suspect('v')).toBe(true);
    quarantine.answered('v', false);
    expect(quarantine.suspect('v')).toBe(false);
  });
});
