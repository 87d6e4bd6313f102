/** Reads the books: lines by page, by id and as files, and the metered intervals they add up to. */
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import { type LedgerLine, type LineFilter, type LinePage, ledgerLine, ledgerPage } from './ledger-lines.ts';
import { exportLines } from './line-export.ts';
import type { ExportFormat } from './line-formats.ts';
import type { Scope } from './report-queries.ts';
import { readIntervalRows } from './store/lines.ts';
import { inSnapshot } from './store/snapshot.ts';

export class LedgerReader {
  readonly #db: Db;
  readonly #settle: () => Promise<void>;

  /** `settle`: brings everything up to now into the ledger; it is called first. */
  constructor(db: Db, settle: () => Promise<void>) {
    this.#db = db;
    this.#settle = settle;
  }

  /** Throws INVALID_REQUEST for a cursor that no page gave. */
  async page(filter: LineFilter, place: { limit: number; cursor?: string | undefined }): Promise<LinePage> {
    await this.#settle();
    return ledgerPage(this.#db, filter, place);
  }

  /** Throws NOT_FOUND, also for lines that the caller may not see. */
  async line(id: string, scope: Scope): Promise<LedgerLine> {
    const found = (await ledgerLine(this.#db, id, scope)) ?? (await this.#lineOnceSettled(id, scope));
    if (found) return found;
    throw new CommonwattError('NOT_FOUND', `the ledger has no line "${id}"`, {
      where: 'id',
      hint: 'ids are in the header x-commonwatt-request-id of answers and in GET /api/v1/ledger',
    });
  }

  /** Throws LIMIT_EXCEEDED when too many are under way. Whoever does not read to the end calls `return`. */
  async export(filter: LineFilter, format: ExportFormat): Promise<AsyncIterableIterator<Uint8Array>> {
    await this.#settle();
    return exportLines(this.#db, filter, format);
  }

  /** Metered intervals that start in a window, in order: at most so many, and where the next ones begin. */
  async intervals(window: { fromMs: number; toMs: number }, limit: number) {
    await this.#settle();
    return inSnapshot(this.#db, (db) => readIntervalRows(db, window, limit));
  }

  async #lineOnceSettled(id: string, scope: Scope): Promise<LedgerLine | undefined> {
    await this.#settle();
    return ledgerLine(this.#db, id, scope);
  }
}
