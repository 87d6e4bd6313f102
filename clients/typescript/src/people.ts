/** Organisations, their members and the members' API keys. */
import type { ApiKey, CreatedApiKey, CreatedOrganisation, Member, Organisation } from './shapes.ts';
import type { CallOptions, Transport } from './transport.ts';

export type PeopleResources = ReturnType<typeof organisationResources>;

export function organisationResources(transport: Transport) {
  return {
    organisations: {
      async list(options?: CallOptions): Promise<Organisation[]> {
        const answer = await transport.json<{ organisations: Organisation[] }>(
          'GET',
          '/api/v1/organisations',
          options,
        );
        return answer.organisations;
      },
      /** Operators only. The administrator's key is in the answer, this once. */
      create(request: { name: string; admin?: string }, options?: CallOptions): Promise<CreatedOrganisation> {
        return transport.json('POST', '/api/v1/organisations', { ...options, json: request });
      },
    },
    members: {
      async list(options?: CallOptions): Promise<Member[]> {
        const answer = await transport.json<{ members: Member[] }>('GET', '/api/v1/members', options);
        return answer.members;
      },
      create(request: { name: string; role: 'admin' | 'member' }, options?: CallOptions): Promise<Member> {
        return transport.json('POST', '/api/v1/members', { ...options, json: request });
      },
    },
    keys: {
      async list(options?: CallOptions): Promise<ApiKey[]> {
        const answer = await transport.json<{ keys: ApiKey[] }>('GET', '/api/v1/keys', options);
        return answer.keys;
      },
      create(
        request: { name: string; member?: string; expiresAt?: string },
        options?: CallOptions,
      ): Promise<CreatedApiKey> {
        return transport.json('POST', '/api/v1/keys', { ...options, json: request });
      },
      revoke(id: string, options?: CallOptions): Promise<void> {
        return transport.nothing('DELETE', `/api/v1/keys/${encodeURIComponent(id)}`, options);
      },
    },
  };
}
