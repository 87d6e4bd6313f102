/** A gateway that is killed takes its runners with it, even those that compute without an end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { loopModel } from '../../runtimes/testing/onnx-graphs.ts';
import { lives, until } from './testing/runners.ts';

const runnersModule = new URL('../../../dist/serve/runner/runners.js', import.meta.url);
let gateway: ChildProcess | undefined;
let runner = 0;

afterEach(() => {
  gateway?.kill('SIGKILL');
  if (runner > 0 && lives(runner)) process.kill(runner, 'SIGKILL');
});

/** A process that loads a model into a runner, has it compute for ever, and prints the runner's pid. */
async function busyGateway(env: NodeJS.ProcessEnv): Promise<number> {
  const model = join(mkdtempSync(join(tmpdir(), 'orphan-')), 'loop.onnx');
  writeFileSync(model, loopModel());
  const script = `
    import { readFileSync } from 'node:fs';
    import { Runners } from ${JSON.stringify(runnersModule.href)};
    const log = { info() {}, error() {} };
    const runners = new Runners({ log, processes: 1, threads: 1, memoryLimitBytes: null });
    const bytes = async () => readFileSync(${JSON.stringify(model)});
    const replica = await runners.load({ versionId: 'v', name: 'v', bytes, threads: 1, executionProviders: ['cpu'], replicas: 1 });
    const tensor = (name, datatype, part) => ({ name, datatype, shape: [1, 1], parts: [part] });
    replica.run([tensor('x', 'FP32', Float32Array.of(1)), tensor('n', 'INT64', BigInt64Array.of(10n ** 12n))]);
    setTimeout(() => console.log(replica.runnerPids[0]), 300);
  `;
  gateway = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  return new Promise((resolve) => gateway?.stdout?.once('data', (line) => resolve(Number(line))));
}

describe('a runner whose gateway is killed', () => {
  it.each([
    ['by the kernel, where that can be asked', process.env],
    ['by itself', { ...process.env, PATH: '/nowhere' }],
  ])('ends, though it computes without an end: %s', async (_, env) => {
    runner = await busyGateway(env);
    expect(lives(runner)).toBe(true);
    gateway?.kill('SIGKILL');
    await until(() => !lives(runner));
  });
});
