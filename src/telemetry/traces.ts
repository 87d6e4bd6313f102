/**
 * Traces of requests, sent over OTLP where the standard environment names an endpoint (OTEL_EXPORTER_OTLP_ENDPOINT).
 *
 * In: what the rooms say of a request's way. Out: spans. Promise: without an endpoint nothing is loaded, and a request
 * pays for no more than looking at `traces.active`.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { CommonwattError } from '../errors.ts';

type Value = string | number | boolean | readonly string[];
export type Attributes = Readonly<Record<string, Value | undefined>>;

export interface SpanOptions {
  /** `performance.now()`; now when not given. */
  startMs?: number;
  attributes?: Attributes;
  /** What it has to do with besides what it is a part of. */
  links?: readonly Span[];
}

/** A stretch of a request's way. */
export interface Span {
  /** As W3C's Trace Context writes it, for another process. */
  readonly traceparent: string;
  /** A stretch of this one. */
  child(name: string, options?: SpanOptions): Span;
  set(attributes: Attributes): void;
  /** Later ends change nothing. */
  end(endMs?: number): void;
  /** Ends as failed. */
  fail(type: string, message?: string): void;
}

/** A request as it comes to a door. */
export type Arrival = { requestId: string; headers: IncomingHttpHeaders } & (
  | { protocol: 'http'; method: string; route: string; path: string }
  /** `package.Service/Method` */
  | { protocol: 'grpc'; method: string }
);

export interface Traces {
  /** Undefined: this request is not among those that are sampled. */
  arrived(arrival: Arrival): Span | undefined;
  /** The stretch of another process that this one goes on with; undefined as above. */
  continued(traceparent: string): Span | undefined;
  /** Sends what is left. */
  stop(): Promise<void>;
}

export interface TraceLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

interface TraceOptions {
  /** Of the process: `server` or `door`. */
  role: string;
  version: string;
  log: TraceLog;
}

/** Undefined: nobody wants traces. */
export const traces: { active: Traces | undefined } = { active: undefined };

/** Where the environment wants them sent to, without what is secret in it; undefined: nowhere. */
export function wantedEndpoint(env: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): string | undefined {
  const endpoint = env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`] || env.OTEL_EXPORTER_OTLP_ENDPOINT;
  const isOff =
    env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || (env[`OTEL_${signal}_EXPORTER`] || 'otlp') !== 'otlp';
  return endpoint && !isOff ? withoutSecrets(endpoint) : undefined;
}

/** Begins to trace if the environment asks for it; what it returns ends that. */
export async function startTraces(
  env: NodeJS.ProcessEnv,
  options: TraceOptions,
): Promise<() => Promise<void>> {
  const endpoint = wantedEndpoint(env, 'TRACES');
  if (endpoint === undefined) return async () => {};
  const { openOtlp } = await import('./otlp.ts');
  const opened = await openOtlp(env, options);
  if (!opened) return async () => {};
  traces.active = opened;
  options.log.info({ endpoint }, 'traces are sent over OTLP');
  return async () => {
    if (traces.active === opened) traces.active = undefined;
    await opened.stop();
  };
}

/** The text of an unexpected error may hold what callers sent: the log alone has it, under the request's id. */
export function failed(span: Span, error: unknown): void {
  if (error instanceof CommonwattError) span.fail(error.code, error.message);
  else span.fail('INTERNAL');
}

/** What a process of ours must be given to trace as this one does. */
export function traceEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('OTEL_')));
}

function withoutSecrets(endpoint: string): string {
  if (!URL.canParse(endpoint)) return 'no valid URL';
  const { protocol, host, pathname } = new URL(endpoint);
  return `${protocol}//${host}${pathname}`;
}
