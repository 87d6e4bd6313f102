/** Prometheus metrics of the processes that the server is made of, read when somebody scrapes. */
import { Counter, Gauge, type Registry } from 'prom-client';

const kinds = ['server', 'door', 'runner'] as const;
type Kind = (typeof kinds)[number];

interface Use {
  cpuS: number;
  memoryBytes: number;
  /** Tells a process from a later one that got the same id. */
  startedAt: string;
}

interface Options {
  /** Which processes there are now. */
  processes(): readonly { kind: Kind; pid: number }[];
  /** Null: it cannot be read. */
  read(pid: number): Use | null;
}

export function processMetrics(registry: Registry, options: Options): void {
  const registers = [registry];
  const labelNames = ['process'] as const;
  const cpu = new CpuSeconds(options);
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'When the server was started, seconds since 1970.',
    registers,
    collect() {
      this.set(performance.timeOrigin / 1000);
    },
  });
  new Gauge({
    name: 'commonwatt_processes',
    help: 'Processes by what they do: server, door (HTTP beside the server), runner (computes).',
    labelNames,
    registers,
    collect() {
      for (const process of kinds) this.set({ process }, 0);
      for (const { kind } of options.processes()) this.inc({ process: kind });
    },
  });
  new Counter({
    name: 'commonwatt_process_cpu_seconds_total',
    help: 'CPU time of the processes of a kind, those that have ended included as far as scrapes saw them, seconds.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const [process, seconds] of cpu.read()) this.inc({ process }, seconds);
    },
  });
  new Gauge({
    name: 'commonwatt_process_resident_memory_bytes',
    help: 'Resident memory of the processes of a kind, bytes.',
    labelNames,
    registers,
    collect() {
      for (const process of kinds) this.set({ process }, 0);
      for (const { kind, pid } of options.processes())
        this.inc({ process: kind }, options.read(pid)?.memoryBytes ?? 0);
    },
  });
  let before = performance.eventLoopUtilization();
  new Gauge({
    name: 'commonwatt_event_loop_utilization_ratio',
    help: 'Part of the time since the last scrape that the server did something, 0 to 1; near 1 it needs doors.',
    registers,
    collect() {
      const now = performance.eventLoopUtilization();
      this.set(performance.eventLoopUtilization(now, before).utilization);
      before = now;
    },
  });
}

/** Sums that never fall: what a process used stays counted when it has ended. */
class CpuSeconds {
  readonly #options: Options;
  readonly #sums = new Map<Kind, number>(kinds.map((kind) => [kind, 0]));
  #seen = new Map<string, number>();

  constructor(options: Options) {
    this.#options = options;
  }

  read(): ReadonlyMap<Kind, number> {
    const seen = new Map<string, number>();
    for (const { kind, pid } of this.#options.processes()) {
      const use = this.#options.read(pid);
      if (!use) continue;
      const key = `${pid} ${use.startedAt}`;
      const used = Math.max(0, use.cpuS - (this.#seen.get(key) ?? 0));
      this.#sums.set(kind, (this.#sums.get(kind) ?? 0) + used);
      seen.set(key, use.cpuS);
    }
    this.#seen = seen;
    return this.#sums;
  }
}
