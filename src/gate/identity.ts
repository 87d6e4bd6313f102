/**
 * Organisations, their members and API keys. Every change is one committed transaction together with its audit
 * event; a key is returned once, when it is made. Who may change what is decided here, not at the doors.
 */
import { randomUUID } from 'node:crypto';
import { CommonwattError } from '../errors.ts';
import { checkName } from '../models/names.ts';
import type { Db } from '../storage/db.ts';
import { actorOf, recordAudit } from './audit.ts';
import type { Principal } from './gate.ts';
import { newKey } from './keys.ts';
import { forbidden, isAdmin } from './policy.ts';

export interface OrganisationRecord {
  id: string;
  name: string;
  createdAt: string;
}

export interface MemberRecord {
  id: string;
  name: string;
  role: Principal['role'];
  createdAt: string;
}

export interface KeyRecord {
  id: string;
  name: string;
  /** The first characters, to recognise it by. */
  prefix: string;
  member: string;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
}

/** A record with the key itself, which exists nowhere else. */
export type FreshKeyRecord = KeyRecord & { apiKey: string };

export interface NewKeyRequest {
  name: string;
  /** Whose key; the caller's own when absent. */
  member?: string | undefined;
  /** ISO 8601, in the future. */
  expiresAt?: string | null | undefined;
}

export interface IdentityOptions {
  db: Db;
  /** Called after each committed change, so that remembered decisions are forgotten. */
  changed(): void;
  now?: () => Date;
}

/** Who runs the platform: the organisation and member that the first start creates. */
const platformOrganisation = 'commonwatt';
const platformOperator = 'operator';
/** A setting: the id of the operator's key, as long as nobody can have seen it. */
const unshownKey = 'operator key not shown';

export class Identity {
  readonly #db: Db;
  readonly #changed: () => void;
  readonly #now: () => Date;

  constructor({ db, changed, now = () => new Date() }: IdentityOptions) {
    this.#db = db;
    this.#changed = changed;
    this.#now = now;
  }

