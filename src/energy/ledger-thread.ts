/** The thread in which large intervals are settled and large ledgers reported, over a connection of its own. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { openDatabase } from '../storage/db.ts';
import { type ImpactReport, impactReport, type ReportHost, type ReportQuery } from './reports.ts';
import { type Retention, tidyStep } from './store/tidy.ts';
import { type Settlement, settleInterval, type Unsettled } from './unsettled.ts';

export type ThreadTask =
  | { kind: 'settle'; unsettled: Unsettled }
  | { kind: 'report'; host: ReportHost; query: ReportQuery }
  | { kind: 'tidy'; nowMs: number; retention: Retention };
export type ThreadResult = { settlement: Settlement } | { report: ImpactReport } | { more: boolean };
/** `end`: finish and go. */
export type ToThread = { id: number; task: ThreadTask } | 'end';
export type FromThread = { id: number; answer: ThreadResult | { error: string } };

/** Behind whoever serves requests, and yet never so far that it would hold the database for long. */
const niceness = 10;

if (!parentPort) throw new Error('this is the thread of the ledger; it is started by the server');
const port = parentPort;
const { file } = z.object({ file: z.string() }).parse(workerData);

// Linux knows a niceness for each thread, and 0 is the calling one; elsewhere it would be that of the whole server.
if (process.platform === 'linux') setPriority(0, niceness);

const db = await openDatabase(file);
let working: Promise<void> = Promise.resolve();

async function perform(task: ThreadTask): Promise<ThreadResult> {
  switch (task.kind) {
    case 'settle':
      return { settlement: await settleInterval(db, task.unsettled, { alone: true }) };
    case 'report':
      return { report: await impactReport(db, task.host, task.query) };
    case 'tidy':
      return { more: await tidyStep(db, task.nowMs, task.retention) };
  }
}

async function answer(id: number, task: ThreadTask): Promise<void> {
  const done = await perform(task).catch((error: unknown) => ({
    error: error instanceof Error ? error.message : String(error),
  }));
  port.postMessage({ id, answer: done } satisfies FromThread);
}

// One after the other: a settlement changes a setting of the connection.
port.on('message', (message: ToThread) => {
  working = working.then(async () => {
    if (message !== 'end') return answer(message.id, message.task);
    await db.destroy();
    port.close();
  });
});
