/**
 * What clients of Triton ask about shared memory, answered so that they understand: there is none here. A server that
 * many organisations share must not read memory that a caller names.
 */
import type { FastifyInstance } from 'fastify';
import { CommonwattError } from '../../errors.ts';

const keyed = { config: { access: 'key' } } as const;

export function sharedMemoryRoutes(app: FastifyInstance): void {
  for (const kind of ['systemsharedmemory', 'cudasharedmemory']) {
    app.get(`/v2/${kind}/status`, keyed, () => []);
    app.get<{ Params: { region: string } }>(`/v2/${kind}/region/:region/status`, keyed, ({ params }) => {
      throw new CommonwattError('NOT_FOUND', `region ${JSON.stringify(params.region)} is not registered`, {
        hint,
      });
    });
    app.post(`/v2/${kind}/region/:region/register`, keyed, () => {
      throw new CommonwattError('INVALID_REQUEST', 'shared memory is not served here', { hint });
    });
    // Clients clear up before they begin and when they end: nothing is registered, so nothing is left to do.
    app.post(`/v2/${kind}/region/:region/unregister`, keyed, (_request, reply) => reply.send());
    app.post(`/v2/${kind}/unregister`, keyed, (_request, reply) => reply.send());
  }
}

const hint = 'send and receive the tensors in the request and its answer, as binary data for speed';
