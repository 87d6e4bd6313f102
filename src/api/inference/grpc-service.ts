/**
 * Every method but inference itself, through Connect: what the server is, what models are, the repository, and the
 * health that orchestrators probe. What they say is found where REST finds it.
 */
import { fromJson, type JsonObject } from '@bufbuild/protobuf';
import {
  type ConnectRouter,
  createContextKey,
  type HandlerContext,
  type Interceptor,
  type ServiceImpl,
} from '@connectrpc/connect';
import { CommonwattError } from '../../errors.ts';
import type { Principal } from '../../gate/gate.ts';
import type { ModelRef, TensorSpec } from '../../models/models.ts';
import { extensions, type InferenceHouse, modelRef, platformOf, viewServed } from './answer.ts';
import { type GrpcLog, refusalOf, requestIdHeader } from './grpc-errors.ts';
import { modelConfig } from './model-config.ts';
import { ModelConfigSchema } from './proto/model_config_pb.ts';
import {
  GRPCInferenceService,
  ModelStatisticsResponseSchema,
  type RepositoryModelLoadRequest,
  type RepositoryModelUnloadRequest,
} from './proto/open_inference_grpc_pb.ts';
import { loadModel, repositoryIndex, unloadModel } from './repository.ts';
import { statisticsJson, statisticsOf } from './statistics.ts';

export interface Call {
  requestId: string;
  /** Absent for what is public. */
  principal?: Principal;
}

export const callKey = createContextKey<Call>({ requestId: '' });

/** What it does not know of a configuration is left out. */
const lenient = { ignoreUnknownFields: true };

type Service = Partial<ServiceImpl<typeof GRPCInferenceService>>;

export function inferenceService(router: ConnectRouter, house: InferenceHouse): void {
  router.service(GRPCInferenceService, {
    ...serverMethods(house),
    ...modelMethods(house),
    ...repositoryMethods(house),
    ...sharedMemoryMethods(),
  });
}

function serverMethods({ deployments, version }: InferenceHouse): Service {
  return {
    serverLive: () => ({ live: true }),
    serverReady: () => ({ ready: deployments.allReady() }),
    serverMetadata: () => ({ name: 'commonwatt', version, extensions: [...extensions] }),
  };
}

function modelMethods(house: InferenceHouse): Service {
  const view = (name: string, version: string, context: HandlerContext) =>
    viewServed(house, principalOf(context), modelRef(name, version || undefined));
  return {
    async modelReady({ name, version }, context) {
      return { ready: house.deployments.isReady(await view(name, version, context)) };
    },
    async modelMetadata({ name, version }, context) {
      const served = await view(name, version, context);
      const versions = house.deployments.servedVersions(served.modelId).map((each) => String(each.version));
      return {
        name,
        versions: versions.length > 0 ? versions.reverse() : [String(served.version)],
        platform: platformOf(served),
        inputs: served.signature.inputs.map(tensorMetadata),
        outputs: served.signature.outputs.map(tensorMetadata),
      };
    },
    async modelConfig({ name, version }, context) {
      const served = await view(name, version, context);
      const config = modelConfig(name, served, house.maxBatchSize);
      return { config: fromJson(ModelConfigSchema, config as unknown as JsonObject, lenient) };
    },
    async modelStatistics({ name, version }, context) {
      const asked = name === '' ? undefined : { name, ref: modelRef(name, version || undefined) };
      const all = statisticsJson(await statisticsOf(house, principalOf(context), asked));
      return fromJson(ModelStatisticsResponseSchema, whole(all), lenient);
    },
  };
}

function repositoryMethods(house: InferenceHouse): Service {
  return {
    async repositoryIndex({ repositoryName, ready }, context) {
      if (repositoryName !== '') throw noRepository(repositoryName);
      const entries = await repositoryIndex(house, principalOf(context), ready);
      return { models: entries.map((entry) => ({ ...entry, version: String(entry.version) })) };
    },
    async repositoryModelLoad(request, context) {
      const { ref, name, parameters } = askedOf(request);
      await loadModel(house, principalOf(context), ref, parameters);
      return { modelName: name, isLoaded: true };
    },
    async repositoryModelUnload(request, context) {
      const { ref, name } = askedOf(request);
      await unloadModel(house, principalOf(context), ref);
      return { modelName: name, isUnloaded: true };
    },
  };
}

/** Times are whole nanoseconds in this protocol. */
function whole(json: object): JsonObject {
  const text = JSON.stringify(json, (_key, value: unknown) =>
    typeof value === 'number' ? Math.round(value) : value,
  );
  return JSON.parse(text) as JsonObject;
}

/** KServe's clients put the model's name where Triton's put the repository's. */
function askedOf({
  repositoryName,
  modelName,
  parameters,
}: RepositoryModelLoadRequest | RepositoryModelUnloadRequest): {
  name: string;
  ref: ModelRef;
  parameters: Record<string, unknown>;
} {
  if (repositoryName !== '' && modelName !== '') throw noRepository(repositoryName);
  const name = modelName || repositoryName;
  const scalars = Object.entries(parameters).map(
    ([key, { parameterChoice }]) => [key, parameterChoice.value] as const,
  );
  return { name, ref: modelRef(name, undefined), parameters: Object.fromEntries(scalars) };
}

function noRepository(name: string): CommonwattError {
  return new CommonwattError('NOT_FOUND', `repository ${JSON.stringify(name.slice(0, 80))} does not exist`, {
    hint: 'there is one repository, which has no name',
  });
}

/** Clients clear up before they begin and when they end: nothing is registered, so nothing is left to do. */
function sharedMemoryMethods(): Service {
  const nothing = () => ({});
  const refuse = () => {
    throw new CommonwattError('NOT_SUPPORTED', 'shared memory is not served here', {
      hint: 'send and receive the tensors in the request and its answer, as raw contents for speed',
    });
  };
  return {
    systemSharedMemoryStatus: nothing,
    systemSharedMemoryRegister: refuse,
    systemSharedMemoryUnregister: nothing,
    cudaSharedMemoryStatus: nothing,
    cudaSharedMemoryRegister: refuse,
    cudaSharedMemoryUnregister: nothing,
  };
}

/** Every handler's errors become statuses here, and every answer tells our request id. */
export function translateErrors(log: GrpcLog): Interceptor {
  return (next) => async (request) => {
    const { requestId } = request.contextValues.get(callKey);
    try {
      const response = await next(request);
      response.header.set(requestIdHeader, requestId);
      return response;
    } catch (error) {
      throw refusalOf(error, requestId, log);
    }
  };
}

function principalOf(context: HandlerContext): Principal {
  const { principal } = context.values.get(callKey);
  if (!principal) throw new CommonwattError('UNAUTHENTICATED', 'this request carries no API key');
  return principal;
}

function tensorMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape: shape.map(BigInt) };
}
