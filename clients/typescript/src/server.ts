/** The server itself, for its operator. */
import type { RunnersRestarted, ServerFacts } from './shapes.ts';
import type { CallOptions, Transport } from './transport.ts';

export type ServerResource = ReturnType<typeof serverResource>;

export function serverResource(transport: Transport) {
  return {
    /** Operators only: processes, memory, loaded models. */
    get(options?: CallOptions): Promise<ServerFacts> {
      return transport.json('GET', '/api/v1/server', options);
    },
    /** Operators only: replaces the processes that compute, one after another, without a failed request. */
    restartRunners(options?: CallOptions): Promise<RunnersRestarted> {
      return transport.json('POST', '/api/v1/runners/restart', options);
    },
  };
}
