/**
 * The explain room: why did the model answer this? How much each feature moved the answer away from the mean
 * answer over a background, in the unit of the output, with what finding out cost.
 *
 * In: a served version, a background, rows to explain. Out: explanations. Promise: attributions add up to
 * prediction − baseValue within 1e-6, are the same for the same seed, and never show a background row.
 */
import type { DatasetReader } from '../datasets/datasets.ts';
import type { Footprint, WorkContext } from '../energy/energy.ts';
import { type ImpactJson, impactJson, sumFootprints } from '../energy/footprint.ts';
import { CommonwattError } from '../errors.ts';
import { requestParts, scoreRows, singleScoreInput } from '../quality/scorer.ts';
import type { Inferrer, ServedVersion } from '../serve/serve.ts';
import { type Background, trainingBackground, zeroBackground } from './background.ts';
import { permutationShap } from './methods/permutation.ts';

/** `Explanation` of docs/api.md. */
export interface Explanation {
  attributions: { feature: string; value: number }[];
  baseValue: number;
  prediction: number;
  /** The space of all numbers here; `value` when the model's answers are not in [0, 1]. */
  output: 'probability' | 'value';
  method: 'permutation_shap';
  background: string;
  modelCalls: number;
  modelRows: number;
  additivityGap: number;
  impact: ImpactJson;
}

export interface ExplainRequest {
  served: ServedVersion;
  background: Background;
  /** One name a feature; f0, f1, … when they are not known. */
  featureNames?: readonly string[] | undefined;
  instances: readonly (readonly number[])[];
  /** Model calls for one instance, spent in rounds of 2M + 1; one round runs at least. Default 256, at most 10,000. */
  maxCalls?: number | undefined;
  /** Default 42. */
  seed?: number | undefined;
  /** Who pays, by which key and grant, for which request. */
  context: Pick<WorkContext, 'requestId' | 'consumer' | 'keyId' | 'memberId' | 'grantId' | 'place'>;
  signal?: AbortSignal | undefined;
}

export interface ExplainerParts {
  inferrer: Inferrer;
  datasets: DatasetReader;
}

/** Where a version came from, as far as explaining it needs to know. */
export interface Lineage {
  /** The owner of the model, whose data set it is. */
  organisationId: string;
  datasetId: string | null;
}

const instancesAtMost = 16;
const callsAtMost = 10_000;
const callsByDefault = 256;
/** A pair of passes costs 2 × features × background rows; above this an instance alone would hold up a runner. */
const featuresAtMost = 2048;
const backgroundsKept = 64;
const rowsInChunk = 128;
const chunksInFlight = 4;

interface Sources {
  background: Background;
  featureNames: readonly string[] | undefined;
}

export class Explainer {
  readonly #parts: ExplainerParts;
  /** By version: it is immutable, and so is the data set it was trained on. */
  readonly #sources = new Map<string, Sources>();

  constructor(parts: ExplainerParts) {
    this.#parts = parts;
  }

  /**
   * The background and the feature names of a version: from the data set it was trained on, or zeros and no
   * names when that is not known or no longer there. Throws INVALID_TENSOR for a model without a single score.
   */
  async sourcesOf(served: ServedVersion, lineage: Lineage): Promise<Sources> {
    const { features } = singleScoreInput(served.signature, 'an explanation');
    const kept = this.#sources.get(served.versionId);
    if (kept) return kept;
    const sources = await this.#findSources(features, lineage);
    const oldest = this.#sources.keys().next();
    if (this.#sources.size >= backgroundsKept && !oldest.done) this.#sources.delete(oldest.value);
    this.#sources.set(served.versionId, sources);
    return sources;
  }

  async #findSources(features: number, { organisationId, datasetId }: Lineage): Promise<Sources> {
    const nothing = { background: zeroBackground(features), featureNames: undefined };
    if (datasetId === null) return nothing;
    try {
      const dataset = await this.#parts.datasets.load(organisationId, datasetId);
      const names = dataset.record.features;
      return {
        background: trainingBackground(dataset, features),
        featureNames: names.length === features ? names : undefined,
      };
    } catch (error) {
      if (error instanceof CommonwattError && error.code === 'NOT_FOUND') return nothing;
      throw error;
    }
  }

  /**
   * One explanation for each instance, in order. Throws INVALID_TENSOR naming the instance and the value that is
   * wrong, INVALID_REQUEST for a budget or seed that is, and what inferring throws.
   */
  async explain(request: ExplainRequest): Promise<Explanation[]> {
    const { served, background } = request;
    const { input, features } = singleScoreInput(served.signature, 'an explanation');
    const maxCalls = wholeNumber('maxCalls', request.maxCalls ?? callsByDefault, 1, callsAtMost);
    const seed = wholeNumber('seed', request.seed ?? 42, 0, Number.MAX_SAFE_INTEGER);
    const instances = checkInstances(request.instances, features);
    const nextPart = requestParts(request.context.requestId);
    const explanations: Explanation[] = [];
    for (const instance of instances) {
      const footprints: Footprint[] = [];
      const predict = async (x: Float32Array, rows: number) => {
        const scores = await scoreRows(this.#parts.inferrer, {
          served,
          input,
          x,
          rows,
          chunkRows: rowsInChunk,
          chunksInFlight,
          context: { ...request.context, kind: 'explanation', jobId: null },
          nextPart,
          signal: request.signal,
        });
        footprints.push(...scores.footprints);
        return scores.values;
      };
      const { values, ...rest } = await permutationShap(predict, { instance, background, maxCalls, seed });
      const isProbability = [rest.prediction, rest.baseValue].every((value) => value >= 0 && value <= 1);
      explanations.push({
        attributions: Array.from(values, (value, feature) => ({
          feature: request.featureNames?.[feature] ?? `f${feature}`,
          value,
        })),
        ...rest,
        output: isProbability ? 'probability' : 'value',
        method: 'permutation_shap',
        background: background.description,
        impact: impactJson(sumFootprints(footprints)),
      });
    }
    return explanations;
  }
}

function checkInstances(instances: readonly (readonly number[])[], features: number): Float32Array[] {
  const shape = `send 1 to ${instancesAtMost} instances of ${features} numbers each`;
  if (instances.length === 0 || instances.length > instancesAtMost) {
    throw invalidTensor('instances', `there are ${instances.length} instances`, shape);
  }
  if (features > featuresAtMost) {
    throw invalidTensor(
      'instances',
      `the model has ${features} features`,
      `permutation_shap explains models of at most ${featuresAtMost} features`,
    );
  }
  return instances.map((instance, index) => {
    if (instance.length !== features) {
      throw invalidTensor(`instances[${index}]`, `instance ${index} has ${instance.length} numbers`, shape);
    }
    const row = Float32Array.from(instance);
    const wrong = row.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw invalidTensor(
        `instances[${index}][${wrong}]`,
        `value ${wrong} of instance ${index} is ${instance[wrong]}`,
        'send finite numbers within the range of FP32',
      );
    }
    return row;
  });
}

function wholeNumber(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new CommonwattError('INVALID_REQUEST', `${name} is ${value}`, {
    where: name,
    hint: `give a whole number from ${least} to ${most}`,
  });
}

function invalidTensor(where: string, message: string, hint: string): CommonwattError {
  return new CommonwattError('INVALID_TENSOR', message, { where, hint });
}
