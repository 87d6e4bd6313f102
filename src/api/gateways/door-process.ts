/** One door process as the server sees it: started, given connections, drained, and started again when it dies. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { traceEnvironment } from '../../telemetry/traces.ts';
import { type DoorOrder, type DoorSettings, doorReady } from './orders.ts';

/** A TypeScript child cannot be started on Node 20: from the sources (tests), the built door is used. */
const entry = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../../dist/api/gateways/door.js', import.meta.url)
    : new URL('./door.js', import.meta.url),
);

export interface DoorProcessOptions {
  settings: DoorSettings;
  log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  /** Serves the frames of a door that was started; `end` kills it. */
  serve(link: Duplex, end: (why: unknown) => void): void;
  /** It became ready, or died. */
  changed(): void;
  /** A connection that it was to take before it died, as it was. */
  untaken(connection: Socket): void;
}

const restartAtMostMs = 5_000;
/** One that has stood so long does not pay for its earlier deaths. */
const forgivenMs = 30_000;

export class DoorProcess {
  readonly #options: DoorProcessOptions;
  #child: ChildProcess | undefined;
  #ready = false;
  #ending = false;
  #deaths = 0;
  /** On their way to the process: one is sent when the one before has arrived. */
  readonly #handing = new Set<Socket>();
  #restart: NodeJS.Timeout | undefined;

  constructor(options: DoorProcessOptions) {
    this.#options = options;
    this.#start();
  }

  get ready(): boolean {
    return this.#ready;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  take(connection: Socket): void {
    this.#handing.add(connection);
    // Kept open: one that Node holds back while the door dies would be closed by nobody.
    const child = this.#child;
    child?.send('connection' satisfies DoorOrder, connection, { keepOpen: true }, (error) => {
      if (!error) {
        if (this.#handing.delete(connection)) connection.destroy();
        return;
      }
      // It is dead, though nobody has said so yet.
      if (this.#child === child) this.#ready = false;
      this.#giveBack(connection);
    });
  }

  /** What had not been sent can be taken by another door; what had is closed with the process. */
  #giveBack(connection: Socket): void {
    if (!this.#handing.delete(connection)) return;
    if (this.#ending) connection.destroy();
    else this.#options.untaken(connection);
  }

  /** Resolves when the process is gone; after `limitMs` it is killed. */
  async drain(limitMs: number): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (!child) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (this.#ready) child.send('drain' satisfies DoorOrder, () => {});
    else child.kill('SIGKILL');
    const kill = setTimeout(() => child.kill('SIGKILL'), limitMs);
    await gone;
    clearTimeout(kill);
  }

  #start(): void {
    const { settings, log } = this.#options;
    const child = spawn(process.execPath, [entry, JSON.stringify(settings)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...traceEnvironment(process.env) },
    });
    const startedAt = performance.now();
    this.#child = child;
    const link = child.stdio[4];
    if (!(link instanceof Duplex)) throw new TypeError('the door has no socket');
    link.on('error', () => {});
    this.#options.serve(link, (why) => {
      log.error({ err: why, pid: child.pid }, 'a door sent a broken frame: killed');
      child.kill('SIGKILL');
    });
    child.on('message', (message) => {
      if (message !== doorReady) return;
      this.#ready = true;
      this.#options.changed();
    });
    // It may be dead already: nothing more is given to it.
    child.on('disconnect', () => {
      if (this.#child === child) this.#ready = false;
    });
    child.on('error', (error) => this.#died(child, startedAt, error.message));
    child.on('exit', (code, signal) =>
      this.#died(child, startedAt, signal ? `signal ${signal}` : `exit code ${code}`),
    );
  }

  #died(child: ChildProcess, startedAt: number, how: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#ready = false;
    this.#options.changed();
    for (const connection of this.#handing) this.#giveBack(connection);
    if (this.#ending) return;
    if (performance.now() - startedAt > forgivenMs) this.#deaths = 0;
    const delayMs = Math.min(restartAtMostMs, 50 * 2 ** this.#deaths++);
    this.#options.log.error({ how, restartInMs: delayMs }, 'a door died');
    this.#restart = setTimeout(() => this.#start(), delayMs);
  }
}
