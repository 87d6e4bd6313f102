/**
 * The gate at work. Decisions are remembered until the policy changes or they expire; only permissions are
 * remembered, never refusals. The hot path (a known key, a known model) answers without a promise.
 */
import type { UsageSource } from '../energy/energy.ts';
import type { CommonwattError } from '../errors.ts';
import type { GrantRecord } from '../models/models.ts';
import type { Db } from '../storage/db.ts';
import { type Decision, decide, type GrantSource } from './access.ts';
import { BudgetLimits, type JobAsker, limitOfGrant } from './budgets/applying.ts';
import type { Admission, Gate, ModelAccess, ModelAction, Principal } from './gate.ts';
import { findKey, isKey, type KnownKey, keyMissing, keyRefused } from './keys.ts';
import { Limits, type Place } from './limits.ts';
import type { Limit } from './limits-use.ts';
import { forbidden, modelNotFound, roleAllows } from './policy.ts';
import { Remembered } from './remembered.ts';

export interface GateOptions {
  db: Db;
  grants: GrantSource;
  /** What was used: counting goes on from there. */
  usage: UsageSource;
  /** Absent: there are the limits of grants only. */
  budgets?: BudgetLimits;
  /** Nothing is metered: energy and carbon are not known. */
  unmetered?: boolean;
  /** A hard budget that stops jobs is exhausted. */
  exhausted?(limit: Limit, refusal: CommonwattError): void;
  /** Epoch milliseconds. */
  now?: () => number;
  /** How many keys, and how many decisions, are remembered at most. */
  capacity?: number;
}

/** The gate with what the doors need besides the way of a request. */
export interface PlatformGate extends Gate {
  /**
   * May a model of this name be made (or get a version) by this principal? Needed before the model exists.
   * Throws FORBIDDEN in one's own organisation; elsewhere MODEL_NOT_FOUND, whether or not the model exists.
   */
  authorizeNewModel(principal: Principal, organisation: string, model: string): void;
  /** Takes places as `admit` does, for what was authorized otherwise (an evaluation). Throws LIMIT_EXCEEDED. */
  hold(access: ModelAccess): Admission | Promise<Admission>;
  /**
   * May a job be asked for, begin, or go on after it was interrupted (only budgets that stop jobs refuse that)?
   * Nothing is held for it: what it uses counts while it runs. Throws LIMIT_EXCEEDED.
   */
  checkJob(asker: JobAsker, step: 'asked' | 'begins' | 'goes on'): Promise<void>;
  /** Requests of the grant's current period, in flight ones included; null when it has no limit. */
  usedInPeriod(grant: GrantRecord): Promise<number | null>;
  readonly limits: Pick<Limits, 'state' | 'forget' | 'watch' | 'levels' | 'refusals'>;
}

