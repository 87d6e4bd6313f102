/**
 * The gate: may this caller do this, now? Everything is denied unless a rule here allows it; a resource of
 * another organisation without a grant answers exactly like one that does not exist.
 *
 * In: a credential, an action, a resource. Out: an admission to settle, or an error to show.
 */
import type { GrantRecord, ModelRecord } from '../models/models.ts';
import type { Place } from './limits.ts';

/** Who calls: a member of an organisation, through one of its API keys. */
export interface Principal {
  organisationId: string;
  organisation: string;
  memberId: string;
  member: string;
  /** operator: runs the platform (may create organisations); admin: runs an organisation; member: uses it. */
  role: 'operator' | 'admin' | 'member';
  keyId: string;
}

export type ModelAction = 'view' | 'infer' | 'explain' | 'download' | 'manage';

/** What a principal may reach of a model, and by which grant (null: its own organisation's model). */
export interface ModelAccess {
  principal: Principal;
  model: ModelRecord;
  grant: GrantRecord | null;
}

/** A place taken under every limit that applies. Settle it when computed, release it when nothing was. */
export interface Admission extends ModelAccess {
  settle(): void;
  release(): void;
  /** Absent: no limit applies. */
  place?: Place;
}

export interface Gate {
  /** From the raw key (`Authorization: Bearer …`). Throws UNAUTHENTICATED. */
  authenticate(apiKey: string | undefined): Principal | Promise<Principal>;
  /** Throws MODEL_NOT_FOUND when nothing allows it (also for names that do not exist), FORBIDDEN inside one's own organisation. */
  authorize(
    principal: Principal,
    action: ModelAction,
    organisation: string,
    model: string,
  ): ModelAccess | Promise<ModelAccess>;
  /** authorize + limits. Answers without a promise when everything needed is remembered (hot path). Throws LIMIT_EXCEEDED. */
  admit(
    principal: Principal,
    action: 'infer' | 'explain',
    organisation: string,
    model: string,
  ): Admission | Promise<Admission>;
  /** Counts the changes of policy: what is kept of answers is kept under it. */
  readonly policyVersion: number;
  /** Forget every remembered decision: called after any change to keys, members, models or grants. */
  policyChanged(): void;
}

export { createGate, type PlatformGate } from './decisions.ts';
