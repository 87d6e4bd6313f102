/** What a budget may limit, by name: one's own, and for the operator everybody's. What one may not limit is not there. */
import { CommonwattError } from '../../errors.ts';
import { parseModelRef } from '../../models/names.ts';
import type { Db } from '../../storage/db.ts';
import type { Principal } from '../gate.ts';
import type { Price, SubjectKind } from '../limits-use.ts';
import type { GivenPrice } from './budgets.ts';
import type { Budget } from './record.ts';

type Found = Omit<Budget['subject'], 'kind'>;

/** Throws NOT_FOUND, INVALID_NAME. */
export async function findSubject(
  db: Db,
  principal: Principal,
  { kind, name }: { kind: SubjectKind; name: string },
): Promise<Budget['subject']> {
  const found = await finders[kind](db, name, principal);
  // For whose use it is: of a grant and a model, whose the model is.
  const mayLimit = principal.role === 'operator' || found?.ownerId === principal.organisationId;
  if (!found || !mayLimit)
    throw new CommonwattError('NOT_FOUND', `${kind} ${JSON.stringify(name.slice(0, 120))} does not exist`, {
      where: 'body.subject.name',
      hint: hints[kind],
    });
  const { ownerId: _, ...subject } = found;
  return { kind, ...subject };
}

const hints: Readonly<Record<SubjectKind, string>> = {
  key: 'name a key of your organisation by its id (commonwatt keys)',
  member: 'name a member of your organisation; the operator writes organisation/member',
  organisation: 'name your own organisation',
  grant: 'name a grant on a model of yours by its id (commonwatt share <model> --list)',
  model: 'name a model of yours: organisation/model',
};

type Finder = (
  db: Db,
  name: string,
  principal: Principal,
) => Promise<(Found & { ownerId: string }) | undefined>;

const finders: Readonly<Record<SubjectKind, Finder>> = {
  async key(db, name) {
    const row = await db
      .selectFrom('api_keys')
      .where('id', '=', name)
      .where('revoked_at', 'is', null)
      .select(['id', 'name', 'organisation_id', 'member_id'])
      .executeTakeFirst();
    return row && { id: row.id, name: row.name, ...personal(row) };
  },
  async member(db, name, principal) {
    const [member = '', organisation = principal.organisation] = name.split('/').reverse();
    const row = await db
      .selectFrom('members')
      .innerJoin('organisations', 'organisations.id', 'members.organisation_id')
      .where('organisations.name', '=', organisation)
      .where('members.name', '=', member)
      .select(['members.id', 'members.organisation_id', 'members.id as member_id'])
      .executeTakeFirst();
    return row && { id: row.id, name: `${organisation}/${member}`, ...personal(row) };
  },
  async organisation(db, name) {
    const row = await db.selectFrom('organisations').where('name', '=', name).selectAll().executeTakeFirst();
    return row && { id: row.id, name: row.name, organisationId: row.id, memberId: null, ownerId: row.id };
  },
  async grant(db, name) {
    const row = await db
      .selectFrom('grants')
      .innerJoin('models', 'models.id', 'grants.model_id')
      .innerJoin('organisations', 'organisations.id', 'grants.grantee_organisation_id')
      .where('grants.id', '=', name)
      .where('grants.revoked_at', 'is', null)
      .select([
        'grants.id',
        'models.name as model',
        'models.organisation_id as ownerId',
        'organisations.id as organisationId',
        'organisations.name as grantee',
      ])
      .executeTakeFirst();
    if (!row) return undefined;
    const { id, model, grantee, organisationId, ownerId } = row;
    return { id, name: `of ${model} to ${grantee}`, organisationId, memberId: null, ownerId };
  },
  async model(db, name) {
    const { organisation, name: model } = parseModelRef(name);
    const row = await db
      .selectFrom('models')
      .innerJoin('organisations', 'organisations.id', 'models.organisation_id')
      .where('organisations.name', '=', organisation)
      .where('models.name', '=', model)
      .select(['models.id', 'models.organisation_id'])
      .executeTakeFirst();
    const ownerId = row?.organisation_id ?? '';
    return (
      row && {
        id: row.id,
        name: `${organisation}/${model}`,
        organisationId: ownerId,
        memberId: null,
        ownerId,
      }
    );
  },
};

function personal(row: { organisation_id: string; member_id: string }) {
  return { organisationId: row.organisation_id, memberId: row.member_id, ownerId: row.organisation_id };
}

/**
 * By ids: a name may later be another's. Throws NOT_FOUND for what does not exist, or is nothing that one may see:
 * its price would count for nothing.
 */
export async function pricesOf(db: Db, principal: Principal, given: readonly GivenPrice[]): Promise<Price[]> {
  const prices: Price[] = [];
  for (const [index, price] of given.entries()) {
    const { of } = price;
    const isTaken = given.findIndex((other) => other.of === of) !== index;
    if (isTaken)
      throw new CommonwattError('INVALID_REQUEST', `${of ?? 'everything else'} has two prices`, {
        where: `body.prices.${index}.of`,
        hint: 'name each model and organisation once',
      });
    prices.push({ ...price, ...(of === undefined ? {} : await idsOf(db, principal, of, index)) });
  }
  return prices;
}

async function idsOf(
  db: Db,
  principal: Principal,
  of: string,
  index: number,
): Promise<Pick<Price, 'modelId' | 'ownerId'>> {
  const [name = '', model] = of.split('/');
  const owner = await db.selectFrom('organisations').where('name', '=', name).select('id').executeTakeFirst();
  const models = owner ? await modelsToSee(db, principal, owner.id) : [];
  const isKnown =
    owner?.id === principal.organisationId || principal.role === 'operator' || models.length > 0;
  if (owner && isKnown && model === undefined) return { ownerId: owner.id };
  const found = models.find((each) => each.name === model);
  if (found) return { modelId: found.id };
  throw new CommonwattError(
    'NOT_FOUND',
    `${JSON.stringify(of.slice(0, 120))} has no price: it does not exist`,
    {
      where: `body.prices.${index}.of`,
      hint: 'name a model as organisation/model, an organisation for all its models, or nothing for everything else',
    },
  );
}

/** One's own, what is shared with one, and for the operator all. */
async function modelsToSee(db: Db, { organisationId, role }: Principal, ownerId: string) {
  let query = db.selectFrom('models').where('organisation_id', '=', ownerId);
  if (ownerId !== organisationId && role !== 'operator')
    query = query.where('id', 'in', (by) =>
      by
        .selectFrom('grants')
        .where('grantee_organisation_id', '=', organisationId)
        .where('revoked_at', 'is', null)
        .select('model_id'),
    );
  return query.select(['id', 'name']).execute();
}
