import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { GrantPermission } from '../models/models.ts';
import type { ModelAction, PlatformGate, Principal } from './gate.ts';
import { type TestPlatform, testPlatform } from './testing/platform.ts';

let platform: TestPlatform;
beforeEach(async () => {
  platform = await testPlatform();
});
afterEach(() => platform.close());

const actions: readonly ModelAction[] = ['view', 'infer', 'explain', 'download', 'manage'];

/** What the gate says, as plain data. */
async function answer(work: () => unknown): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    return { code: error.code, message: error.message, hint: error.hint, where: error.where };
  }
}

async function allowed(gate: PlatformGate, principal: Principal, organisation: string, model: string) {
  const said = await Promise.all(
    actions.map(async (action) => {
      const verdict = await answer(() => gate.authorize(principal, action, organisation, model));
      return verdict !== null && typeof verdict === 'object' && 'model' in verdict;
    }),
  );
  return actions.filter((_, index) => said[index]);
}

describe('keys', () => {
  test('a known key answers without a promise', async () => {
    const { admin, adminKey } = await platform.organisation('acme');
    expect(platform.gate.authenticate(adminKey)).toEqual(admin);
  });

  test('no key, a malformed one, an unknown one and one cut short are refused', async () => {
    const { adminKey } = await platform.organisation('acme');
    for (const key of [undefined, '', 'cw_', `${adminKey}x`, adminKey.slice(0, -1), `cw_${'A'.repeat(43)}`]) {
      expect(await answer(() => platform.gate.authenticate(key))).toMatchObject({ code: 'UNAUTHENTICATED' });
    }
  });

  test('a revoked key stops at once, an expired one at its time, remembered or not', async () => {
    const { admin } = await platform.organisation('acme');
    const key = await platform.identity.createKey(admin, {
      name: 'short',
      expiresAt: new Date(platform.clock.ms + 1000).toISOString(),
    });
    await platform.gate.authenticate(key.apiKey);
    platform.clock.ms += 999;
    expect(platform.gate.authenticate(key.apiKey)).toMatchObject({ keyId: key.id });
    platform.clock.ms += 1;
    expect(await answer(() => platform.gate.authenticate(key.apiKey))).toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    const lasting = await platform.identity.createKey(admin, { name: 'lasting' });
    await platform.gate.authenticate(lasting.apiKey);
    await platform.identity.revokeKey(admin, lasting.id);
    expect(await answer(() => platform.gate.authenticate(lasting.apiKey))).toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });
});

describe('models', () => {
  test('roles rule in the own organisation', async () => {
    const { admin } = await platform.organisation('acme');
    const { principal: bob } = await platform.member(admin, 'bob');
    await platform.model(admin, 'digits');
    expect(await allowed(platform.gate, admin, 'acme', 'digits')).toEqual(actions);
    expect(await allowed(platform.gate, bob, 'acme', 'digits')).toEqual([
      'view',
      'infer',
      'explain',
      'download',
    ]);
    expect(await answer(() => platform.gate.authorize(bob, 'manage', 'acme', 'digits'))).toMatchObject({
      code: 'FORBIDDEN',
    });
  });

  test('the operator of the platform has no way into the models of others', async () => {
    const { admin } = await platform.organisation('acme');
    await platform.model(admin, 'digits');
    expect(await allowed(platform.gate, platform.operator, 'acme', 'digits')).toEqual([]);
  });

  test.each<[GrantPermission[], ModelAction[]]>([
    [['infer'], ['view', 'infer']],
    [
      ['infer', 'explain'],
      ['view', 'infer', 'explain'],
    ],
    [['download'], ['view', 'download']],
  ])('a grant of %j allows %j', async (permissions, expected) => {
    const { admin } = await platform.organisation('acme');
    const { admin: grantee } = await platform.organisation('globex');
    const model = await platform.model(admin, 'digits');
    await platform.grants.create(
      model,
      { organisation: 'globex', permissions, limit: null, expiresAt: null },
      admin,
    );
    expect(await allowed(platform.gate, grantee, 'acme', 'digits')).toEqual(expected);
  });

  test("somebody else's model answers exactly like one that does not exist", async () => {
    const { admin } = await platform.organisation('acme');
    const { admin: stranger } = await platform.organisation('globex');
    await platform.model(admin, 'digits');
    for (const action of actions) {
      const hidden = await answer(() => platform.gate.authorize(stranger, action, 'acme', 'digits'));
      const missing = await answer(() => platform.gate.authorize(stranger, action, 'acme', 'nothin'));
      expect(JSON.stringify(hidden).replaceAll('digits', 'nothin')).toBe(JSON.stringify(missing));
    }
    const hidden = await answer(() => platform.gate.authorizeNewModel(stranger, 'acme', 'digits'));
    const missing = await answer(() => platform.gate.authorizeNewModel(stranger, 'acme', 'nothin'));
    expect(JSON.stringify(hidden).replaceAll('digits', 'nothin')).toBe(JSON.stringify(missing));
  });

  test('a grant ends at its time although it is remembered', async () => {
    const { admin } = await platform.organisation('acme');
    const { admin: grantee } = await platform.organisation('globex');
    const model = await platform.model(admin, 'digits');
    const expiresAt = new Date(platform.clock.ms + 5000).toISOString();
    await platform.grants.create(
      model,
      { organisation: 'globex', permissions: ['infer'], limit: null, expiresAt },
      admin,
    );
    await platform.gate.admit(grantee, 'infer', 'acme', 'digits');
    expect(platform.gate.admit(grantee, 'infer', 'acme', 'digits')).not.toBeInstanceOf(Promise);
    platform.clock.ms += 5000;
    expect(await answer(() => platform.gate.admit(grantee, 'infer', 'acme', 'digits'))).toMatchObject({
      code: 'MODEL_NOT_FOUND',
    });
  });

  test('after any sequence of changes, what is remembered equals what a fresh gate says', async () => {
    const owner = (await platform.organisation('acme')).admin;
    const others = [
      (await platform.organisation('globex')).admin,
      (await platform.organisation('initech')).admin,
    ];
    const models = [await platform.model(owner, 'digits'), await platform.model(owner, 'letters')];
    const permissions = fc.subarray<GrantPermission>(['infer', 'explain', 'download'], { minLength: 1 });
    const index = fc.nat(1);
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('share'),
        who: index,
        what: index,
        permissions,
        hours: fc.option(fc.integer({ min: 1, max: 3 })),
      }),
      fc.record({ kind: fc.constant('revoke'), who: index, what: index }),
      fc.record({ kind: fc.constant('wait'), hours: fc.integer({ min: 1, max: 2 }) }),
      fc.record({ kind: fc.constant('ask'), who: index, what: index }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
        for (const change of steps) {
          if (change.kind === 'wait' && 'hours' in change)
            platform.clock.ms += (change.hours ?? 0) * 3600_000;
          if (!('who' in change)) continue;
          const model = models[change.what]!;
          const grantee = others[change.who]!;
          if ('permissions' in change) {
            const expiresAt = change.hours
              ? new Date(platform.clock.ms + change.hours * 3600_000).toISOString()
              : null;
            const { permissions } = change;
            const grant = { organisation: grantee.organisation, permissions, limit: null, expiresAt };
            await answer(() => platform.grants.create(model, grant, owner));
          } else if (change.kind === 'revoke') {
            const active = await platform.grants.findActive(model.id, grantee.organisationId);
            if (active) await platform.grants.revoke(model, active.id, owner);
          } else {
            await allowed(platform.gate, grantee, 'acme', model.name);
          }
        }
        const fresh = platform.freshGate();
        for (const principal of [...others, owner])
          for (const { name } of models) {
            expect(await allowed(platform.gate, principal, 'acme', name)).toEqual(
              await allowed(fresh, principal, 'acme', name),
            );
          }
      }),
      { numRuns: 25 },
    );
  });

  test('what was looked up before a change is not remembered after it', async () => {
    const { admin } = await platform.organisation('acme');
    const { admin: grantee } = await platform.organisation('globex');
    const model = await platform.model(admin, 'digits');
    const { id } = await platform.grants.create(
      model,
      { organisation: 'globex', permissions: ['infer'], limit: null, expiresAt: null },
      admin,
    );
    const started = platform.gate.authorize(grantee, 'infer', 'acme', 'digits');
    await Promise.all([answer(() => started), platform.grants.revoke(model, id, admin)]);
    expect(await allowed(platform.gate, grantee, 'acme', 'digits')).toEqual([]);
  });
});

