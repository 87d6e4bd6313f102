/**
 * Fewer, fuller runners: looks at what is served, proposes what may shrink, and performs it by what there is (settings,
 * unloading, moving copies), so that every step can be taken back.
 *
 * In: counters of deployments and processes. Out: a proposal with what it would free, and, once performed, what was
 * measured before and after. Promise: every step is audited, and none of it fails a request.
 */
import { randomUUID } from 'node:crypto';
import { CommonwattError } from '../errors.ts';
import type { AuditEvent } from '../gate/audit.ts';
import type { Db } from '../storage/db.ts';
import {
  type ConsolidationFacts,
  type ConsolidationPlan,
  type DeploymentFacts,
  planConsolidation,
  type Step,
} from './consolidation-plan.ts';
import type { Deployments } from './deployments.ts';
import type { Runners } from './runner/runners.ts';
import { latencyBounds, type ModelStatistics } from './statistics.ts';

export interface ConsolidationParts {
  db: Db;
  deployments: Pick<Deployments, 'lives' | 'change' | 'unload'>;
  runners: Pick<Runners, 'describe' | 'gather'>;
  mode: 'off' | 'propose' | 'perform';
  /** Of deployments that name none. */
  maxBatchSize: number;
  /** What the meter and the ledger say of a time; null: nothing is metered. */
  measure(fromMs: number, toMs: number): Promise<Measured | null>;
  audit(db: Db, event: AuditEvent): Promise<unknown>;
  log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  now?: () => number;
}

/** Of a time; per hour, so that times of different length compare. */
export interface Measured {
  gCo2ePerHour: number;
  energyWhPerHour: number;
  rur: number | null;
  requestsPerS: number;
}

/** What was performed last: enough to take it back, also after a restart. */
interface Performed {
  id: string;
  atMs: number;
  by: string;
  steps: Step[];
  /** Steps that could not be taken, with the reason. */
  skipped: { step: Step; why: string }[];
  undoneAtMs: number | null;
}

export interface Proposal extends ConsolidationPlan {
  mode: ConsolidationParts['mode'];
  /** Of how long a time it was made. */
  windowS: number;
  performed:
    | (Performed & { before: Measured | null; after: Measured | null; afterUnknown: string | null })
    | null;
}

interface Seen {
  atMs: number;
  requests: number;
  computeNs: number;
  steps: number;
  fullSteps: number;
  latencies: number[];
}

const lookEveryMs = 60_000;
const rememberedMs = 3_600_000;
/** After it was performed, processes end and caches warm up: that time is not measured. */
const settleMs = 90_000;
const setting = 'consolidation.performed';

/** Who performs: as the audit names them. */
export interface Performer {
  actor: string;
  organisationId: string;
}

const itself: Performer = { actor: 'server', organisationId: 'server' };

export class Consolidation {
  readonly #parts: ConsolidationParts;
  readonly #now: () => number;
  readonly #seen = new Map<string, Seen[]>();
  #timer: NodeJS.Timeout | undefined;
  #performing: Promise<unknown> = Promise.resolve();

