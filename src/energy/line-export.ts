/**
 * Exports of the ledger are made in a thread of their own, over a connection of its own, a piece at a time: the next
 * one when the last one was taken. So they take no time from requests, and never more memory than some pieces.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { sql } from 'kysely';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import { type LineFilter, ledgerLines } from './ledger-lines.ts';
import { type ExportFormat, renderLines } from './line-formats.ts';

/** A TypeScript thread cannot be started on Node 20: from the sources (tests), the built one is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../dist/energy/line-export-thread.js', import.meta.url)
    : new URL('./line-export-thread.js', import.meta.url),
);

export interface ExportOrder {
  file: string;
  filter: LineFilter;
  format: ExportFormat;
}
/** An empty piece is the end. */
export type FromExport = { piece: Uint8Array | null } | { error: string };

/** Each of them is a thread. */
const mostAtOnce = 4;
let running = 0;

/**
 * Throws LIMIT_EXCEEDED when too many are under way, STORE_FAILED when the ledger cannot be read: the first piece is
 * there when this returns. Whoever does not read to the end calls `return`.
 */
export async function exportLines(
  db: Db,
  filter: LineFilter,
  format: ExportFormat,
): Promise<AsyncIterableIterator<Uint8Array>> {
  const { rows } = await sql<{
    file: string;
  }>`select file from pragma_database_list where name = 'main'`.execute(db);
  const file = rows[0]?.file;
  // A second connection would not see a database that is in memory.
  const pieces = file ? inThread({ file, filter, format }) : renderLines(linesAlone(db, filter), format);
  const first = [await pieces.next()];
  const iterator: AsyncIterableIterator<Uint8Array> = {
    next: async () => first.shift() ?? pieces.next(),
    // A generator that has begun ends its thread, also when nobody has read its first piece.
    return: () => pieces.return(undefined),
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}

export async function* linesAlone(db: Db, filter: LineFilter) {
  for await (const { lines } of ledgerLines(db, filter)) yield lines;
}

async function* inThread(order: ExportOrder): AsyncGenerator<Uint8Array> {
  if (running >= mostAtOnce)
    throw new CommonwattError('LIMIT_EXCEEDED', `${mostAtOnce} exports of the ledger are under way`, {
      hint: 'wait until one of them is done',
      retryAfterS: 10,
    });
  running++;
  const thread = new Worker(entry, { workerData: order });
  try {
    const answers = answersOf(thread);
    for (;;) {
      thread.postMessage('more');
      const answer = await answers();
      if ('error' in answer) throw new CommonwattError('STORE_FAILED', answer.error, { retryAfterS: 2 });
      if (answer.piece === null) return;
      yield answer.piece;
    }
  } finally {
    running--;
    await thread.terminate();
  }
}

/** Each call gives the next answer, or the error with which the thread has ended. */
function answersOf(thread: Worker): () => Promise<FromExport> {
  const ready: FromExport[] = [];
  let wake = () => {};
  const add = (answer: FromExport) => {
    ready.push(answer);
    wake();
  };
  thread.on('message', add);
  thread.on('error', (error) => add({ error: error.message }));
  thread.on('exit', () => add({ error: 'the thread of the export has ended' }));
  return async () => {
    for (;;) {
      const answer = ready.shift();
      if (answer) return answer;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
}
