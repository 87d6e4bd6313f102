/** Which limits hold for whom: kept at hand, so that finding them costs a request next to nothing. */
import type { GrantRecord, ModelRecord } from '../../models/models.ts';
import type { Principal } from '../gate.ts';
import type { Limit, SubjectKind } from '../limits-use.ts';

/** Whose job it is; null: not known any more. */
export interface JobAsker {
  keyId: string | null;
  memberId: string | null;
  organisationId: string;
}

/** Is it one of those that `limit` limits? */
export function limitsJobOf(
  { subject: { kind, id } }: Limit,
  { keyId, memberId, organisationId }: JobAsker,
): boolean {
  const own: Partial<Record<SubjectKind, string | null>> = {
    key: keyId,
    member: memberId,
    organisation: organisationId,
  };
  return own[kind] === id;
}

const none: readonly Limit[] = [];
const kinds = ['key', 'member', 'organisation', 'grant', 'model'] as const satisfies SubjectKind[];

/** Budgets by what they limit. */
export class BudgetLimits {
  #size = 0;
  #bySubject = emptyIndex();

  replaceAll(limits: readonly Limit[]): void {
    const index = emptyIndex();
    for (const limit of limits) {
      const { kind, id } = limit.subject;
      index[kind].set(id, [...(index[kind].get(id) ?? []), limit]);
    }
    this.#bySubject = index;
    this.#size = limits.length;
  }

  /** Those that a request must keep. A key that is empty stands for the server acting for an ensemble's owner. */
  applying(
    { keyId, memberId, organisationId }: Principal,
    of: ModelRecord,
    grant: GrantRecord | null,
  ): readonly Limit[] {
    const ofGrant = grant ? limitOfGrant(grant, `${of.organisation}/${of.name}`) : undefined;
    if (this.#size === 0) return ofGrant ? [ofGrant] : none;
    const { key, member, organisation, grant: grants, model } = this.#bySubject;
    const found: Limit[] = ofGrant ? [ofGrant] : [];
    const add = (limits: readonly Limit[] | undefined) => {
      if (limits) found.push(...limits);
    };
    if (keyId !== '') {
      add(key.get(keyId));
      add(member.get(memberId));
      add(organisation.get(organisationId));
    }
    if (grant) add(grants.get(grant.id));
    add(model.get(of.id));
    return found;
  }

  /** Those that a job must keep, whatever it computes. */
  applyingToJobs({ keyId, memberId, organisationId }: JobAsker): readonly Limit[] {
    if (this.#size === 0) return none;
    const { key, member, organisation } = this.#bySubject;
    return [key.get(keyId ?? ''), member.get(memberId ?? ''), organisation.get(organisationId)].flatMap(
      (limits) => limits ?? [],
    );
  }
}

function emptyIndex(): Record<SubjectKind, Map<string, Limit[]>> {
  const index = kinds.map((kind) => [kind, new Map<string, Limit[]>()] as const);
  return Object.fromEntries(index) as Record<SubjectKind, Map<string, Limit[]>>;
}

/** A grant's own limit is one like any other. */
export function limitOfGrant(grant: GrantRecord, model: string): Limit | undefined {
  if (!grant.limit) return undefined;
  const { requests, period } = grant.limit;
  return {
    id: `grant:${grant.id}`,
    subject: { kind: 'grant', id: grant.id },
    unit: 'requests',
    amount: requests,
    period,
    mode: 'hard',
    warnAt: null,
    stopsJobs: false,
    refusal: () => ({
      message: `the grant of ${model} to ${grant.granteeOrganisation} allows ${requests} ${requests === 1 ? 'request' : 'requests'} a ${period}, and all are used`,
      hint: 'the owner of the model can share it with a higher limit',
    }),
  };
}
