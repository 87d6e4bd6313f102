/**
 * How lines look in a segment: JSON arrays and one object for each new head, so that a line of a request is
 * about 60 bytes. `{"start":ms}` comes first; `{"head":n,…}` defines head n; `[id, at, head, pid, rows,
 * computeNs, cpuNs, dynamicNJ, idleNJ]` is what one caller used, with its provisional figures in whole nano units.
 */
import { z } from 'zod';
import type { LineHead, WorkLine } from './attribution.ts';
import type { ModelUse, WorkContext } from './energy.ts';

const party = z.object({ organisationId: z.string(), organisation: z.string() });
const headSchema = z.object({
  head: z.number(),
  kind: z.enum(['inference', 'explanation', 'evaluation', 'training']),
  consumer: party,
  keyId: z.string().nullable(),
  grantId: z.string().nullable(),
  jobId: z.string().nullable(),
  use: z.object({ modelId: z.string(), model: z.string(), version: z.number(), owner: party }).nullable(),
});
const lineSchema = z.tuple([
  z.string(),
  z.number(),
  z.number(),
  z.number(),
  z.number(),
  z.number(),
  z.number(),
  z.number(),
  z.number(),
]);
const startSchema = z.object({ start: z.number() });

/** A line with what it was priced at when its answer left. */
export interface PricedLine extends WorkLine {
  cpuS: number;
  dynamicJ: number;
  idleShareJ: number;
}

export function startText(startMs: number): string {
  return `{"start":${startMs}}\n`;
}

interface KnownHead {
  head: LineHead;
  index: number;
  /** The segment that defines it. */
  writtenIn: string;
}

const maxHeads = 10_000;

/** Finds the head that many lines share, and writes it once into each segment. */
export class HeadBook {
  readonly #known = new Map<string, KnownHead>();
  readonly #rewritten = new Map<LineHead, KnownHead>();
  #next = 0;

  of({ kind, consumer, keyId, grantId, jobId }: WorkContext, use: ModelUse): KnownHead {
    const key = `${kind}|${use.modelId}:${use.version}|${consumer.organisationId}|${keyId}|${grantId}|${jobId}`;
    const known = this.#known.get(key);
    if (known) return known;
    if (this.#known.size >= maxHeads) this.#known.clear();
    const made = { head: { kind, consumer, keyId, grantId, jobId, use }, index: this.#next++, writtenIn: '' };
    this.#known.set(key, made);
    return made;
  }

  /** The head of a line that is written a second time. */
  again(head: LineHead): KnownHead {
    let known = this.#rewritten.get(head);
    if (!known) {
      known = { head, index: this.#next++, writtenIn: '' };
      this.#rewritten.set(head, known);
    }
    return known;
  }

  /** Its definition, or nothing when the segment has it already. */
  define(known: KnownHead, segment: string): string {
    if (known.writtenIn === segment) return '';
    known.writtenIn = segment;
    return `${JSON.stringify({ head: known.index, ...known.head })}\n`;
  }

  /** After a write failed: what it was to define is not in the file. */
  clear(): void {
    this.#known.clear();
    this.#rewritten.clear();
  }
}

export function lineText(line: PricedLine, head: number): string {
  return `[${JSON.stringify(line.id)},${line.atMs},${head},${line.runnerPid},${line.rows},${Math.round(line.computeNs)},${nano(line.cpuS)},${nano(line.dynamicJ)},${nano(line.idleShareJ)}]\n`;
}

/** What a segment holds; values that are neither a head nor a line are counted as broken. */
export function parseLines(values: readonly unknown[]): {
  startMs: number | null;
  lines: PricedLine[];
  broken: number;
} {
  const heads = new Map<number, LineHead>();
  const lines: PricedLine[] = [];
  let startMs: number | null = null;
  let broken = 0;
  for (const value of values) {
    const line = lineSchema.safeParse(value);
    if (line.success) {
      const [id, atMs, index, runnerPid, rows, computeNs, cpuNs, dynamicNJ, idleNJ] = line.data;
      const head = heads.get(index);
      if (!head) broken++;
      else
        lines.push({
          id,
          atMs,
          rows,
          runnerPid,
          computeNs,
          head,
          cpuS: cpuNs / 1e9,
          dynamicJ: dynamicNJ / 1e9,
          idleShareJ: idleNJ / 1e9,
        });
      continue;
    }
    const head = headSchema.safeParse(value);
    if (head.success) {
      const { head: index, ...rest } = head.data;
      heads.set(index, rest);
      continue;
    }
    const start = startSchema.safeParse(value);
    if (start.success) startMs = start.data.start;
    else broken++;
  }
  return { startMs, lines, broken };
}

/** Where a runner's CPU time cannot be read, the time it computed stands for it, CPU·s. */
export function computedBy(runnerPid: number, lines: readonly PricedLine[]): number {
  let nanoseconds = 0;
  for (const line of lines) if (line.runnerPid === runnerPid) nanoseconds += line.computeNs;
  return nanoseconds / 1e9;
}

function nano(value: number): number {
  return Math.round(value * 1e9);
}
