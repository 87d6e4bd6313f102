import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import { Residency, type ResidencyOptions, Resident, type Stay } from './residency.ts';
import type { Replica, ReplicaSpec } from './runner/replica.ts';

/** A runner that takes a while to load, and counts what it holds. */
class SlowRunner {
  readonly loads: string[] = [];
  readonly held = new Set<string>();
  fails: CommonwattError | undefined;
  delayMs = 5;
  /** Bytes that a copy grows the runner by, by name; else as the artifact. */
  readonly grows = new Map<string, number>();

  async load(spec: ReplicaSpec): Promise<Replica> {
    this.loads.push(spec.name);
    await sleep(this.delayMs);
    if (this.fails) throw this.fails;
    this.held.add(spec.name);
    const memoryBytes = this.grows.get(spec.name) ?? 0;
    return {
      ready: true,
      load: { state: 'loaded', reason: null, memoryBytes },
      runnerPids: [1],
      parallelism: 1,
      run: () => Promise.reject(new Error('nothing is computed here')),
      runAlone: () => Promise.reject(new Error('nothing is computed here')),
      unload: async () => {
        await sleep(1);
        this.held.delete(spec.name);
      },
    };
  }
}

const closing: Residency[] = [];
afterEach(() => {
  for (const residency of closing.splice(0)) residency.close();
});

function setUp(options: Partial<ResidencyOptions> = {}) {
  const runners = new SlowRunner();
  const residency = new Residency({
    runners,
    budgetBytes: 300,
    loadTimeoutMs: 200,
    log: { info() {}, error() {} },
    onChange() {},
    ...options,
  });
  closing.push(residency);
  return { runners, residency };
}

function resident(name: string, stay: Partial<Stay> = {}): Resident {
  return new Resident({
    spec: {
      versionId: name,
      name,
      bytes: async () => new Uint8Array(),
      threads: undefined,
      executionProviders: ['cpu'],
      replicas: 1,
    },
    artifactBytes: 100,
    pinned: false,
    idleUnloadS: null,
    warmUp: async () => {},
    pending: () => 0,
    onUnloaded() {},
    ...stay,
  });
}

const names = (residency: Residency) => [...residency.loaded].map(({ stay }) => stay.spec.name).sort();

