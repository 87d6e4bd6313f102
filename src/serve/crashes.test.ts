/**
 * Batcher and real runners together: a request that really kills the process that computes it is refused from then
 * on, whoever was in its batch is answered, and other versions notice nothing but time.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { TensorParts } from '../runtimes/frames.ts';
import type { Tensor } from '../runtimes/tensor.ts';
import type { Batcher } from './batcher.ts';
import type { Computed, Replica } from './runner/replica.ts';
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

/** Sends SIGSEGV to whoever computes the poisonous request, as a fault in native code would. */
function faulting(runners: Runners, replica: Replica): Replica {
  const kill = (kind: string) => {
    for (const process of runners.describe().processes)
      if (process.kind === kind) globalThis.process.kill(process.pid, 'SIGSEGV');
  };
  const during = async (kind: string, inputs: Parameters<Replica['run']>[0], computed: Promise<Computed>) => {
    const n = inputs.find(({ name }) => name === 'n')?.parts ?? [];
    const poisonous = n.some((part) => part.some((value) => value > 1e9));
    const fault = poisonous ? setInterval(() => kill(kind), 1500) : undefined;
    return await computed.finally(() => clearInterval(fault));
  };
  return Object.create(replica, {
    run: { value: (inputs: TensorParts[]) => during('shared', inputs, replica.run(inputs)) },
    runAlone: { value: (inputs: TensorParts[]) => during('alone', inputs, replica.runAlone(inputs)) },
  });
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
  { kind: 'faults in native code', spec: looping, poison: 1e12, options: {} },
];

describe.each(kinds)('a request that $kind', { timeout: 120_000 }, ({ kind, spec, poison, options }) => {
  it('is refused for good; its mates and other versions are answered', async () => {
    const runners = newRunners(options);
    const replica = await runners.load(spec('bad'));
    const other = await runners.load(plain('other'));
    const batcher = batcherOf(kind.startsWith('faults') ? faulting(runners, replica) : replica);
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
  });
});
