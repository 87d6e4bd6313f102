import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { inspectArtifact } from '../../models/formats/formats.ts';
import { writeKerasH5 } from '../../models/formats/keras-h5-write.ts';
import { Runner } from './runner.ts';

async function doubling(): Promise<Uint8Array> {
  const layer = { name: 'dense', type: 'dense', units: 1, activation: 'linear' } as const;
  const h5 = await writeKerasH5({
    name: 'double',
    inputSize: 1,
    layers: [{ ...layer, kernel: Float32Array.of(2), bias: Float32Array.of(0) }],
  });
  return (await inspectArtifact(Buffer.from(h5))).onnx;
}

const quiet = { info() {}, error() {} };
const runners: Runner[] = [];

function newRunner(options: { hangMs?: number } = {}): Runner {
  const runner = new Runner({ log: quiet, ...options });
  runners.push(runner);
  return runner;
}

function row(value: number) {
  return [{ name: 'input', datatype: 'FP32', shape: [1, 1], parts: [Float32Array.of(value)] } as const];
}

/** Waits for a state the runner reaches by itself. */
async function until(reached: () => boolean) {
  for (let tries = 0; !reached(); tries++) {
    if (tries > 500) throw new Error('did not happen within 10 s');
    await sleep(20);
  }
}

afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.stop()));
});

describe('a runner process', () => {
  it('loads models and computes, and says how long it took', async () => {
    const runner = newRunner();
    const replica = await runner.load(doubling);
    const { outputs, computeNs } = await runner.run(replica, row(21));
    expect(outputs[0]?.data[0]).toBe(42);
    expect(computeNs).toBeGreaterThan(0);
    expect(runner.residentBytes).toBeGreaterThan(1e6);
  });

  it('tells a broken model from a broken runner', async () => {
    const runner = newRunner();
    await expect(runner.load(async () => Buffer.from('no model'))).rejects.toMatchObject({
      code: 'CORRUPT_MODEL',
    });
    const replica = await runner.load(doubling);
    expect(runner.isReady(replica)).toBe(true);
  });

  it('that is killed costs its requests one retryable error, and comes back with its models', async () => {
    const runner = newRunner();
    const replica = await runner.load(doubling);
    const first = runner.pid;
    process.kill(first ?? 0, 'SIGSTOP');
    const lost = runner.run(replica, row(1));
    process.kill(first ?? 0, 'SIGKILL');
    await expect(lost).rejects.toMatchObject({ code: 'RUNNER_FAILED', status: 503, retryAfterS: 1 });
    await until(() => runner.isReady(replica));
    expect(runner.pid).not.toBe(first);
    expect((await runner.run(replica, row(4))).outputs[0]?.data[0]).toBe(8);
  });

  it('that hangs is killed and started again', async () => {
    const runner = newRunner({ hangMs: 1500 });
    const replica = await runner.load(doubling);
    process.kill(runner.pid ?? 0, 'SIGSTOP');
    await expect(runner.run(replica, row(1))).rejects.toMatchObject({ code: 'RUNNER_FAILED' });
    await until(() => runner.isReady(replica));
    expect((await runner.run(replica, row(5))).outputs[0]?.data[0]).toBe(10);
  });

  it('ends with its gateway', async () => {
    const runner = newRunner();
    await runner.load(doubling);
    const { pid } = runner;
    await runner.stop();
    expect(() => process.kill(pid ?? 0, 0)).toThrow('ESRCH');
  });
});
