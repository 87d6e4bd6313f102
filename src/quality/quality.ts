/**
 * The quality room: is a version good enough to be used, and does anybody still know?
 *
 * In: a served version, a data set, a gate. Out: an evaluation, kept: metrics with bootstrap intervals, the
 * gate's verdict rule by rule, and what evaluating cost. Promise: metrics equal scikit-learn's to 1e-9, and what
 * cannot be known is null with its reason.
 */
import type { DatasetReader, SplitName } from '../datasets/datasets.ts';
import type { Footprint } from '../energy/energy.ts';
import { type ImpactJson, impactJson, sumFootprints } from '../energy/footprint.ts';
import { CommonwattError } from '../errors.ts';
import { type AuditEvent, actorOf } from '../gate/audit.ts';
import type { Place } from '../gate/limits.ts';
import type { Inferrer, ServedVersion } from '../serve/serve.ts';
import type { Db } from '../storage/db.ts';
import { defaultGate, type GateResult, type GateRules, judge, type Measured } from './gate.ts';
import { type MetricValues, majorityClassAccuracy, measure, scoredRows } from './metrics.ts';
import { requestParts, scoreRows, singleScoreInput } from './scorer.ts';

/** `Evaluation` of docs/api.md. */
export interface Evaluation {
  id: string;
  /** `org/model` and the version's number. */
  model: string;
  version: number;
  dataset: string;
  split: SplitName;
  rows: number;
  createdAt: string;
  createdBy: string;
  passed: boolean;
  metrics: MetricValues;
  majorityClassAccuracy: number;
  gate: GateResult;
  impact: ImpactJson;
}

export interface EvaluationRequest {
  /** Who asks; the data set is one of this organisation's. */
  principal: {
    organisationId: string;
    organisation: string;
    member: string;
    memberId: string;
    keyId: string;
  };
  served: ServedVersion;
  /** `acme/digits` */
  model: string;
  /** Name or id. */
  dataset: string;
  split: SplitName;
  /** From `parseGate`; the default gate when left out. */
  gate?: GateRules | undefined;
  /** The id the door gave this request; a fresh one when left out. Also the evaluation's id. */
  requestId?: string | undefined;
  /** Under what limits hold for it. */
  place?: Place | undefined;
  /** The job that it is. */
  jobId?: string | undefined;
  /** Told what it used, before it is kept. */
  used?: ((footprint: Footprint) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface EvaluationsParts {
  db: Db;
  datasets: DatasetReader;
  inferrer: Inferrer;
  /** Unique and sortable by time. */
  newRequestId: () => string;
  /** Joins the transaction it is given. */
  audit: (db: Db, event: AuditEvent) => Promise<void>;
}

const rowsInChunk = 64;
const chunksInFlight = 4;

export class Evaluations {
  readonly #parts: EvaluationsParts;

  constructor(parts: EvaluationsParts) {
    this.#parts = parts;
  }

  /**
   * Runs the rows of the split through the shared batcher, judges the answers and keeps the result.
   * Throws NOT_FOUND (data set), INVALID_DATASET, INVALID_TENSOR (another number of features, no binary
   * classifier), and what inferring throws.
   */
  async evaluate(request: EvaluationRequest): Promise<Evaluation> {
    const { principal, served, split } = request;
    const { input, features } = singleScoreInput(served.signature, 'an evaluation');
    const dataset = await this.#parts.datasets.load(principal.organisationId, request.dataset);
    const { record } = dataset;
    if (record.features.length !== features) {
      throw new CommonwattError(
        'INVALID_TENSOR',
        `data set ${record.name} has ${record.features.length} features, ${request.model}:${served.version} takes ${features}`,
        { where: 'dataset', hint: `evaluate on a data set with ${features} features` },
      );
    }
    const indices = dataset.split[split];
    if (indices.length === 0) {
      throw new CommonwattError('INVALID_DATASET', `the ${split} split of ${record.name} has no rows`, {
        where: 'split',
        hint: 'choose another split, or import the data set with a larger share for this one',
      });
    }
    request.place?.expect(indices.length);
    const id = request.requestId ?? this.#parts.newRequestId();
    const { values, footprints } = await scoreRows(this.#parts.inferrer, {
      served,
      input,
      x: gather(dataset.x, features, indices),
      rows: indices.length,
      chunkRows: rowsInChunk,
      chunksInFlight,
      context: {
        kind: 'evaluation',
        consumer: { organisationId: principal.organisationId, organisation: principal.organisation },
        keyId: principal.keyId,
        memberId: principal.memberId,
        grantId: null,
        jobId: request.jobId ?? null,
        place: request.place,
      },
      nextPart: requestParts(id),
      signal: request.signal,
    });
    const footprint = sumFootprints(footprints);
    request.used?.(footprint);
    const labels = Float32Array.from(indices, (row) => dataset.y[row]!);
    const metrics = await measureInSlices(labels, values, request.signal);
    const measured: Measured = { metrics, majorityClassAccuracy: majorityClassAccuracy(labels) };
    const incumbent = await this.#incumbent(served, record.id, split);
    const gate = judge(request.gate ?? defaultGate, measured, incumbent);
    const evaluation: Evaluation = {
      id,
      model: request.model,
      version: served.version,
      dataset: record.name,
      split,
      rows: indices.length,
      createdAt: new Date().toISOString(),
      createdBy: principal.member,
      passed: gate.passed,
      ...measured,
      gate,
      impact: impactJson(footprint),
    };
    await this.#keep(evaluation, served, record.id, principal);
    return evaluation;
  }

  /** Newest first. */
  async list(versionId: string): Promise<Evaluation[]> {
    const rows = await this.#ofVersion(versionId).execute();
    return rows.map(({ report }) => parseReport(report));
  }

  /**
   * Whether the latest evaluation of the version passed its gate; false when there is none. Evaluations on the
   * training split do not count: a model that only remembers would pass.
   */
  async passedGate(versionId: string): Promise<boolean> {
    const latest = await this.#ofVersion(versionId).where('split', '!=', 'train').limit(1).executeTakeFirst();
    return latest?.passed === 1;
  }

  /** The evaluation of the version in production on the same split, unless that is the one being evaluated. */
  async #incumbent(served: ServedVersion, datasetId: string, split: SplitName): Promise<Measured | null> {
    const production = await this.#parts.db
      .selectFrom('aliases')
      .select('version_id')
      .where('model_id', '=', served.modelId)
      .where('name', '=', 'production')
      .executeTakeFirst();
    if (!production || production.version_id === served.versionId) return null;
    const latest = await this.#ofVersion(production.version_id)
      .where('dataset_id', '=', datasetId)
      .where('split', '=', split)
      .limit(1)
      .executeTakeFirst();
    return latest ? parseReport(latest.report) : null;
  }

