/** The rules, as pure functions: what a role may do in its own organisation, and what a grant allows. */
import { CommonwattError } from '../errors.ts';
import type { GrantRecord } from '../models/models.ts';
import type { ModelAction, Principal } from './gate.ts';

type Role = Principal['role'];

const ownActions: Record<Role, readonly ModelAction[]> = {
  member: ['view', 'infer', 'explain', 'download'],
  admin: ['view', 'infer', 'explain', 'download', 'manage'],
  operator: ['view', 'infer', 'explain', 'download', 'manage'],
};

/** May this role do this with a model of its own organisation? */
export function roleAllows(role: Role, action: ModelAction): boolean {
  return ownActions[role].includes(action);
}

/** May a grant's holder do this? Whatever was granted, its model can be seen; nothing lets a stranger manage. */
export function grantAllows(grant: GrantRecord, action: ModelAction): boolean {
  if (action === 'manage') return false;
  return action === 'view' ? grant.permissions.length > 0 : grant.permissions.includes(action);
}

/** Not revoked, and not expired at `nowMs`. */
export function grantIsActive(grant: GrantRecord, nowMs: number): boolean {
  return grant.revokedAt === null && (grant.expiresAt === null || Date.parse(grant.expiresAt) > nowMs);
}

export function isAdmin(principal: Pick<Principal, 'role'>): boolean {
  return principal.role === 'admin' || principal.role === 'operator';
}

/** The same words for a name nobody uses and for somebody else's model. */
export function modelNotFound(organisation: string, model: string): CommonwattError {
  return new CommonwattError('MODEL_NOT_FOUND', `model ${organisation}/${model} does not exist`, {
    hint: 'check the name; a model of another organisation must be shared with yours for this use',
    where: 'model',
  });
}

export function forbidden(principal: Principal, what: string): CommonwattError {
  return new CommonwattError(
    'FORBIDDEN',
    `a ${principal.role} of ${principal.organisation} may not ${what}`,
    {
      hint: `ask an admin of ${principal.organisation}`,
    },
  );
}
