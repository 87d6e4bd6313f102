/** What reports ask of the ledger. Sums are made by the database; an interval belongs to the window it starts in. */
import { type Expression, type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import type { Db, Schema } from '../storage/db.ts';
import type { Footprint } from './energy.ts';
import type { ReportGroup } from './reports.ts';

export type GroupBy = 'model' | 'tenant' | 'kind' | 'version' | 'key';
/** Entries an organisation consumed or whose model it owns, or everything (for the operator). */
export type Scope = { organisationId: string } | 'all';

export interface Window {
  fromMs: number;
  toMs: number;
}

export interface Sums {
  energyJ: number;
  idleShareJ: number;
  carbonG: number;
  embodiedG: number;
  /** Null: unknown for at least one of them. */
  waterL: number | null;
  cpuS: number;
  /** Not used: avoided by reusing answers. */
  avoidedJ: number;
  avoidedG: number;
}

type EntryBuilder = ExpressionBuilder<Schema, 'ledger_entries'>;

/** An inference is one entry; an explanation has one in each interval that it computed in. */
const requestCount = sql<number>`coalesce(sum(kind = 'inference'), 0) + count(distinct case when kind in ('explanation', 'evaluation') then substr(id, 1, instr(id, '~') - 1) end)`;

export async function readIntervals(db: Db, { fromMs, toMs }: Window) {
  const rows = await db
    .selectFrom('ledger_intervals')
    .where('start_ms', '>=', fromMs)
    .where('start_ms', '<', toMs)
    .groupBy(['quality', 'method', 'method_version'])
    .select(({ fn }) => [
      'quality',
      'method',
      'method_version',
      fn.countAll<number>().as('count'),
      fn.sum<number>('energy_j').as('energy_j'),
      fn.sum<number>('cpu_s_supplied').as('cpu_s_supplied'),
      fn.sum<number>('cpu_s_used').as('cpu_s_used'),
      fn.sum<number>('cpu_s_other').as('cpu_s_other'),
      fn.sum<number>('memory_gbs_supplied').as('memory_supplied'),
      fn.sum<number>('memory_gbs_reserved').as('memory_reserved'),
      fn.sum<number>('memory_gbs_used').as('memory_used'),
    ])
    .execute();
  const total = (pick: (row: (typeof rows)[number]) => number) =>
    rows.reduce((sum, row) => sum + Number(pick(row)), 0);
  const qualities: Footprint['quality'][] = rows.map(({ quality }) => quality);
  return {
    count: total((row) => row.count),
    energyJ: total((row) => row.energy_j),
    cpuSSupplied: total((row) => row.cpu_s_supplied),
    cpuSUsed: total((row) => row.cpu_s_used),
    cpuSOther: total((row) => row.cpu_s_other),
    memorySupplied: total((row) => row.memory_supplied),
    memoryReserved: total((row) => row.memory_reserved),
    memoryUsed: total((row) => row.memory_used),
    qualities,
    methods: [...new Set(rows.map(({ method }) => method))],
    methodVersions: [...new Set(rows.map(({ method_version }) => method_version))],
  };
}

/** Sums by kind and note, to be added up as the report needs them. */
export async function readEntries(db: Db, window: Window, scope: Scope) {
  const rows = await db
    .selectFrom('ledger_entries')
    .where((eb) => visible(eb, window, scope))
    .groupBy(['kind', 'note'])
    .select(['kind', 'note', ...summed()])
    .execute();
  const counts = await db
    .selectFrom('ledger_entries')
    .where((eb) => visible(eb, window, scope))
    .select([
      requestCount.as('requests'),
      sql<number>`count(distinct case when kind = 'training' then job_id end)`.as('jobs'),
      sql<number>`coalesce(sum(avoided_j > 0), 0)`.as('reused'),
    ])
    .executeTakeFirstOrThrow();
  return {
    requests: Number(counts.requests),
    jobs: Number(counts.jobs),
    reused: Number(counts.reused),
    sums(where: (row: { kind: string; note: string | null }) => boolean): Sums {
      const chosen = rows.filter(where);
      const total = (pick: (row: (typeof rows)[number]) => number | null) =>
        chosen.reduce((sum, row) => sum + Number(pick(row) ?? 0), 0);
      return {
        energyJ: total((row) => row.energy_j),
        idleShareJ: total((row) => row.idle_share_j),
        carbonG: total((row) => row.carbon_g),
        embodiedG: total((row) => row.embodied_g),
        waterL: chosen.some((row) => Number(row.water_unknown) > 0) ? null : total((row) => row.water_l),
        cpuS: total((row) => row.cpu_s),
        avoidedJ: total((row) => row.avoided_j),
        avoidedG: total((row) => row.avoided_g),
      };
    },
  };
}

export async function readGroups(db: Db, window: Window, scope: Scope, by: GroupBy): Promise<ReportGroup[]> {
  const rows = await db
    .selectFrom('ledger_entries')
    .where((eb) => visible(eb, window, scope))
    .groupBy(sql`1`)
    .select([
      groupKey(by, scope).as('key'),
      requestCount.as('requests'),
      sql<number>`sum("rows")`.as('row_count'),
      ...summed(),
    ])
    .orderBy('energy_j', 'desc')
    .execute();
  return rows.map((row) => ({
    key: row.key,
    requests: Number(row.requests),
    rows: Number(row.row_count),
    energyWh: row.energy_j / 3600,
    idleShareWh: row.idle_share_j / 3600,
    carbonGCo2e: row.carbon_g,
    waterL: Number(row.water_unknown) > 0 ? null : row.water_l,
    embodiedGCo2e: row.embodied_g,
    cpuSeconds: row.cpu_s,
  }));
}

export interface TenantUse {
  id: string;
  cpuS: number;
  /** Clock hours in which it had requests. */
  hours: number;
  modelIds: string[];
}

export async function readTenants(db: Db, window: Window): Promise<TenantUse[]> {
  const rows = await db
    .selectFrom('ledger_entries')
    .where((eb) => visible(eb, window, 'all'))
    .where('kind', 'in', ['inference', 'explanation', 'evaluation'])
    .where('consumer_id', 'is not', null)
    .groupBy('consumer_id')
    .select([
      sql<string>`consumer_id`.as('id'),
      sql<number>`sum(cpu_s)`.as('cpu_s'),
      sql<number>`count(distinct at_ms / 3600000)`.as('hours'),
      sql<string>`json_group_array(distinct model_id)`.as('models'),
    ])
    .execute();
  return rows.map(({ id, cpu_s, hours, models }) => {
    const ids: unknown = JSON.parse(models);
    return {
      id,
      cpuS: cpu_s,
      hours: Number(hours),
      modelIds: Array.isArray(ids) ? ids.filter((model) => typeof model === 'string') : [],
    };
  });
}

function visible(eb: EntryBuilder, { fromMs, toMs }: Window, scope: Scope): Expression<SqlBool> {
  const inWindow = eb(
    'interval_id',
    'in',
    eb
      .selectFrom('ledger_intervals')
      .where('start_ms', '>=', fromMs)
      .where('start_ms', '<', toMs)
      .select('ledger_intervals.id'),
  );
  if (scope === 'all') return inWindow;
  return eb.and([
    inWindow,
    eb.or([eb('consumer_id', '=', scope.organisationId), eb('owner_id', '=', scope.organisationId)]),
  ]);
}

function summed() {
  return [
    sql<number>`sum(energy_j)`.as('energy_j'),
    sql<number>`sum(idle_share_j)`.as('idle_share_j'),
    sql<number>`sum(carbon_g)`.as('carbon_g'),
    sql<number>`sum(embodied_g)`.as('embodied_g'),
    sql<number | null>`sum(water_l)`.as('water_l'),
    sql<number>`sum(water_l is null)`.as('water_unknown'),
    sql<number>`sum(cpu_s)`.as('cpu_s'),
    sql<number>`sum(avoided_j)`.as('avoided_j'),
    sql<number>`sum(avoided_g)`.as('avoided_g'),
  ] as const;
}

/** An owner sees which organisations used its model, never by which of their keys. */
function groupKey(by: GroupBy, scope: Scope) {
  const other = sql`case when note is null then kind else kind || ': ' || note end`;
  switch (by) {
    case 'kind':
      return sql<string>`kind`;
    case 'model':
      return sql<string>`coalesce(model, ${other})`;
    case 'version':
      return sql<string>`coalesce(model || ':' || version, ${other})`;
    case 'tenant':
      return sql<string>`coalesce(consumer, ${other})`;
    case 'key':
      return scope === 'all'
        ? sql<string>`coalesce(key_id, ${other})`
        : sql<string>`case when consumer_id = ${scope.organisationId} then coalesce(key_id, ${other})
            else coalesce(consumer, ${other}) end`;
  }
}
