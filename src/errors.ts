/**
 * The one error class of the product. Every refusal a user can meet has a stable `code` from the catalogue
 * below, the HTTP status that goes with it, a message that says what was wrong and where, and a hint that says
 * what would be right. The doors (`api/*`, `cli/*`) translate it into their protocol's own shape.
 */
const catalogue = {
  INVALID_REQUEST: 400,
  INVALID_NAME: 400,
  INVALID_TENSOR: 400,
  INVALID_CONFIG: 400,
  INVALID_DATASET: 400,
  MALFORMED_JSON: 400,
  UNSUPPORTED_FORMAT: 400,
  UNSUPPORTED_LAYER: 400,
  UNSAFE_MODEL: 400,
  CORRUPT_MODEL: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  MODEL_NOT_FOUND: 404,
  VERSION_NOT_FOUND: 404,
  CONFLICT: 409,
  GATE_NOT_PASSED: 409,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  POISONED: 422,
  LIMIT_EXCEEDED: 429,
  CANCELLED: 499,
  INTERNAL: 500,
  NOT_SUPPORTED: 501,
  STORE_FAILED: 503,
  NOT_READY: 503,
  RUNNER_FAILED: 503,
  OVERLOADED: 503,
  QUARANTINED: 503,
  DEADLINE_EXCEEDED: 504,
} as const;

export type ErrorCode = keyof typeof catalogue;

/** For errors that come from another process. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(catalogue, text);
}

export interface ErrorDetails {
  /** What would be right; one sentence a user can act on. */
  hint?: string;
  /** Where it was wrong: a JSON path, a layer name, a file offset. */
  where?: string;
  /** Seconds after which a retry can succeed (sent as Retry-After). */
  retryAfterS?: number;
  cause?: unknown;
}

export class CommonwattError extends Error {
  override readonly name = 'CommonwattError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly hint: string | undefined;
  readonly where: string | undefined;
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.code = code;
    this.status = catalogue[code];
    this.hint = details.hint;
    this.where = details.where;
    this.retryAfterS = details.retryAfterS;
  }
}

/** The message and the hint in one line, for protocols whose error shape has a single field. */
export function describeError(error: CommonwattError): string {
  return error.hint ? `${error.message} (${error.hint})` : error.message;
}

const faults: ReadonlySet<ErrorCode> = new Set(['INTERNAL', 'STORE_FAILED', 'RUNNER_FAILED']);

/** What somebody must repair. The other refusals, as many as callers cause, are no line of the log. */
export function isFault({ code }: CommonwattError): boolean {
  return faults.has(code);
}
