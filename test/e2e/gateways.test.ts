/** Door processes before the real program: what is one stays exact, what dies is replaced, what ends ends gracefully. */
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callAgainAndAgain, type Outcome } from './load.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

let server: ExampleServer;
let url: string;
const body = JSON.stringify({
  inputs: [
    { name: 'input', shape: [1, 100], datatype: 'FP32', data: Array.from({ length: 100 }, () => 0.5) },
  ],
});

beforeAll(async () => {
  server = await startExampleServer({ env: { COMMONWATT_GATEWAYS: '2' } });
  url = `${server.baseUrl}/v2/models/acme--digits/infer`;
});
afterAll(() => server?.stop({ keep: false }));

const owner = () => new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
const load = (apiKey: string, callers: number, more: (outcomes: readonly Outcome[]) => boolean) =>
  callAgainAndAgain({ url, apiKey, body, callers, more });
const doorsOf = (outcomes: readonly Outcome[]) => new Set(outcomes.flatMap(({ door }) => door ?? []));

/** Both doors have taken requests by themselves: those they pass on carry the server's ids. */
async function warm(apiKey: string): Promise<void> {
  await load(apiKey, 4, (outcomes) => outcomes.length < 60);
}

/** Children of the server that are doors. */
function doorPids(parent: number | undefined): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return ppid === parent && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('gateways/door.js');
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come about in time');
    await sleep(20);
  }
}

describe('two doors', () => {
  it('share the connections, and everything else that is asked comes through them', async () => {
    await warm(server.example.owner.apiKey);
    const outcomes = await load(server.example.owner.apiKey, 4, (all) => all.length < 200);
    expect(outcomes.every(({ status }) => status === 200)).toBe(true);
    expect(doorsOf(outcomes).size).toBe(2);
    expect(doorPids(server.process.pid)).toHaveLength(2);
    const page = await fetch(server.baseUrl);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
    expect((await fetch(`${server.baseUrl}/metrics`)).status).toBe(200);
  });

  it.skipIf(process.platform !== 'linux')('a scraper is let in by its own address alone', async () => {
    const lies = { 'x-commonwatt-peer': '203.0.113.9', 'x-forwarded-for': '203.0.113.9' };
    expect((await fetch(`${server.baseUrl}/metrics`, { headers: lies })).status).toBe(200);
  });

  it('keep a limit to the last request, however many send at once', async () => {
    const { model, consumer } = server.example;
    const cw = owner();
    for (const { id, revokedAt } of await cw.grants.list(model))
      if (!revokedAt) await cw.grants.revoke(model, id);
    await cw.grants.create(model, {
      organisation: consumer.organisation,
      permissions: ['infer'],
      limit: { requests: 150, period: 'month' },
    });
    const outcomes = await load(consumer.apiKey, 24, (all) => all.length < 400);
    const count = (status: number) => outcomes.filter((outcome) => outcome.status === status).length;
    expect(count(200)).toBe(150);
    expect(count(429)).toBe(outcomes.length - 150);
    expect(doorsOf(outcomes).size).toBeGreaterThanOrEqual(2);
  });

  it('both refuse a key from the moment it is revoked', async () => {
    const cw = owner();
    const { apiKey, id } = await cw.keys.create({ name: 'soon gone' });
    await warm(apiKey);
    let revoked = false;
    let atRevocation = 0;
    const outcomes = await load(apiKey, 8, (all) => {
      if (all.length >= 200 && atRevocation === 0) {
        atRevocation = all.length;
        void cw.keys.revoke(id).then(() => {
          revoked = true;
          atRevocation = all.length;
        });
      }
      return !revoked || all.length < atRevocation + 100;
    });
    // The eight that were under way may have been admitted before.
    const after = outcomes.slice(atRevocation + 8);
    expect(after.length).toBeGreaterThan(50);
    expect(new Set(after.map(({ status }) => status))).toEqual(new Set([401]));
  });

  it.skipIf(process.platform !== 'linux')(
    'one that is killed costs its own connections only, and is replaced',
    async () => {
      const { apiKey } = server.example.owner;
      const before = doorPids(server.process.pid);
      let killed = 0;
      const outcomes = await load(apiKey, 12, (all) => {
        if (all.length >= 120 && killed === 0) {
          killed = before[0] ?? 0;
          process.kill(killed, 'SIGKILL');
        }
        return all.length < 600;
      });
      const lost = outcomes.filter(({ status }) => status !== 200);
      // A caller on that door loses the request it had sent, and the one whose new connection was just being handed to it.
      // Callers on the other door lose none. (Which door has how many of them is the server's turn to say.)
      expect(lost.length).toBeLessThan(12);
      expect(lost.map(({ error }) => error)).toEqual(lost.map(() => 'ECONNRESET'));
      expect(new Set(lost.map(({ caller }) => caller)).size).toBeGreaterThanOrEqual(lost.length - 1);
      await until(() => doorPids(server.process.pid).filter((pid) => pid !== killed).length === 2);
      await until(async () => doorsOf(await load(apiKey, 4, (all) => all.length < 40)).size >= 2);
    },
  );

  it('a taken port is named', async () => {
    const { port } = new URL(server.baseUrl);
    const env = { COMMONWATT_PORT: port, COMMONWATT_GATEWAYS: '2' };
    await expect(startExampleServer({ env })).rejects.toThrow(new RegExp(`port ${port} .* taken`));
  });
});

/** One after another in the same data folder: the example is made only once. */
describe('the end', () => {
  const startAgain = (gateways: string) =>
    startExampleServer({ dataFolder: server.dataFolder, env: { COMMONWATT_GATEWAYS: gateways } });

  it.each(['2', '1'])('SIGTERM under load with %s gateways loses no request', async (gateways) => {
    if (gateways !== '2') server = await startAgain(gateways);
    const ending = server;
    const doors = doorPids(ending.process.pid);
    const { hostname, port } = new URL(ending.baseUrl);
    const silent = connect(Number(port), hostname);
    silent.on('error', () => {});
    const idle = connect(Number(port), hostname);
    idle.on('error', () => {});
    idle.write('GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n');
    let stopped: Promise<number | null> | undefined;
    const outcomes = await callAgainAndAgain({
      url: `${ending.baseUrl}/v2/models/acme--digits/infer`,
      apiKey: ending.example.owner.apiKey,
      body,
      callers: 16,
      more: (all) => {
        if (all.length >= 300) stopped ??= ending.stop({ keep: true });
        return all.length < 100_000;
      },
    });
    expect(await stopped).toBe(0);
    // Every caller went on until it was refused a connection; whatever was sent was answered.
    expect(outcomes.filter(({ status, refused }) => status !== 200 && !refused)).toEqual([]);
    expect(outcomes.filter(({ refused }) => refused)).toHaveLength(16);
    expect(doors.filter(readsProcess)).toEqual([]);
    silent.destroy();
    idle.destroy();
  });

  it.skipIf(process.platform !== 'linux')('no door outlives a server that is killed', async () => {
    server = await startAgain('2');
    const doors = doorPids(server.process.pid);
    expect(doors).toHaveLength(2);
    await server.stop({ signal: 'SIGKILL', keep: false });
    await until(() => !doors.some(readsProcess));
  });
});

function readsProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
