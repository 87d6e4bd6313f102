/** Lines of the ledger as the outside sees them: filtered, a page at a time or all of them, to who may see them. */
import { sql } from 'kysely';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import { isVisible, type Scope } from './report-queries.ts';
import { type Head, readHeads } from './store/heads.ts';
import { findLine, type Position, readLines } from './store/lines.ts';
import type { Interval, Line } from './store/tally.ts';

export interface LineFilter {
  fromMs: number;
  toMs: number;
  scope: Scope;
  kind?: Head['kind'];
  outcome?: Head['outcome'];
  /** `org/model` or its id. */
  model?: string;
  version?: number;
  /** The consumer: its name or id. */
  tenant?: string;
  key?: string;
  job?: string;
}

/** On the wire. What is unknown is null; `whyUnknown` tells why. */
export interface LedgerLine {
  id: string;
  at: string;
  interval: string;
  kind: Head['kind'];
  note: string | null;
  outcome: Head['outcome'];
  attributionMethod: Head['attribution_method'];
  consumerId: string | null;
  consumer: string | null;
  ownerId: string | null;
  owner: string | null;
  modelId: string | null;
  model: string | null;
  version: number | null;
  keyId: string | null;
  memberId: string | null;
  grantId: string | null;
  jobId: string | null;
  runnerPid: number | null;
  node: string | null;
  rows: number;
  cpuSeconds: number;
  energyWh: number;
  idleShareWh: number;
  carbonGCo2e: number;
  embodiedGCo2e: number;
  waterL: number | null;
  avoidedWh: number;
  avoidedGCo2e: number;
  allocatedWh: number | null;
  allocatedGCo2e: number | null;
  allocatedEmbodiedGCo2e: number | null;
  quality: Interval['quality'];
  method: string;
  methodVersion: string;
  zone: string | null;
  signal: string | null;
  scope: string | null;
  intensityGPerKwh: number | null;
}

export interface LinePage {
  lines: LedgerLine[];
  /** Where the next page begins; null: there is nothing more. */
  cursor: string | null;
}

export const whyUnknown = {
  waterL: 'the water of its electricity was not known',
  allocatedWh: 'it was booked before what is reserved was kept',
  allocatedGCo2e: 'it was booked before what is reserved was kept',
  allocatedEmbodiedGCo2e: 'it was booked before what is reserved was kept',
  intensityGPerKwh: 'the intensity of its electricity was not kept',
} as const;

/** In the order in which they were metered, some thousand at a time. */
export async function* ledgerLines(
  db: Db,
  filter: LineFilter,
  after?: Position,
): AsyncGenerator<{ lines: LedgerLine[]; ends: Position[] }> {
  const chosen = await headsOf(db, filter);
  const heads = new Set(chosen.keys());
  if (heads.size === 0) return;
  for await (const { interval, lines, from } of readLines(db, { ...filter, heads }, after)) {
    const wire: LedgerLine[] = [];
    const ends: Position[] = [];
    for (const [index, line] of lines.entries()) {
      const head = chosen.get(line.head);
      if (!head) continue;
      wire.push(wireLine(line, head, interval, filter.scope));
      ends.push({ ...from, lines: from.lines + index + 1 });
    }
    if (wire.length > 0) yield { lines: wire, ends };
  }
}

