/**
 * A door process: HTTP, JSON and bytes for one of several cores. The server accepts connections and hands them over;
 * inferences go back to it as frames, everything else whole. It keeps nothing that matters, and ends with the server.
 */
import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { createLog } from '../../telemetry/logs.ts';
import { startTraces } from '../../telemetry/traces.ts';
import { connectionRules, drainLimitMs } from '../connection-rules.ts';
import { Draining } from '../draining.ts';
import { fastDoor } from '../inference/fast.ts';
import { doorDesk } from './door-desk.ts';
import { type DoorOrder, type DoorSettings, doorReady } from './orders.ts';
import { passOnTo } from './pass-on.ts';

const { serverPath, ownPath, maxBodyBytes, logLevel, version, forms, receipts } = JSON.parse(
  process.argv[2] ?? '{}',
) as DoorSettings;
const log = createLog(logLevel);
const endTraces = await startTraces(process.env, { role: 'door', version, log });
const server = new Socket({ fd: 4, readable: true, writable: true });
// Nobody is left to ask.
server.on('close', () => process.exit(0));
server.on('error', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
// A signal to the process group (Ctrl-C) is the server's to handle; it drains first.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

const draining = new Draining();
const passOn = passOnTo(serverPath, log, maxBodyBytes);
const desk = doorDesk(server, {
  passOn,
  forms,
  onBroken: (error) => {
    log.fatal({ err: error }, 'the server sent a broken frame');
    process.exit(1);
  },
});
const ordinary = draining.listener((request, response) => passOn(request, response));
const http = createServer(
  connectionRules,
  fastDoor({ desk, ordinary, log, maxBodyBytes, draining, receipts }),
);
draining.watch(http);

process.on('message', (order: DoorOrder, connection: unknown) => {
  if (order === 'drain') {
    const close = async () => void http.close();
    void draining
      .drain(http, close, drainLimitMs)
      .then(endTraces)
      .then(() => process.exit(0));
  } else if (connection instanceof Socket) {
    connection.allowHalfOpen = true;
    http.emit('connection', connection);
  }
});
// Connections come by hand; a server that does not listen would never close those that dawdle.
// A door that was killed leaves its name behind: each has its own.
http.listen(`${ownPath}-${process.pid}`, () => process.send?.(doorReady));
