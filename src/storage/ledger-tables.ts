/** Step 0003: lines with shared heads, sums by hour and day, and an archive. What was booked before is carried over. */
import { type Kysely, type Migration, sql } from 'kysely';

type AnyDb = Kysely<unknown>;

const headColumns = `kind text not null, note text, outcome text not null, attribution_method text not null,
  consumer_id text, consumer text, owner_id text, owner text, model_id text, model text, version integer,
  key_id text, member_id text, grant_id text, job_id text, runner_pid integer, node text`;
const figures = `cpu_s double precision not null, energy_j double precision not null,
  idle_share_j double precision not null, carbon_g double precision not null, embodied_g double precision not null`;
const sums = `head integer not null, entries integer not null, requests integer not null, rows integer not null,
  reused integer not null, ${figures}, water_l double precision not null, water_unknown integer not null,
  avoided_j double precision not null, avoided_g double precision not null,
  allocated_j double precision not null, allocated_g double precision not null,
  allocated_embodied_g double precision not null, allocated_unknown integer not null, histogram blob`;

const create = [
  'alter table ledger_intervals add column node text',
  'alter table ledger_intervals add column zone text',
  'alter table ledger_intervals add column intensity_g_per_kwh double precision',
  'alter table ledger_intervals add column signal text',
  'alter table ledger_intervals add column scope text',
  'alter table ledger_intervals add column accelerator_j double precision',
  `create table ledger_heads (id integer primary key, key text not null unique, ${headColumns})`,
  'create index ledger_heads_by_consumer on ledger_heads (consumer_id)',
  'create index ledger_heads_by_owner on ledger_heads (owner_id)',
  'create index ledger_heads_by_key on ledger_heads (key_id)',
  'create index ledger_heads_by_grant on ledger_heads (grant_id)',
  `create table ledger_lines (id text primary key, interval_id text not null, head integer not null,
    at_ms integer not null, rows integer not null, ${figures}, water_l double precision,
    avoided_j double precision not null, avoided_g double precision not null,
    allocated_j double precision, allocated_g double precision, allocated_embodied_g double precision)`,
  `create table ledger_hours (hour integer not null, ${sums}, primary key (hour, head)) without rowid`,
  `create table ledger_days (day integer not null, hours integer not null, ${sums}, primary key (day, head)) without rowid`,
  'create table ledger_folded (day integer primary key)',
  `create table ledger_repeats (request text not null, hour integer not null, head integer not null,
    primary key (request, hour, head)) without rowid`,
  'create index ledger_repeats_by_hour on ledger_repeats (hour)',
  `create table ledger_interval_hours (hour integer not null, node text not null, quality text not null,
    method text not null, method_version text not null, zone text not null, signal text not null,
    scope text not null, intervals integer not null, duration_ms double precision not null,
    energy_j double precision not null, carbon_g double precision not null, embodied_g double precision not null,
    water_l double precision not null, water_unknown integer not null, intensity_j double precision not null,
    intensity_known_j double precision not null, accelerator_j double precision not null,
    cpu_s_supplied double precision not null, cpu_s_used double precision not null,
    cpu_s_other double precision not null, memory_gbs_supplied double precision not null,
    memory_gbs_reserved double precision not null, memory_gbs_used double precision not null,
    primary key (hour, node, quality, method, method_version, zone, signal, scope)) without rowid`,
  `create table ledger_archive (hour integer not null, part integer not null, from_ms integer not null,
    to_ms integer not null, first_id text not null, last_id text not null, first_interval text not null,
    last_interval text not null, lines integer not null, packed blob not null, primary key (hour, part))`,
  'create table ledger_garbage (interval_id text primary key) without rowid',
  'create table ledger_dropped (hour integer primary key)',
];

const oldHead = `json_array(e.kind, e.note, iif(e.avoided_j > 0, 'cached', 'finished'),
  case when e.kind in ('idle', 'overhead', 'unattributed') then 'proportional' when e.kind = 'training' then 'direct'
  else 'shared step' end, e.consumer_id, e.consumer, e.owner_id, e.owner, e.model_id, e.model, e.version, e.key_id,
  null, e.grant_id, e.job_id, null, null)`;
const headNames = `kind, note, outcome, attribution_method, consumer_id, consumer, owner_id, owner, model_id, model,
  version, key_id, member_id, grant_id, job_id, runner_pid, node`;
const fromKey = Array.from({ length: 17 }, (_, index) => `key ->> ${index}`).join(', ');
const request = `substr(l.id, 1, instr(l.id || '~', '~') - 1)`;
const called = `kind in ('explanation', 'evaluation')`;

