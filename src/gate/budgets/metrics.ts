/** Prometheus metrics of budgets, read from the counters when somebody scrapes. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Limits } from '../limits.ts';

/** Budgets with series of their own: the fullest. */
const seriesAtMost = 200;

export function budgetMetrics(registry: Registry, limits: Pick<Limits, 'levels' | 'refusals'>): void {
  new Gauge({
    name: 'commonwatt_budget_used_ratio',
    help: `Used of each budget and limit of a grant in its period, 1 = all; the ${seriesAtMost} fullest of those that somebody used or asked for in it.`,
    labelNames: ['budget'],
    registers: [registry],
    collect() {
      this.reset();
      const fullest = limits.levels().sort((a, b) => b.level - a.level);
      for (const { id, level } of fullest.slice(0, seriesAtMost)) this.set({ budget: id }, level);
    },
  });
  new Counter({
    name: 'commonwatt_budget_refusals_total',
    help: 'Requests and jobs that a hard limit refused, or that one in shadow would have refused.',
    labelNames: ['mode'],
    registers: [registry],
    collect() {
      this.reset();
      const { hard, shadow } = limits.refusals;
      this.inc({ mode: 'hard' }, hard);
      this.inc({ mode: 'shadow' }, shadow);
    },
  });
}
