/**
 * One quick request and its answer on node's own objects: gathers the body, lets the visit answer, writes once, and
 * cancels the call when its caller leaves. One listener a socket, not one a request.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type ErrorLog, errorAnswer } from '../problem.ts';
import { echoedRequestId } from '../request-ids.ts';
import { headerLengthHeader } from './binary.ts';
import { type Budget, bytesPerPiece, tooBusy } from './budget.ts';
import { noStore } from './call.ts';
import { compress, encodingFor } from './compression.ts';
import type { QuickRequest } from './quick-request.ts';
import type { RenderedAnswer } from './render.ts';
import { writeOnce } from './wire.ts';

/** A caller who is known, for a model that is named: answers one request. */
export interface Visit {
  answer(exchange: Exchange, body: Buffer): void;
}

/** A call under way, as far as the socket needs to know it. */
interface Cancellable {
  cancel(): void;
}

interface ExchangeOptions {
  request: QuickRequest;
  response: ServerResponse;
  requestId: string;
  log: ErrorLog;
  draining: { readonly begun: boolean };
  budget: Budget;
}

/** Calls under way of each socket: a client that pipelines has several. */
const underWay = new WeakMap<Socket, Set<Cancellable>>();

export class Exchange {
  readonly requestId: string;
  readonly request: QuickRequest;
  readonly response: ServerResponse;
  readonly #draining: { readonly begun: boolean };
  readonly #log: ErrorLog;
  readonly #calls: Set<Cancellable>;
  readonly #budget: Budget;
  #held = 0;
  #call: Cancellable | undefined;

  constructor({ request, response, requestId, log, draining, budget }: ExchangeOptions) {
    this.#budget = budget;
    this.requestId = requestId;
    this.request = request;
    this.response = response;
    this.#log = log;
    this.#draining = draining;
    this.#calls = callsOf(request.socket);
  }

  begin(visit: Visit): void {
    let body: Buffer | undefined;
    let chunks: Buffer[] | undefined;
    let refused = false;
    this.request.takeBody((chunk) => {
      if (refused) return;
      // What comes in one piece is small, and holds nothing.
      if (chunk && body && !this.#hold(chunk.length + bytesPerPiece)) {
        refused = true;
        body = chunks = undefined;
        this.fail(tooBusy());
      } else if (chunk === null)
        visit.answer(this, chunks ? Buffer.concat(chunks) : (body ?? Buffer.alloc(0)));
      else if (chunks) chunks.push(chunk);
      else if (body) chunks = [body, chunk];
      else body = chunk;
    });
  }

  /** Until the answer has left or the caller. False: there is no room now. */
  #hold(bytes: number): boolean {
    if (!this.#budget.take(bytes)) return false;
    if (this.#held === 0) this.response.once('close', () => this.#budget.give(this.#held));
    this.#held += bytes;
    return true;
  }

  /** From now on the call is cancelled when the caller leaves. */
  watch(call: Cancellable): void {
    this.#call = call;
    // Who left while it was found out whether he may is told by nothing any more.
    if (this.request.socket.destroyed) call.cancel();
    else this.#calls.add(call);
  }

  /** How long the JSON before raw bytes is, as the caller says. */
  get headerLength(): string | string[] | undefined {
    return this.request.headers[headerLengthHeader];
  }

  /** False: the caller wants no trace of it kept. */
  get reuse(): boolean {
    return !noStore(this.request.headers['cache-control']);
  }

  succeed({ headers, body }: RenderedAnswer): void {
    this.#forget();
    const all = [...this.#ownHeaders(), ...headers];
    const encoding = encodingFor(this.request.headers['accept-encoding'], body.length);
    if (!encoding) {
      writeOnce(this.response, all, body);
      return;
    }
    compress(body, encoding).then(
      (packed) =>
        writeOnce(this.response, [...all, 'content-encoding', encoding, 'vary', 'accept-encoding'], packed),
      (error: unknown) => this.fail(error),
    );
  }

  fail(thrown: unknown): void {
    this.#forget();
    const { headers, body, status } = errorAnswer(thrown, this.request.url ?? '', this.requestId, this.#log);
    const all = [...this.#ownHeaders(), ...Object.entries(headers).flat()];
    this.response.writeHead(status, [...all, 'content-length', String(Buffer.byteLength(body))]).end(body);
  }

  #ownHeaders(): string[] {
    if (this.#draining.begun && !this.response.headersSent) this.response.setHeader('connection', 'close');
    const own = ['x-commonwatt-request-id', this.requestId, 'x-content-type-options', 'nosniff'];
    const theirs = echoedRequestId(this.request.headers['x-request-id']);
    if (theirs !== undefined) own.push('x-request-id', theirs);
    return own;
  }

  #forget(): void {
    if (this.#call) this.#calls.delete(this.#call);
    this.#call = undefined;
  }
}

function callsOf(socket: Socket): Set<Cancellable> {
  const known = underWay.get(socket);
  if (known) return known;
  const calls = new Set<Cancellable>();
  underWay.set(socket, calls);
  socket.once('close', () => {
    for (const call of calls) call.cancel();
    calls.clear();
  });
  return calls;
}
