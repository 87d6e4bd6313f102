/** gRPC's health checking protocol, for orchestrators: the server as a whole, and the inference service, which is the same. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import type { InferenceHouse } from './answer.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from './proto/health_pb.ts';
import { GRPCInferenceService } from './proto/open_inference_grpc_pb.ts';

/** How soon a watcher hears of a change. */
const lookAgainMs = 1_000;

const known: ReadonlySet<string> = new Set(['', GRPCInferenceService.typeName, Health.typeName]);

export function healthService(
  router: ConnectRouter,
  { deployments }: Pick<InferenceHouse, 'deployments'>,
  stopping: AbortSignal,
): void {
  const statusOf = (service: string) => {
    if (!known.has(service)) return Status.SERVICE_UNKNOWN;
    return deployments.allReady() && !stopping.aborted ? Status.SERVING : Status.NOT_SERVING;
  };
  router.service(Health, {
    check({ service }) {
      const status = statusOf(service);
      if (status === Status.SERVICE_UNKNOWN)
        throw new ConnectError(
          `there is no service ${JSON.stringify(service.slice(0, 80))} here`,
          Code.NotFound,
        );
      return { status };
    },
    async *watch({ service }, { signal }) {
      let told: Status | undefined;
      const until = AbortSignal.any([signal, stopping]);
      while (!signal.aborted) {
        const status = statusOf(service);
        if (status !== told) yield { status };
        told = status;
        // The last word to a watcher is that the server stops.
        if (stopping.aborted) return;
        await sleep(lookAgainMs, undefined, { signal: until, ref: false }).catch(() => {});
      }
    },
  });
}