  /**
   * On the first start: the operator's organisation and its key. Until `operatorKeyShown` each start returns the
   * key anew, with another secret: a server that died in its first start may have shown it to nobody. Later: null.
   */
  async bootstrap(): Promise<{ operatorKey: string | null }> {
    const operatorKey = await this.#change(async (trx) => {
      const any = await trx.selectFrom('organisations').select('id').limit(1).executeTakeFirst();
      if (any) return this.#replaceUnshown(trx);
      const organisation = await this.#insertOrganisation(trx, platformOrganisation, 'system');
      const member = await this.#insertMember(trx, organisation, platformOperator, 'operator', 'system');
      const { id, apiKey } = await this.#insertKey(trx, organisation, member, 'first key', null, 'system');
      await trx.insertInto('settings').values({ name: unshownKey, value: id }).execute();
      return apiKey;
    });
    return { operatorKey };
  }

  /** The key that `bootstrap` returned has been shown; it is not returned again. */
  async operatorKeyShown(): Promise<void> {
    await this.#db.deleteFrom('settings').where('name', '=', unshownKey).execute();
  }

  async #replaceUnshown(trx: Db): Promise<string | null> {
    const unshown = await trx
      .selectFrom('settings')
      .innerJoin('api_keys', 'api_keys.id', 'settings.value')
      .where('settings.name', '=', unshownKey)
      .select('api_keys.id')
      .executeTakeFirst();
    if (!unshown) return null;
    const { apiKey, prefix, hash } = newKey();
    await trx.updateTable('api_keys').set({ prefix, hash }).where('id', '=', unshown.id).execute();
    return apiKey;
  }

  /**
   * For the machine's own operator, who holds the data folder: makes the organisation and its admin when they
   * are missing, and always a fresh key for that member.
   */
  async ensureOrganisation(name: string, adminMember: string): Promise<{ apiKey: string; keyId: string }> {
    checkName(name, 'organisation');
    checkName(adminMember, 'member');
    const { apiKey, id } = await this.#change(async (trx) => {
      const organisation =
        (await trx
          .selectFrom('organisations')
          .select(['id', 'name'])
          .where('name', '=', name)
          .executeTakeFirst()) ?? (await this.#insertOrganisation(trx, name, 'system'));
      const member =
        (await findMember(trx, organisation.id, adminMember)) ??
        (await this.#insertMember(trx, organisation, adminMember, 'admin', 'system'));
      return this.#insertKey(trx, organisation, member, 'made on this machine', null, 'system');
    });
    return { apiKey, keyId: id };
  }

  /** The operator sees every organisation, everyone else their own. */
  async listOrganisations(principal: Principal): Promise<OrganisationRecord[]> {
    const all = this.#db
      .selectFrom('organisations')
      .select(['id', 'name', 'created_at as createdAt'])
      .orderBy('name');
    return principal.role === 'operator'
      ? all.execute()
      : all.where('id', '=', principal.organisationId).execute();
  }

  /** Throws FORBIDDEN (not the operator), CONFLICT (the name is taken), INVALID_NAME. */
  async createOrganisation(
    principal: Principal,
    name: string,
    adminMember = 'admin',
  ): Promise<OrganisationRecord & { admin: { member: string; apiKey: string; keyId: string } }> {
    if (principal.role !== 'operator') throw forbidden(principal, 'create organisations');
    checkName(name, 'organisation');
    checkName(adminMember, 'member');
    const actor = actorOf(principal);
    return this.#change(async (trx) => {
      const organisation = await this.#insertOrganisation(trx, name, actor);
      const member = await this.#insertMember(trx, organisation, adminMember, 'admin', actor);
      const key = await this.#insertKey(trx, organisation, member, 'first key', null, actor);
      return { ...organisation, admin: { member: member.name, apiKey: key.apiKey, keyId: key.id } };
    });
  }

  /** Members of the caller's organisation. */
  async listMembers(principal: Principal): Promise<MemberRecord[]> {
    return this.#db
      .selectFrom('members')
      .select(['id', 'name', 'role', 'created_at as createdAt'])
      .where('organisation_id', '=', principal.organisationId)
      .orderBy('created_at')
      .orderBy('name')
      .execute();
  }

  /** Throws FORBIDDEN (not an admin), CONFLICT (the name is taken), INVALID_NAME. */
  async createMember(principal: Principal, name: string, role: 'admin' | 'member'): Promise<MemberRecord> {
    if (!isAdmin(principal)) throw forbidden(principal, 'add members');
    checkName(name, 'member');
    const organisation = { id: principal.organisationId, name: principal.organisation };
    return this.#change((trx) => this.#insertMember(trx, organisation, name, role, actorOf(principal)));
  }

  /** An admin sees every key of the organisation, a member the own ones. Never the keys themselves. */
  async listKeys(principal: Principal): Promise<KeyRecord[]> {
    const all = this.#db
      .selectFrom('api_keys')
      .innerJoin('members', 'members.id', 'api_keys.member_id')
      .where('api_keys.organisation_id', '=', principal.organisationId)
      .select([
        'api_keys.id',
        'api_keys.name',
        'api_keys.prefix',
        'members.name as member',
        'api_keys.created_at as createdAt',
        'api_keys.expires_at as expiresAt',
        'api_keys.revoked_at as revokedAt',
      ])
      .orderBy('api_keys.created_at')
      .orderBy('api_keys.id');
    return isAdmin(principal)
      ? all.execute()
      : all.where('api_keys.member_id', '=', principal.memberId).execute();
  }

  /** Throws FORBIDDEN (a member, for somebody else), NOT_FOUND (no such member), INVALID_REQUEST. */
  async createKey(principal: Principal, request: NewKeyRequest): Promise<FreshKeyRecord> {
    const memberName = request.member ?? principal.member;
    if (memberName !== principal.member && !isAdmin(principal))
      throw forbidden(principal, 'make keys for other members');
    const expiresAt = this.#checkExpiry(request.expiresAt ?? null);
    return this.#change(async (trx) => {
      const member = await findMember(trx, principal.organisationId, memberName);
      if (!member) {
        throw new CommonwattError(
          'NOT_FOUND',
          `member ${memberName.slice(0, 80)} of ${principal.organisation} does not exist`,
          {
            where: 'member',
            hint: 'an admin adds members first',
          },
        );
      }
      const organisation = { id: principal.organisationId, name: principal.organisation };
      return this.#insertKey(trx, organisation, member, request.name, expiresAt, actorOf(principal));
    });
  }

  /** Revoking a revoked key changes nothing. Throws NOT_FOUND (also for keys one may not see). */
  async revokeKey(principal: Principal, keyId: string): Promise<void> {
    await this.#change(async (trx) => {
      const key = await trx
        .selectFrom('api_keys')
        .select(['id', 'name', 'member_id', 'revoked_at'])
        .where('id', '=', keyId)
        .where('organisation_id', '=', principal.organisationId)
        .executeTakeFirst();
      if (!key || (key.member_id !== principal.memberId && !isAdmin(principal))) {
        throw new CommonwattError('NOT_FOUND', `key ${keyId.slice(0, 80)} does not exist`, {
          where: 'id',
          hint: 'list the keys to see their ids; the id is not the key itself',
        });
      }
      if (key.revoked_at !== null) return;
      const now = this.#now();
      await trx
        .updateTable('api_keys')
        .set({ revoked_at: now.toISOString() })
        .where('id', '=', keyId)
        .execute();
      await recordAudit(
        trx,
        {
          actor: actorOf(principal),
          organisationId: principal.organisationId,
          action: 'key.revoke',
          subject: keyId,
          detail: { name: key.name },
        },
        now,
      );
    });
  }

  async #change<Result>(work: (trx: Db) => Promise<Result>): Promise<Result> {
    const result = await this.#db.transaction().execute(work);
    this.#changed();
    return result;
  }

  #checkExpiry(expiresAt: string | null): string | null {
    if (expiresAt === null) return null;
    const time = Date.parse(expiresAt);
    if (time > this.#now().getTime()) return new Date(time).toISOString();
    throw new CommonwattError('INVALID_REQUEST', `${expiresAt.slice(0, 80)} is not a time in the future`, {
      where: 'expiresAt',
      hint: 'write a later time as ISO 8601 UTC, e.g. 2030-01-31T00:00:00Z',
    });
  }

  async #insertOrganisation(trx: Db, name: string, actor: string): Promise<OrganisationRecord> {
    const now = this.#now();
    const organisation = { id: randomUUID(), name, createdAt: now.toISOString() };
    const { numInsertedOrUpdatedRows } = await trx
      .insertInto('organisations')
      .values({ id: organisation.id, name, created_at: organisation.createdAt })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .executeTakeFirstOrThrow();
    if (!numInsertedOrUpdatedRows) throw taken('organisation', name);
    await recordAudit(
      trx,
      { actor, organisationId: organisation.id, action: 'organisation.create', subject: name },
      now,
    );
    return organisation;
  }

  async #insertMember(
    trx: Db,
    organisation: { id: string; name: string },
    name: string,
    role: Principal['role'],
    actor: string,
  ): Promise<MemberRecord> {
    const now = this.#now();
    const member = { id: randomUUID(), name, role, createdAt: now.toISOString() };
    const { numInsertedOrUpdatedRows } = await trx
      .insertInto('members')
      .values({ id: member.id, organisation_id: organisation.id, name, role, created_at: member.createdAt })
      .onConflict((conflict) => conflict.columns(['organisation_id', 'name']).doNothing())
      .executeTakeFirstOrThrow();
    if (!numInsertedOrUpdatedRows) throw taken('member', name);
    await recordAudit(
      trx,
      {
        actor,
        organisationId: organisation.id,
        action: 'member.create',
        subject: `${organisation.name}/${name}`,
        detail: { role },
      },
      now,
    );
    return member;
  }

  async #insertKey(
    trx: Db,
    organisation: { id: string },
    member: { id: string; name: string },
    name: string,
    expiresAt: string | null,
    actor: string,
  ): Promise<FreshKeyRecord> {
    const now = this.#now();
    const { apiKey, prefix, hash } = newKey();
    const key = {
      id: randomUUID(),
      name: checkLabel(name),
      prefix,
      member: member.name,
      createdAt: now.toISOString(),
      expiresAt,
      revokedAt: null,
    };
    await trx
      .insertInto('api_keys')
      .values({
        id: key.id,
        organisation_id: organisation.id,
        member_id: member.id,
        name: key.name,
        prefix,
        hash,
        created_at: key.createdAt,
        expires_at: expiresAt,
        revoked_at: null,
      })
      .execute();
    await recordAudit(
      trx,
      {
        actor,
        organisationId: organisation.id,
        action: 'key.create',
        subject: key.id,
        detail: { name: key.name, member: member.name, expiresAt },
      },
      now,
    );
    return { ...key, apiKey };
  }
}

async function findMember(db: Db, organisationId: string, name: string) {
  return db
    .selectFrom('members')
    .select(['id', 'name'])
    .where('organisation_id', '=', organisationId)
    .where('name', '=', name)
    .executeTakeFirst();
}

/** Names of keys are for people: any printable text that fits a line. */
function checkLabel(text: string): string {
  const label = text.trim();
  if (label.length > 0 && label.length <= 80 && !/\p{Cc}/u.test(label)) return label;
  throw new CommonwattError('INVALID_REQUEST', 'the name of a key must be 1 to 80 printable characters', {
    where: 'name',
    hint: 'say what it is for, e.g. "nightly batch"',
  });
}

function taken(what: string, name: string): CommonwattError {
  return new CommonwattError('CONFLICT', `${what} ${name} exists already`, {
    where: 'name',
    hint: 'choose another name',
  });
}
