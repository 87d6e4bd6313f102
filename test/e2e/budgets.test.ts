/**
 * Budgets before the real program: every protocol × every unit × hard, soft and shadow, through one door and through
 * two; what is counted is what the ledger books; nothing is over-spent at once, nor forgotten by a server that is killed.
 */
import { rmSync } from 'node:fs';
import { type Budget, Commonwatt, CommonwattApiError } from '@commonwatt/client';
import { afterAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/storage/db.ts';
import { type Asked, askBy, protocols, waysOf } from './asking.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

const units = ['requests', 'rows', 'energyWh', 'carbonGCo2e', 'money'] as const;
const modes = ['hard', 'soft', 'shadow'] as const;
const price = { perRequest: 0.5, perRow: 0.25, perWh: 1000 };
const plenty = 1e12;

let server: ExampleServer | undefined;
afterAll(() => server?.stop({ keep: false }));

function clientOf({ baseUrl, example }: ExampleServer, apiKey = example.owner.apiKey): Commonwatt {
  return new Commonwatt({ baseUrl, apiKey });
}

async function start(env: Record<string, string> = {}, dataFolder?: string): Promise<ExampleServer> {
  await server?.stop({ keep: false });
  server = await startExampleServer({ env, ...(dataFolder ? { dataFolder } : {}) });
  return server;
}

function budgetOf(keyId: string, unit: (typeof units)[number], mode: (typeof modes)[number]) {
  return {
    subject: { kind: 'key' as const, name: keyId },
    unit,
    amount: plenty,
    period: 'month' as const,
    mode,
    warnAt: 0.8,
    ...(unit === 'money' ? { currency: 'EUR', prices: [price] } : {}),
  };
}

const find = async (cw: Commonwatt, id: string): Promise<Budget> => {
  const found = (await cw.budgets.list()).find((budget) => budget.id === id);
  if (!found) throw new Error(`there is no budget ${id}`);
  return found;
};

/** Of a server that meters. */
const counted = async (cw: Commonwatt, id: string): Promise<Budget & { used: number }> => {
  const { used, ...rest } = await find(cw, id);
  if (used === null) throw new Error(`budget ${id} counts nothing: ${rest.unknown.used}`);
  return { ...rest, used };
};

describe.each([1, 2])('with %i gateways', (gateways) => {
  it('every protocol keeps every limit: hard refuses, soft warns, shadow counts', async () => {
    const here = await start({ COMMONWATT_GATEWAYS: String(gateways) });
    const cw = clientOf(here);
    const table: Record<string, string> = {};
    const expected: Record<string, string> = {};
    const keys: string[] = [];
    for (const protocol of protocols)
      for (const mode of modes) {
        const { id: keyId, apiKey } = await cw.keys.create({ name: `${protocol} ${mode}` });
        keys.push(keyId);
        const ids = new Map<string, string>();
        for (const unit of units) ids.set(unit, (await cw.budgets.set(budgetOf(keyId, unit, mode))).id);
        const first = await askBy(here, protocol === 'train' ? 'json' : protocol, apiKey);
        expect({ protocol, mode, ...first }).toMatchObject({ answered: true, warning: undefined });
        for (const unit of units) {
          const id = ids.get(unit) ?? '';
          const { used, reserved } = await counted(cw, id);
          expect({ protocol, unit, used: used > 0, reserved }).toEqual({
            protocol,
            unit,
            used: true,
            reserved: 0,
          });
          await cw.budgets.change(id, { amount: used / 2 });
          const asked = await askBy(here, protocol, apiKey);
          const after = await find(cw, id);
          await cw.budgets.change(id, { amount: plenty });
          table[`${protocol} ${unit} ${mode}`] = outcomeOf(asked, after);
          expected[`${protocol} ${unit} ${mode}`] =
            mode === 'hard'
              ? 'refused by it'
              : mode === 'soft' && waysOf(protocol).warns
                ? 'answered and warned of it'
                : mode === 'shadow'
                  ? `answered, ${waysOf(protocol).asks} would have been refused`
                  : 'answered';
        }
      }
    expect(table).toEqual(expected);
    await cw.impact();
    await reconcile(here, cw, keys);
  }, 240_000);
});

function outcomeOf({ answered, refused, warning, message, retryAfterS }: Asked, budget: Budget): string {
  if (refused) {
    const isOurs = message.includes(`budget ${budget.id}`) && budget.refused === 1;
    const secondsLeft = (Date.parse(budget.periodEnd) - Date.now()) / 1000;
    if (retryAfterS !== undefined && Math.abs(retryAfterS - secondsLeft) > 60)
      return `comes again in ${retryAfterS} s`;
    return isOurs ? 'refused by it' : `refused: ${message}`;
  }
  if (!answered) return `failed: ${message}`;
  const shadow = budget.wouldHaveRefused > 0 ? `, ${budget.wouldHaveRefused} would have been refused` : '';
  return `answered${warning?.includes(budget.id) ? ' and warned of it' : ''}${shadow}`;
}

/** After settlement each counter is what the ledger sums to. */
async function reconcile(here: ExampleServer, cw: Commonwatt, keys: readonly string[]): Promise<void> {
  const budgets = await cw.budgets.list();
  await here.stop({ keep: true });
  server = undefined;
  const db = await openDatabase(`${here.dataFolder}/commonwatt.db`);
  const lines = await db
    .selectFrom('ledger_entries')
    .where('key_id', 'in', keys)
    .select(['key_id', 'id', 'kind', 'rows', 'energy_j', 'carbon_g'])
    .execute();
  await db.destroy();
  rmSync(here.dataFolder, { recursive: true });
  for (const { subject, unit, used } of budgets) {
    const own = lines.filter(({ key_id }) => key_id === subject.id);
    const sum = (of: (line: (typeof own)[number]) => number) => own.reduce((all, line) => all + of(line), 0);
    const requests = new Set(own.filter(({ kind }) => kind !== 'training').map(({ id }) => id.split('~')[0]))
      .size;
    const rows = sum((line) => line.rows);
    const energyWh = sum((line) => line.energy_j) / 3600;
    const carbonGCo2e = sum((line) => line.carbon_g);
    const money = requests * price.perRequest + rows * price.perRow + energyWh * price.perWh;
    const booked = { requests, rows, energyWh, carbonGCo2e, money }[unit];
    expect({
      key: subject.name,
      unit,
      off: used !== null && Math.abs(used - booked) <= 1e-9 * booked ? 0 : [used, booked],
    }).toEqual({
      key: subject.name,
      unit,
      off: 0,
    });
  }
}

describe('hundreds at once, over four protocols', () => {
  it('spend a limit of requests to the last one, and of energy by no more than is in flight', async () => {
    const here = await start({ COMMONWATT_GATEWAYS: '2' });
    const cw = clientOf(here);
    const storm = async (apiKey: string) => {
      const ways = ['json', 'binary', 'grpc', 'stream'] as const;
      const asked = await Promise.all(
        Array.from({ length: 320 }, (_, index) => askBy(here, ways[index % ways.length] ?? 'json', apiKey)),
      );
      expect(asked.every(({ answered, refused }) => answered || refused)).toBe(true);
      return asked.filter(({ answered }) => answered).length;
    };
    const asking = await cw.keys.create({ name: 'asking' });
    await cw.budgets.set({ ...budgetOf(asking.id, 'requests', 'hard'), amount: 123 });
    expect(await storm(asking.apiKey)).toBe(123);

    const metered = await cw.keys.create({ name: 'metered' });
    const { id } = await cw.budgets.set(budgetOf(metered.id, 'energyWh', 'hard'));
    for (let times = 0; times < 20; times++) await askBy(here, 'json', metered.apiKey);
    await cw.impact();
    const one = (await counted(cw, id)).used / 20;
    const amount = 120 * one;
    await cw.budgets.change(id, { amount });
    const answered = await storm(metered.apiKey);
    await cw.impact();
    const { used, reserved } = await counted(cw, id);
    expect(reserved).toBe(0);
    // Some were answered and some were not; what each held was an upper estimate.
    expect(answered).toBeGreaterThan(0);
    expect(answered).toBeLessThan(320);
    const line = (used - 20 * one) / answered;
    expect(used).toBeLessThanOrEqual(amount + 320 * line);
  }, 120_000);
});

describe('a server that is killed', () => {
  it('goes on counting where it was', async () => {
    const here = await start();
    const { id: keyId, apiKey } = await clientOf(here).keys.create({ name: 'after a crash' });
    const { id } = await clientOf(here).budgets.set({ ...budgetOf(keyId, 'requests', 'hard'), amount: 30 });
    const energy = (await clientOf(here).budgets.set(budgetOf(keyId, 'energyWh', 'soft'))).id;
    for (let times = 0; times < 20; times++) await askBy(here, times % 2 === 0 ? 'json' : 'grpc', apiKey);
    const before = await counted(clientOf(here), energy);
    await here.stop({ signal: 'SIGKILL', keep: true });
    server = undefined;
    const again = await start({}, here.dataFolder);
    expect(await find(clientOf(again), id)).toMatchObject({ used: 20, reserved: 0 });
    // The interval that was open is priced anew: by its meter, where it had come to be read.
    expect((await find(clientOf(again), energy)).used).toBeGreaterThan(before.used / 10);
    const asked = [];
    for (let times = 0; times < 15; times++) asked.push(await askBy(again, 'binary', apiKey));
    expect(asked.filter(({ answered }) => answered)).toHaveLength(10);
    expect(asked.filter(({ refused }) => refused)).toHaveLength(5);
  }, 120_000);
});

async function settled<Value>(cw: Commonwatt, read: () => Promise<Value>): Promise<Value> {
  await cw.impact();
  return read();
}

describe('a training', () => {
  const training = (epochs: number) => ({
    kind: 'train' as const,
    config: {
      dataset: 'digits',
      epochs,
      layers: [{ type: 'dense' as const, units: 1, activation: 'sigmoid' as const }],
    },
  });

  it('counts while it runs, goes on when its budget is used up unless that stops jobs, and no other begins', async () => {
    const here = server ?? (await start());
    const cw = clientOf(here);
    const { id: keyId, apiKey } = await cw.keys.create({ name: 'trains' });
    const own = clientOf(here, apiKey);
    const { id } = await cw.budgets.set({ ...budgetOf(keyId, 'energyWh', 'hard'), amount: 1e-9 });
    const job = await own.jobs.create(training(10_000));
    await expect
      .poll(async () => settled(cw, async () => (await find(cw, id)).used), { timeout: 30_000 })
      .toBeGreaterThan(1e-9);
    expect((await own.jobs.get(job.id)).state).toBe('running');
    const refused = await own.jobs.create(training(1)).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(CommonwattApiError);
    expect(refused).toMatchObject({
      status: 429,
      code: 'LIMIT_EXCEEDED',
      message: expect.stringContaining(id),
    });

    await cw.budgets.change(id, { stopsJobs: true });
    await expect
      .poll(async () => settled(cw, async () => (await own.jobs.get(job.id)).state), { timeout: 30_000 })
      .toBe('failed');
    expect((await own.jobs.get(job.id)).error).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: expect.stringContaining(`budget ${id}`),
    });
    const text = await (await fetch(`${here.baseUrl}/metrics`)).text();
    expect(text).toMatch(new RegExp(`^commonwatt_budget_used_ratio\\{budget="${id}"\\} \\d`, 'm'));
    expect(text).toMatch(/^commonwatt_budget_refusals_total\{mode="hard"\} [1-9]/m);
  }, 90_000);
});

