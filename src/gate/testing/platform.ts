/** A small platform in a temp folder for tests: real SQLite, real identity, grants and gate, a clock of one's own. */

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Grants } from '../../models/grants.ts';
import type { ModelRecord } from '../../models/models.ts';
import { type Db, openDatabase } from '../../storage/db.ts';
import { Budgets } from '../budgets/budgets.ts';
import { createGate, type PlatformGate, type Principal } from '../gate.ts';
import { Identity } from '../identity.ts';
import { usageOf } from './usage.ts';

export interface TestPlatform {
  db: Db;
  identity: Identity;
  grants: Grants;
  gate: PlatformGate;
  /** Another gate over the same database that remembers nothing yet. */
  freshGate(): PlatformGate;
  budgets: Budgets;
  clock: { ms: number };
  /** Requests that the ledger already holds, by grant. */
  booked: Map<string, number>;
  operator: Principal;
  operatorKey: string;
  organisation(name: string): Promise<{ admin: Principal; adminKey: string }>;
  member(admin: Principal, name: string): Promise<{ principal: Principal; key: string }>;
  model(owner: Principal, name: string): Promise<ModelRecord>;
  close(): Promise<void>;
}

export async function testPlatform(): Promise<TestPlatform> {
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-gate-'));
  const db = await openDatabase(join(folder, 'commonwatt.db'));
  const clock = { ms: Date.parse('2026-01-15T10:20:00Z') };
  const now = () => new Date(clock.ms);
  const booked = new Map<string, number>();
  const changed = () => gate.policyChanged();
  const identity = new Identity({ db, changed, now });
  const grants = new Grants({ db, changed, now });
  const budgets = await Budgets.open({ db, changed, forget: (id) => gate.limits.forget(id), now });
  const freshGate = () =>
    createGate({
      db,
      grants,
      budgets: budgets.limits,
      usage: usageOf(({ grantId = '' }) => booked.get(grantId) ?? 0),
      now: () => clock.ms,
    });
  const gate = freshGate();
  const { operatorKey } = await identity.bootstrap();
  if (!operatorKey) throw new Error('the first start must return the key of the operator');
  const operator = await gate.authenticate(operatorKey);
  return {
    db,
    identity,
    grants,
    budgets,
    gate,
    freshGate,
    clock,
    booked,
    operator,
    operatorKey,
    async organisation(name) {
      const { admin } = await identity.createOrganisation(operator, name);
      return { admin: await gate.authenticate(admin.apiKey), adminKey: admin.apiKey };
    },
    async member(admin, name) {
      await identity.createMember(admin, name, 'member');
      const { apiKey } = await identity.createKey(admin, { name: 'test', member: name });
      return { principal: await gate.authenticate(apiKey), key: apiKey };
    },
    async model(owner, name) {
      const record = {
        id: randomUUID(),
        organisationId: owner.organisationId,
        organisation: owner.organisation,
        name,
        createdAt: now().toISOString(),
      };
      await db
        .insertInto('models')
        .values({
          id: record.id,
          organisation_id: record.organisationId,
          name,
          created_at: record.createdAt,
        })
        .execute();
      return record;
    },
    async close() {
      await db.destroy();
      rmSync(folder, { recursive: true });
    },
  };
}
