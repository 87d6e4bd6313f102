/**
 * Grants: what another organisation may do with a model, how often and until when. A grant never changes; to
 * change what is shared, revoke it and share anew, so that the audit trail and the ledger stay unambiguous.
 */
import { randomUUID } from 'node:crypto';
import type { Selectable } from 'kysely';
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import { actorOf, recordAudit } from '../gate/audit.ts';
import type { Db, Schema } from '../storage/db.ts';
import type { GrantPermission, GrantRecord, ModelRecord } from './models.ts';
import { checkName } from './names.ts';

export interface NewGrant {
  /** Name of the organisation that receives it. */
  organisation: string;
  permissions: readonly GrantPermission[];
  limit: GrantRecord['limit'];
  /** ISO 8601, in the future; null: until revoked. */
  expiresAt: string | null;
}

export interface GrantsOptions {
  db: Db;
  /** Called after each committed change, so that remembered decisions are forgotten. */
  changed(): void;
  now?: () => Date;
}

type GrantRow = Selectable<Schema['grants']> & { grantee: string };

const permissionOrder: readonly GrantPermission[] = ['infer', 'explain', 'download'];
const storedPermissions = z.array(z.enum(['infer', 'explain', 'download']));

export class Grants {
  readonly #db: Db;
  readonly #changed: () => void;
  readonly #now: () => Date;

  constructor({ db, changed, now = () => new Date() }: GrantsOptions) {
    this.#db = db;
    this.#changed = changed;
    this.#now = now;
  }

  /**
   * Shares a model. Throws NOT_FOUND (no such organisation), INVALID_REQUEST (with oneself, nothing permitted,
   * expiry in the past), CONFLICT (already shared with it).
   */
  async create(
    model: ModelRecord,
    grant: NewGrant,
    by: { organisation: string; member: string },
  ): Promise<GrantRecord> {
    checkName(grant.organisation, 'organisation');
    const now = this.#now();
    const permissions = permissionOrder.filter((permission) => grant.permissions.includes(permission));
    checkGrant(model, grant, permissions, now);
    const created = await this.#db.transaction().execute(async (trx) => {
      const grantee = await trx
        .selectFrom('organisations')
        .select(['id', 'name'])
        .where('name', '=', grant.organisation)
        .executeTakeFirst();
      if (!grantee) throw organisationNotFound(grant.organisation);
      const existing = await activeGrants(trx, now.toISOString())
        .where('grants.model_id', '=', model.id)
        .where('grants.grantee_organisation_id', '=', grantee.id)
        .executeTakeFirst();
      if (existing) throw alreadyShared(model, existing);
      const row: GrantRow = {
        id: randomUUID(),
        model_id: model.id,
        grantee_organisation_id: grantee.id,
        grantee: grantee.name,
        permissions: JSON.stringify(permissions),
        limit_requests: grant.limit?.requests ?? null,
        limit_period: grant.limit?.period ?? null,
        created_at: now.toISOString(),
        expires_at: grant.expiresAt === null ? null : new Date(grant.expiresAt).toISOString(),
        revoked_at: null,
      };
      const { grantee: _name, ...columns } = row;
      await trx.insertInto('grants').values(columns).execute();
      const record = toRecord(row);
      await recordAudit(
        trx,
        {
          actor: actorOf(by),
          organisationId: model.organisationId,
          action: 'grant.create',
          subject: row.id,
          detail: {
            model: `${model.organisation}/${model.name}`,
            grantee: grantee.name,
            permissions,
            limit: record.limit,
            expiresAt: record.expiresAt,
          },
        },
        now,
      );
      return record;
    });
    this.#changed();
    return created;
  }

  /** Every grant of a model, revoked and expired ones too, oldest first. */
  async list(modelId: string): Promise<GrantRecord[]> {
    const rows = await allGrants(this.#db).where('grants.model_id', '=', modelId).execute();
    return rows.map(toRecord);
  }

  /** What an organisation has been granted and can use now. */
  async listFor(granteeOrganisationId: string): Promise<GrantRecord[]> {
    const rows = await activeGrants(this.#db, this.#now().toISOString())
      .where('grants.grantee_organisation_id', '=', granteeOrganisationId)
      .execute();
    return rows.map(toRecord);
  }

  async findActive(modelId: string, granteeOrganisationId: string): Promise<GrantRecord | undefined> {
    const row = await activeGrants(this.#db, this.#now().toISOString())
      .where('grants.model_id', '=', modelId)
      .where('grants.grantee_organisation_id', '=', granteeOrganisationId)
      .executeTakeFirst();
    return row && toRecord(row);
  }

  /** Ends a grant of this model. Revoking it again changes nothing. Throws NOT_FOUND. */
  async revoke(
    model: ModelRecord,
    grantId: string,
    by: { organisation: string; member: string },
  ): Promise<void> {
    const now = this.#now();
    await this.#db.transaction().execute(async (trx) => {
      const row = await allGrants(trx)
        .where('grants.id', '=', grantId)
        .where('grants.model_id', '=', model.id)
        .executeTakeFirst();
      if (!row) throw grantNotFound(grantId);
      if (row.revoked_at !== null) return;
      await trx
        .updateTable('grants')
        .set({ revoked_at: now.toISOString() })
        .where('id', '=', grantId)
        .execute();
      await recordAudit(
        trx,
        {
          actor: actorOf(by),
          organisationId: model.organisationId,
          action: 'grant.revoke',
          subject: grantId,
          detail: { model: `${model.organisation}/${model.name}`, grantee: row.grantee },
        },
        now,
      );
    });
    this.#changed();
  }
}

