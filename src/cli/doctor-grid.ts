/** What `doctor` says about the grid: which sources answer, and what would be closer. */
import type { Config } from '../config.ts';
import { gridLine, openGridSignal } from '../energy/grid/open.ts';
import { CommonwattError } from '../errors.ts';
import type { Finding } from './doctor.ts';

const check = 'grid';
const silent = { info() {}, warn() {} };

/** Asks every source once, as the server would. */
export async function checkGrid({ energy }: Config, env: NodeJS.ProcessEnv): Promise<Finding> {
  try {
    const grid = await openGridSignal(energy, { log: silent, dataFolder: null, env });
    await grid.start();
    await grid.refresh();
    const problems = grid.sources().flatMap(({ problem }) => problem ?? []);
    await grid.stop();
    const message = gridLine(grid.current()).replace(/^grid: /, '');
    if (problems.length > 0) return { check, state: 'note', message, hint: problems.join('; ') };
    if (grid.sources().length > 1) return { check, state: 'ok', message };
    return { check, state: 'note', message, hint: closer(energy.zone) };
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    const { message, hint } = error;
    return { check, state: 'problem', message, ...(hint ? { hint } : {}) };
  }
}

function closer(zone: string): string {
  const hours = 'values that follow the hours: COMMONWATT_GRID (docs/grid.md)';
  return zone === 'WORLD'
    ? `closer: set COMMONWATT_ZONE to the country; closest: ${hours}`
    : `closer: ${hours}`;
}
