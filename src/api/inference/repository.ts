/**
 * The model repository extension: what there is, and putting it into service and out of it. Both protocols share this.
 * Source: Triton's extension_model_repository.md.
 */
import { CommonwattError } from '../../errors.ts';
import { actorOf } from '../../gate/audit.ts';
import type { Principal } from '../../gate/gate.ts';
import type { ModelRecord, ModelRef } from '../../models/models.ts';
import type { ServedVersion } from '../../serve/serve.ts';
import type { InferenceHouse } from './answer.ts';
import type { Parameters } from './parameters.ts';

export interface IndexEntry {
  /** `organisation/name` */
  name: string;
  version: number;
  state: 'READY' | 'LOADING' | 'UNAVAILABLE';
  reason: string;
}

type House = Pick<InferenceHouse, 'gate' | 'deployments' | 'registry'>;

/** Every version of the caller's own models; of those shared with it, what is served. */
export async function repositoryIndex(
  house: House,
  principal: Principal,
  readyOnly: boolean,
): Promise<IndexEntry[]> {
  const { registry, deployments } = house;
  const [own, granted] = await Promise.all([
    registry.listModels(principal.organisationId),
    registry.listGrantedModels(principal.organisationId),
  ]);
  const entries: IndexEntry[] = [];
  for (const model of own) {
    const served = deployments.servedVersions(model.id);
    for (const { number } of await registry.listVersions(model.id))
      entries.push(
        entryOf(
          house,
          model,
          number,
          served.find(({ version }) => version === number),
        ),
      );
  }
  for (const model of granted)
    for (const served of deployments.servedVersions(model.id))
      entries.push(entryOf(house, model, served.version, served));
  return readyOnly ? entries.filter(({ state }) => state === 'READY') : entries;
}

function entryOf(
  { deployments }: House,
  { organisation, name }: ModelRecord,
  version: number,
  served: ServedVersion | undefined,
): IndexEntry {
  const entry = { name: `${organisation}/${name}`, version };
  if (!served) return { ...entry, state: 'UNAVAILABLE', reason: 'not deployed' };
  const { state, reason } = deployments.loadState(served);
  switch (state) {
    case 'loaded':
      return { ...entry, state: 'READY', reason: '' };
    case 'unloaded':
      return { ...entry, state: 'READY', reason: 'not in memory: the next request loads it' };
    case 'loading':
      return { ...entry, state: 'LOADING', reason: reason ?? '' };
    default:
      return { ...entry, state: 'UNAVAILABLE', reason: reason ?? state };
  }
}

/** Deploys the version that is named, or the newest. Answers when it can be used. */
export async function loadModel(
  { gate, deployments, registry }: House,
  principal: Principal,
  ref: ModelRef,
  parameters: Parameters,
): Promise<void> {
  const overrides = Object.keys(parameters).find((name) => name === 'config' || name.startsWith('file:'));
  if (overrides !== undefined)
    throw new CommonwattError(
      'INVALID_REQUEST',
      `parameter ${JSON.stringify(overrides.slice(0, 80))} is not taken: versions are immutable`,
      {
        where: 'parameters',
        hint: 'import another version with `commonwatt import`, and give settings with its deployment',
      },
    );
  const { model } = await gate.authorize(principal, 'manage', ref.organisation, ref.name);
  const { version: number, alias = 'latest' } = ref;
  const version = await registry.resolve(model.id, number === undefined ? { alias } : { version: number });
  await deployments.create(model, version, actorOf(principal));
}

/** Takes the version that is named, or every one, out of service. Throws VERSION_NOT_FOUND when there is none. */
export async function unloadModel(house: House, principal: Principal, ref: ModelRef): Promise<void> {
  const { gate, deployments } = house;
  const { model } = await gate.authorize(principal, 'manage', ref.organisation, ref.name);
  const isOne = ref.version !== undefined || ref.alias !== undefined;
  const versions = isOne ? [deployments.served(model.id, ref)] : deployments.servedVersions(model.id);
  if (versions.length === 0)
    throw new CommonwattError('VERSION_NOT_FOUND', 'no version of this model is deployed', {
      hint: 'POST /v2/repository/index lists what is',
    });
  for (const { deploymentId } of versions) await deployments.remove(deploymentId, actorOf(principal));
}
