/** One question to a grid service: with a time-out, a limit on the size, and no word about credentials. */
import type { z } from 'zod';
import { CommonwattError } from '../../errors.ts';

export interface Question<T> {
  /** The service as people know it. */
  service: string;
  url: URL;
  headers?: Record<string, string>;
  timeoutMs: number;
  signal: AbortSignal;
  answer: z.ZodType<T>;
  /** Which environment variables hold the credentials. */
  credentials?: string;
}

const mostBytes = 8 * 1024 * 1024;

/** Throws CommonwattError: UNAUTHENTICATED, LIMIT_EXCEEDED, or NOT_READY for whatever else is wrong. */
export async function ask<T>(question: Question<T>): Promise<T> {
  const { service, url, headers, timeoutMs, signal, answer } = question;
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      headers: { accept: 'application/json', ...headers },
      // A redirection would take the credentials with it.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    text = await bounded(response);
  } catch (error) {
    if (error instanceof CommonwattError) throw error;
    throw failed(question, reasonOf(error, timeoutMs));
  }
  if (!response.ok) throw refused(question, response);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw failed(question, 'answered something that is not JSON');
  }
  const parsed = answer.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.') || 'answer';
  throw new CommonwattError(
    'NOT_READY',
    `${service} answered in another form: ${where}: ${issue?.message ?? 'not as expected'}`,
    { where: `${url.host}${url.pathname}` },
  );
}

async function bounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > mostBytes) throw new Error(`answered more than ${mostBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function refused(question: Question<unknown>, response: Response): CommonwattError {
  const { service, url, credentials } = question;
  const where = `${url.host}${url.pathname}`;
  const patience = retryAfter(response.headers.get('retry-after'), Date.now());
  if (response.status === 401 || response.status === 403) {
    return new CommonwattError('UNAUTHENTICATED', `${service} refuses the credentials (${response.status})`, {
      where,
      ...(credentials ? { hint: `check ${credentials}, and that they may read this zone` } : {}),
      ...patience,
    });
  }
  const code = response.status === 429 ? 'LIMIT_EXCEEDED' : 'NOT_READY';
  return new CommonwattError(code, `${service} answered ${response.status}`, { where, ...patience });
}

/** Seconds, or a date of HTTP. Example: `120` → 120 s. Nobody is waited for longer than a day. */
export function retryAfter(header: string | null, nowMs: number): { retryAfterS?: number } {
  if (header === null) return {};
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - nowMs) / 1000;
  return Number.isFinite(seconds) ? { retryAfterS: Math.min(86_400, Math.max(0, seconds)) } : {};
}

function failed({ service, url }: Question<unknown>, reason: string): CommonwattError {
  return new CommonwattError('NOT_READY', `${service} ${reason}`, { where: `${url.host}${url.pathname}` });
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return 'could not be asked';
  if (error.name === 'TimeoutError') return `did not answer within ${timeoutMs / 1000} s`;
  if (error.name === 'AbortError') return 'was not asked to the end';
  const cause = error.cause instanceof Error ? error.cause : error;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
  return `could not be asked: ${code}`;
}
