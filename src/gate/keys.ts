/** API keys: `cw_` and 32 random bytes in base64url. Only the SHA-256 of the whole key is ever stored. */
import { createHash, randomBytes } from 'node:crypto';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import type { Principal } from './gate.ts';

const keyPattern = /^cw_[A-Za-z0-9_-]{43,86}$/;

export interface FreshKey {
  /** Shown once, never stored. */
  apiKey: string;
  prefix: string;
  hash: string;
}

export function newKey(): FreshKey {
  const apiKey = `cw_${randomBytes(32).toString('base64url')}`;
  return { apiKey, prefix: apiKey.slice(0, 10), hash: hashKey(apiKey) };
}

/** 256 random bits need no slow hash: nobody can guess the input. */
function hashKey(apiKey: string): string {
  return createHash('sha256').update(apiKey, 'utf8').digest('hex');
}

export interface KnownKey {
  principal: Principal;
  /** Epoch milliseconds; Infinity: never. */
  expiresAtMs: number;
}

/** Who a key belongs to, expired or not; undefined when it is unknown or revoked. */
export async function findKey(db: Db, apiKey: string): Promise<KnownKey | undefined> {
  const row = await db
    .selectFrom('api_keys')
    .innerJoin('members', 'members.id', 'api_keys.member_id')
    .innerJoin('organisations', 'organisations.id', 'api_keys.organisation_id')
    .where('api_keys.hash', '=', hashKey(apiKey))
    .where('api_keys.revoked_at', 'is', null)
    .select([
      'api_keys.id as keyId',
      'api_keys.expires_at as expiresAt',
      'members.id as memberId',
      'members.name as member',
      'members.role as role',
      'organisations.id as organisationId',
      'organisations.name as organisation',
    ])
    .executeTakeFirst();
  if (!row) return undefined;
  const { expiresAt, ...principal } = row;
  return { principal, expiresAtMs: expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt) };
}

export function isKey(text: string): boolean {
  return keyPattern.test(text);
}

const hint = 'send the header "Authorization: Bearer cw_…" with a key of `commonwatt keys create`';

export function keyMissing(): CommonwattError {
  return new CommonwattError('UNAUTHENTICATED', 'this needs an API key', { hint, where: 'authorization' });
}

/** One message for unknown, revoked and expired keys: a stranger learns nothing from it. */
export function keyRefused(): CommonwattError {
  return new CommonwattError('UNAUTHENTICATED', 'the API key is unknown, expired or revoked', {
    hint,
    where: 'authorization',
  });
}
