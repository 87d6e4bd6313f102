/**
 * What the host supplies and what processes use of it: CPU seconds and memory, from /proc where there is one,
 * otherwise from Node's own counters. Counters only grow; whoever reads them takes differences.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { type CpuSeconds, cpuSeconds } from './units.ts';

/** The unit of CPU times in /proc, fixed by the kernel's interface to programs whatever its own tick is. */
const ticksPerSecond = 100;

export interface HostCpu {
  /** Since boot, over all CPUs: time at work (idle, waiting for disks and stolen time excluded), CPU·s. */
  busyS: CpuSeconds;
  count: number;
}

export interface ProcessUse {
  /** User and system time of all its threads since it started, CPU·s. */
  cpuS: CpuSeconds;
  memoryBytes: number;
  /** Tells a process from a later one that got the same id. */
  startedAt: string;
}

export interface HostOptions {
  /** The `proc` file system; tests give a folder of their own. */
  procRoot?: string;
}

export class Host {
  readonly #root: string;
  readonly #reads: boolean;
  readonly memoryBytes: number;
  readonly cpuCount: number;

  constructor({ procRoot = '/proc' }: HostOptions = {}) {
    this.#root = procRoot;
    this.#reads = readText(join(procRoot, 'stat')) !== null;
    this.memoryBytes = this.#readMemory() ?? totalmem();
    this.cpuCount = this.cpu().count;
  }

  cpu(): HostCpu {
    const text = this.#reads ? readText(join(this.#root, 'stat')) : null;
    return (text === null ? null : parseCpu(text)) ?? cpuFromNode();
  }

  /** What the processors say of themselves; null where there is no /proc/cpuinfo. */
  cpuInfo(): string | null {
    return readText(join(this.#root, 'cpuinfo'));
  }

  /** Null for a process that is gone, or where only one's own process can be read. */
  process(pid: number): ProcessUse | null {
    if (!this.#reads) return pid === process.pid ? ownUse() : null;
    const stat = readText(join(this.#root, String(pid), 'stat'));
    if (stat === null) return null;
    // The name, in brackets, may itself hold blanks and brackets: count the fields after the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [user, system, startedAt] = [fields[11], fields[12], fields[19]];
    if (user === undefined || system === undefined || startedAt === undefined) return null;
    return {
      cpuS: cpuSeconds((Number(user) + Number(system)) / ticksPerSecond),
      memoryBytes: this.#residentBytes(pid),
      startedAt,
    };
  }

  /**
   * CPU time of a process to the nanosecond, from its threads' scheduler statistics: a single request computes
   * for less than the 10 ms that `process` counts in. Ended threads are missing, so it may shrink. Null where
   * the kernel keeps none.
   */
  fineCpuS(pid: number): number | null {
    if (!this.#reads) return null;
    const folder = join(this.#root, String(pid), 'task');
    let nanoseconds = 0;
    for (const thread of listFolder(folder)) {
      const time = Number(readText(join(folder, thread, 'schedstat'))?.split(' ', 1)[0] ?? Number.NaN);
      if (Number.isFinite(time)) nanoseconds += time;
    }
    return nanoseconds > 0 ? nanoseconds / 1e9 : null;
  }

  /** The gateway itself, to the microsecond. */
  self(): ProcessUse {
    return ownUse();
  }

  #residentBytes(pid: number): number {
    const status = readText(join(this.#root, String(pid), 'status'));
    const kibibytes = status === null ? undefined : /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1];
    return kibibytes === undefined ? 0 : Number(kibibytes) * 1024;
  }

  #readMemory(): number | null {
    const text = this.#reads ? readText(join(this.#root, 'meminfo')) : null;
    const kibibytes = text === null ? undefined : /^MemTotal:\s+(\d+) kB/m.exec(text)?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) * 1024;
  }
}

/** `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guest time is inside user time. */
function parseCpu(text: string): HostCpu | null {
  const match = /^cpu +([\d ]+)$/m.exec(text);
  if (!match?.[1]) return null;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = match[1].split(' ').map(Number);
  const count = text.match(/^cpu\d+ /gm)?.length ?? 1;
  return { busyS: cpuSeconds((user + nice + system + irq + softirq) / ticksPerSecond), count };
}

function cpuFromNode(): HostCpu {
  const all = cpus();
  const busyMs = all.reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  return { busyS: cpuSeconds(busyMs / 1000), count: Math.max(1, all.length) };
}

function ownUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  return {
    cpuS: cpuSeconds((user + system) / 1e6),
    memoryBytes: process.memoryUsage.rss(),
    startedAt: 'self',
  };
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return null;
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
