/** Models, their versions, aliases, deployments and grants. */
import type {
  Deployment,
  GivenSettings,
  Grant,
  GrantRequest,
  Model,
  ModelAlternatives,
  Version,
} from './shapes.ts';
import type { Bytes, CallOptions, Transport } from './transport.ts';

export type ModelResources = ReturnType<typeof modelResources>;

export interface AliasOptions {
  /** Load and warm up the version first when it is not served. */
  deploy?: boolean;
  /** Then stop serving the version that the alias named before, unless another alias names it. */
  retire?: boolean;
}

export function modelResources(transport: Transport) {
  const path = (model: string, rest = '') => `/api/v1/models/${encodeURIComponent(model)}${rest}`;
  return {
    models: {
      /** One's own models and those of others that are shared with the caller. */
      async list(options?: CallOptions): Promise<Model[]> {
        const answer = await transport.json<{ models: Model[] }>('GET', '/api/v1/models', options);
        return answer.models;
      },
      get(model: string, options?: CallOptions): Promise<Model> {
        return transport.json('GET', path(model), options);
      },
      /** Smaller models of the same task that the caller may use; without `version`, beside what answers. */
      alternatives(
        model: string,
        options: CallOptions & { version?: number } = {},
      ): Promise<ModelAlternatives> {
        const { version, signal } = options;
        return transport.json('GET', path(model, '/alternatives'), { signal, query: { version } });
      },
      /** No request fails meanwhile. */
      setAlias(
        model: string,
        alias: string,
        version: number,
        options: CallOptions & AliasOptions = {},
      ): Promise<{ alias: string; version: number; retired: number | null }> {
        const { deploy = false, retire = false, signal } = options;
        return transport.json('PUT', path(model, `/aliases/${encodeURIComponent(alias)}`), {
          signal,
          json: { version, deploy, retire },
        });
      },
    },
    versions: {
      /** Registers an artifact as the next version; the model is made when it is new. */
      import(model: string, artifact: Bytes, options: CallOptions & { job?: string } = {}): Promise<Version> {
        return transport.json('POST', path(model, '/versions'), {
          signal: options.signal,
          query: { job: options.job },
          bytes: artifact,
        });
      },
      get(model: string, version: number, options?: CallOptions): Promise<Version> {
        return transport.json('GET', path(model, `/versions/${version}`), options);
      },
      artifact(
        model: string,
        version: number,
        format: 'h5' | 'onnx' | 'original',
        options?: CallOptions,
      ): Promise<ReadableStream<Uint8Array>> {
        return transport.bytes('GET', path(model, `/versions/${version}/artifact`), {
          ...options,
          query: { format },
        });
      },
    },
    deployments: {
      async list(options?: CallOptions): Promise<Deployment[]> {
        const answer = await transport.json<{ deployments: Deployment[] }>(
          'GET',
          '/api/v1/deployments',
          options,
        );
        return answer.deployments;
      },
      /** Answers when the version is ready. `model` names it, e.g. `acme/digits:1`. */
      create(
        request: { model: string; alias?: string; settings?: GivenSettings },
        options?: CallOptions,
      ): Promise<Deployment> {
        return transport.json('POST', '/api/v1/deployments', { ...options, json: request });
      },
      get(id: string, options?: CallOptions): Promise<Deployment> {
        return transport.json('GET', `/api/v1/deployments/${encodeURIComponent(id)}`, options);
      },
      /** Changes only the settings that are given; no request fails meanwhile. */
      change(id: string, settings: GivenSettings, options?: CallOptions): Promise<Deployment> {
        return transport.json('PATCH', `/api/v1/deployments/${encodeURIComponent(id)}`, {
          ...options,
          json: { settings },
        });
      },
      remove(id: string, options?: CallOptions): Promise<void> {
        return transport.nothing('DELETE', `/api/v1/deployments/${encodeURIComponent(id)}`, options);
      },
    },
    grants: {
      async list(model: string, options?: CallOptions): Promise<Grant[]> {
        const answer = await transport.json<{ grants: Grant[] }>('GET', path(model, '/grants'), options);
        return answer.grants;
      },
      create(model: string, request: GrantRequest, options?: CallOptions): Promise<Grant> {
        return transport.json('POST', path(model, '/grants'), { ...options, json: request });
      },
      revoke(model: string, id: string, options?: CallOptions): Promise<void> {
        return transport.nothing('DELETE', path(model, `/grants/${encodeURIComponent(id)}`), options);
      },
    },
  };
}
