/**
 * The REST door of the Open Inference Protocol over real sockets, with the smallest house behind it: one organisation's
 * model `acme/echo`, whose outputs are its inputs (`in…` becomes `out…`), and a colleague's key to it.
 */
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { unmetered } from '../../../energy/footprint.ts';
import { standardForms } from '../../../energy/forms/forms.ts';
import type { AnswerReceipts } from '../../../energy/receipts/receipts.ts';
import { gramsCo2e, joules } from '../../../energy/units.ts';
import { CommonwattError } from '../../../errors.ts';
import type { Gate, Principal } from '../../../gate/gate.ts';
import type { RouteRules } from '../../../gate/routes.ts';
import type { GrantRecord, ModelRecord, ModelSignature, VersionRecord } from '../../../models/models.ts';
import type { Datatype } from '../../../runtimes/tensor.ts';
import type { InferCall, Inference, LoadState, ServedVersion } from '../../../serve/serve.ts';
import { defaultSettings } from '../../../serve/settings.ts';
import { emptyStatistics } from '../../../serve/statistics.ts';
import { createHttp } from '../../http.ts';
import type { InferenceHouse } from '../answer.ts';
import { inferenceRoutes } from '../inference.ts';

const owner: Principal = {
  organisationId: 'o1',
  organisation: 'acme',
  memberId: 'm1',
  member: 'ada',
  role: 'admin',
  keyId: 'k1',
};
const guest: Principal = {
  ...owner,
  organisationId: 'o2',
  organisation: 'globex',
  member: 'gina',
  keyId: 'k2',
};

const model: ModelRecord = {
  id: 'm',
  organisationId: 'o1',
  organisation: 'acme',
  name: 'echo',
  createdAt: '2026-01-01T00:00:00Z',
};
const grant = { id: 'g', modelId: 'm', granteeOrganisationId: 'o2' } as GrantRecord;

export interface Door {
  baseUrl: string;
  rules: RouteRules;
  house: InferenceHouse;
  /** What the house serves; a test sets it. */
  signature: ModelSignature;
  /** Versions that are deployed. */
  deployed: Set<number>;
  loadState: LoadState;
  calls: InferCall[];
  settled: number;
  released: number;
  compute(call: InferCall): Promise<Partial<Inference>>;
  /** As a client does who knows a key. */
  fetch(path: string, init?: RequestInit & { key?: string }): Promise<Response>;
  close(): Promise<void>;
}

export function echoOf(datatype: Datatype, shape: number[], inputs = 1): ModelSignature {
  const names = Array.from({ length: inputs }, (_, index) => (index === 0 ? '' : String(index)));
  return {
    inputs: names.map((suffix) => ({ name: `in${suffix}`, datatype, shape })),
    outputs: names.map((suffix) => ({ name: `out${suffix}`, datatype, shape })),
  };
}

export async function openDoor({
  maxBodyBytes = 64 * 1024,
  receipts = noReceipts,
  forms = standardForms,
} = {}): Promise<Door> {
  const served = (version: number): ServedVersion => {
    if (!door.deployed.has(version))
      throw new CommonwattError('VERSION_NOT_FOUND', `version ${version} is not deployed`);
    return {
      deploymentId: `d${version}`,
      modelId: 'm',
      versionId: `v${version}`,
      version,
      signature: door.signature,
      settings: defaultSettings,
      deterministic: true,
    };
  };
  const newest = () => Math.max(0, ...door.deployed);
  const house: InferenceHouse = {
    gate: gateOf(() => door),
    version: '1.2.3',
    maxBodyBytes,
    maxBatchSize: 128,
    forms,
    receipts,
    registry: {
      listModels: async (id) => (id === 'o1' ? [model] : []),
      listGrantedModels: async (id) => (id === 'o2' ? [model] : []),
      listVersions: async () => [1, 2].map((number) => ({ number }) as VersionRecord),
      resolve: async (_id, { version }) => ({ number: version ?? 2 }) as VersionRecord,
    },
    deployments: {
      create: async (_model, { number }) => door.deployed.add(number),
      remove: async (id) => {
        door.deployed.delete(Number(id.slice(1)));
      },
      allReady: () => true,
      isReady: () => door.loadState.state === 'loaded',
      served: (_id, { version } = {}) => served(version ?? newest()),
      servedVersions: () => [...door.deployed].sort((a, b) => b - a).map(served),
      variantOf: () => undefined,
      statistics: () => ({ ...emptyStatistics(), inferenceCount: door.calls.length }),
      loadState: () => door.loadState,
      async infer(_served, call) {
        door.calls.push(call);
        const computed = await door.compute(call);
        const outputs = call.inputs.map((tensor) => ({ ...tensor, name: tensor.name.replace('in', 'out') }));
        return {
          outputs,
          footprint,
          source: 'computed',
          queueMs: 0.5,
          batchMs: 0.25,
          computeMs: 1.25,
          batchRows: 1,
          batchRequests: 1,
          share: 1,
          ...computed,
        };
      },
    },
  };
  const http = await createHttp({
    config: { host: '127.0.0.1' },
    log: pino({ level: 'silent' }),
    gate: house.gate,
    metrics: { contentType: 'text/plain', metrics: async () => '' },
    ready: () => true,
    version: '1.2.3',
  });
  await http.app.register(inferenceRoutes, house);
  await http.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = http.app.server.address() as AddressInfo;
  const baseUrl = `http://127.0.0.1:${port}`;
  const door: Door = {
    baseUrl,
    rules: http.rules,
    house,
    signature: echoOf('FP32', [-1, 3]),
    deployed: new Set([1]),
    loadState: { state: 'loaded', reason: null, memoryBytes: 1 },
    calls: [],
    settled: 0,
    released: 0,
    compute: async () => ({}),
    fetch: (path, { key = 'owner', ...init } = {}) =>
      fetch(`${baseUrl}${path}`, {
        ...init,
        headers: {
          'accept-encoding': 'identity',
          ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
          ...(init.headers as Record<string, string>),
        },
      }),
    close: () => http.app.close(),
  };
  return door;
}

/** Says what it would sign. */
export const noReceipts: AnswerReceipts = {
  always: false,
  sign: async ({ requestId, model, version, consumerId }) => `${requestId} ${model}:${version} ${consumerId}`,
};

const footprint = {
  ...unmetered,
  energyJ: joules(36),
  carbonGCo2e: gramsCo2e(0.5),
  quality: 'estimated',
} as const;

/** Knows two keys and one model; synchronous for the owner, as the real one is for what it remembers. */
function gateOf(door: () => Door): Gate {
  const gate: Gate = {
    authenticate(key) {
      if (key === 'owner') return owner;
      if (key === 'guest') return Promise.resolve(guest);
      throw new CommonwattError('UNAUTHENTICATED', 'this key is not valid');
    },
    authorize(principal, action, organisation, name) {
      const isOwner = principal === owner;
      if (`${organisation}/${name}` !== 'acme/echo' || (!isOwner && action === 'manage'))
        throw new CommonwattError('MODEL_NOT_FOUND', `model ${organisation}/${name} does not exist`);
      return { principal, model, grant: isOwner ? null : grant };
    },
    admit(principal, action, organisation, name) {
      const access = gate.authorize(principal, action, organisation, name);
      if (access instanceof Promise) throw new TypeError('this gate answers at once');
      const settle = () => {
        door().settled += 1;
      };
      const release = () => {
        door().released += 1;
      };
      return { ...access, settle, release };
    },
    policyVersion: 7,
    policyChanged() {},
  };
  return gate;
}
