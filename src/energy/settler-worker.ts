/** The thread in which large intervals are settled, over a connection of its own. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { openDatabase } from '../storage/db.ts';
import { type Settlement, settleInterval, type Unsettled } from './unsettled.ts';

export type SettlerWork = { unsettled: Unsettled } | 'end';
export type SettlerAnswer = { settlement: Settlement } | { error: string };

/** Behind whoever serves requests, and yet never so far that it would hold the database for long. */
const niceness = 10;

if (!parentPort) throw new Error('this is the worker of the ledger; it is started by the server');
const port = parentPort;
const { file } = z.object({ file: z.string() }).parse(workerData);

// Linux knows a niceness for each thread, and 0 is the calling one; elsewhere it would be that of the whole server.
if (process.platform === 'linux') setPriority(0, niceness);

const db = await openDatabase(file);

async function settle(unsettled: Unsettled): Promise<SettlerAnswer> {
  try {
    return { settlement: await settleInterval(db, unsettled, { alone: true }) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

port.on('message', async (work: SettlerWork) => {
  if (work !== 'end') {
    port.postMessage(await settle(work.unsettled));
    return;
  }
  await db.destroy();
  port.close();
});
