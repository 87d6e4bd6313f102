import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TestPlatform, testPlatform } from '../testing/platform.ts';
import type { NewBudget } from './budgets.ts';

let platform: TestPlatform;
beforeEach(async () => {
  platform = await testPlatform();
});
afterEach(() => platform.close());

const oneRequest: Omit<NewBudget, 'subject'> = {
  unit: 'requests',
  amount: 1,
  period: 'day',
  mode: 'hard',
  warnAt: null,
  stopsJobs: false,
  currency: null,
  prices: null,
};

async function acme() {
  const { admin } = await platform.organisation('acme');
  const model = await platform.model(admin, 'digits');
  const share = () =>
    platform.grants.create(
      model,
      { organisation: 'globex', permissions: ['infer'], limit: null, expiresAt: null },
      admin,
    );
  const ask = async () => platform.gate.admit(admin, 'infer', 'acme', 'digits');
  const set = (change: Partial<NewBudget> = {}) =>
    platform.budgets.set(admin, {
      subject: { kind: 'organisation', name: 'acme' },
      ...oneRequest,
      ...change,
    });
  return { admin, ask, set, share };
}

describe('a budget', () => {
  it('refuses what does not fit, names itself and says when to come again', async () => {
    const { ask, set } = await acme();
    const { id } = await set();
    const first = await ask();
    const refused = await ask().catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      status: 429,
      message: expect.stringContaining(`budget ${id} of the organisation acme allows 1 requests a day`),
      retryAfterS: (Date.UTC(2026, 0, 16) - platform.clock.ms) / 1000,
    });
    first.release();
    await ask();
  });

  it.each(['soft', 'shadow'] as const)('that is %s refuses nobody', async (mode) => {
    const { ask, set } = await acme();
    const { id } = await set({ mode });
    for (let asked = 0; asked < 3; asked++) await ask();
    const { wouldHaveRefused, refused } = await platform.gate.limits.state(platform.budgets.limitOf(id));
    expect(refused).toBe(0);
    expect(wouldHaveRefused).toBe(mode === 'shadow' ? 2 : 0);
  });

  it('holds beside others: the one that is reached first refuses, and none is taken from', async () => {
    const { admin, ask, set } = await acme();
    const wide = await set({ amount: 100 });
    await set({ subject: { kind: 'key', name: admin.keyId } });
    await ask();
    await expect(ask()).rejects.toMatchObject({ message: expect.stringContaining('of the key') });
    const { used, reserved } = await platform.gate.limits.state(platform.budgets.limitOf(wide.id));
    expect((used ?? Number.NaN) + reserved).toBe(1);
  });

  it('can be raised and removed, which holds at once', async () => {
    const { admin, ask, set } = await acme();
    const { id } = await set();
    await ask();
    await expect(ask()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await platform.budgets.change(admin, id, { amount: 2 });
    await ask();
    await expect(ask()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await platform.budgets.remove(admin, id);
    await ask();
  });

  it('is set by administrators for what is theirs, and seen by nobody else', async () => {
    const { admin, set } = await acme();
    const { admin: stranger } = await platform.organisation('globex');
    const { principal: bob } = await platform.member(admin, 'bob');
    const { id } = await set();
    const of = { subject: { kind: 'organisation' as const, name: 'acme' }, ...oneRequest };
    await expect(platform.budgets.set(bob, of)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(platform.budgets.set(stranger, of)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(platform.budgets.remove(stranger, id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(platform.budgets.remove(bob, id)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(platform.budgets.list(stranger)).toEqual([]);
    expect(platform.budgets.list(bob).map((budget) => budget.id)).toEqual([id]);
  });

  it('of money needs a currency and prices, and no other has any', async () => {
    const { set } = await acme();
    await expect(set({ unit: 'money' })).rejects.toMatchObject({ where: 'body.currency' });
    await expect(set({ currency: 'EUR' })).rejects.toMatchObject({ where: 'body.unit' });
  });

  it('is set by owners for their models and grants, by the operator for everybody; others see only what is theirs', async () => {
    const { admin, share } = await acme();
    const { admin: guest } = await platform.organisation('globex');
    const grant = await share();
    const of = (kind: 'grant' | 'model' | 'organisation' | 'member', name: string) => ({
      ...oneRequest,
      subject: { kind, name },
    });
    const ofGrant = await platform.budgets.set(admin, of('grant', grant.id));
    const ofModel = await platform.budgets.set(admin, of('model', 'acme/digits'));
    const ofAll = await platform.budgets.set(platform.operator, of('organisation', 'globex'));
    for (const subject of [of('grant', grant.id), of('model', 'acme/digits'), of('member', 'acme/admin')])
      await expect(platform.budgets.set(guest, subject)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(platform.budgets.list(guest).map(({ id }) => id)).toEqual([ofGrant.id, ofAll.id]);
    expect(platform.budgets.list(admin).map(({ id }) => id)).toEqual([ofGrant.id, ofModel.id]);
    expect(platform.budgets.list(platform.operator)).toHaveLength(3);

    const asGuest = async () => platform.gate.admit(guest, 'infer', 'acme', 'digits');
    await asGuest();
    // Of a model a guest is not told how much others use.
    await platform.budgets.remove(admin, ofGrant.id);
    await platform.budgets.remove(platform.operator, ofAll.id);
    const refused = await asGuest().catch((error: unknown) => error);
    expect(refused).toMatchObject({
      message: `budget ${ofModel.id} of the model acme/digits is used up for this day`,
      where: `budgets.${ofModel.id}`,
    });
  });

  it('has no prices of what one may not see: whether it exists is not told', async () => {
    const { share } = await acme();
    const { admin: guest } = await platform.organisation('globex');
    const money = (...prices: string[]) => ({
      ...oneRequest,
      subject: { kind: 'organisation' as const, name: 'globex' },
      unit: 'money' as const,
      currency: 'EUR',
      prices: prices.map((of) => ({ of, perRequest: 1, perRow: 0, perWh: 0 })),
    });
    for (const name of ['acme/digits', 'acme/nothing', 'acme', 'nobody'])
      await expect(platform.budgets.set(guest, money(name))).rejects.toMatchObject({
        code: 'NOT_FOUND',
        message: `"${name}" has no price: it does not exist`,
      });
    await share();
    await expect(platform.budgets.set(guest, money('acme/digits', 'acme', 'globex'))).resolves.toBeDefined();
  });

  it('stops jobs only where jobs are somebody’s and it is hard', async () => {
    const { admin, set } = await acme();
    const { id } = await set({ stopsJobs: true });
    await expect(platform.budgets.change(admin, id, { mode: 'soft' })).rejects.toMatchObject({
      where: 'body.stopsJobs',
    });
    await expect(
      set({ stopsJobs: true, subject: { kind: 'model', name: 'acme/digits' } }),
    ).rejects.toMatchObject({ where: 'body.stopsJobs' });
  });

  it('leaves a trail of who set, changed and removed it', async () => {
    const { admin, set } = await acme();
    const { id } = await set();
    await platform.budgets.change(admin, id, { amount: 7 });
    await platform.budgets.remove(admin, id);
    const events = await platform.db
      .selectFrom('audit_events')
      .where('subject', '=', id)
      .selectAll()
      .execute();
    expect(events.map(({ action, actor, detail }) => [action, actor, JSON.parse(detail).amount])).toEqual([
      ['budget.set', 'acme/admin', 1],
      ['budget.change', 'acme/admin', 7],
      ['budget.remove', 'acme/admin', 7],
    ]);
  });
});
