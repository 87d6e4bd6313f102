/**
 * What an organisation's month took: by what it used, day by day, on both bases, with the waste. Every figure is of the
 * impact report of that month; rows and days each add up to the total.
 */

import { CommonwattError } from '../../errors.ts';
import type { ReportGroup, WireBurden } from '../report-groups.ts';
import type { ImpactReport, ReportQuery } from '../reports.ts';

/** own: requests and trainings of its own; ready: its models stood ready; others: others used its models. */
export type StatementPart = 'own' | 'ready' | 'others';

export interface StatementRow {
  part: StatementPart;
  /** Who used it; null: nobody, it stood ready. */
  tenant: string | null;
  /** `org/model`; null: a training, which has no model yet. */
  model: string | null;
  kind: string;
  requests: number;
  rows: number;
  energyWh: number;
  carbonGCo2e: number;
  embodiedGCo2e: number;
  waterL: number | null;
  allocated: WireBurden | null;
  waste: WireBurden | null;
  whPerRequest: ReportGroup['whPerRequest'];
  settled: boolean | null;
}

export interface StatementDay {
  day: string;
  requests: number;
  energyWh: number;
  carbonGCo2e: number;
  embodiedGCo2e: number;
  allocated: WireBurden | null;
  waste: WireBurden | null;
}

export interface Statement
  extends Pick<
    ImpactReport,
    | 'from'
    | 'to'
    | 'quality'
    | 'method'
    | 'methodVersion'
    | 'zone'
    | 'intensityGPerKwh'
    | 'pue'
    | 'avoided'
    | 'unknown'
    | 'notes'
  > {
  organisation: string;
  month: string;
  /** False: the month is not over, or was not when this was made. */
  complete: boolean;
  madeAt: string;
  total: ImpactReport['consumption'];
  rows: StatementRow[];
  days: StatementDay[];
  /** Largest relative difference between the total and what rows or days add up to. */
  residualRatio: number;
}

export interface StatementQuery {
  organisationId: string;
  organisation: string;
  /** `2030-01` */
  month: string;
}

export async function statement(
  report: (query: ReportQuery) => Promise<ImpactReport>,
  { organisationId, organisation, month }: StatementQuery,
  now: Date,
): Promise<Statement> {
  const { from, to, complete } = monthOf(month, now);
  const query = { from, to, scope: { organisationId } };
  const byUse = await report({ ...query, groupBy: ['tenant', 'model', 'kind'] });
  const byDay = await report({ ...query, groupBy: ['day'] });
  const rows = byUse.groups.map((group) => rowOf(group, organisation)).sort(inOrder);
  const days = byDay.groups.map(dayOf).sort((a, b) => a.day.localeCompare(b.day));
  const { consumption, quality, method, methodVersion, zone, intensityGPerKwh, pue } = byUse;
  return {
    organisation,
    month,
    from: byUse.from,
    to: byUse.to,
    complete,
    madeAt: now.toISOString(),
    quality,
    method,
    methodVersion,
    zone,
    intensityGPerKwh,
    pue,
    total: consumption,
    avoided: byUse.avoided,
    rows,
    days,
    residualRatio: Math.max(
      ...(['energyWh', 'carbonGCo2e', 'embodiedGCo2e'] as const).flatMap((name) =>
        [rows, days].map((parts) => difference(parts, name, consumption[name])),
      ),
    ),
    unknown: byUse.unknown,
    notes: byUse.notes.filter((note) => !note.startsWith('consumption, impact and groups')),
  };
}

const partOrder: StatementPart[] = ['own', 'ready', 'others'];
const inOrder = (a: StatementRow, b: StatementRow) =>
  partOrder.indexOf(a.part) - partOrder.indexOf(b.part) || b.energyWh - a.energyWh;

function monthOf(month: string, now: Date): { from: Date; to: Date; complete: boolean } {
  const [, year, number] = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(month) ?? [];
  if (!year || !number)
    throw new CommonwattError('INVALID_REQUEST', `"${month.slice(0, 40)}" is no month`, {
      where: 'month',
      hint: 'write it as 2030-01; months are those of UTC',
    });
  const from = new Date(Date.UTC(Number(year), Number(number) - 1, 1));
  const end = new Date(Date.UTC(Number(year), Number(number), 1));
  if (from >= now)
    throw new CommonwattError('INVALID_REQUEST', `${month} has not begun`, {
      where: 'month',
      hint: `the newest month is ${now.toISOString().slice(0, 7)}`,
    });
  const complete = end <= now;
  return { from, to: complete ? end : now, complete };
}

function rowOf(group: ReportGroup, organisation: string): StatementRow {
  const { tenant = '', model = '', kind = '' } = group.by;
  const isRequestOrJob = kind !== 'idle' && kind !== 'overhead' && kind !== 'unattributed';
  return {
    part: !isRequestOrJob ? 'ready' : tenant === organisation ? 'own' : 'others',
    tenant: isRequestOrJob ? tenant : null,
    model: kind === 'training' ? null : model,
    kind,
    requests: group.requests,
    rows: group.rows,
    energyWh: group.energyWh,
    carbonGCo2e: group.carbonGCo2e,
    embodiedGCo2e: group.embodiedGCo2e,
    waterL: group.waterL,
    allocated: group.allocated,
    waste: group.waste,
    whPerRequest: group.whPerRequest,
    settled: group.settled,
  };
}

function dayOf(group: ReportGroup): StatementDay {
  const { requests, energyWh, carbonGCo2e, embodiedGCo2e, allocated, waste } = group;
  return { day: group.by.day ?? '', requests, energyWh, carbonGCo2e, embodiedGCo2e, allocated, waste };
}

function difference<Name extends string>(
  parts: readonly Record<Name, number>[],
  name: Name,
  total: number,
): number {
  if (total === 0) return 0;
  return Math.abs(parts.reduce((sum, part) => sum + part[name], 0) - total) / total;
}
