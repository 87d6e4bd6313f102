/** Who asked for a job, as that key may do things now: a key that was revoked in the meantime may do nothing more. */
import { CommonwattError } from '../errors.ts';
import type { Principal } from '../gate/gate.ts';
import type { Db } from '../storage/db.ts';

/** Throws FORBIDDEN. */
export async function askerOf(
  db: Db,
  { keyId, organisationId }: { keyId: string | null; organisationId: string },
): Promise<Principal> {
  const row = await db
    .selectFrom('api_keys')
    .innerJoin('members', 'members.id', 'api_keys.member_id')
    .innerJoin('organisations', 'organisations.id', 'api_keys.organisation_id')
    .where('api_keys.id', '=', keyId ?? '')
    .where('organisations.id', '=', organisationId)
    .where('api_keys.revoked_at', 'is', null)
    .where((by) =>
      by.or([
        by('api_keys.expires_at', 'is', null),
        by('api_keys.expires_at', '>', new Date().toISOString()),
      ]),
    )
    .select([
      'api_keys.id as keyId',
      'members.id as memberId',
      'members.name as member',
      'members.role as role',
      'organisations.id as organisationId',
      'organisations.name as organisation',
    ])
    .executeTakeFirst();
  if (row) return row;
  throw new CommonwattError('FORBIDDEN', 'the API key that the job was asked for with is no longer valid', {
    hint: 'ask for it again with a valid key',
  });
}
