/**
 * The TypeScript client of Commonwatt: plain fetch, no dependencies.
 *
 *     const cw = new Commonwatt({ baseUrl: 'http://127.0.0.1:8080', apiKey });
 *     const { outputs, impact } = await cw.predict('acme/digits', [pixels]);
 */
import { binaryRequest } from './binary-request.ts';
import { type BudgetResource, budgetResource } from './budgets.ts';
import { type ConsolidationResource, consolidationResource } from './consolidation.ts';
import { type GridResource, gridResource } from './grid.ts';
import { type LedgerResource, ledgerResource } from './ledger.ts';
import { organisationResources, type PeopleResources } from './people.ts';
import { type ReceiptResource, receiptResource } from './receipts.ts';
import { type RegionResource, regionResource } from './regions.ts';
import { type ModelResources, modelResources } from './registry.ts';
import { type ReportResource, reportResource } from './reports.ts';
import { type ServerResource, serverResource } from './server.ts';
import type {
  Evaluation,
  ExplainAnswer,
  ExplainRequest,
  GateConfig,
  GroupBy,
  Impact,
  ImpactReport,
  InferAnswer,
  InferRequest,
  ModelMetadata,
  Prediction,
  SplitName,
  TensorSpec,
  WhoAmI,
} from './shapes.ts';
import { type CallOptions, type ClientOptions, createTransport, type Transport } from './transport.ts';
import { type WorkResources, workResources } from './work.ts';

export type {
  Budget,
  BudgetChange,
  BudgetPrice,
  BudgetSubjectKind,
  BudgetUnit,
  NewBudget,
} from './budgets.ts';
export type { ConsolidationState, ConsolidationStep } from './consolidation.ts';
export type { LedgerFilter, LedgerFormat, LedgerLine, LedgerPage, MeteredInterval } from './ledger.ts';
export type { RegionsQuery, RegionsState } from './regions.ts';
export type { FunctionalUnit, ImpactCard, Sci, Statement } from './reports.ts';
export type * from './shapes.ts';
export { type Bytes, type CallOptions, type ClientOptions, CommonwattApiError } from './transport.ts';
export type { JobWait } from './work.ts';

const why = "this server's answers do not carry `usage.impact` (its setting `answers.forms`)";

/** Nothing is known of it here: the ledger has it. */
const notCarried: Impact = {
  energyWh: null,
  dynamicWh: null,
  idleShareWh: null,
  carbonGCo2e: null,
  waterL: null,
  embodiedGCo2e: null,
  quality: 'assumed',
  method: 'unknown',
  methodVersion: 'unknown',
  settled: false,
  unknown: Object.fromEntries(
    ['energyWh', 'dynamicWh', 'idleShareWh', 'carbonGCo2e', 'waterL', 'embodiedGCo2e'].map((name) => [
      name,
      why,
    ]),
  ),
};

export class Commonwatt {
  readonly organisations: PeopleResources['organisations'];
  readonly members: PeopleResources['members'];
  readonly keys: PeopleResources['keys'];
  readonly models: ModelResources['models'];
  readonly versions: ModelResources['versions'];
  readonly deployments: ModelResources['deployments'];
  readonly grants: ModelResources['grants'];
  readonly datasets: WorkResources['datasets'];
  readonly jobs: WorkResources['jobs'];
  readonly budgets: BudgetResource;
  readonly grid: GridResource;
  readonly consolidation: ConsolidationResource;
  readonly regions: RegionResource;
  readonly server: ServerResource;
  readonly receipts: ReceiptResource;
  readonly ledger: LedgerResource;
  readonly reports: ReportResource;
  readonly #transport: Transport;

