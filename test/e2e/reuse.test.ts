/** Answers used again, through the real program: same answer, less energy, booked as avoided, refusable. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ExampleServer, startExampleServer } from './server.ts';

let server: ExampleServer;
beforeAll(async () => {
  server = await startExampleServer();
}, 120_000);
afterAll(async () => {
  await server?.stop();
});

interface Answer {
  outputs: { data: number[] }[];
  usage: { impact: { dynamicWh: number } };
}

async function call(path: string, apiKey: string, init: RequestInit = {}): Promise<unknown> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...init.headers };
  const response = await fetch(`${server.baseUrl}${path}`, { ...init, headers });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

it('computes a repeated request twice at most, and shows what that avoided apart from what was used', async () => {
  const { model, owner, consumer } = server.example;
  const data = Array.from({ length: 100 }, (_, index) => Math.sin(index + 0.5));
  const body = JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data }] });
  const infer = (apiKey: string, headers: Record<string, string> = {}) =>
    call(`/v2/models/${model}/infer`, apiKey, { method: 'POST', body, headers }) as Promise<Answer>;
  const avoided = async () => {
    const report = (await call('/api/v1/impact', owner.apiKey)) as {
      avoided: { requests: number; energyWh: number; quality: string };
      split: { residualRatio: number };
    };
    expect(report.split.residualRatio).toBeLessThan(1e-9);
    return report.avoided;
  };
  const before = await avoided();

  const answers: Answer[] = [];
  for (let index = 0; index < 6; index++) answers.push(await infer(consumer.apiKey));
  for (const { outputs } of answers) expect(outputs).toEqual(answers[0]?.outputs);
  const [first] = answers;
  const last = answers.at(-1);
  expect(last?.usage.impact.dynamicWh).toBeLessThan(first?.usage.impact.dynamicWh ?? 0);
  const after = await avoided();
  expect(after.requests - before.requests).toBe(4);
  expect(after.energyWh).toBeGreaterThan(before.energyWh);
  expect(after.quality).toBe('estimated');

  // Neither for who asks that nothing be stored, nor for another organisation.
  await infer(consumer.apiKey, { 'cache-control': 'no-store' });
  await infer(owner.apiKey);
  expect((await avoided()).requests).toBe(after.requests);
}, 60_000);
