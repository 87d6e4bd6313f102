import { createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type TestPlatform, testPlatform } from './testing/platform.ts';

let platform: TestPlatform;
beforeEach(async () => {
  platform = await testPlatform();
});
afterEach(() => platform.close());

test('the first start returns the key of the operator, the second nothing', async () => {
  expect(platform.operatorKey).toMatch(/^cw_[A-Za-z0-9_-]{43}$/);
  expect(platform.operator).toMatchObject({
    organisation: 'commonwatt',
    member: 'operator',
    role: 'operator',
  });
  await platform.identity.operatorKeyShown();
  expect(await platform.identity.bootstrap()).toEqual({ operatorKey: null });
});

test('a server that died before it showed the key of the operator shows another at its next start', async () => {
  const { operatorKey } = await platform.identity.bootstrap();
  expect(await platform.gate.authenticate(operatorKey ?? '')).toMatchObject({ role: 'operator' });
  await expect(platform.gate.authenticate(platform.operatorKey)).rejects.toMatchObject({
    code: 'UNAUTHENTICATED',
  });
  expect(await platform.db.selectFrom('api_keys').select('id').execute()).toHaveLength(1);
});

test('only the SHA-256 of a key is stored, and no secret reaches the audit trail', async () => {
  const { adminKey } = await platform.organisation('acme');
  const sha256 = createHash('sha256').update(adminKey).digest('hex');
  const row = await platform.db
    .selectFrom('api_keys')
    .selectAll()
    .where('hash', '=', sha256)
    .executeTakeFirst();
  expect(row?.prefix).toBe(adminKey.slice(0, 10));
  const everything = JSON.stringify([
    await platform.db.selectFrom('api_keys').selectAll().execute(),
    await platform.db.selectFrom('audit_events').selectAll().execute(),
  ]);
  expect(everything).not.toContain(adminKey.slice(12));
});

test('every change leaves its audit event', async () => {
  const { admin } = await platform.organisation('acme');
  const { id } = await platform.identity.createKey(admin, { name: 'nightly batch' });
  await platform.identity.revokeKey(admin, id);
  const events = await platform.db
    .selectFrom('audit_events')
    .select(['actor', 'action'])
    .where('organisation_id', '=', admin.organisationId)
    .orderBy('seq')
    .execute();
  expect(events).toEqual([
    { actor: 'commonwatt/operator', action: 'organisation.create' },
    { actor: 'commonwatt/operator', action: 'member.create' },
    { actor: 'commonwatt/operator', action: 'key.create' },
    { actor: 'acme/admin', action: 'key.create' },
    { actor: 'acme/admin', action: 'key.revoke' },
  ]);
});

test('a name that is taken leaves nothing behind', async () => {
  await platform.organisation('acme');
  const count = async () => (await platform.db.selectFrom('audit_events').selectAll().execute()).length;
  const before = await count();
  await expect(platform.identity.createOrganisation(platform.operator, 'acme')).rejects.toMatchObject({
    code: 'CONFLICT',
  });
  expect(await count()).toBe(before);
});

test('names are checked', async () => {
  for (const name of ['Acme', 'a--b', '', '../x', 'a/b', 'a'.repeat(64)]) {
    await expect(platform.identity.createOrganisation(platform.operator, name)).rejects.toMatchObject({
      code: 'INVALID_NAME',
    });
  }
});

test('who may make and revoke what', async () => {
  const { admin } = await platform.organisation('acme');
  const { admin: stranger } = await platform.organisation('globex');
  const { principal: bob } = await platform.member(admin, 'bob');
  const { identity } = platform;
  await expect(identity.createOrganisation(admin, 'third')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(identity.createMember(bob, 'eve', 'member')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(identity.createKey(bob, { name: 'x', member: 'admin' })).rejects.toMatchObject({
    code: 'FORBIDDEN',
  });
  await expect(identity.createKey(admin, { name: 'x', member: 'nobody' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  // A member sees and revokes the own keys only; a stranger sees none.
  expect((await identity.listKeys(bob)).map((key) => key.member)).toEqual(['bob']);
  expect((await identity.listKeys(admin)).map((key) => key.member).toSorted()).toEqual(['admin', 'bob']);
  await expect(identity.revokeKey(bob, admin.keyId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(identity.revokeKey(stranger, bob.keyId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await identity.revokeKey(bob, bob.keyId);
  expect((await identity.listOrganisations(admin)).map(({ name }) => name)).toEqual(['acme']);
  expect((await identity.listOrganisations(platform.operator)).map(({ name }) => name)).toEqual([
    'acme',
    'commonwatt',
    'globex',
  ]);
});

test('the holder of the machine can always get a key of an admin', async () => {
  const first = await platform.identity.ensureOrganisation('acme', 'alice');
  const second = await platform.identity.ensureOrganisation('acme', 'alice');
  expect(second.apiKey).not.toBe(first.apiKey);
  const alice = await platform.gate.authenticate(second.apiKey);
  expect(alice).toMatchObject({ organisation: 'acme', member: 'alice', role: 'admin' });
  expect(await platform.gate.authenticate(first.apiKey)).toMatchObject({ memberId: alice.memberId });
});
