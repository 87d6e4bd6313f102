/** What happens to a server in a bad week, within seconds: deaths, moves, other settings, grants that come and go. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { GivenSettings } from '@commonwatt/client';
import { type House, runnerPids } from './house.ts';
import type { Tally } from './tally.ts';

export interface Done {
  kills: number;
  moves: number;
  changes: number;
  grants: number;
}

/** What is set for a moment, and what is set again afterwards. */
const changes: readonly [GivenSettings, GivenSettings][] = [
  [{ maxBatchSize: 1 }, { maxBatchSize: 64 }],
  [{ maxQueueDelayMs: 3 }, { maxQueueDelayMs: 'adaptive' }],
  [{ maxQueueDelayMs: 0 }, { maxQueueDelayMs: 'adaptive' }],
  [{ preferredBatchSizes: [8, 32] }, { preferredBatchSizes: [] }],
  [{ priorityLevels: 3 }, { priorityLevels: 1 }],
  [{ queueLimit: 6 }, { queueLimit: 1000 }],
  [{ queueTimeoutMs: 5 }, { queueTimeoutMs: null }],
  [{ cache: { enabled: false } }, { cache: { enabled: true } }],
  [{ cache: { scope: 'everyone' } }, { cache: { scope: 'organisation' } }],
  [{ replicas: 2 }, { replicas: 1 }],
  [
    { idleUnloadS: 1, maxQueueDelayMs: 1500 },
    { idleUnloadS: 600, maxQueueDelayMs: 'adaptive' },
  ],
];

/** `pace`: 1 is as busy as it gets, 2 half of that. Goes on until `signal`; what fails is a violation, since an owner may do all this at any time. */
export async function makeChaos(
  house: House,
  { tally, pace, signal }: { tally: Tally; pace: number; signal: AbortSignal },
): Promise<Done> {
  const done: Done = { kills: 0, moves: 0, changes: 0, grants: 0 };
  const each = async (pauseMs: number, act: () => Promise<void> | void) => {
    while (!signal.aborted) {
      await sleep(pace * pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        await act();
      } catch (error) {
        tally.violate(`chaos: ${error instanceof Error ? error.stack : error}`);
      }
    }
  };
  await Promise.all([
    each(4000, () => {
      const pids = runnerPids(house);
      const pid = pids[Math.trunc(Math.random() * pids.length)];
      if (pid === undefined) return;
      process.kill(pid, 'SIGKILL');
      done.kills++;
    }),
    each(250, async () => {
      await house.owner.models.setAlias('acme/line', 'best', 1 + (done.moves++ % 3));
    }),
    each(200, async () => {
      const ids = Object.values(house.deployments).flat();
      const id = ids[Math.trunc(Math.random() * ids.length)] ?? '';
      const [odd, usual] = changes[done.changes++ % changes.length] ?? [{}, {}];
      await house.owner.deployments.change(id, odd);
      await sleep(300);
      await house.owner.deployments.change(id, usual);
    }),
    each(700, async () => {
      await house.owner.grants.revoke('acme/words', house.wavering.id);
      await sleep(100);
      const { id } = await house.owner.grants.create('acme/words', {
        organisation: 'beta',
        permissions: ['infer'],
      });
      house.wavering.id = id;
      done.grants++;
    }),
  ]);
  return done;
}
