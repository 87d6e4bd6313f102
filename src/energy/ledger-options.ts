/** What the ledger needs of the house. */
import type { Db } from '../storage/db.ts';
import type { Basis } from './basis.ts';
import type { GridSignal } from './grid.ts';
import type { Host } from './host.ts';
import type { ChosenMeter } from './meters/choose.ts';
import type { SpoolDisk } from './spool.ts';
import type { Retention } from './store/tidy.ts';
import type { Settlement } from './unsettled.ts';

interface Clock {
  /** Wall clock, epoch ms. */
  now(): number;
  /** Seconds on a clock that never steps. */
  monotonic(): number;
}

export interface LedgerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface LedgerOptions {
  db: Db;
  host: Host;
  chosen: ChosenMeter;
  /** True when the configuration gives the idle watts. */
  idleIsConfigured: boolean;
  basis: Basis;
  /** Gives each interval the intensity of its own time; without: the one of the basis. */
  grid?: GridSignal;
  /** Absent: every line is kept as it is. */
  retention?: Retention;
  /** Name of this host in the ledger; absent: its own. */
  node?: string;
  dataFolder: string;
  log: LedgerLog;
  clock: Clock;
  disk?: SpoolDisk;
  /** Tests settle by hand. */
  manual?: boolean;
  /** How busy the event loop was since the last call, 0 to 1. */
  loopUse?: () => number;
  onSettled?: (settled: Settlement) => void;
}