  constructor(options: ClientOptions) {
    this.#transport = createTransport(options);
    const people = organisationResources(this.#transport);
    this.organisations = people.organisations;
    this.members = people.members;
    this.keys = people.keys;
    const registry = modelResources(this.#transport);
    this.models = registry.models;
    this.versions = registry.versions;
    this.deployments = registry.deployments;
    this.grants = registry.grants;
    const work = workResources(this.#transport);
    this.datasets = work.datasets;
    this.jobs = work.jobs;
    this.budgets = budgetResource(this.#transport);
    this.grid = gridResource(this.#transport);
    this.regions = regionResource(this.#transport);
    this.consolidation = consolidationResource(this.#transport);
    this.server = serverResource(this.#transport);
    this.receipts = receiptResource(this.#transport);
    this.ledger = ledgerResource(this.#transport);
    this.reports = reportResource(this.#transport);
  }

  whoami(options?: CallOptions): Promise<WhoAmI> {
    return this.#transport.json('GET', '/api/v1/whoami', options);
  }

  /** Inputs and outputs of a model (of its version `production`, else the newest that is deployed). */
  metadata(model: string, options: CallOptions & { version?: number } = {}): Promise<ModelMetadata> {
    return this.#transport.json('GET', inferencePath(model, options.version), options);
  }

  /** The Open Inference Protocol as it is: tensors in, tensors out. BYTES may be text, or bytes as Uint8Array. */
  async infer(
    model: string,
    request: InferRequest,
    options: CallOptions & { version?: number } = {},
  ): Promise<InferAnswer> {
    const binary = binaryRequest(request);
    const path = `${inferencePath(model, options.version)}/infer`;
    const answer = await this.#transport.json<InferAnswer>('POST', path, {
      signal: options.signal,
      ...(binary ?? { json: request }),
    });
    return { ...answer, usage: { ...answer.usage, impact: answer.usage?.impact ?? notCarried } };
  }

  /** Rows of numbers in, rows of numbers out, for models with one input and one output; a row of an image is flat. */
  async predict(
    model: string,
    instances: number[][],
    options: CallOptions & { version?: number } = {},
  ): Promise<Prediction> {
    const { inputs, outputs } = await this.metadata(model, options);
    const input = inputs[0];
    if (!input || inputs.length > 1)
      throw new RangeError(`model ${model} has ${inputs.length} inputs: call infer() and name them`);
    if (outputs.length > 1)
      throw new RangeError(
        `model ${model} has ${outputs.length} outputs: call infer(), which gives them all`,
      );
    const answer = await this.infer(
      model,
      {
        inputs: [
          {
            name: input.name,
            datatype: input.datatype,
            shape: [instances.length, ...rowShape(input, instances[0]?.length ?? 0)],
            data: instances.flat(),
          },
        ],
      },
      options,
    );
    const data = (answer.outputs[0]?.data ?? []).map(Number);
    const width = instances.length > 0 ? data.length / instances.length : 0;
    return {
      model: answer.model_name,
      version: Number(answer.model_version),
      outputs: instances.map((_, row) => data.slice(row * width, (row + 1) * width)),
      impact: answer.usage.impact,
    };
  }

  explain(model: string, request: ExplainRequest, options?: CallOptions): Promise<ExplainAnswer> {
    return this.#transport.json('POST', `/api/v1/models/${encodeURIComponent(model)}/explain`, {
      ...options,
      json: request,
    });
  }

  /** Judges a version on a split of a data set (default: test) and applies its gate. */
  evaluate(
    model: string,
    version: number,
    request: { dataset: string; split?: SplitName; gate?: GateConfig },
    options?: CallOptions,
  ): Promise<Evaluation> {
    return this.#transport.json('POST', evaluationsPath(model, version), { ...options, json: request });
  }

  async evaluations(model: string, version: number, options?: CallOptions): Promise<Evaluation[]> {
    const answer = await this.#transport.json<{ evaluations: Evaluation[] }>(
      'GET',
      evaluationsPath(model, version),
      options,
    );
    return answer.evaluations;
  }

  /** Consumption, supply, RUR, impact per request and sharing against everyone running their own. */
  impact(
    query: { from?: string; to?: string; groupBy?: GroupBy | readonly GroupBy[] } = {},
    options?: CallOptions,
  ): Promise<ImpactReport> {
    return this.#transport.json('GET', '/api/v1/impact', {
      ...options,
      query: { from: query.from, to: query.to, group_by: query.groupBy?.toString() },
    });
  }
}

/** The shape of one row: the input's own when the numbers fill it, else as they come, for the server to judge. */
function rowShape({ shape: [, ...sizes] }: TensorSpec, numbers: number): number[] {
  const filled = sizes.every((size) => size > 0) && sizes.reduce((all, size) => all * size, 1) === numbers;
  return filled ? sizes : [numbers];
}

function inferencePath(model: string, version: number | undefined): string {
  const path = `/v2/models/${encodeURIComponent(model)}`;
  return version === undefined ? path : `${path}/versions/${version}`;
}

function evaluationsPath(model: string, version: number): string {
  return `/api/v1/models/${encodeURIComponent(model)}/versions/${version}/evaluations`;
}