describe('limits', () => {
  async function limited(requests: number, period: 'hour' | 'day' | 'month' = 'hour') {
    const { admin } = await platform.organisation('acme');
    const { admin: grantee } = await platform.organisation('globex');
    const model = await platform.model(admin, 'digits');
    const grant = await platform.grants.create(
      model,
      { organisation: 'globex', permissions: ['infer'], limit: { requests, period }, expiresAt: null },
      admin,
    );
    return { grant, admit: async () => platform.gate.admit(grantee, 'infer', 'acme', 'digits') };
  }

  test('counting goes on from what the ledger holds', async () => {
    const { grant, admit } = await limited(5);
    platform.booked.set(grant.id, 3);
    (await admit()).settle();
    (await admit()).settle();
    expect(await answer(admit)).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: 'the grant of acme/digits to globex allows 5 requests a hour, and all are used',
    });
    expect(await platform.gate.usedInPeriod(grant)).toBe(5);
  });

  test('a place given back can be taken again, once', async () => {
    const { admit } = await limited(1);
    const admission = await admit();
    admission.release();
    admission.release();
    admission.settle();
    const again = await admit();
    again.settle();
    again.release();
    expect(await answer(admit)).toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test('the next period begins anew and says when', async () => {
    const { admit } = await limited(1, 'month');
    (await admit()).settle();
    const error = await admit().catch((refused: unknown) => refused);
    expect(error).toMatchObject({
      status: 429,
      retryAfterS: (Date.UTC(2026, 1, 1) - platform.clock.ms) / 1000,
    });
    platform.clock.ms = Date.UTC(2026, 1, 1);
    (await admit()).settle();
    expect(await answer(admit)).toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test('however calls interleave, never more than the limit is admitted', async () => {
    const { grant, admit } = await limited(20, 'day');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 30, maxLength: 60 }), async (computed) => {
        platform.clock.ms += 24 * 3600_000;
        let inFlight = 0;
        let settled = 0;
        await Promise.all(
          computed.map(async (keeps) => {
            const admission = await admit().catch(() => undefined);
            if (!admission) return;
            inFlight += 1;
            expect(settled + inFlight).toBeLessThanOrEqual(20);
            await Promise.resolve();
            inFlight -= 1;
            if (keeps) {
              settled += 1;
              admission.settle();
            } else admission.release();
          }),
        );
        expect(await platform.gate.usedInPeriod(grant)).toBe(settled);
      }),
      { numRuns: 20 },
    );
  });

  test('a ledger that cannot be read admits nobody, and is asked again', async () => {
    const { admit } = await limited(5);
    let broken = true;
    const { booked } = platform;
    const get = booked.get.bind(booked);
    booked.get = (id) => {
      if (broken) throw new CommonwattError('STORE_FAILED', 'the ledger cannot be read');
      return get(id);
    };
    expect(await answer(admit)).toMatchObject({ code: 'STORE_FAILED' });
    broken = false;
    (await admit()).settle();
  });
});
