/** Runners and versions for tests. The models are real ones: crashes, hangs and hunger come from what they are asked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { differenceModel, hungryModel, loopModel } from '../../../runtimes/testing/onnx-graphs.ts';
import type { Replica, ReplicaSpec } from '../replica.ts';
import { Runners, type RunnersOptions } from '../runners.ts';

const started: Runners[] = [];

export function newRunners(options: Partial<RunnersOptions> = {}): Runners {
  const log = { info() {}, error() {} };
  const runners = new Runners({ log, processes: 1, threads: 1, memoryLimitBytes: null, ...options });
  started.push(runners);
  return runners;
}

export async function stopAll(): Promise<void> {
  await Promise.all(started.splice(0).map((runners) => runners.stop()));
}

export function spec(
  versionId: string,
  bytes: () => Uint8Array,
  more: Partial<ReplicaSpec> = {},
): ReplicaSpec {
  return {
    versionId,
    name: `acme/${versionId}:1`,
    bytes: async () => bytes(),
    threads: undefined,
    executionProviders: ['cpu'],
    replicas: 1,
    ...more,
  };
}

/** Answers x₀ − x₁. */
export const plain = (versionId: string, more: Partial<ReplicaSpec> = {}) =>
  spec(versionId, differenceModel, more);
/** Answers x after `n` steps. */
export const looping = (versionId: string) => spec(versionId, loopModel);
/** Answers x, and takes 12 bytes of memory for each `n`. */
export const hungry = (versionId: string) => spec(versionId, hungryModel);

export function pair(a: number, b: number) {
  return [{ name: 'x', datatype: 'FP32', shape: [1, 2], parts: [Float32Array.of(a, b)] } as const];
}

export function counted(x: number, n: number | bigint) {
  return [
    { name: 'x', datatype: 'FP32', shape: [1, 1], parts: [Float32Array.of(x)] },
    { name: 'n', datatype: 'INT64', shape: [1, 1], parts: [BigInt64Array.of(BigInt(n))] },
  ] as const;
}

export async function answer(computed: ReturnType<Replica['run']>): Promise<unknown> {
  return (await computed).outputs[0]?.data[0];
}

export function pidOf(replica: Replica): number {
  const [pid] = replica.runnerPids;
  if (pid === undefined) throw new Error('no runner holds it');
  return pid;
}

export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits for a state that is reached without anything being done for it. */
export async function until(reached: () => boolean): Promise<void> {
  for (let tries = 0; !reached(); tries++) {
    if (tries > 1000) throw new Error('did not happen within 20 s');
    await sleep(20);
  }
}
