import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectionRules } from '../connection-rules.ts';
import { Budget } from './budget.ts';
import { fastDoor } from './fast.ts';
import type { Exchange } from './fast-exchange.ts';

const inFull = (exchange: Exchange, body: Buffer) =>
  exchange.succeed({ headers: [], body: String(body.length) });
let answer = inFull;
const budget = new Budget(1_000_000);
const server = createServer(
  connectionRules,
  fastDoor({
    desk: {
      visit: () => ({ answer: (exchange, body) => answer(exchange, body) }),
    },
    ordinary: () => {
      throw new Error('nothing here is for the ordinary door');
    },
    log: { error() {} },
    maxBodyBytes: 10_000_000,
    draining: { begun: false },
    budget,
  }),
);
beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** A request whose body is announced, and of which `sent` bytes are sent. */
function begin(bytes: number, sent = bytes) {
  const outgoing = request({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v2/models/acme--digits/infer',
    headers: { authorization: 'Bearer cw_key', 'content-length': bytes },
  });
  const answer = new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, text });
    });
  });
  answer.catch(() => {});
  for (let at = 0; at < sent; at += 100_000) outgoing.write(Buffer.alloc(Math.min(100_000, sent - at)));
  if (sent === bytes) outgoing.end();
  return { outgoing, answer };
}

it('large bodies share the memory: who finds no room is refused, and room comes back when others leave', async () => {
  const slow = begin(5_000_000, 900_000);
  await expect.poll(() => budget.taken).toBeGreaterThan(700_000);
  expect(await begin(900_000).answer).toMatchObject({
    status: 503,
    text: expect.stringContaining('under way'),
  });
  expect(await begin(20).answer).toEqual({ status: 200, text: '20' });
  slow.outgoing.destroy();
  await expect.poll(() => budget.taken).toBe(0);
  expect(await begin(900_000).answer).toEqual({ status: 200, text: '900000' });
  await expect.poll(() => budget.taken).toBe(0);
});

it('a call that is made after its caller has left is cancelled at once', async () => {
  let asked: Exchange | undefined;
  answer = (exchange) => {
    asked = exchange;
  };
  const { outgoing } = begin(20);
  await expect.poll(() => asked).toBeDefined();
  outgoing.destroy();
  await expect.poll(() => asked?.request.socket.destroyed).toBe(true);
  let cancelled = false;
  asked?.watch({ cancel: () => (cancelled = true) });
  expect(cancelled).toBe(true);
  answer = inFull;
});

it('nothing goes the quick way where every answer carries a receipt', async () => {
  let passed = 0;
  const all = createServer(
    connectionRules,
    fastDoor({
      desk: { visit: () => ({ answer: inFull }) },
      ordinary: (_request, response) => {
        passed += 1;
        response.end('signed');
      },
      log: { error() {} },
      maxBodyBytes: 100,
      draining: { begun: false },
      receipts: true,
    }),
  );
  await new Promise<void>((resolve) => all.listen(0, '127.0.0.1', resolve));
  const { port } = all.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/v2/models/acme--digits/infer`, {
    method: 'POST',
    headers: { authorization: 'Bearer cw_key' },
    body: '{}',
  });
  expect([await response.text(), passed]).toEqual(['signed', 1]);
  all.closeAllConnections();
  all.close();
});
