import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Principal } from '../gate/gate.ts';
import { type TestPlatform, testPlatform } from '../gate/testing/platform.ts';
import type { NewGrant } from './grants.ts';
import type { ModelRecord } from './models.ts';

let platform: TestPlatform;
let acme: Principal;
let globex: Principal;
let digits: ModelRecord;
beforeEach(async () => {
  platform = await testPlatform();
  acme = (await platform.organisation('acme')).admin;
  globex = (await platform.organisation('globex')).admin;
  digits = await platform.model(acme, 'digits');
});
afterEach(() => platform.close());

const share = (terms: Partial<NewGrant> = {}) =>
  platform.grants.create(
    digits,
    { organisation: 'globex', permissions: ['infer'], limit: null, expiresAt: null, ...terms },
    acme,
  );

test('a grant is what was asked for, and can be found by both sides', async () => {
  const limit = { requests: 1000, period: 'day' as const };
  const grant = await share({ limit, permissions: ['explain', 'infer', 'infer'] });
  expect(grant).toMatchObject({
    granteeOrganisation: 'globex',
    permissions: ['infer', 'explain'],
    limit,
    expiresAt: null,
    revokedAt: null,
  });
  expect(await platform.grants.list(digits.id)).toEqual([grant]);
  expect(await platform.grants.listFor(globex.organisationId)).toEqual([grant]);
  expect(await platform.grants.findActive(digits.id, globex.organisationId)).toEqual(grant);
  expect(await platform.grants.listFor(acme.organisationId)).toEqual([]);
});

test('a second one needs the first to end, by revocation or by its time', async () => {
  const { id } = await share();
  await expect(share()).rejects.toMatchObject({ code: 'CONFLICT', hint: expect.stringContaining(id) });
  await platform.grants.revoke(digits, id, acme);
  await platform.grants.revoke(digits, id, acme);
  // Any offset is understood; the time is kept in UTC.
  const { expiresAt } = await share({ expiresAt: '2026-01-15T13:20:00+02:00' });
  expect(expiresAt).toBe('2026-01-15T11:20:00.000Z');
  platform.clock.ms = Date.parse('2026-01-15T11:20:00Z');
  await share();
  expect(await platform.grants.list(digits.id)).toHaveLength(3);
  expect(await platform.grants.listFor(globex.organisationId)).toHaveLength(1);
});

test('two at once give one grant', async () => {
  const tried = await Promise.allSettled([share(), share(), share()]);
  expect(tried.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('only a grant of this model can be revoked through it', async () => {
  const { id } = await share();
  const other = await platform.model(globex, 'digits');
  await expect(platform.grants.revoke(other, id, globex)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await platform.grants.findActive(digits.id, globex.organisationId)).toBeDefined();
});

test('what is shared with whom is in the trail of the owner, once for each change', async () => {
  const { id } = await share();
  await platform.grants.revoke(digits, id, acme);
  await platform.grants.revoke(digits, id, acme);
  const events = await platform.db
    .selectFrom('audit_events')
    .select(['action', 'actor', 'subject', 'detail'])
    .where('organisation_id', '=', acme.organisationId)
    .where('action', 'like', 'grant.%')
    .execute();
  expect(events.map(({ action, actor, subject }) => [action, actor, subject])).toEqual([
    ['grant.create', 'acme/admin', id],
    ['grant.revoke', 'acme/admin', id],
  ]);
  expect(JSON.parse(events[0]?.detail ?? '')).toMatchObject({ model: 'acme/digits', grantee: 'globex' });
});
