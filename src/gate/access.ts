/** Looks up whether a principal may do something with a model: the slow, always fresh form of the decision. */
import type { GrantRecord, ModelRecord } from '../models/models.ts';
import type { Db } from '../storage/db.ts';
import type { ModelAction, Principal } from './gate.ts';
import { forbidden, grantAllows, grantIsActive, modelNotFound, roleAllows } from './policy.ts';

export interface GrantSource {
  findActive(modelId: string, granteeOrganisationId: string): Promise<GrantRecord | undefined>;
}

export interface Decision {
  model: ModelRecord;
  grant: GrantRecord | null;
  /** Epoch milliseconds until which it holds; Infinity: until the policy changes. */
  expiresAtMs: number;
}

/** Throws MODEL_NOT_FOUND, or FORBIDDEN inside one's own organisation. */
export async function decide(
  { db, grants, now }: { db: Db; grants: GrantSource; now: () => number },
  principal: Principal,
  action: ModelAction,
  organisation: string,
  name: string,
): Promise<Decision> {
  const row = await db
    .selectFrom('models')
    .innerJoin('organisations', 'organisations.id', 'models.organisation_id')
    .where('organisations.name', '=', organisation)
    .where('models.name', '=', name)
    .select(['models.id', 'models.organisation_id', 'models.created_at'])
    .executeTakeFirst();
  // Asked also when there is no such model, so that somebody else's costs no more time than nobody's.
  const grant = await grants.findActive(row?.id ?? '', principal.organisationId);
  if (!row) throw modelNotFound(organisation, name);
  const model: ModelRecord = {
    id: row.id,
    organisationId: row.organisation_id,
    organisation,
    name,
    createdAt: row.created_at,
  };
  if (model.organisationId === principal.organisationId) {
    if (!roleAllows(principal.role, action))
      throw forbidden(principal, `${action} models of ${organisation}`);
    return { model, grant: null, expiresAtMs: Number.POSITIVE_INFINITY };
  }
  if (!grant || !grantIsActive(grant, now()) || !grantAllows(grant, action))
    throw modelNotFound(organisation, name);
  return {
    model,
    grant,
    expiresAtMs: grant.expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(grant.expiresAt),
  };
}