describe('residency', () => {
  it('loads once, however many ask at the same time', async () => {
    const { runners, residency } = setUp();
    const one = resident('one');
    const replicas = await Promise.all([1, 2, 3].map(() => residency.load(one)));
    expect(new Set(replicas).size).toBe(1);
    expect(runners.loads).toEqual(['one']);
    expect(residency.wake(one)).toBeUndefined();
  });

  it('unloads whoever was used least recently when memory is wanted', async () => {
    const { residency } = setUp();
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => resident(name));
    if (!a || !b || !c || !d) throw new Error('four');
    for (const each of [a, b, c]) await residency.load(each);
    residency.used(a);
    await residency.load(d);
    expect(names(residency)).toEqual(['a', 'c', 'd']);
    expect(b.state).toMatchObject({ state: 'unloaded', memoryBytes: 0 });
    expect(residency.heldBytes).toBe(300);
  });

  it('never unloads what is pinned or has a request, and says so when nothing can go', async () => {
    const { residency } = setUp();
    await residency.load(resident('pinned', { pinned: true, artifactBytes: 150 }));
    let pending = 1;
    const busy = resident('busy', { artifactBytes: 150, pending: () => pending });
    await residency.load(busy);
    const wanted = resident('wanted');
    await expect(residency.load(wanted)).rejects.toMatchObject({ code: 'NOT_READY', retryAfterS: 5 });
    // That others are in use is no failure of this one: the next request tries again.
    expect(wanted.state.state).toBe('unloaded');
    const waiting = residency.load(wanted);
    await sleep(30);
    pending = 0;
    await waiting;
    expect(names(residency)).toEqual(['pinned', 'wanted']);
  });

  it('refuses what can never fit, with figures', async () => {
    const { runners, residency } = setUp({ budgetBytes: 300 * 2 ** 20 });
    await residency.load(resident('pinned', { pinned: true, artifactBytes: 100 * 2 ** 20 }));
    const giant = resident('giant', { artifactBytes: 250 * 2 ** 20 });
    await expect(residency.load(giant)).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      message:
        'giant needs about 250 MiB; the memory budget for models is 300 MiB, of which pinned models hold 100 MiB',
    });
    expect(runners.loads).toEqual(['pinned']);
  });

  it('counts what the runner grew by when that is more than the artifact, and makes others leave for it', async () => {
    const { runners, residency } = setUp();
    const [a, b] = [resident('a'), resident('b')];
    await residency.load(a);
    runners.grows.set('b', 250);
    await residency.load(b);
    await sleep(20);
    expect(names(residency)).toEqual(['b']);
    expect(residency.heldBytes).toBe(250);
    // Known from now on, before it is loaded again.
    await residency.unload(b);
    await residency.load(a);
    await residency.load(b);
    expect(names(residency)).toEqual(['b']);
  });

  it('waits for a load no longer than it may, and the load goes on', async () => {
    const { runners, residency } = setUp({ loadTimeoutMs: 20 });
    runners.delayMs = 60;
    const slow = resident('slow');
    await expect(residency.wake(slow)).rejects.toMatchObject({ code: 'NOT_READY', status: 503 });
    await sleep(80);
    expect(residency.wake(slow)).toBeUndefined();
    expect(runners.loads).toEqual(['slow']);
  });

  it('does not try a broken model again for each request, and tells why', async () => {
    const { runners, residency } = setUp();
    runners.fails = new CommonwattError('CORRUPT_MODEL', 'no graph');
    const broken = resident('broken');
    for (let request = 0; request < 3; request++)
      await expect(residency.wake(broken)).rejects.toMatchObject({ code: 'CORRUPT_MODEL' });
    expect(runners.loads).toHaveLength(1);
    expect(broken.answers).toBe(false);
    expect(broken.state).toEqual({ state: 'failed', reason: 'no graph', memoryBytes: 0 });
    expect(residency.heldBytes).toBe(0);
    runners.fails = new CommonwattError('QUARANTINED', 'it crashed three times');
    await expect(residency.load(broken)).rejects.toThrow();
    expect(broken.state.state).toBe('quarantined');
    runners.fails = undefined;
    await residency.load(broken);
    expect(broken.state.state).toBe('loaded');
  });

  it('holds nothing of a version whose warm-up fails', async () => {
    const { runners, residency } = setUp();
    const cold = resident('cold', {
      warmUp: () => Promise.reject(new CommonwattError('CORRUPT_MODEL', 'no')),
    });
    await expect(residency.load(cold)).rejects.toMatchObject({ code: 'CORRUPT_MODEL' });
    expect([runners.held.size, residency.heldBytes]).toEqual([0, 0]);
  });

  it('unloads after the idle time, and comes back with the next request', async () => {
    const { runners, residency } = setUp();
    const idle = resident('idle', { idleUnloadS: 1 });
    const kept = resident('kept', { idleUnloadS: 1, pinned: true });
    await Promise.all([residency.load(idle), residency.load(kept)]);
    for (let tries = 0; idle.replica; tries++) {
      if (tries > 100) throw new Error('it stays');
      await sleep(50);
    }
    expect(names(residency)).toEqual(['kept']);
    await residency.wake(idle);
    expect(names(residency)).toEqual(['idle', 'kept']);
    expect(runners.loads).toEqual(['idle', 'kept', 'idle']);
  });

  it('stays within its budget whatever is asked, and gives everything back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(7), fc.integer({ min: 0, max: 3 })), { minLength: 1, maxLength: 60 }),
        async (steps) => {
          const { runners, residency } = setUp({ budgetBytes: 1000, loadTimeoutMs: 30_000 });
          runners.delayMs = 0;
          const all = Array.from({ length: 8 }, (_, n) =>
            resident(`m${n}`, { artifactBytes: 100 + 100 * n }),
          );
          const work = steps.map(async ([n, pause]) => {
            await sleep(pause);
            const one = all[n];
            if (one) await residency.load(one);
            expect(residency.heldBytes).toBeLessThanOrEqual(1000);
          });
          await Promise.all(work);
          const held = [...residency.loaded].reduce((sum, { heldBytes }) => sum + heldBytes, 0);
          expect(residency.heldBytes).toBe(held);
          for (const each of all) await residency.discard(each);
          expect([runners.held.size, residency.heldBytes]).toEqual([0, 0]);
        },
      ),
      { numRuns: 30 },
    );
  });
});
