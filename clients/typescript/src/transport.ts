/** One request to the platform: the key, the path, the body; answers checked, refusals turned into errors. */

/** Bytes to send. Blobs (for example from `openAsBlob`) and streams are not read into memory. */
export type Bytes = Blob | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

export interface ClientOptions {
  /** Where the server answers, e.g. `http://127.0.0.1:8080`. */
  baseUrl: string;
  apiKey: string;
  /** Another `fetch`, for tests and proxies. */
  fetch?: typeof globalThis.fetch;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

interface Call extends CallOptions {
  query?: Record<string, string | number | undefined>;
  json?: unknown;
  bytes?: Bytes;
  contentType?: string;
  headers?: Record<string, string>;
}

/** What the platform refused, or that it could not be reached (`status` 0, code `UNREACHABLE`). */
export class CommonwattApiError extends Error {
  override readonly name = 'CommonwattApiError';
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly hint: string | null;
  readonly requestId: string | null;

  constructor(
    problem: {
      status: number;
      code: string;
      detail: string;
      hint?: string | null;
      requestId?: string | null;
    },
    cause?: unknown,
  ) {
    super(problem.detail, cause === undefined ? {} : { cause });
    this.status = problem.status;
    this.code = problem.code;
    this.detail = problem.detail;
    this.hint = problem.hint ?? null;
    this.requestId = problem.requestId ?? null;
  }
}

export interface Transport {
  json<T>(method: string, path: string, call?: Call): Promise<T>;
  nothing(method: string, path: string, call?: Call): Promise<void>;
  bytes(method: string, path: string, call?: Call): Promise<ReadableStream<Uint8Array>>;
}

export function createTransport({ baseUrl, apiKey, fetch = globalThis.fetch }: ClientOptions): Transport {
  const root = baseUrl.replace(/\/+$/, '');

  async function send(method: string, path: string, call: Call = {}): Promise<Response> {
    const url = new URL(root + path);
    for (const [name, value] of Object.entries(call.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const headers = new Headers({
      authorization: `Bearer ${apiKey}`,
      accept: 'application/json, application/problem+json, application/octet-stream',
    });
    for (const [name, value] of Object.entries(call.headers ?? {})) headers.set(name, value);
    const init: RequestInit = { method, headers };
    if (call.signal) init.signal = call.signal;
    if (call.json !== undefined) {
      headers.set('content-type', 'application/json');
      init.body = JSON.stringify(call.json);
    } else if (call.bytes !== undefined) {
      headers.set('content-type', call.contentType ?? 'application/octet-stream');
      init.body = call.bytes;
      // A streamed body is sent while the answer is not there yet; fetch wants that said.
      init.duplex = 'half';
    }
    const response = await fetch(url, init).catch((cause: unknown) => {
      call.signal?.throwIfAborted();
      throw unreachable(root, cause);
    });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  return {
    async json<T>(method: string, path: string, call?: Call): Promise<T> {
      const response = await send(method, path, call);
      const text = await response.text().catch((cause: unknown) => {
        call?.signal?.throwIfAborted();
        throw unreachable(root, cause);
      });
      try {
        return JSON.parse(text) as T;
      } catch (cause) {
        throw new CommonwattApiError(
          {
            status: response.status,
            code: 'NOT_COMMONWATT',
            detail: `${root} answered ${method} ${path} with something that is not JSON`,
            hint: 'is this the address of a Commonwatt server?',
          },
          cause,
        );
      }
    },
    async nothing(method, path, call) {
      const response = await send(method, path, call);
      await response.body?.cancel();
    },
    async bytes(method, path, call) {
      const response = await send(method, path, call);
      return response.body ?? new Blob([]).stream();
    },
  };
}

function unreachable(root: string, cause: unknown): CommonwattApiError {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const why = inner instanceof Error ? codeOf(inner) || inner.message : String(inner);
  return new CommonwattApiError(
    {
      status: 0,
      code: 'UNREACHABLE',
      detail: `${root} cannot be reached: ${why}`,
      hint: 'start the server with `npm start`, or name another address with --url or COMMONWATT_URL',
    },
    cause,
  );
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Problem details (RFC 9457) of `/api/v1`, or `{"error": "…"}` of the Open Inference Protocol. */
async function refusal(response: Response): Promise<CommonwattApiError> {
  const text = await response.text().catch(() => '');
  const body = parseObject(text);
  const field = (name: string) => {
    const value = body?.[name];
    return typeof value === 'string' ? value : undefined;
  };
  return new CommonwattApiError({
    status: response.status,
    code: field('code') ?? `HTTP_${response.status}`,
    detail: field('detail') ?? field('error') ?? field('title') ?? `HTTP status ${response.status}`,
    hint: field('hint') ?? null,
    requestId: field('requestId') ?? response.headers.get('x-commonwatt-request-id'),
  });
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
