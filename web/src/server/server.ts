/**
 * The server as the page sees it: one function for each call, with the caller's key. Every function throws a
 * `Problem` that can be shown as it is, or an AbortError when its signal was used.
 */
import { liveEventsOf } from './live-events.ts';
import { problemOf } from './problem.ts';
import type {
  DatasetRow,
  Deployment,
  DeploymentSettings,
  Explanation,
  GridState,
  ImpactReport,
  InferAnswer,
  LiveEvent,
  Model,
  TensorSpec,
  VersionCounts,
  Whoami,
} from './shapes.ts';

export interface Server {
  whoami(signal?: AbortSignal): Promise<Whoami>;
  models(signal?: AbortSignal): Promise<Model[]>;
  deployments(signal?: AbortSignal): Promise<Deployment[]>;
  /** What the versions of one's own models have answered. */
  statistics(signal?: AbortSignal): Promise<VersionCounts[]>;
  /** Puts `organisation/model:version` into service or, when it is, back into memory. */
  serve(version: string): Promise<Deployment>;
  changeSettings(id: string, settings: Partial<DeploymentSettings>): Promise<Deployment>;
  stopServing(id: string): Promise<void>;
  grid(signal?: AbortSignal): Promise<GridState>;
  impact(signal?: AbortSignal): Promise<ImpactReport>;
  /** Live figures until the signal is used or the connection ends. */
  liveEvents(signal: AbortSignal): AsyncGenerator<LiveEvent>;
  /** One row through the model's first input, by the alias `production` or else the newest deployed version. */
  infer(flat: string, input: TensorSpec, row: readonly number[], signal?: AbortSignal): Promise<InferAnswer>;
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
  async function send<T>(
    method: 'POST' | 'PATCH',
    path: string,
    body: unknown,
    signal?: AbortSignal,
  ): Promise<T> {
    const response = await call(path, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
    return await response.json();
  }

  return {
    whoami: (signal) => get<Whoami>('/api/v1/whoami', signal),
    models: async (signal) => (await get<{ models: Model[] }>('/api/v1/models', signal)).models,
    deployments: async (signal) =>
      (await get<{ deployments: Deployment[] }>('/api/v1/deployments', signal)).deployments,
    statistics: async (signal) =>
      (await get<{ model_stats: VersionCounts[] }>('/v2/models/stats', signal)).model_stats,
    serve: (version) => send<Deployment>('POST', '/api/v1/deployments', { model: version }),
    changeSettings: (id, settings) =>
      send<Deployment>('PATCH', `/api/v1/deployments/${encodeURIComponent(id)}`, { settings }),
    stopServing: async (id) => {
      await call(`/api/v1/deployments/${encodeURIComponent(id)}`, { method: 'DELETE' });
    },
    grid: (signal) => get<GridState>('/api/v1/grid?hours=24', signal),
    impact: (signal) => get<ImpactReport>('/api/v1/impact', signal),
    async *liveEvents(signal) {
      const { body } = await call('/api/v1/events', { signal, headers: { accept: 'text/event-stream' } });
      if (body) yield* liveEventsOf(body);
    },
    infer: (flat, input, row, signal) =>
      send<InferAnswer>(
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
        `/api/v1/models/${encodeURIComponent(flat)}/explain`,
        { instances: [row], method: 'permutation_shap' },
        signal,
      );
      return explanations[0];
    },
    datasetRow: (dataset, split, row, signal) =>
      get<DatasetRow>(
        `/api/v1/datasets/${encodeURIComponent(dataset)}/rows?${new URLSearchParams({ split, row: String(row) })}`,
        signal,
      ),
  };
}
