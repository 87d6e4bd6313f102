/** What the server has counted and booked, against what its callers saw. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '../../src/storage/db.ts';
import type { House } from './house.ts';
import { kinds } from './models.ts';
import type { Tally } from './tally.ts';

export interface Counted {
  /** Rows that runners computed for callers. */
  inferences: number;
  successes: number;
  cancelled: number;
  /** Models that left memory, runners that died, and what models hold. */
  unloads: number;
  restarts: number;
  heldBytes: number;
}

/** Of every model; waits until nothing is under way, and throws when that does not come. */
export async function countedWhenIdle(house: House): Promise<Counted> {
  for (let tries = 0; ; tries++) {
    const text = await (await fetch(`${house.baseUrl}/metrics`)).text();
    const sum = (name: string, having = '') => {
      const series = [...text.matchAll(new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\S+)$`, 'gm'))];
      if (series.length === 0) throw new Error(`/metrics has no ${name}`);
      return series
        .filter(([, labels = '']) => labels.includes(having))
        .reduce((total, [, , value]) => total + Number(value), 0);
    };
    if (sum('commonwatt_inference_pending_requests') === 0)
      return {
        inferences: sum('commonwatt_inference_rows_total'),
        successes: sum('commonwatt_inference_request_success_total'),
        cancelled: sum('commonwatt_inference_request_failure_total', 'CANCELED'),
        unloads: sum('commonwatt_model_unloads_total'),
        restarts: sum('commonwatt_runner_restarts_total'),
        heldBytes: sum('commonwatt_models_memory_bytes'),
      };
    if (tries > 100) throw new Error('requests are still waiting 10 s after the last caller has gone');
    await sleep(100);
  }
}

export interface Booked {
  entries: number;
  /** Rows of requests that were computed, and of those that another's answer was used for. */
  computedRows: number;
  reused: number;
  /** Entries of requests whose callers did not hear the answer. */
  unheard: number;
  ofLimitedGrant: number;
  problems: string[];
}

/** Reads the ledger of a server that has ended. */
export async function readBooks({ dataFolder, limit }: House, tally: Tally): Promise<Booked> {
  const db = await openDatabase(join(dataFolder, 'commonwatt.db'));
  try {
    const entries = await db
      .selectFrom('ledger_entries')
      .where('kind', '=', 'inference')
      .select(['id', 'rows', 'avoided_j', 'grant_id'])
      .execute();
    const booked: Booked = {
      entries: entries.length,
      computedRows: 0,
      reused: 0,
      unheard: 0,
      ofLimitedGrant: 0,
      problems: [],
    };
    const missing = new Set(tally.answers.keys());
    const problem = (what: string) => {
      if (booked.problems.length < 20) booked.problems.push(what);
    };
    for (const { id, rows, avoided_j, grant_id } of entries) {
      const answer = tally.answers.get(id);
      missing.delete(id);
      if (avoided_j > 0) booked.reused++;
      else booked.computedRows += rows;
      if (grant_id === limit.grantId) booked.ofLimitedGrant++;
      // Whose time was over while it was computed is booked as who left.
      const refused = tally.refusals.get(id);
      if (refused !== undefined && refused !== 504)
        problem(`${id} was refused with ${refused}, and is booked`);
      if (!answer) booked.unheard++;
      else {
        if (answer.rows !== rows) problem(`${id} has ${answer.rows} rows, and ${rows} are booked`);
        if (answer.source !== undefined && (answer.source !== 'computed') !== avoided_j > 0)
          problem(`${id} is ${answer.source}, and ${avoided_j} J are booked as avoided`);
      }
    }
    for (const id of [...missing].slice(0, 5)) problem(`${id} was answered, and is not booked`);
    if (missing.size > 5) problem(`${missing.size} answers are not booked`);
    return booked;
  } finally {
    await db.destroy();
  }
}

/** Every model answers a fresh request: nothing that was given up holds a place. */
export async function everybodyAnswers(house: House): Promise<void> {
  for (const { keys, usable } of house.organisations)
    for (const { model, kind, limited } of usable) {
      if (limited) continue;
      const input = kinds[kind].input(1, { number: () => 7, text: () => 'seven' });
      const { name, datatype, shape, values: data } = input;
      const response = await fetch(`${house.baseUrl}/v2/models/${encodeURIComponent(model)}/infer`, {
        method: 'POST',
        headers: { authorization: `Bearer ${keys[0]}`, 'cache-control': 'no-store' },
        body: JSON.stringify({ inputs: [{ name, datatype, shape, data }] }),
      });
      if (response.status !== 200)
        throw new Error(`${model} answered ${response.status}: ${await response.text()}`);
    }
}
