/**
 * The part of a report that says how well the supply was used: of the platform, of its nodes, of single models and by
 * single organisations, and how much of it was of use (goodput). Pure.
 *
 * CPUs are reserved for no single model: all stand ready for all. As its reserved share counts the one of the memory
 * that replicas hold, so that the shares of all sum to the supply; a model may use more than that. Its memory counts as
 * used while it has requests (its idle power is carried by them), and as reserved all the time that it is loaded.
 */
import { headlineRur, type Rur, rur } from './impact.ts';
import { isRequest, type Reading, type readIntervals, type Scope } from './report-queries.ts';
import type { Head } from './store/heads.ts';

type Intervals = Awaited<ReturnType<typeof readIntervals>>;

export interface UseReport {
  headline: number | null;
  cpu: Rur;
  memory: Rur;
  /** Device seconds; null: no meter told how long accelerators were busy. */
  accelerator: Rur | null;
  weights: { cpu: number; memory: number };
  /** Without what failed or was left by its caller: useful CPU time ÷ supplied, and ÷ used. */
  goodput: { usedOverSupplied: number | null; partOfUsed: number | null };
  nodes: { node: string; headline: number | null; cpu: Rur; memory: Rur }[];
  models: ModelUseRow[];
  tenants: {
    tenant: string;
    cpuOverSupplied: number | null;
    goodputOverSupplied: number | null;
    partOfUsed: number | null;
  }[];
}

interface ModelUseRow {
  model: string;
  cpu: Rur;
  memory: Rur;
  goodputOverSupplied: number | null;
}

const rowsAtMost = 100;

export function useReport(
  reading: Reading,
  intervals: Intervals,
  weights: UseReport['weights'],
  scope: Scope,
): UseReport {
  const { cpu, memory } = rursOf(intervals);
  const uses = usesOf(reading);
  const usefulS = uses.reduce((sum, use) => sum + use.usefulS, 0);
  return {
    headline: headlineOf(cpu, memory, weights),
    cpu,
    memory,
    accelerator: acceleratorOf(intervals),
    weights,
    goodput: {
      usedOverSupplied: ratio(usefulS, intervals.cpuSSupplied),
      partOfUsed: ratio(usefulS, intervals.cpuSUsed),
    },
    nodes: nodesOf(intervals, weights),
    models: modelsOf(uses, intervals.cpuSSupplied, scope),
    tenants: tenantsOf(uses, intervals, scope),
  };
}

type Totals = Pick<
  Intervals,
  'cpuSSupplied' | 'cpuSUsed' | 'memorySupplied' | 'memoryReserved' | 'memoryUsed'
>;

function rursOf(totals: Totals): { cpu: Rur; memory: Rur } {
  const { cpuSSupplied, memoryUsed: used, memoryReserved: reserved, memorySupplied: supplied } = totals;
  return {
    cpu: rur({ used: totals.cpuSUsed, reserved: cpuSSupplied, supplied: cpuSSupplied }),
    memory: rur({ used, reserved, supplied }),
  };
}

function acceleratorOf(intervals: Intervals): Rur | null {
  const { acceleratorSUsed, acceleratorSReserved, acceleratorSSupplied: supplied } = intervals;
  return supplied > 0 ? rur({ used: acceleratorSUsed, reserved: acceleratorSReserved, supplied }) : null;
}

function headlineOf(cpu: Rur, memory: Rur, weights: UseReport['weights']): number | null {
  return headlineRur([
    { rur: cpu.usedOverSupplied, weight: weights.cpu },
    { rur: memory.usedOverSupplied, weight: weights.memory },
  ]);
}

function nodesOf({ rows }: Intervals, weights: UseReport['weights']): UseReport['nodes'] {
  const nodes = new Map<string, Totals>();
  for (const row of rows) {
    const sums = nodes.get(row.node) ?? {
      cpuSSupplied: 0,
      cpuSUsed: 0,
      memorySupplied: 0,
      memoryReserved: 0,
      memoryUsed: 0,
    };
    nodes.set(row.node, sums);
    sums.cpuSSupplied += row.cpu_s_supplied;
    sums.cpuSUsed += row.cpu_s_used;
    sums.memorySupplied += row.memory_gbs_supplied;
    sums.memoryReserved += row.memory_gbs_reserved;
    sums.memoryUsed += row.memory_gbs_used;
  }
  return [...nodes].map(([node, totals]) => {
    const { cpu, memory } = rursOf(totals);
    return { node: node || 'unknown', headline: headlineOf(cpu, memory, weights), cpu, memory };
  });
}