export function createGate({
  db,
  grants,
  usage,
  budgets = noBudgets,
  unmetered = false,
  exhausted,
  now = Date.now,
  capacity = 10_000,
}: GateOptions): PlatformGate {
  const keys = new Remembered<KnownKey>(capacity);
  const decisions = new Remembered<Decision>(capacity);
  const limits = new Limits({ usage, now, unmetered, ...(exhausted ? { exhausted } : {}) });
  // Counts the changes, so that what was looked up before a change is not remembered after it.
  let policy = 0;

  function authenticate(apiKey: string | undefined): Principal | Promise<Principal> {
    if (!apiKey) throw keyMissing();
    const known = keys.get(apiKey);
    return known ? principalOf(known) : lookUpKey(apiKey);
  }

  async function lookUpKey(apiKey: string): Promise<Principal> {
    if (!isKey(apiKey)) throw keyRefused();
    const seen = policy;
    const known = await findKey(db, apiKey);
    if (!known) throw keyRefused();
    const principal = principalOf(known);
    if (seen === policy) keys.set(apiKey, known);
    return principal;
  }

  function principalOf(known: KnownKey): Principal {
    if (known.expiresAtMs <= now()) throw keyRefused();
    return known.principal;
  }

  function remembered(key: string): Decision | undefined {
    const decision = decisions.get(key);
    return decision && decision.expiresAtMs > now() ? decision : undefined;
  }

  async function lookUp(
    key: string,
    principal: Principal,
    action: ModelAction,
    organisation: string,
    name: string,
  ): Promise<Decision> {
    const seen = policy;
    const decision = await decide({ db, grants, now }, principal, action, organisation, name);
    if (seen === policy) decisions.set(key, decision);
    return decision;
  }

  function authorize(
    principal: Principal,
    action: ModelAction,
    organisation: string,
    name: string,
  ): ModelAccess | Promise<ModelAccess> {
    const key = decisionKey(principal, action, organisation, name);
    const decision = remembered(key);
    return decision
      ? access(principal, decision)
      : lookUp(key, principal, action, organisation, name).then((fresh) => access(principal, fresh));
  }

  function admit(
    principal: Principal,
    action: 'infer' | 'explain',
    organisation: string,
    name: string,
  ): Admission | Promise<Admission> {
    const key = decisionKey(principal, action, organisation, name);
    const decision = remembered(key);
    return decision
      ? takePlace(principal, decision)
      : lookUp(key, principal, action, organisation, name).then((fresh) => takePlace(principal, fresh));
  }

  function takePlace(
    principal: Principal,
    decision: Pick<Decision, 'model' | 'grant'>,
  ): Admission | Promise<Admission> {
    const { model, grant } = decision;
    const applying = budgets.applying(principal, model, grant);
    if (applying.length === 0) return { principal, model, grant, settle: nothing, release: nothing };
    const place = limits.take(applying, {
      modelId: model.id,
      ownerId: model.organisationId,
      ownsModel: model.organisationId === principal.organisationId,
    });
    return place instanceof Promise
      ? place.then((taken) => admission(principal, decision, taken))
      : admission(principal, decision, place);
  }

  return {
    get policyVersion() {
      return policy;
    },
    authenticate,
    authorize,
    admit,
    authorizeNewModel(principal, organisation, model) {
      if (principal.organisation !== organisation) throw modelNotFound(organisation, model);
      if (!roleAllows(principal.role, 'manage'))
        throw forbidden(principal, `manage models of ${organisation}`);
    },
    hold: ({ principal, model, grant }) => takePlace(principal, { model, grant }),
    checkJob(asker, step) {
      const applying = budgets.applyingToJobs(asker);
      // Those in shadow have counted it when it was asked for.
      const holds = ({ mode, stopsJobs }: Limit) =>
        step === 'asked' || (mode === 'hard' && (stopsJobs || step === 'begins'));
      return limits.check(applying.filter(holds));
    },
    async usedInPeriod(grant) {
      const limit = limitOfGrant(grant, grant.modelId);
      if (!limit) return null;
      const { used, reserved } = await limits.state(limit);
      return Math.round((used ?? 0) + reserved);
    },
    limits,
    policyChanged() {
      policy += 1;
      keys.clear();
      decisions.clear();
    },
  };
}

const nothing = () => {};
const noBudgets = new BudgetLimits();

function access(principal: Principal, { model, grant }: Decision): ModelAccess {
  return { principal, model, grant };
}

function admission(
  principal: Principal,
  { model, grant }: Pick<Decision, 'model' | 'grant'>,
  place: Place,
): Admission {
  return {
    principal,
    model,
    grant,
    settle: () => place.settle(),
    release: () => place.release(),
    place,
  };
}

/** A tuple with lengths: no choice of names makes two different questions the same key. */
function decisionKey(principal: Principal, action: ModelAction, organisation: string, name: string): string {
  const { organisationId, organisation: own, role } = principal;
  return `${role}:${action}:${organisationId.length}:${organisationId}${own.length}:${own}${organisation.length}:${organisation}${name.length}:${name}`;
}
