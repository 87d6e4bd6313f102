/**
 * How many runner processes and threads a host gets. Each process computes one batch at a time with so many threads;
 * over all of them they are never more than the cores, and where cores are few, one is left to the gateway.
 */
import { availableParallelism, totalmem } from 'node:os';

export interface Capacity {
  processes: number;
  /** Threads of one computation, and the most that a deployment may ask for. */
  threads: number;
  maxThreads: number;
  memoryLimitBytes: number;
}

export interface CapacityOptions {
  processes: number | 'auto';
  threads: number | 'auto';
  memoryLimitBytes: number | null;
}

interface Host {
  cores: number;
  memoryBytes: number;
}

/** More copies of a small model than this gain little for the memory that they take. */
const mostProcesses = 8;

export function planCapacity(options: CapacityOptions, host: Host = thisHost()): Capacity {
  const computing = host.cores <= 8 ? Math.max(1, host.cores - 1) : host.cores - 2;
  const processes =
    options.processes === 'auto'
      ? Math.min(mostProcesses, Math.max(1, Math.floor(computing / 2)))
      : options.processes;
  const maxThreads = Math.max(1, Math.floor(computing / processes));
  const threads = options.threads === 'auto' ? maxThreads : Math.min(options.threads, maxThreads);
  // The rest is the gateway's and the system's. Not divided: one large model must fit whatever the cores are.
  const memoryLimitBytes = options.memoryLimitBytes ?? Math.floor(host.memoryBytes * 0.8);
  return { processes, threads, maxThreads, memoryLimitBytes };
}

function thisHost(): Host {
  const constrained = process.constrainedMemory();
  const memoryBytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return { cores: availableParallelism(), memoryBytes };
}
