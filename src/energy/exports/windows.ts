/** What the ledger holds of a window, with all that is needed to compute its carbon again. */
import { setImmediate as othersFirst } from 'node:timers/promises';
import { CommonwattError } from '../../errors.ts';
import type { Db } from '../../storage/db.ts';
import { joulesPerKwh } from '../grid.ts';
import { cut } from '../report-groups.ts';
import {
  type Burden,
  countsOf,
  isVisible,
  pueOf,
  type Reading,
  readIntervals,
  readLedger,
  type Scope,
  sumsOf,
} from '../report-queries.ts';
import type { Head } from '../store/heads.ts';
import { hourMs } from '../store/tally.ts';
import type { Window } from '../store/window.ts';

/** `work`: all but trainings, with what stands ready for it; `jobs`: trainings. */
export type Boundary = 'work' | 'jobs';

export interface BookedWindow extends Window {
  /** Σ of the intervals' own durations. */
  meteredS: number;
  /** allocation: all that was reserved, as SCI asks; usage: what is reserved is not known of all of it. */
  basis: 'allocation' | 'usage';
  booked: Burden;
  /** Of everybody in that window. */
  platform: Burden;
  /** Mean of `booked` by energy, gCO2e/kWh; null: there was no energy. */
  gPerKwh: number | null;
  pue: number;
  counts: { requests: number; rows: number; jobs: number };
  knownAs: { qualities: string[]; methods: string[]; methodVersions: string[]; zones: string[] };
}

/** Parts of a window in a file that people read. */
const mostParts = 1000;

/** Every hour or day of a window that there is anything of. Throws INVALID_REQUEST for too many of them. */
export async function readWindows(
  db: Db,
  window: Window,
  step: 'hour' | 'day',
  read: (part: Window) => Promise<BookedWindow>,
): Promise<BookedWindow[]> {
  const stepMs = step === 'hour' ? hourMs : 24 * hourMs;
  if ((window.toMs - window.fromMs) / stepMs > mostParts)
    throw new CommonwattError('INVALID_REQUEST', `the window has more than ${mostParts} parts "${step}"`, {
      where: 'query.step',
      hint: 'take a shorter window or step=day',
    });
  const parts: BookedWindow[] = [];
  for (const { window: part } of await cut(db, window, step)) {
    const found = await read(part);
    if (found.meteredS > 0) parts.push(found);
    // A month of hours takes a while; requests are answered in between.
    await othersFirst();
  }
  return parts;
}

export interface WindowQuery {
  scope: Scope;
  boundary: Boundary;
  /** Where the ledger does not tell it. */
  pueNow: number;
}

export async function readBooked(db: Db, window: Window, query: WindowQuery): Promise<BookedWindow> {
  const reading = await readLedger(db, window);
  const intervals = await readIntervals(db, reading);
  const isChosen = (head: Head) =>
    isVisible(head, query.scope) && (head.kind === 'training') === (query.boundary === 'jobs');
  const sums = sumsOf(reading, isChosen);
  const { requests, rows, jobs } = countsOf(reading, isChosen);
  const { energyJ, carbonG, embodiedG } = sums;
  const booked = sums.allocated ?? { energyJ, carbonG, embodiedG };
  const pue = pueOf(intervals, query.pueNow);
  const kwh = (booked.energyJ / joulesPerKwh) * pue;
  return {
    ...window,
    meteredS: intervals.rows.reduce((sum, row) => sum + row.duration_ms, 0) / 1000,
    basis: sums.allocated ? 'allocation' : 'usage',
    booked,
    platform: platformOf(reading),
    gPerKwh: kwh > 0 ? booked.carbonG / kwh : null,
    pue,
    counts: { requests, rows, jobs },
    knownAs: {
      qualities: intervals.qualities,
      methods: intervals.methods,
      methodVersions: intervals.methodVersions,
      zones: intervals.zones,
    },
  };
}

function platformOf(reading: Reading): Burden {
  const { energyJ, carbonG, embodiedG } = sumsOf(reading, () => true);
  return { energyJ, carbonG, embodiedG };
}
