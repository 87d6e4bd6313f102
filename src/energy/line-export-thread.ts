/** The thread in which an export of the ledger is made: a piece for each time it is asked for more. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { openDatabase } from '../storage/db.ts';
import { type ExportOrder, type FromExport, linesAlone } from './line-export.ts';
import { renderLines } from './line-formats.ts';

const niceness = 10;

if (!parentPort) throw new Error('this is the thread of an export; it is started by the server');
const port = parentPort;
// From this program itself, as it is.
const { file, filter, format } = workerData as ExportOrder;

// Linux knows a niceness for each thread, and 0 is the calling one; elsewhere it would be that of the whole server.
if (process.platform === 'linux') setPriority(0, niceness);

const pieces = openDatabase(file).then((db) => renderLines(linesAlone(db, filter), format));

async function next(): Promise<FromExport> {
  const { value, done } = await (await pieces).next();
  return { piece: done ? null : value };
}

port.on('message', () => {
  next().then(
    (answer) => port.postMessage(answer),
    (error: unknown) =>
      port.postMessage({
        error: error instanceof Error ? error.message : String(error),
      } satisfies FromExport),
  );
});