  constructor(parts: ConsolidationParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  start(): void {
    if (this.#parts.mode === 'off') return;
    this.look();
    this.#timer = setInterval(() => {
      this.look();
      if (this.#parts.mode !== 'perform') return;
      this.perform(itself).catch((error: unknown) => {
        this.#parts.log.error({ err: error }, 'what was to be consolidated could not be');
      });
    }, lookEveryMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#performing.catch(() => undefined);
  }

  /** Remembers the counters as they are. */
  look(): void {
    const atMs = this.#now();
    const ids = new Set<string>();
    for (const { id, served, place } of this.#parts.deployments.lives) {
      ids.add(id);
      const most = served.settings.maxBatchSize ?? this.#parts.maxBatchSize;
      const kept = (this.#seen.get(id) ?? []).filter((seen) => atMs - seen.atMs <= rememberedMs);
      this.#seen.set(id, [...kept, seenOf(atMs, place.statistics, most)]);
    }
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
  }

  /** Throws NOT_SUPPORTED where it is off. */
  async propose(): Promise<Proposal> {
    const { mode } = this.#parts;
    if (mode === 'off')
      throw new CommonwattError('NOT_SUPPORTED', 'consolidation is off on this server', {
        hint: 'start it with COMMONWATT_CONSOLIDATION=propose or perform',
      });
    const facts = this.#facts();
    const performed = await this.#performed();
    return {
      ...planConsolidation(facts),
      mode,
      windowS: facts.windowS,
      performed: performed && { ...performed, ...(await this.#measured(performed.atMs)) },
    };
  }

  /** Takes every step of the present proposal that still can be taken. */
  perform(by: Performer): Promise<Proposal> {
    return this.#inTurn(async () => {
      const { steps } = planConsolidation(this.#facts());
      if (steps.length === 0) return;
      const done: Performed = {
        id: randomUUID(),
        atMs: this.#now(),
        by: by.actor,
        steps: [],
        skipped: [],
        undoneAtMs: null,
      };
      for (const { why: _why, ...step } of steps) {
        const problem = await this.#take(step, by.actor);
        if (problem === null) done.steps.push(step);
        else done.skipped.push({ step, why: problem });
      }
      await this.#keep(done, 'consolidation.perform', by);
      this.#parts.log.info({ steps: done.steps.length, skipped: done.skipped.length }, 'consolidated');
    });
  }

  /** Takes back what was performed last. Throws CONFLICT when there is nothing. */
  undo(by: Performer): Promise<Proposal> {
    return this.#inTurn(async () => {
      const performed = await this.#performed();
      if (!performed || performed.undoneAtMs !== null)
        throw new CommonwattError('CONFLICT', 'nothing was consolidated that could be taken back', {
          hint: 'see GET /api/v1/consolidation',
        });
      for (const step of performed.steps) {
        if (step.kind === 'unload') continue; // Its next request loads it again.
        await this.#take({ ...step, from: step.to, to: step.from }, by.actor);
      }
      await this.#keep({ ...performed, undoneAtMs: this.#now() }, 'consolidation.undo', by);
    });
  }

  async #inTurn(action: () => Promise<void>): Promise<Proposal> {
    await this.propose();
    const turn = this.#performing.catch(() => undefined).then(action);
    this.#performing = turn;
    await turn;
    return this.propose();
  }

  /** Null: done; else why it was not. */
  async #take(step: Step, by: string): Promise<string | null> {
    const { deployments, runners } = this.#parts;
    try {
      if (step.kind === 'unload')
        return (await deployments.unload(step.id)) ? null : 'it was used again in the meantime';
      if (step.kind === 'runners') await runners.gather(step.to);
      else await deployments.change(step.id, { [step.kind]: step.to }, by);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #facts(): ConsolidationFacts {
    const { deployments, runners, maxBatchSize } = this.#parts;
    const { processes, threads, memoryLimitBytes } = runners.describe();
    const nowMs = this.#now();
    const found: DeploymentFacts[] = [];
    for (const { id, use, served, place, routed } of deployments.lives) {
      const holds = place.holds();
      if (!routed) continue;
      const { settings } = served;
      const most = settings.maxBatchSize ?? maxBatchSize;
      const first = this.#seen.get(id)?.[0];
      found.push({
        id,
        name: `${use.model}:${use.version}`,
        pinned: settings.pinned,
        copies: holds.length,
        replicas: settings.replicas,
        minReplicas: settings.minReplicas ?? 1,
        memoryBytes: holds.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
        maxBatchSize: most,
        threads: Math.min(settings.threads ?? threads, threads),
        latencyObjectiveMs: settings.latencyObjectiveMs ?? null,
        ...between(first, seenOf(nowMs, place.statistics, most)),
      });
    }
    const shared = processes.filter(({ kind, copies }) => kind === 'shared' && copies.length > 0).length;
    return {
      windowS: Math.max(0, ...found.map(({ windowS }) => windowS)),
      deployments: found,
      runners: shared,
      runnerBytes: memoryLimitBytes,
    };
  }

  /** The same length of time before and after. */
  async #measured(atMs: number) {
    const { measure } = this.#parts;
    const lengthMs = Math.min(rememberedMs, this.#now() - atMs - settleMs);
    if (lengthMs < lookEveryMs)
      return { before: null, after: null, afterUnknown: 'it was performed just now' };
    const before = await measure(atMs - lengthMs, atMs);
    const after = await measure(atMs + settleMs, atMs + settleMs + lengthMs);
    return { before, after, afterUnknown: after ? null : 'nothing is metered' };
  }

  async #performed(): Promise<Performed | null> {
    const row = await this.#parts.db
      .selectFrom('settings')
      .select('value')
      .where('name', '=', setting)
      .executeTakeFirst();
    return row ? (JSON.parse(row.value) as Performed) : null;
  }

  async #keep(performed: Performed, action: string, by: Performer): Promise<void> {
    const value = JSON.stringify(performed);
    const { db, audit } = this.#parts;
    await db.transaction().execute(async (trx) => {
      await trx
        .insertInto('settings')
        .values({ name: setting, value })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
        .execute();
      const detail = { steps: performed.steps, skipped: performed.skipped.length };
      await audit(trx, { ...by, action, subject: performed.id, detail });
    });
  }
}

function seenOf(atMs: number, statistics: ModelStatistics | undefined, most: number): Seen {
  const seen: Seen = { atMs, requests: 0, computeNs: 0, steps: 0, fullSteps: 0, latencies: [] };
  if (!statistics) return seen;
  seen.requests = statistics.success.count + statistics.fail.count;
  seen.latencies = [...statistics.latencies];
  for (const [rows, { computeInfer }] of statistics.batches) {
    seen.computeNs += computeInfer.ns;
    seen.steps += computeInfer.count;
    if (rows >= most) seen.fullSteps += computeInfer.count;
  }
  return seen;
}

function between(first: Seen | undefined, last: Seen) {
  const seconds = first ? (last.atMs - first.atMs) / 1000 : 0;
  if (!first || seconds <= 0)
    return { windowS: 0, requestsPerS: 0, computeShare: 0, stepMs: null, p95Ms: null, fullSteps: 0 };
  const steps = last.steps - first.steps;
  const computeNs = last.computeNs - first.computeNs;
  return {
    windowS: seconds,
    requestsPerS: (last.requests - first.requests) / seconds,
    computeShare: computeNs / 1e9 / seconds,
    stepMs: steps > 0 ? computeNs / 1e6 / steps : null,
    p95Ms: p95(last.latencies.map((count, at) => count - (first.latencies[at] ?? 0))),
    fullSteps: steps > 0 ? (last.fullSteps - first.fullSteps) / steps : 0,
  };
}

/** The upper end of its class, ms: what is kept is never promised too well. Null: nothing was answered. */
function p95(counts: readonly number[]): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let seen = 0;
  const at = counts.findIndex((count) => {
    seen += count;
    return seen >= total * 0.95;
  });
  return (latencyBounds[at] ?? (latencyBounds.at(-1) ?? 30) * 2) * 1000;
}
