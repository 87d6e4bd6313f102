/** The whole server as a process that is killed: started on a data folder, on ports of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { dist } from './durability.ts';

const entry = join(dist, 'main.js');
const ledgerReader = fileURLToPath(new URL('ledger.mjs', import.meta.url));

const readySchema = z.object({ baseUrl: z.string(), operatorKey: z.string().nullable() });

export interface Server {
  process: ChildProcess;
  baseUrl: string;
  operatorKey: string | null;
  log(): string;
  /** SIGKILL to the server alone; returns when it and every process it had started have ended. */
  kill(): Promise<void>;
}

export interface ServerOptions {
  nodeFlags?: string[];
  /** Kills it after so many ms if it is not ready by then. */
  killAfterMs?: number;
}

/** Undefined when it was killed in its start. */
export async function startServer(data: string, options: ServerOptions = {}): Promise<Server | undefined> {
  const child = spawn(process.execPath, [...(options.nodeFlags ?? []), entry, 'up', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      COMMONWATT_DATA: data,
      COMMONWATT_PORT: '0',
      COMMONWATT_GRPC_PORT: '0',
      COMMONWATT_LOG_LEVEL: 'warn',
    },
  });
  let out = '';
  let log = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk;
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async () => {
    const children = descendants(child.pid);
    child.kill('SIGKILL');
    await ended;
    for (let tries = 0; children.some(isAlive); tries++) {
      if (tries > 500) throw new Error('processes of a killed server go on without it');
      await sleep(10);
    }
  };
  const { killAfterMs } = options;
  const death = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs);
  const began = Date.now();
  while (!out.includes('\n}\n')) {
    if (child.signalCode === 'SIGKILL') {
      await kill();
      if (killAfterMs !== undefined) return undefined;
    }
    if (child.exitCode !== null || Date.now() - began > 60_000) {
      await kill();
      throw new Error(`the server did not start: ${log}`);
    }
    await sleep(5);
  }
  clearTimeout(death);
  const { baseUrl, operatorKey } = readySchema.parse(JSON.parse(out));
  return { process: child, baseUrl, operatorKey, log: () => out + log, kill };
}

const ledgerSchema = z.object({
  problems: z.array(z.string()),
  intervals: z.number(),
  /** How often each inference was booked. */
  requests: z.record(z.string(), z.number()),
});
export type LedgerState = z.infer<typeof ledgerSchema>;

/** In a process of its own, so that nothing here keeps the file open. */
export function readLedger(data: string): LedgerState {
  const output = execFileSync(process.execPath, [ledgerReader, join(data, 'commonwatt.db')], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return ledgerSchema.parse(JSON.parse(output));
}

function descendants(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  try {
    const own = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number);
    return own.flatMap((child) => [child, ...descendants(child)]);
  } catch {
    return [];
  }
}

/** A process that has ended and was not yet waited for by anyone counts as ended. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