/** What one head used of CPU time, and of the idle power that goes with reserved memory. */
interface Use {
  head: Head;
  cpuS: number;
  usefulS: number;
  idleJ: number;
}

function usesOf({ sums, heads }: Reading): Use[] {
  const uses: Use[] = [];
  for (const [id, stored] of sums.sums) {
    const head = heads.get(id);
    if (!head) continue;
    const works = isRequest(head.kind) || head.kind === 'training';
    const isUseful = works && (head.outcome === 'finished' || head.outcome === 'cached');
    uses.push({
      head,
      cpuS: works ? stored.cpu_s : 0,
      usefulS: isUseful ? stored.cpu_s : 0,
      idleJ: stored.idle_share_j,
    });
  }
  return uses;
}

/** For the operator all; an organisation sees those of its own. */
function modelsOf(uses: readonly Use[], cpuSSupplied: number, scope: Scope): ModelUseRow[] {
  const idleJ = uses.reduce((sum, use) => sum + use.idleJ, 0);
  const isReserved = ({ kind, note }: Head) => isRequest(kind) || kind === 'training' || note === 'ready';
  const reservedJ = uses.reduce((sum, { head, idleJ: own }) => sum + (isReserved(head) ? own : 0), 0);
  const models = new Map<string, { cpuS: number; usefulS: number; activeJ: number; reservedJ: number }>();
  for (const { head, cpuS, usefulS, idleJ: own } of uses) {
    if (head.model === null || (scope !== 'all' && head.owner_id !== scope.organisationId)) continue;
    const sums = models.get(head.model) ?? { cpuS: 0, usefulS: 0, activeJ: 0, reservedJ: 0 };
    models.set(head.model, sums);
    sums.cpuS += cpuS;
    sums.usefulS += usefulS;
    sums.activeJ += isRequest(head.kind) ? own : 0;
    sums.reservedJ += own;
  }
  return [...models]
    .sort(([, a], [, b]) => b.cpuS - a.cpuS)
    .slice(0, rowsAtMost)
    .map(([model, sums]) => ({
      model,
      cpu: rur({
        used: sums.cpuS,
        reserved: reservedJ > 0 ? (cpuSSupplied * sums.reservedJ) / reservedJ : 0,
        supplied: cpuSSupplied,
      }),
      memory: rur({ used: sums.activeJ, reserved: sums.reservedJ, supplied: idleJ }),
      goodputOverSupplied: ratio(sums.usefulS, cpuSSupplied),
    }));
}

/** Of an organisation's own use, and of the others' use of its models. */
function tenantsOf(uses: readonly Use[], intervals: Intervals, scope: Scope): UseReport['tenants'] {
  const tenants = new Map<string, { cpuS: number; usefulS: number }>();
  for (const { head, cpuS, usefulS } of uses) {
    if (head.consumer === null) continue;
    const isOwn =
      scope === 'all' || head.consumer_id === scope.organisationId || head.owner_id === scope.organisationId;
    if (!isOwn) continue;
    const sums = tenants.get(head.consumer) ?? { cpuS: 0, usefulS: 0 };
    tenants.set(head.consumer, { cpuS: sums.cpuS + cpuS, usefulS: sums.usefulS + usefulS });
  }
  return [...tenants]
    .sort(([, a], [, b]) => b.cpuS - a.cpuS)
    .slice(0, rowsAtMost)
    .map(([tenant, { cpuS, usefulS }]) => ({
      tenant,
      cpuOverSupplied: ratio(cpuS, intervals.cpuSSupplied),
      goodputOverSupplied: ratio(usefulS, intervals.cpuSSupplied),
      partOfUsed: ratio(cpuS, intervals.cpuSUsed),
    }));
}

function ratio(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}