/** Throws INVALID_REQUEST for a cursor that no page gave. */
export async function ledgerPage(
  db: Db,
  filter: LineFilter,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<LinePage> {
  const page: LinePage = { lines: [], cursor: null };
  let last: Position | undefined;
  for await (const { lines, ends } of ledgerLines(
    db,
    filter,
    cursor === undefined ? undefined : readCursor(cursor),
  )) {
    const room = limit - page.lines.length;
    if (room === 0) {
      page.cursor = last ? cursorText(last) : null;
      break;
    }
    page.lines.push(...lines.slice(0, room));
    last = ends[Math.min(room, ends.length) - 1];
    if (lines.length <= room) continue;
    page.cursor = last ? cursorText(last) : null;
    break;
  }
  return page;
}

/** Undefined: there is none, or not for this caller. */
export async function ledgerLine(db: Db, id: string, scope: Scope): Promise<LedgerLine | undefined> {
  const found = await findLine(db, id);
  if (!found || !isVisible(found.head, scope)) return undefined;
  return wireLine(found.line, found.head, found.interval, scope);
}

async function headsOf(db: Db, filter: LineFilter): Promise<Map<number, Head>> {
  const { scope } = filter;
  let query = db.selectFrom('ledger_heads').select('id');
  if (scope !== 'all')
    query = query.where((eb) =>
      eb.or([eb('consumer_id', '=', scope.organisationId), eb('owner_id', '=', scope.organisationId)]),
    );
  // Which of a consumer's keys or jobs it was is for the consumer alone.
  if (scope !== 'all' && (filter.key !== undefined || filter.job !== undefined))
    query = query.where('consumer_id', '=', scope.organisationId);
  if (filter.kind) query = query.where('kind', '=', filter.kind);
  if (filter.outcome) query = query.where('outcome', '=', filter.outcome);
  if (filter.version !== undefined) query = query.where('version', '=', filter.version);
  if (filter.key !== undefined) query = query.where('key_id', '=', filter.key);
  if (filter.job !== undefined) query = query.where('job_id', '=', filter.job);
  if (filter.model !== undefined)
    query = query.where(sql<boolean>`(model = ${filter.model} or model_id = ${filter.model})`);
  if (filter.tenant !== undefined)
    query = query.where(sql<boolean>`(consumer = ${filter.tenant} or consumer_id = ${filter.tenant})`);
  return readHeads(
    db,
    (await query.execute()).map(({ id }) => id),
  );
}

/** An owner sees which organisation used its model, never by which of its keys, people or jobs. */
function wireLine(line: Line, head: Head, interval: Interval, scope: Scope): LedgerLine {
  const own = scope === 'all' || head.consumer_id === scope.organisationId;
  return {
    id: line.id,
    at: new Date(line.at_ms).toISOString(),
    interval: line.interval_id,
    kind: head.kind,
    note: head.note,
    outcome: head.outcome,
    attributionMethod: head.attribution_method,
    consumerId: head.consumer_id,
    consumer: head.consumer,
    ownerId: head.owner_id,
    owner: head.owner,
    modelId: head.model_id,
    model: head.model,
    version: head.version,
    keyId: own ? head.key_id : null,
    memberId: own ? head.member_id : null,
    grantId: head.grant_id,
    jobId: own ? head.job_id : null,
    runnerPid: head.runner_pid,
    node: head.node,
    rows: line.rows,
    cpuSeconds: line.cpu_s,
    energyWh: line.energy_j / 3600,
    idleShareWh: line.idle_share_j / 3600,
    carbonGCo2e: line.carbon_g,
    embodiedGCo2e: line.embodied_g,
    waterL: line.water_l,
    avoidedWh: line.avoided_j / 3600,
    avoidedGCo2e: line.avoided_g,
    allocatedWh: line.allocated_j === null ? null : line.allocated_j / 3600,
    allocatedGCo2e: line.allocated_g,
    allocatedEmbodiedGCo2e: line.allocated_embodied_g,
    quality: interval.quality,
    method: interval.method,
    methodVersion: interval.method_version,
    zone: interval.zone,
    signal: interval.signal,
    scope: interval.scope,
    intensityGPerKwh: interval.intensity_g_per_kwh,
  };
}

function cursorText({ startMs, intervalId, lines }: Position): string {
  return Buffer.from(JSON.stringify([startMs, lines, intervalId])).toString('base64url');
}

function readCursor(text: string): Position {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Array.isArray(value)) {
      const [startMs, lines, intervalId] = value as unknown[];
      if (Number.isSafeInteger(startMs) && Number.isSafeInteger(lines) && typeof intervalId === 'string')
        return { startMs: Number(startMs), lines: Number(lines), intervalId };
    }
  } catch {
    // Told below.
  }
  throw new CommonwattError('INVALID_REQUEST', 'this cursor is of no page of the ledger', {
    where: 'cursor',
    hint: 'give the `cursor` of the page before, as it is, with the same filters',
  });
}
