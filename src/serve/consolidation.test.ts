import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordAudit } from '../gate/audit.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { Consolidation, type ConsolidationParts } from './consolidation.ts';
import type { Live } from './live.ts';
import { defaultSettings, type GivenSettings } from './settings.ts';
import { countAnswer, countBatch, emptyStatistics, type ModelStatistics } from './statistics.ts';

const operator = { actor: 'platform/op', organisationId: 'org-platform' };
const minute = 60_000;
const mb = 2 ** 20;

let db: Db;
let nowMs: number;
/** What was done to deployments and runners. */
let did: string[];

beforeEach(async () => {
  db = await openDatabase(':memory:');
  nowMs = 0;
  did = [];
});
afterEach(() => db.destroy());

function live(name: string, statistics: ModelStatistics, settings: GivenSettings = {}): Live {
  const copies = settings.replicas ?? 1;
  return {
    id: name,
    use: { model: `acme/${name}`, version: 1 },
    served: { settings: { ...defaultSettings, ...settings } },
    routed: true,
    place: {
      statistics,
      holds: () => Array.from({ length: copies }, (_, pid) => ({ runnerPid: pid, memoryBytes: 50 * mb })),
    },
  } as unknown as Live;
}

function consolidation(lives: Live[], parts: Partial<ConsolidationParts> = {}): Consolidation {
  const process = (pid: number) => ({
    pid,
    kind: 'shared' as const,
    residentBytes: 0,
    computedS: 0,
    copies: [{ versionId: 'v', name: 'n', memoryBytes: 1 }],
  });
  return new Consolidation({
    db,
    deployments: {
      lives,
      unload: async (id) => {
        did.push(`unload ${id}`);
        return true;
      },
      change: async (id, given, by) => {
        did.push(`change ${id} ${JSON.stringify(given)} by ${by}`);
        return undefined as never;
      },
    },
    runners: {
      describe: () => ({
        processes: [process(1), process(2)],
        restarts: 0,
        threads: 1,
        memoryLimitBytes: 999 * mb,
      }),
      gather: async (count) => void did.push(`gather ${count}`),
    },
    mode: 'propose',
    maxBatchSize: 32,
    measure: async (fromMs, toMs) => ({
      gCo2ePerHour: fromMs < 10 * minute ? 20 : 12,
      energyWhPerHour: 30,
      rur: 0.1,
      requestsPerS: (toMs - fromMs) / minute,
    }),
    audit: recordAudit,
    log: { info() {}, error() {} },
    now: () => nowMs,
    ...parts,
  });
}

/** A hundred requests a minute, each 6 ms on its way and 2 ms of it computed. */
function work(statistics: ModelStatistics): void {
  for (let request = 0; request < 100; request++) {
    const times = { inputNs: 0, computeNs: 2e6, outputNs: 0 };
    countBatch(statistics, 1, times);
    countAnswer(statistics, 1, 6, times);
  }
}

/** Ten minutes in which only `busy` is asked. */
function watched(busy: ModelStatistics, of: Consolidation): void {
  for (let passed = 0; passed <= 10; passed++) {
    nowMs = passed * minute;
    if (passed > 0) work(busy);
    of.look();
  }
}

describe('consolidation', () => {
  it('proposes by what was counted, performs it, is audited, and takes it back', async () => {
    const busy = emptyStatistics();
    const lives = [live('busy', busy, { replicas: 2 }), live('idle', emptyStatistics())];
    const of = consolidation(lives);
    watched(busy, of);
    const proposal = await of.propose();
    expect(proposal.windowS).toBe(600);
    expect(proposal.steps.map(({ why: _why, ...step }) => step)).toEqual([
      { kind: 'replicas', id: 'busy', name: 'acme/busy:1', from: 2, to: 1 },
      { kind: 'unload', id: 'idle', name: 'acme/idle:1', freesBytes: 50 * mb },
      { kind: 'runners', from: 2, to: 1 },
    ]);
    // 1000 requests of 2 ms in 600 s, on two processes.
    expect(proposal.before.rur).toBeCloseTo((1000 * 0.002) / 600 / 2);
    expect(proposal.after.rur).toBeCloseTo((1000 * 0.002) / 600);
    await of.perform(operator);
    expect(did).toEqual(['change busy {"replicas":1} by platform/op', 'unload idle', 'gather 1']);
    await of.undo(operator);
    expect(did.slice(3)).toEqual(['change busy {"replicas":2} by platform/op', 'gather 2']);
    await expect(of.undo(operator)).rejects.toMatchObject({ code: 'CONFLICT' });
    const events = await db.selectFrom('audit_events').select(['actor', 'action']).execute();
    expect(events).toEqual([
      { actor: 'platform/op', action: 'consolidation.perform' },
      { actor: 'platform/op', action: 'consolidation.undo' },
    ]);
  });

  it('tells what was measured before and after, for the same length of time; also after a restart', async () => {
    const busy = emptyStatistics();
    const lives = [live('busy', busy), live('idle', emptyStatistics())];
    const of = consolidation(lives);
    watched(busy, of);
    await of.perform(operator);
    expect((await of.propose()).performed).toMatchObject({ before: null, after: null });
    nowMs += 7.5 * minute;
    const { performed } = await consolidation(lives).propose();
    expect(performed?.before).toMatchObject({ gCo2ePerHour: 20, requestsPerS: 6 });
    expect(performed?.after).toMatchObject({ gCo2ePerHour: 12, requestsPerS: 6 });
  });

  it('proposes nothing for what it has not watched for long, nor for what is pinned', async () => {
    const busy = emptyStatistics();
    const pinned = live('idle', emptyStatistics(), { pinned: true });
    const of = consolidation([live('busy', busy), pinned]);
    expect((await of.propose()).steps).toEqual([]);
    watched(busy, of);
    expect((await of.propose()).steps.map(({ kind }) => kind)).toEqual(['runners']);
  });

  it('says which step could not be taken', async () => {
    const busy = emptyStatistics();
    const lives = [live('busy', busy), live('idle', emptyStatistics())];
    const deployments = { lives, change: async () => undefined as never, unload: async () => false };
    const of = consolidation(lives, { deployments });
    watched(busy, of);
    const { performed } = await of.perform(operator);
    expect(performed?.skipped).toMatchObject([
      { step: { kind: 'unload' }, why: expect.stringContaining('used again') },
    ]);
  });

  it('that is off says so', async () => {
    const of = consolidation([], { mode: 'off' });
    await expect(of.propose()).rejects.toMatchObject({ code: 'NOT_SUPPORTED', hint: expect.any(String) });
    await expect(of.perform(operator)).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  });
});
