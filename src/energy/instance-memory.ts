/**
 * Memory that an instance of the service holds besides its models, least and most since the start: what everyone would
 * hold again who runs his own. Proportional (PSS): pages that several processes share count once. Linux only.
 */
import { readFileSync } from 'node:fs';

export interface InstanceMemory {
  /** Gateway, and runners without their models, bytes. */
  low: number;
  high: number;
  now: number;
  /** What models hold beside it now: their measured size, or less where it was more than the runners hold. */
  modelsBytes: number;
  /** Held ÷ reserved of models: at most 1. */
  heldPart: number;
}

export class MemoryWatch {
  readonly #pssOf: (pid: number) => number | null;
  #low = Number.POSITIVE_INFINITY;
  #high = 0;

  constructor(pssOf: (pid: number) => number | null = proportionalBytes) {
    this.#pssOf = pssOf;
  }

  /** Null where it cannot be read. */
  look(
    gateways: readonly number[],
    runners: readonly number[],
    reservedBytes: number,
  ): InstanceMemory | null {
    const gatewayBytes = this.#sum(gateways);
    const runnerBytes = this.#sum(runners);
    if (gatewayBytes === null || runnerBytes === null) return null;
    const modelsBytes = Math.min(reservedBytes, runnerBytes);
    const now = gatewayBytes + runnerBytes - modelsBytes;
    this.#low = Math.min(this.#low, now);
    this.#high = Math.max(this.#high, now);
    const heldPart = reservedBytes > 0 ? modelsBytes / reservedBytes : 1;
    return { low: this.#low, high: this.#high, now, modelsBytes, heldPart };
  }

  #sum(pids: readonly number[]): number | null {
    let bytes = 0;
    for (const pid of pids) {
      const own = this.#pssOf(pid);
      if (own === null) return null;
      bytes += own;
    }
    return bytes;
  }
}

function proportionalBytes(pid: number): number | null {
  try {
    const kibibytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) * 1024;
  } catch {
    return null;
  }
}
