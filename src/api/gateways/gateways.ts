/**
 * All the cores: several door processes share the port and do HTTP, JSON and bytes; the server keeps what must be one
 * (gate, limits, cache, batches, ledger) and does little for each request.
 *
 * In: connections, handed to the doors in turn. Out: their inferences as frames, all else as requests on a private
 * socket. Promise: limits and accounts are exact whatever the number of doors, and a door that dies costs its own
 * connections only.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectionRules, drainLimitMs } from '../connection-rules.ts';
import type { InferenceHouse } from '../inference/answer.ts';
import { takePeer } from '../peer.ts';
import { serveDoor } from './clerk.ts';
import { DoorProcess, type DoorProcessOptions } from './door-process.ts';

export interface GatewaysOptions {
  count: number;
  host: string;
  port: number;
  /** Answers what doors pass on. */
  ordinary: RequestListener;
  house: Pick<InferenceHouse, 'gate' | 'deployments' | 'maxBodyBytes' | 'version' | 'forms' | 'receipts'>;
  log: DoorProcessOptions['log'];
  logLevel: string;
  /** Which processes are doors; called whenever that changes. */
  changed(pids: readonly number[]): void;
}

export interface Gateways {
  port: number;
  /** Answers what is under way, and ends every door. */
  drain(): Promise<void>;
}

/** auto: a core each for the server and for what computes, the rest for doors, of which more than eight gain nothing. */
export function gatewayCount(wanted: number | 'auto'): number {
  return wanted === 'auto' ? Math.max(1, Math.min(8, availableParallelism() - 2)) : wanted;
}

export async function openGateways(options: GatewaysOptions): Promise<Gateways> {
  const { count, host, port, ordinary, house, log, logLevel, changed } = options;
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-doors-'));
  const pathOf = (name: string) =>
    process.platform === 'win32'
      ? `\\\\.\\pipe\\${folder.replaceAll('\\', '-')}-${name}`
      : join(folder, name);
  const inner = createHttpServer(innerRules, (request, response) => {
    takePeer(request);
    ordinary(request, response);
  });
  inner.listen(pathOf('server'));
  await once(inner, 'listening');

  const waiting: Socket[] = [];
  let turn = 0;
  function place(connection: Socket): void {
    const ready = doors.filter((door) => door.ready);
    const door = ready[turn++ % Math.max(1, ready.length)];
    if (door) door.take(connection);
    else waiting.push(connection);
  }
  const doors = Array.from(
    { length: count },
    (_, index) =>
      new DoorProcess({
        settings: {
          serverPath: pathOf('server'),
          ownPath: pathOf(`door-${index}`),
          maxBodyBytes: house.maxBodyBytes,
          logLevel,
          version: house.version,
          forms: house.forms,
          receipts: house.receipts.always,
        },
        log,
        serve: (link, end) => serveDoor(link, house, log, end),
        untaken: place,
        changed: () => {
          changed(doors.flatMap(({ pid }) => pid ?? []));
          if (doors.some((door) => door.ready)) for (const connection of waiting.splice(0)) place(connection);
        },
      }),
  );
  const outer = createServer({ pauseOnConnect: true, noDelay: true }, place);
  const end = async () => {
    outer.close();
    for (const connection of waiting.splice(0)) connection.destroy();
    await Promise.all(doors.map((door) => door.drain(drainLimitMs + 1_000)));
    inner.close();
    inner.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await listen(outer, host, port);
  } catch (error) {
    await end();
    throw error;
  }
  return { port: (outer.address() as AddressInfo).port, drain: end };
}

/** Doors have waited for the client already; between them and the server nothing dawdles. */
const innerRules = { ...connectionRules, headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: 0 } as const;

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen({ host, port });
  await once(server, 'listening');
}
