/**
 * Batcher and real runners together: a request that really kills the process that computes it is refused from then
 * on, whoever was in its batch is answered, and other versions notice nothing but time.
 */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Tensor } from '../runtimes/tensor.ts';
import type { Batcher } from './batcher.ts';
import type { Replica } from './runner/replica.ts';
import type { Runners, RunnersOptions } from './runner/runners.ts';
import { answer, hungry, looping, newRunners, pair, plain, stopAll } from './runner/testing/runners.ts';
import { InferCall } from './serve.ts';
import { context, doubler } from './testing/calls.ts';

afterEach(stopAll);

function counted(x: number, n: number): Tensor[] {
  return [
    { name: 'x', datatype: 'FP32', shape: [1, 1], data: Float32Array.of(x) },
    { name: 'n', datatype: 'INT64', shape: [1, 1], data: BigInt64Array.of(BigInt(n)) },
  ];
}

function batcherOf(replica: Replica): Batcher {
  const run: Replica['run'] = (inputs) => replica.run(inputs);
  return doubler({ target: { run, runAlone: (inputs) => replica.runAlone(inputs) } }).batcher;
}

async function outcome(batcher: Batcher, x: number, n: number): Promise<unknown> {
  try {
    const { outputs } = await batcher.infer(new InferCall(counted(x, n), context(String(x))));
    return outputs[0]?.data[0];
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** Sends SIGSEGV to every runner that has been computing without a pause: as a fault in native code would. */
function faultOnLongWork(runners: Runners): NodeJS.Timeout {
  const seen = new Map<number, number>();
  return setInterval(() => {
    for (const { pid } of runners.describe().processes) {
      const ticks = ticksOf(pid);
      if (ticks - (seen.get(pid) ?? ticks) >= 15) process.kill(pid, 'SIGSEGV');
      seen.set(pid, ticks);
    }
  }, 400);
}

function ticksOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}

interface Poison {
  kind: string;
  spec: typeof looping;
  poison: number;
  options: Partial<RunnersOptions>;
}

const kinds: Poison[] = [
  { kind: 'hangs', spec: looping, poison: 1e12, options: { hangMs: 1500 } },
  { kind: 'takes all memory', spec: hungry, poison: 3e8, options: { memoryLimitBytes: 400e6 } },
];
// Who is computing is read from /proc.
if (process.platform === 'linux')
  kinds.push({ kind: 'faults in native code', spec: looping, poison: 1e12, options: {} });

describe.each(kinds)('a request that $kind', ({ kind, spec, poison, options }) => {
  it('is refused for good; its mates and other versions are answered', async () => {
    const runners = newRunners(options);
    const replica = await runners.load(spec('bad'));
    const other = await runners.load(plain('other'));
    const faults = kind.startsWith('faults') ? faultOnLongWork(runners) : undefined;
    const batcher = batcherOf(replica);
    const added = spec === looping ? 10 : 0;
    expect(await outcome(batcher, 0, 10)).toBe(added);
    // One batch: the first takes the runner, the others gather behind it.
    const outcomes = [1, 2, 3, 4, 5].map((x) => outcome(batcher, x, x === 3 ? poison : 10));
    const elsewhere = Array.from({ length: 20 }, (_, i) => answer(other.run(pair(i, 0))));
    expect(await Promise.all(outcomes)).toEqual([1 + added, 2 + added, 'POISONED', 4 + added, 5 + added]);
    expect(await Promise.all(elsewhere)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    const { restarts } = runners.describe();
    expect(await outcome(batcher, 3, poison)).toBe('POISONED');
    expect(runners.describe().restarts).toBe(restarts);
    expect(await outcome(batcher, 6, 10)).toBe(6 + added);
    expect(replica.load.state).toBe('loaded');
    clearInterval(faults);
  });
});