  #ofVersion(versionId: string) {
    return this.#parts.db
      .selectFrom('evaluations')
      .select(['report', 'passed'])
      .where('version_id', '=', versionId)
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc');
  }

  async #keep(
    evaluation: Evaluation,
    served: ServedVersion,
    datasetId: string,
    principal: EvaluationRequest['principal'],
  ): Promise<void> {
    await this.#parts.db.transaction().execute(async (tx) => {
      await tx
        .insertInto('evaluations')
        .values({
          id: evaluation.id,
          version_id: served.versionId,
          dataset_id: datasetId,
          split: evaluation.split,
          report: JSON.stringify(evaluation),
          passed: evaluation.passed ? 1 : 0,
          created_at: evaluation.createdAt,
          created_by: evaluation.createdBy,
        })
        .execute();
      await this.#parts.audit(tx, {
        actor: actorOf(principal),
        organisationId: principal.organisationId,
        action: 'evaluation.create',
        subject: `${evaluation.model}:${evaluation.version}`,
        detail: {
          evaluation: evaluation.id,
          dataset: evaluation.dataset,
          split: evaluation.split,
          passed: evaluation.passed,
        },
      });
    });
  }
}

/** The bootstrap takes a while on large splits; requests get their turn between its slices. */
async function measureInSlices(
  labels: Float32Array,
  values: Float32Array,
  signal: AbortSignal | undefined,
): Promise<MetricValues> {
  const measuring = measure(scoredRows(labels, values));
  for (;;) {
    const slice = measuring.next();
    if (slice.done) return slice.value;
    if (signal?.aborted) throw new CommonwattError('CANCELLED', 'the caller has left');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function gather(x: Float32Array, features: number, indices: Uint32Array): Float32Array {
  const rows = new Float32Array(indices.length * features);
  indices.forEach((row, place) => {
    rows.set(x.subarray(row * features, (row + 1) * features), place * features);
  });
  return rows;
}

/** What `#keep` wrote: our own JSON, so its shape is known. */
function parseReport(report: string): Evaluation {
  return JSON.parse(report);
}