const carryOver = [
  `insert into ledger_heads (key, ${headNames}) select key, ${fromKey} from (select distinct ${oldHead} as key from ledger_entries e)`,
  `insert into ledger_lines select e.id, interval_id, h.id, at_ms, rows, cpu_s, energy_j, idle_share_j, carbon_g,
    embodied_g, water_l, avoided_j, avoided_g, null, null, null
    from ledger_entries e join ledger_heads h on h.key = ${oldHead}`,
  'drop table ledger_entries',
  'create index ledger_lines_by_interval on ledger_lines (interval_id)',
  `create view ledger_entries as select l.id, l.interval_id, l.at_ms, ${headNames}, l.rows, l.cpu_s, l.energy_j,
    l.idle_share_j, l.carbon_g, l.embodied_g, l.water_l, l.avoided_j, l.avoided_g, l.allocated_j, l.allocated_g,
    l.allocated_embodied_g from ledger_lines l join ledger_heads h on h.id = l.head
    where exists (select 1 from ledger_intervals i where i.id = l.interval_id)`,
  `insert into ledger_hours select i.start_ms / 3600000, l.head, count(*),
    coalesce(sum(kind = 'inference'), 0) + count(distinct case when ${called} then ${request} end), sum(l.rows),
    sum(l.avoided_j > 0), sum(l.cpu_s), sum(l.energy_j), sum(l.idle_share_j), sum(l.carbon_g), sum(l.embodied_g),
    coalesce(sum(l.water_l), 0), sum(l.water_l is null), sum(l.avoided_j), sum(l.avoided_g), 0, 0, 0, count(*), null
    from ledger_lines l join ledger_intervals i on i.id = l.interval_id join ledger_heads h on h.id = l.head
    group by 1, 2`,
  `insert into ledger_repeats select request, hour, head from (
    select request, hour, head, count(*) over (partition by request) as times from (
      select distinct ${request} as request, i.start_ms / 3600000 as hour, l.head as head
      from ledger_lines l join ledger_intervals i on i.id = l.interval_id join ledger_heads h on h.id = l.head
      where ${called})) where times > 1`,
  `update ledger_intervals set zone = basis ->> '$.intensity.zone', intensity_g_per_kwh = basis ->> '$.intensity.value',
    signal = basis ->> '$.intensity.kind', scope = iif(basis ->> '$.intensity.kind' is null, null, 'life-cycle')`,
  `insert into ledger_interval_hours select start_ms / 3600000, '', quality, method, method_version,
    coalesce(zone, ''), coalesce(signal, ''), coalesce(scope, ''), count(*), sum(end_ms - start_ms), sum(energy_j),
    sum(carbon_g), sum(embodied_g), coalesce(sum(water_l), 0), sum(water_l is null),
    coalesce(sum(intensity_g_per_kwh * energy_j), 0), coalesce(sum(iif(intensity_g_per_kwh is null, 0, energy_j)), 0),
    0, sum(cpu_s_supplied), sum(cpu_s_used), sum(cpu_s_other), sum(memory_gbs_supplied), sum(memory_gbs_reserved),
    sum(memory_gbs_used) from ledger_intervals group by 1, 2, 3, 4, 5, 6, 7, 8`,
];

export const ledgerAtScale: Migration = {
  async up(db: AnyDb) {
    for (const statement of [...create, ...carryOver]) await sql.raw(statement).execute(db);
    await carryHistograms(db);
  },
};

interface Counted {
  hour: number;
  head: number;
  slot: number;
  count: number;
}

/** As energy/store/histogram.ts has them at this step: distance from the last slot and count, of 7 bits a byte. */
async function carryHistograms(db: AnyDb): Promise<void> {
  const { rows } = await sql<Counted>`select i.start_ms / 3600000 as hour, l.head,
    iif(l.energy_j > 0, 2001 + min(2000, max(-2000, cast(ceil(ln(l.energy_j) / ln(1.02)) as integer))), 0) as slot,
    count(*) as count from ledger_lines l join ledger_intervals i on i.id = l.interval_id
    join ledger_heads h on h.id = l.head where h.kind = 'inference' group by 1, 2, 3 order by 1, 2, 3`.execute(
    db,
  );
  const packed = new Map<string, Counted & { bytes: number[]; last: number }>();
  for (const row of rows) {
    const key = `${row.hour} ${row.head}`;
    const own = packed.get(key) ?? { ...row, bytes: [], last: 0 };
    packed.set(key, own);
    for (const value of [row.slot - own.last, row.count]) {
      let rest = value;
      for (; rest > 127; rest = Math.floor(rest / 128)) own.bytes.push((rest % 128) + 128);
      own.bytes.push(rest);
    }
    own.last = row.slot;
  }
  for (const { hour, head, bytes } of packed.values())
    await sql`update ledger_hours set histogram = ${Uint8Array.from(bytes)} where hour = ${hour} and head = ${head}`.execute(
      db,
    );
}
