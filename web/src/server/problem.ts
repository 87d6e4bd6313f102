/** What a refused or failed call says: read from RFC 9457 problem details (`/api`) or `{"error": …}` (`/v2`). */
export class Problem extends Error {
  override readonly name = 'Problem';
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  readonly hint: string | undefined;
  readonly code: string | undefined;
  readonly requestId: string | undefined;

  constructor(
    message: string,
    details: { status: number; hint?: string; code?: string; requestId?: string | undefined },
  ) {
    super(message);
    this.status = details.status;
    this.hint = details.hint;
    this.code = details.code;
    this.requestId = details.requestId;
  }
}

export async function problemOf(response: Response): Promise<Problem> {
  const requestId = response.headers.get('x-commonwatt-request-id') ?? undefined;
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim();
  const body: unknown = await response.json().catch(() => null);
  if (typeof body !== 'object' || body === null)
    return new Problem(fallback, { status: response.status, requestId });
  const text = (field: string): string | undefined => {
    const value: unknown = Reflect.get(body, field);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const hint = text('hint');
  const code = text('code');
  return new Problem(text('detail') ?? text('error') ?? text('title') ?? fallback, {
    status: response.status,
    ...(hint === undefined ? {} : { hint }),
    ...(code === undefined ? {} : { code }),
    requestId: requestId ?? text('requestId'),
  });
}

export function asProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  return new Problem('The server cannot be reached', {
    status: 0,
    hint: `Is it running? ${thrown instanceof Error ? thrown.message : String(thrown)}`,
  });
}

export function isAbort(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === 'AbortError';
}
