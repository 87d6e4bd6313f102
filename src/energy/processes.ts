/** CPU time of the house's own processes, as differences between two readings: the gateway, runners, trainers. */
import type { JobUse, LineHead } from './attribution.ts';
import type { Host, ProcessUse } from './host.ts';

interface Seen {
  use: ProcessUse;
  fineS: number | null;
}

/** A child of the house that computes for no single request, by what it does; its CPU time since the start, CPU·s. */
export interface Helper {
  note: string;
  cpuS(): number;
}

/** Since the interval before. */
export interface TakenUse {
  hostBusyS: number;
  /** Doors included. */
  gatewayS: number;
  doorsS: number;
  /** One of the doors had just been started: it was still at that. */
  newDoors: boolean;
  /** One that cannot be read has null: its computing time must do. */
  runners: { pid: number; cpuS: number | null; memoryBytes: number }[];
  helpers: { note: string; cpuS: number }[];
}

export class Processes {
  readonly #host: Host;
  readonly #runners = new Map<number, Seen | null>();
  /** Doors beside this process. */
  readonly #doors = new Map<number, Seen | null>();
  #newDoors = false;
  readonly #helpers: { helper: Helper; takenS: number }[] = [];
  #gatewayS: number;
  #hostBusyS: number;

  constructor(host: Host) {
    this.#host = host;
    this.#gatewayS = host.self().cpuS;
    this.#hostBusyS = host.cpu().busyS;
  }

  /** What a runner used before it is watched (loading its model) counts as other processes. */
  watchRunner(pid: number): void {
    if (!this.#runners.has(pid)) this.#runners.set(pid, this.#see(pid));
  }

  forgetRunnersExcept(pids: ReadonlySet<number>): void {
    for (const pid of this.#runners.keys()) if (!pids.has(pid)) this.#runners.delete(pid);
  }

  /** What a door uses from now on is the gateway's; its start counts as other processes, as a runner's does. */
  setGateways(pids: readonly number[]): void {
    const wanted = new Set(pids);
    for (const pid of this.#doors.keys()) if (!wanted.has(pid)) this.#doors.delete(pid);
    for (const pid of wanted) {
      if (this.#doors.has(pid)) continue;
      this.#doors.set(pid, this.#see(pid));
      this.#newDoors = true;
    }
  }

  watchHelper(helper: Helper): void {
    this.#helpers.push({ helper, takenS: helper.cpuS() });
  }

  isOurs(pid: number): boolean {
    return pid === process.pid || this.#runners.has(pid) || this.#doors.has(pid);
  }

  /** Since the last call. */
  take(): TakenUse {
    const gatewayS = this.#host.self().cpuS;
    const hostBusyS = this.#host.cpu().busyS;
    const doorsS = this.#takeDoors();
    const taken = {
      hostBusyS: Math.max(0, hostBusyS - this.#hostBusyS),
      gatewayS: Math.max(0, gatewayS - this.#gatewayS) + doorsS,
      doorsS,
      newDoors: this.#newDoors,
      runners: [...this.#runners].map(([pid, before]) => {
        const now = this.#see(pid);
        this.#runners.set(pid, now);
        return { pid, cpuS: difference(before, now), memoryBytes: now?.use.memoryBytes ?? 0 };
      }),
      helpers: this.#takeHelpers(),
    };
    this.#gatewayS = gatewayS;
    this.#hostBusyS = hostBusyS;
    this.#newDoors = false;
    return taken;
  }

  #takeHelpers(): TakenUse['helpers'] {
    return this.#helpers.map((watched) => {
      const now = watched.helper.cpuS();
      const cpuS = Math.max(0, now - watched.takenS);
      watched.takenS = now;
      return { note: watched.helper.note, cpuS };
    });
  }

  #takeDoors(): number {
    let cpuS = 0;
    for (const [pid, before] of this.#doors) {
      const now = this.#see(pid);
      this.#doors.set(pid, now);
      cpuS += difference(before, now) ?? 0;
    }
    return cpuS;
  }

  #see(pid: number): Seen | null {
    const use = this.#host.process(pid);
    return use ? { use, fineS: this.#host.fineCpuS(pid) } : null;
  }
}

function difference(before: Seen | null, now: Seen | null): number | null {
  if (!before || !now || before.use.startedAt !== now.use.startedAt) return null;
  const fine = before.fineS === null || now.fineS === null ? -1 : now.fineS - before.fineS;
  return fine >= 0 ? fine : Math.max(0, now.use.cpuS - before.use.cpuS);
}

/** A job's process. Its last reading outlives it. */
export class JobProcess {
  readonly head: LineHead;
  readonly key: string;
  readonly #pid: number | null;
  readonly #host: Host;
  #startedAt: string | undefined;
  #cpuS = 0;
  #bookedS = 0;
  memoryBytes = 0;

  constructor(host: Host, pid: number | null, key: string, head: LineHead) {
    this.#host = host;
    this.#pid = pid;
    this.key = key;
    this.head = head;
    this.read();
  }

  /** CPU time since its start that is not booked yet, CPU·s. */
  get unbookedS(): number {
    return Math.max(0, this.#cpuS - this.#bookedS);
  }

  read(): void {
    const use = this.#pid === null ? null : this.#host.process(this.#pid);
    if (!use) return;
    this.#startedAt ??= use.startedAt;
    if (use.startedAt !== this.#startedAt) return;
    this.#cpuS = Math.max(this.#cpuS, use.cpuS);
    // A process that has ended holds no memory any more, yet can still be read until its parent takes note.
    if (use.memoryBytes > 0) this.memoryBytes = use.memoryBytes;
  }

  /** What the process itself told about its whole life. */
  told(cpuS: number): void {
    this.#cpuS = Math.max(this.#cpuS, cpuS);
  }

  take(intervalId: string): JobUse {
    this.read();
    const cpuS = this.unbookedS;
    this.#bookedS += cpuS;
    return { id: `${this.key}~${intervalId}`, head: this.head, cpuS, memoryBytes: this.memoryBytes };
  }
}