describe('a server that meters nothing', () => {
  it('says that energy, carbon and what they cost are not known, holds nobody back by them, and counts the rest', async () => {
    const metered = await start();
    await metered.stop({ keep: true });
    server = undefined;
    const here = await start({ COMMONWATT_METER: 'off' }, metered.dataFolder);
    const cw = clientOf(here);
    const { id: keyId, apiKey } = await cw.keys.create({ name: 'unmetered' });
    const flat = { ...budgetOf(keyId, 'money', 'hard'), prices: [{ perRequest: 0.5 }] };
    const most = { requests: plenty, rows: 3, energyWh: 1e-9, carbonGCo2e: 1e-9, money: 100 };
    const set = units.map((unit) => ({
      ...budgetOf(keyId, unit, 'hard'),
      amount: most[unit],
    }));
    for (const budget of set) if (budget.unit !== 'requests') await cw.budgets.set(budget);
    await cw.budgets.set({ ...flat, amount: 100 });
    for (let times = 0; times < 3; times++)
      expect(await askBy(here, 'json', apiKey)).toMatchObject({ answered: true });
    expect(await askBy(here, 'json', apiKey)).toMatchObject({ refused: true });
    const unknown = { used: 'metering is off: it holds nobody back' };
    expect((await cw.budgets.list()).map(({ unit, used, unknown }) => ({ unit, used, unknown }))).toEqual([
      { unit: 'rows', used: 3, unknown: {} },
      { unit: 'energyWh', used: null, unknown },
      { unit: 'carbonGCo2e', used: null, unknown },
      {
        unit: 'money',
        used: null,
        unknown: { used: 'metering is off: it holds by what requests and rows cost alone' },
      },
      { unit: 'money', used: 1.5, unknown: {} },
    ]);
    const text = await (await fetch(`${here.baseUrl}/metrics`)).text();
    expect(text.match(/^commonwatt_budget_used_ratio\{/gm)).toHaveLength(2);
  }, 60_000);
});
