/** Ctrl-C and sudden death in the middle of a training. */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Commonwatt } from '@commonwatt/client';
import { afterAll, describe, expect, it } from 'vitest';
import { type ExampleServer, spawnProgram, startExampleServer } from './server.ts';

const dataFolder = mkdtempSync(join(tmpdir(), 'commonwatt-interrupted-'));
let server: ExampleServer | undefined;
afterAll(() => server?.stop({ keep: false }));

/** Starts the example and sends the signal in the middle of its training; returns the exit status. */
function interruptTraining(signal: NodeJS.Signals): Promise<number | null> {
  return interrupt(spawnProgram(['up', '--example'], { COMMONWATT_DATA: dataFolder }), signal);
}

function interrupt(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  let output = '';
  let sent = false;
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      if (!sent && /epoch [1-9]/.test(output)) sent = child.kill(signal);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('error', reject);
    child.on('close', (code) => resolve(code));
  });
}

describe('the first example', () => {
  it('told to stop in its training ends with 0, killed in it ends at once, and goes on with the same job', async () => {
    expect(await interruptTraining('SIGINT')).toBe(0);
    expect(await interruptTraining('SIGKILL')).toBeNull();
    server = await startExampleServer({ dataFolder });
    const cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
    const jobs = await cw.jobs.list();
    expect(jobs).toHaveLength(1);
    expect(jobs[0]).toMatchObject({ state: 'succeeded' });
    expect(jobs[0]?.attempts).toBeGreaterThan(1);
    expect((await cw.models.get('acme/digits')).versions).toHaveLength(1);
  });
});

describe('commonwatt train', () => {
  it('asks the server to cancel on Ctrl-C and exits 1; nothing is written', async () => {
    if (!server) throw new Error('the server did not start');
    const { baseUrl, example } = server;
    const out = join(dataFolder, 'cancelled.h5');
    const child = spawnProgram(['train', '--config', 'examples/digits/train.yaml', '--out', out], {
      COMMONWATT_URL: baseUrl,
      COMMONWATT_API_KEY: example.owner.apiKey,
    });
    expect(await interrupt(child, 'SIGINT')).toBe(1);
    const jobs = await new Commonwatt({ baseUrl, apiKey: example.owner.apiKey }).jobs.list();
    expect(jobs.map(({ state }) => state).sort()).toEqual(['cancelled', 'succeeded']);
  });
});
