/** The real gRPC door before a house that says what it was asked, and does what a test wants. */
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { WorkContext } from '../../../energy/energy.ts';
import { unmetered } from '../../../energy/footprint.ts';
import { standardForms } from '../../../energy/forms/forms.ts';
import { gramsCo2e, joules } from '../../../energy/units.ts';
import { CommonwattError } from '../../../errors.ts';
import type { Gate, Principal } from '../../../gate/gate.ts';
import type { ModelRecord, ModelSignature } from '../../../models/models.ts';
import type { Datatype } from '../../../runtimes/tensor.ts';
import type { InferCall, Inference, ServedVersion } from '../../../serve/serve.ts';
import { defaultSettings } from '../../../serve/settings.ts';
import { emptyStatistics, type ModelStatistics } from '../../../serve/statistics.ts';
import type { InferenceHouse } from '../answer.ts';
import { startGrpc } from '../grpc.ts';
import { GRPCInferenceService } from '../proto/open_inference_grpc_pb.ts';

const caller: Principal = {
  organisationId: 'o2',
  organisation: 'globex',
  memberId: 'm1',
  member: 'gina',
  role: 'member',
  keyId: 'k1',
};
const model: ModelRecord = {
  id: 'm',
  organisationId: 'o1',
  organisation: 'acme',
  name: 'echo',
  createdAt: '2026-01-01T00:00:00Z',
};
const metered = {
  ...unmetered,
  energyJ: joules(36),
  carbonGCo2e: gramsCo2e(0.5),
  quality: 'estimated',
} as const;

const times = { queueMs: 0, batchMs: 0, computeMs: 1, batchRows: 1, batchRequests: 1, share: 1 } as const;

export type Compute = (call: InferCall) => Promise<Pick<Inference, 'outputs' | 'footprint'>>;

/** What the house does next, and what it saw. Keys: `good` is known at once, `slow` after a moment. */
export interface House {
  signature: ModelSignature;
  compute: Compute;
  admitting(): void;
  /** What an admission waits for. */
  admission: Promise<void>;
  /** The gate remembers, and answers without a promise. */
  remembers: boolean;
  ready: boolean;
  statistics: ModelStatistics;
  /** Keys that were withdrawn. */
  withdrawn: Set<string>;
  seen: {
    /** Admissions asked for. */
    asked: number;
    settled: number;
    released: number;
    authenticated: number;
    calls: InferCall[];
    contexts: WorkContext[];
    created: number;
    removed: string[];
  };
  logged: object[];
}

export function echoOf(datatype: Datatype, shape: number[]): ModelSignature {
  return { inputs: [{ name: 'in', datatype, shape }], outputs: [{ name: 'out', datatype, shape }] };
}

export const echo: Compute = async ({ inputs }) => ({
  outputs: inputs.map((tensor) => ({ ...tensor, name: tensor.name.replace('in', 'out') })),
  footprint: metered,
});

/** Sets everything back to an echo of FP32 [-1, 3]. */
export function resetHouse(house: House): void {
  Object.assign(house, freshHouse());
}

export function freshHouse(): House {
  return {
    signature: echoOf('FP32', [-1, 3]),
    compute: echo,
    admitting: () => {},
    admission: Promise.resolve(),
    remembers: false,
    ready: true,
    statistics: emptyStatistics(),
    withdrawn: new Set(),
    seen: {
      asked: 0,
      settled: 0,
      released: 0,
      authenticated: 0,
      calls: [],
      contexts: [],
      created: 0,
      removed: [],
    },
    logged: [],
  };
}

function gateOf(house: House): Gate {
  const gate: Gate = {
    authenticate(key = '') {
      house.seen.authenticated += 1;
      if (key === 'good' && !house.withdrawn.has(key)) return caller;
      const unknown = new CommonwattError('UNAUTHENTICATED', 'this key is not valid', { hint: 'make one' });
      return key === 'slow' ? Promise.resolve(caller) : Promise.reject(unknown);
    },
    authorize(principal, _action, organisation, name) {
      if (`${organisation}/${name}` === 'acme/echo') return { principal, model, grant: null };
      throw new CommonwattError('MODEL_NOT_FOUND', `model ${organisation}/${name} does not exist`);
    },
    admit(principal, action, organisation, name) {
      const admit = () => {
        const access = gate.authorize(principal, action, organisation, name);
        if (access instanceof Promise) throw new TypeError('this gate remembers everything');
        house.admitting();
        const settle = () => {
          house.seen.settled += 1;
        };
        const release = () => {
          house.seen.released += 1;
        };
        return { ...access, settle, release };
      };
      house.seen.asked += 1;
      return house.remembers ? admit() : house.admission.then(admit);
    },
    policyVersion: 0,
    policyChanged() {},
  };
  return gate;
}

function inferenceHouse(house: House, maxBodyBytes: number): InferenceHouse {
  const served = (modelId: string, version = 1): ServedVersion => ({
    deploymentId: `d${version}`,
    modelId,
    versionId: `v${version}`,
    version,
    signature: house.signature,
    settings: { ...defaultSettings, maxQueueDelayMs: 2, preferredBatchSizes: [8, 32] },
    deterministic: true,
  });
  return {
    gate: gateOf(house),
    version: '1.2.3',
    maxBodyBytes,
    maxBatchSize: 128,
    forms: standardForms,
    receipts: {
      always: false,
      sign: async ({ requestId, model, version, consumerId }) =>
        `${requestId} ${model}:${version} ${consumerId}`,
    },
    registry: {
      listModels: async () => [model],
      listGrantedModels: async () => [],
      listVersions: async () => [],
      resolve: async () => {
        throw new CommonwattError('VERSION_NOT_FOUND', 'no such version');
      },
    },
    deployments: {
      create: async () => {
        house.seen.created += 1;
      },
      remove: async (id) => {
        house.seen.removed.push(id);
      },
      allReady: () => house.ready,
      isReady: () => house.ready,
      served(modelId, ref) {
        if ((ref?.version ?? 1) !== 1)
          throw new CommonwattError('VERSION_NOT_FOUND', `version ${ref?.version} is not deployed`);
        return served(modelId);
      },
      servedVersions: (modelId) => [served(modelId)],
      variantOf: () => undefined,
      statistics: () => house.statistics,
      loadState: () => ({ state: 'loaded', reason: null, memoryBytes: 0 }),
      async infer(_served, call) {
        house.seen.calls.push(call);
        house.seen.contexts.push(call.context);
        const answer = await house.compute(call);
        return { ...answer, source: 'computed', ...times };
      },
    },
  };
}

export async function startDoor(house: House, { maxBodyBytes = 64 * 1024, port = 0 } = {}) {
  const server = await startGrpc({
    host: '127.0.0.1',
    port,
    house: inferenceHouse(house, maxBodyBytes),
    log: { error: (what) => house.logged.push(what) },
  });
  return {
    ...server,
    client: (timeoutMs = 5_000) =>
      createClient(
        GRPCInferenceService,
        createGrpcTransport({ baseUrl: `http://${server.address}`, defaultTimeoutMs: timeoutMs }),
      ),
  };
}

export type TestDoor = Awaited<ReturnType<typeof startDoor>>;
