/** One unary gRPC call below Connect: it is answered or refused once, and cancels what is computed for it when its caller leaves. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { CommonwattError } from '../../errors.ts';
import type { InferCall } from '../../serve/serve.ts';
import { deadlinePassed, type GrpcLog, hangUpAfterwards, refusalOf, refuse } from './grpc-errors.ts';

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
/** The longest that a timer of node can run. */
const longestTimerMs = 0x7fffffff;
const succeeded = { 'grpc-status': '0' };

export class Exchange {
  readonly requestId: string;
  /** When the caller stops waiting, as `performance.now()`. */
  readonly deadlineAtMs: number | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #log: GrpcLog;
  readonly #timer: NodeJS.Timeout | undefined;
  #call: InferCall | undefined;
  #over = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, requestId: string, log: GrpcLog) {
    this.#stream = stream;
    this.requestId = requestId;
    this.#log = log;
    stream.on('close', () => this.#end());
    const timeoutMs = timeoutOf(headers['grpc-timeout']);
    if (timeoutMs === undefined) return;
    this.deadlineAtMs = performance.now() + timeoutMs;
    this.#timer = timerFor(timeoutMs, () => this.fail(deadlinePassed()));
  }

  /** It was answered, or its caller has left. */
  get over(): boolean {
    return this.#over;
  }

  watch(call: InferCall): void {
    this.#call = call;
    if (this.#over) call.cancel();
  }

  succeed(headers: OutgoingHttpHeaders, message: Uint8Array, trailers?: OutgoingHttpHeaders): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    const stream = this.#stream;
    stream.respond(headers, { waitForTrailers: true });
    const last = trailers ? { ...succeeded, ...trailers } : succeeded;
    stream.on('wantTrailers', () => stream.sendTrailers(last));
    stream.end(message);
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#end();
    hangUpAfterwards(this.#stream);
    refuse(this.#stream, refusalOf(error, this.requestId, this.#log));
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#call?.cancel();
  }
}

export function timerFor(timeoutMs: number, passed: () => void): NodeJS.Timeout {
  return setTimeout(passed, Math.min(timeoutMs, longestTimerMs));
}

/** The `grpc-timeout` of a call in ms; undefined: the caller waits. Throws INVALID_REQUEST. */
export function timeoutOf(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  const factor = unitMs[unit ?? ''];
  if (digits === undefined || factor === undefined)
    throw new CommonwattError(
      'INVALID_REQUEST',
      'grpc-timeout is not up to 8 digits and one of H, M, S, m, u, n',
    );
  return Number(digits) * factor;
}
