/** The statistics extension: what served versions did since the server started. Source: extension_statistics.md. */
import { CommonwattError } from '../../errors.ts';
import type { Principal } from '../../gate/gate.ts';
import type { ModelRef } from '../../models/models.ts';
import type { ServedVersion } from '../../serve/serve.ts';
import type { ModelStatistics } from '../../serve/statistics.ts';
import type { InferenceHouse } from './answer.ts';

export interface VersionStatistics {
  /** As the answer names the model. */
  name: string;
  version: number;
  statistics: ModelStatistics;
}

type House = Pick<InferenceHouse, 'gate' | 'deployments' | 'registry'>;

/**
 * Of one model, or of every model of the caller's organisation. They tell what everybody does with a model, so they
 * are its owner's: whom it was shared with is refused.
 */
export async function statisticsOf(
  house: House,
  principal: Principal,
  asked?: { name: string; ref: ModelRef },
): Promise<VersionStatistics[]> {
  const { gate, deployments, registry } = house;
  const view = (name: string) => (served: ServedVersion) => ({
    name,
    version: served.version,
    statistics: deployments.statistics(served),
  });
  if (!asked) {
    const own = await registry.listModels(principal.organisationId);
    return own.flatMap(({ id, organisation, name }) =>
      deployments.servedVersions(id).map(view(`${organisation}/${name}`)),
    );
  }
  const { name, ref } = asked;
  const { model, grant } = await gate.authorize(principal, 'view', ref.organisation, ref.name);
  if (grant)
    throw new CommonwattError('FORBIDDEN', 'the statistics of a model are its owner’s', {
      hint: `ask ${model.organisation}; what you used yourself is in your impact report`,
    });
  const isOne = ref.version !== undefined || ref.alias !== undefined;
  const versions = isOne ? [deployments.served(model.id, ref)] : deployments.servedVersions(model.id);
  return versions.map(view(name));
}

export function statisticsJson(all: readonly VersionStatistics[]) {
  return { model_stats: all.map(versionJson) };
}

function versionJson({ name, version, statistics: of }: VersionStatistics) {
  return {
    name,
    version: String(version),
    last_inference: of.lastInferenceMs,
    inference_count: of.inferenceCount,
    execution_count: of.executionCount,
    inference_stats: {
      success: of.success,
      fail: of.fail,
      queue: of.queue,
      compute_input: of.computeInput,
      compute_infer: of.computeInfer,
      compute_output: of.computeOutput,
      cache_hit: of.cacheHit,
      cache_miss: of.cacheMiss,
    },
    batch_stats: [...of.batches]
      .sort(([a], [b]) => a - b)
      .map(([size, { computeInput, computeInfer, computeOutput }]) => ({
        batch_size: size,
        compute_input: computeInput,
        compute_infer: computeInfer,
        compute_output: computeOutput,
      })),
  };
}
