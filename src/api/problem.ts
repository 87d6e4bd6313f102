/**
 * Errors at the doors: whatever was thrown becomes a CommonwattError, and that becomes RFC 9457 problem details
 * (`/api`) or `{"error": …}` (`/v2`). Nothing of an unexpected error but its request id reaches the caller.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { CommonwattError, describeError, type ErrorCode, isFault } from '../errors.ts';

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().describe('stable, for programs'),
    detail: z.string().describe('what was wrong'),
    hint: z.string().optional().describe('what would be right'),
    where: z.string().optional().describe('where it was wrong, e.g. body.limit.requests'),
    requestId: z.string(),
  })
  .meta({ description: 'RFC 9457 problem details' });

type Problem = z.output<typeof problemSchema>;

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  499: 'Client Closed Request',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

function toProblem(error: CommonwattError, requestId: string): Problem {
  return {
    type: 'about:blank',
    title: titles[error.status] ?? 'Error',
    status: error.status,
    code: error.code,
    detail: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.where === undefined ? {} : { where: error.where }),
    requestId,
  };
}

/** What the framework itself refuses, in our words. */
const frameworkErrors: Readonly<Record<string, readonly [ErrorCode, string, string]>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: [
    'MALFORMED_JSON',
    'the body is not valid JSON',
    'check quotes, commas and brackets; NaN and Infinity have no JSON form',
  ],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['MALFORMED_JSON', 'the body is empty', 'send a JSON object'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'UNSUPPORTED_MEDIA_TYPE',
    'this content type is not accepted here',
    'send application/json, or application/octet-stream for model artifacts and text/csv for data sets',
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: [
    'PAYLOAD_TOO_LARGE',
    'the body is larger than this route accepts',
    'send less at once',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    'INVALID_REQUEST',
    'the body is not as long as content-length says',
    'send content-length as it is',
  ],
  FST_ERR_BAD_URL: [
    'INVALID_REQUEST',
    'the URL is not valid',
    'percent-encode names once, e.g. acme%2Fdigits',
  ],
  FST_ERR_MAX_PARAM_LENGTH: [
    'INVALID_NAME',
    'a part of the URL is too long for a name',
    'names have at most 63 characters',
  ],
};

function toCommonwattError(error: unknown): CommonwattError {
  if (error instanceof CommonwattError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) return describeValidation(error);
  const { code, statusCode, message } = framed(error);
  const known = code === undefined ? undefined : frameworkErrors[code];
  if (known) return new CommonwattError(known[0], known[1], { hint: known[2], cause: error });
  if (error instanceof SyntaxError && statusCode === 400)
    return new CommonwattError('MALFORMED_JSON', 'the body is not valid JSON', { cause: error });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new CommonwattError(statusCode === 404 ? 'NOT_FOUND' : 'INVALID_REQUEST', message, {
      cause: error,
    });
  return new CommonwattError('INTERNAL', 'something went wrong inside the server', {
    hint: 'the log of the server has the cause under this request id',
    cause: error,
  });
}

function framed(error: unknown): { code?: string; statusCode?: number; message: string } {
  if (!(error instanceof Error)) return { message: 'unknown error' };
  const { code, statusCode } = error as Partial<FastifyError>;
  return {
    message: error.message,
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof statusCode === 'number' ? { statusCode } : {}),
  };
}

const parts: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

/** The first issue in full, the others counted: one fault at a time is what people can act on. */
function describeValidation(error: {
  validation: readonly { instancePath: string; message?: string }[];
  validationContext?: string | undefined;
}): CommonwattError {
  const [first] = error.validation;
  const part = parts[error.validationContext ?? 'body'] ?? 'request';
  const where = [part, ...(first?.instancePath ?? '').split('/').filter(Boolean)].join('.');
  const others = error.validation.length - 1;
  const more = others > 0 ? ` (and ${others} more)` : '';
  return new CommonwattError('INVALID_REQUEST', `${where}: ${first?.message ?? 'not valid'}${more}`, {
    where,
    hint: 'the reference at /docs shows what this route accepts',
  });
}

/** Where errors of the server itself are told with their cause. */
export interface ErrorLog {
  error(fields: object, message: string): void;
}

export interface ErrorAnswer {
  status: number;
  /** Content type included. */
  headers: Record<string, string>;
  body: string;
}

/** An error in the shape of the protocol that the path belongs to; what is the server's own fault is logged. */
export function errorAnswer(thrown: unknown, url: string, requestId: string, log: ErrorLog): ErrorAnswer {
  const error = toCommonwattError(thrown);
  if (isFault(error)) log.error({ err: thrown, requestId }, 'request failed');
  const v2 = speaksV2(url);
  return {
    status: error.status,
    headers: {
      'content-type': v2 ? 'application/json; charset=utf-8' : 'application/problem+json',
      ...(error.retryAfterS === undefined ? {} : { 'retry-after': String(Math.ceil(error.retryAfterS)) }),
      ...(error.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      // The rest of a refused upload is not worth reading.
      ...(error.status === 413 ? { connection: 'close' } : {}),
    },
    body: JSON.stringify(v2 ? { error: describeError(error) } : toProblem(error, requestId)),
  };
}

export function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, headers, body } = errorAnswer(thrown, request.url, request.id, request.log);
  return reply.code(status).headers(headers).send(body);
}

function speaksV2(url: string): boolean {
  return /^\/v2(?:[/?]|$)/.test(url);
}
