/**
 * The server as the page sees it: one function for each call, with the caller's key. Every function throws a
 * `Problem` that can be shown as it is, or an AbortError when its signal was used.
 */
import { liveEventsOf } from './live-events.ts';
import { problemOf } from './problem.ts';
import type {
  Answer,
  ApiKey,
  Budget,
  BudgetChange,
  ConsolidationState,
  DatasetRow,
  Deployment,
  DeploymentSettings,
  Explanation,
  Grant,
  GridState,
  GroupBy,
  ImpactReport,
  Job,
  LiveEvent,
  Member,
  Model,
  NewBudget,
  Organisation,
  TensorSpec,
  VersionCounts,
  WhoAmI,
} from './shapes.ts';

export interface Server {
  whoami(signal?: AbortSignal): Promise<WhoAmI>;
  models(signal?: AbortSignal): Promise<Model[]>;
  deployments(signal?: AbortSignal): Promise<Deployment[]>;
  /** What the versions of one's own models have answered. */
  statistics(signal?: AbortSignal): Promise<VersionCounts[]>;
  /** Puts `organisation/model:version` into service or, when it is, back into memory. */
  serve(version: string): Promise<Deployment>;
  changeSettings(id: string, settings: Partial<DeploymentSettings>): Promise<Deployment>;
  stopServing(id: string): Promise<void>;
  grid(signal?: AbortSignal): Promise<GridState>;
  impact(groupBy: GroupBy, signal?: AbortSignal): Promise<ImpactReport>;
  /** Live figures until the signal is used or the connection ends. */
  liveEvents(signal: AbortSignal): AsyncGenerator<LiveEvent>;
  budgets(signal?: AbortSignal): Promise<Budget[]>;
  setBudget(budget: NewBudget): Promise<Budget>;
  changeBudget(id: string, change: BudgetChange): Promise<Budget>;
  removeBudget(id: string): Promise<void>;
  /** An administrator gets all of the organisation, a member the own ones. */
  keys(signal?: AbortSignal): Promise<ApiKey[]>;
  members(signal?: AbortSignal): Promise<Member[]>;
  organisations(signal?: AbortSignal): Promise<Organisation[]>;
  /** With whom a model of one's own is shared. */
  grants(flat: string, signal?: AbortSignal): Promise<Grant[]>;
  jobs(signal?: AbortSignal): Promise<Job[]>;
  /** For the operator, as are the next two. */
  consolidation(signal?: AbortSignal): Promise<ConsolidationState>;
  consolidate(): Promise<ConsolidationState>;
  undoConsolidation(): Promise<ConsolidationState>;
  /** A file, by its address below `/api/v1`. */
  file(path: string): Promise<Blob>;
  /** One row through the model's first input, by the alias `production` or else the newest deployed version. */
  infer(flat: string, input: TensorSpec, row: readonly number[], signal?: AbortSignal): Promise<Answer>;
  explain(flat: string, row: readonly number[], signal?: AbortSignal): Promise<Explanation>;
  datasetRow(dataset: string, split: string, row: number, signal?: AbortSignal): Promise<DatasetRow>;
}

export function connect(apiKey: string): Server {
  const call = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const response = await fetch(path, {
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${apiKey}` },
      cache: 'no-store',
    });
    if (!response.ok) throw await problemOf(response);
    return response;
  };
  async function get<T>(path: string, signal: AbortSignal | undefined): Promise<T> {
    const response = await call(path, signal ? { signal } : {});
    return await response.json();
  }
  async function list<K extends string, T>(path: string, name: K, signal: AbortSignal | undefined) {
    return (await get<Record<K, T[]>>(path, signal))[name];
  }
  async function send<T>(
    method: 'POST' | 'PATCH',
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<T> {
    const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const response = await call(path, {
      method,
      ...(body === undefined ? {} : json),
      ...(signal ? { signal } : {}),
    });
    return await response.json();
  }
  const remove = async (path: string): Promise<void> => {
    await call(path, { method: 'DELETE' });
  };
  const deployment = (id: string) => `/api/v1/deployments/${encodeURIComponent(id)}`;
  const budget = (id: string) => `/api/v1/budgets/${encodeURIComponent(id)}`;
  const model = (flat: string) => `/api/v1/models/${encodeURIComponent(flat)}`;

  return {
    whoami: (signal) => get('/api/v1/whoami', signal),
    models: (signal) => list('/api/v1/models', 'models', signal),
    deployments: (signal) => list('/api/v1/deployments', 'deployments', signal),
    statistics: (signal) => list('/v2/models/stats', 'model_stats', signal),
    serve: (version) => send('POST', '/api/v1/deployments', { model: version }),
    changeSettings: (id, settings) => send('PATCH', deployment(id), { settings }),
    stopServing: (id) => remove(deployment(id)),
    grid: (signal) => get('/api/v1/grid?hours=24', signal),
    impact: (groupBy, signal) => get(`/api/v1/impact?group_by=${groupBy}`, signal),
    async *liveEvents(signal) {
      const { body } = await call('/api/v1/events', { signal, headers: { accept: 'text/event-stream' } });
      if (body) yield* liveEventsOf(body);
    },
    budgets: (signal) => list('/api/v1/budgets', 'budgets', signal),
    setBudget: (given) => send('POST', '/api/v1/budgets', given),
    changeBudget: (id, change) => send('PATCH', budget(id), change),
    removeBudget: (id) => remove(budget(id)),
    keys: (signal) => list('/api/v1/keys', 'keys', signal),
    members: (signal) => list('/api/v1/members', 'members', signal),
    organisations: (signal) => list('/api/v1/organisations', 'organisations', signal),
    grants: (flat, signal) => list(`${model(flat)}/grants`, 'grants', signal),
    jobs: (signal) => list('/api/v1/jobs', 'jobs', signal),
    consolidation: (signal) => get('/api/v1/consolidation', signal),
    consolidate: () => send('POST', '/api/v1/consolidation/perform'),
    undoConsolidation: () => send('POST', '/api/v1/consolidation/undo'),
    file: async (path) => await (await call(`/api/v1/${path}`)).blob(),
    infer: (flat, input, row, signal) =>
      send(
        'POST',
        `/v2/models/${encodeURIComponent(flat)}/infer`,
        {
          inputs: [
            { name: input.name, datatype: input.datatype, shape: [1, ...input.shape.slice(1)], data: row },
          ],
        },
        signal,
      ),
    explain: async (flat, row, signal) => {
      const { explanations } = await send<{ explanations: [Explanation] }>(
        'POST',
        `${model(flat)}/explain`,
        { instances: [row], method: 'permutation_shap' },
        signal,
      );
      return explanations[0];
    },
    datasetRow: (dataset, split, row, signal) =>
      get(
        `/api/v1/datasets/${encodeURIComponent(dataset)}/rows?${new URLSearchParams({ split, row: String(row) })}`,
        signal,
      ),
  };
}