function allGrants(db: Db) {
  return db
    .selectFrom('grants')
    .innerJoin('organisations', 'organisations.id', 'grants.grantee_organisation_id')
    .selectAll('grants')
    .select('organisations.name as grantee')
    .orderBy('grants.created_at')
    .orderBy('grants.id');
}

/** ISO 8601 UTC texts of one form compare like the times they name. */
function activeGrants(db: Db, nowIso: string) {
  return allGrants(db)
    .where('grants.revoked_at', 'is', null)
    .where((e) => e.or([e('grants.expires_at', 'is', null), e('grants.expires_at', '>', nowIso)]));
}

function toRecord(row: GrantRow): GrantRecord {
  return {
    id: row.id,
    modelId: row.model_id,
    granteeOrganisationId: row.grantee_organisation_id,
    granteeOrganisation: row.grantee,
    permissions: storedPermissions.parse(JSON.parse(row.permissions)),
    limit:
      row.limit_requests !== null && row.limit_period !== null
        ? { requests: row.limit_requests, period: row.limit_period }
        : null,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    revokedAt: row.revoked_at,
  };
}

function checkGrant(
  model: ModelRecord,
  grant: NewGrant,
  permissions: readonly GrantPermission[],
  now: Date,
): void {
  if (grant.organisation === model.organisation) {
    throw new CommonwattError(
      'INVALID_REQUEST',
      `${model.organisation} owns ${model.organisation}/${model.name} and needs no grant of it`,
      { where: 'organisation', hint: 'name the organisation to share with' },
    );
  }
  if (permissions.length === 0) {
    throw new CommonwattError('INVALID_REQUEST', 'a grant must permit something', {
      where: 'permissions',
      hint: 'name at least one of infer, explain, download',
    });
  }
  if (grant.limit && !(Number.isSafeInteger(grant.limit.requests) && grant.limit.requests > 0)) {
    throw new CommonwattError('INVALID_REQUEST', 'a limit must be a whole number of requests above 0', {
      where: 'limit.requests',
      hint: 'leave the limit out for unlimited use, or revoke the grant to end it',
    });
  }
  if (grant.expiresAt !== null && !(Date.parse(grant.expiresAt) > now.getTime())) {
    throw new CommonwattError('INVALID_REQUEST', `${grant.expiresAt} is not in the future`, {
      where: 'expiresAt',
      hint: 'write a later time as ISO 8601 UTC, e.g. 2030-01-31T00:00:00Z',
    });
  }
}

function organisationNotFound(name: string) {
  return new CommonwattError('NOT_FOUND', `organisation ${name} does not exist`, {
    where: 'organisation',
    hint: 'check the name; the operator of the platform creates organisations',
  });
}

function grantNotFound(id: string) {
  return new CommonwattError('NOT_FOUND', `grant ${id.slice(0, 80)} of this model does not exist`, {
    where: 'id',
    hint: "list the model's grants to see their ids",
  });
}

function alreadyShared(model: ModelRecord, existing: GrantRow) {
  return new CommonwattError(
    'CONFLICT',
    `${model.organisation}/${model.name} is already shared with ${existing.grantee}`,
    {
      where: 'organisation',
      hint: `revoke grant ${existing.id} first, then share with the new terms`,
    },
  );
}
