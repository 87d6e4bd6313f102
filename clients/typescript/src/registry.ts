/** Models, their versions, aliases, deployments and grants. */
import type { Deployment, Grant, GrantRequest, Model, Version } from './shapes.ts';
import type { Bytes, CallOptions, Transport } from './transport.ts';

export type ModelResources = ReturnType<typeof modelResources>;

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
      setAlias(
        model: string,
        alias: string,
        version: number,
        options?: CallOptions,
      ): Promise<{ alias: string; version: number }> {
        return transport.json('PUT', path(model, `/aliases/${encodeURIComponent(alias)}`), {
          ...options,
          json: { version },
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
        format: 'h5' | 'onnx',
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
      create(request: { model: string; alias?: string }, options?: CallOptions): Promise<Deployment> {
        return transport.json('POST', '/api/v1/deployments', { ...options, json: request });
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
