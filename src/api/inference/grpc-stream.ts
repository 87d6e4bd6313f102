/**
 * ModelStreamInfer: many requests in one call, each answered as soon as it can be. Those with an id leave when they are
 * ready, those without in their order, since nothing else tells a caller which is which. A request that is refused is an
 * answer with an error message, and the stream goes on. What is under way on one stream is bounded: beyond that nothing
 * more is read, as when the caller does not read its answers.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { CommonwattError } from '../../errors.ts';
import type { Principal } from '../../gate/gate.ts';
import type { InferCall } from '../../serve/serve.ts';
import { traceOf } from '../traced.ts';
import { tooBusy } from './budget.ts';
import {
  deadlinePassed,
  hangUpAfterwards,
  percentEncoded,
  refusalOf,
  requestIdHeader,
} from './grpc-errors.ts';
import { timeoutOf, timerFor } from './grpc-exchange.ts';
import { text } from './grpc-footprint.ts';
import { decodeInferRequest, framed, infer } from './grpc-infer.ts';
import { FrameReader, unwrap } from './grpc-receive.ts';
import { type InferDoor, mayReuse, wishesOf } from './grpc-unary.ts';
import { type ModelInferResponse, ModelStreamInferResponseSchema } from './proto/open_inference_grpc_pb.ts';

/** Requests of one stream that are computed at a time. */
const inFlightAtMost = 64;

export interface StreamOptions {
  door: InferDoor;
  stream: ServerHttp2Stream;
  headers: IncomingHttpHeaders;
  requestId: string;
  newRequestId(): string;
  /** Asked again for every request: a key may be withdrawn while a stream is open. */
  authenticate(): Principal | Promise<Principal>;
  /** The server stops: what is under way is answered, and nothing more is read. */
  stopping: AbortSignal;
}

export class InferStream {
  readonly #options: StreamOptions;
  readonly #frames: FrameReader;
  readonly #wishes: ReturnType<typeof wishesOf>;
  readonly #deadlineAtMs: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #calls = new Set<InferCall>();
  /** Settles when the last request without an id has been answered. */
  #inOrder: Promise<void> = Promise.resolve();
  #inFlight = 0;
  #bytesInFlight = 0;
  #held = 0;
  #callerEnded = false;
  #over = false;
  #trailers: Record<string, string> = { 'grpc-status': '0' };

  /** Throws what is wrong with the headers. */
  constructor(options: StreamOptions) {
    const { stream, headers, door, requestId } = options;
    this.#options = options;
    this.#frames = new FrameReader(door.house.maxBodyBytes);
    this.#wishes = wishesOf(door, headers);
    const timeoutMs = timeoutOf(headers['grpc-timeout']);
    if (timeoutMs !== undefined) {
      this.#deadlineAtMs = performance.now() + timeoutMs;
      this.#timer = timerFor(timeoutMs, () => this.#fail(deadlinePassed()));
    }
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc+proto', [requestIdHeader]: requestId },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailers));
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('end', () => {
      this.#callerEnded = true;
      this.#next();
    });
    stream.on('drain', () => this.#next());
    const stop = () => this.#next();
    options.stopping.addEventListener('abort', stop, { once: true });
    stream.on('close', () => {
      options.stopping.removeEventListener('abort', stop);
      this.#end();
    });
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    try {
      this.#frames.push(chunk);
      this.#hold();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#next();
  }

  /** Begins what there is room for, reads on or not, and ends when all is done. */
  #next(): void {
    const { stream, stopping } = this.#options;
    while (!this.#over && this.#frames.hasMessage && this.#hasRoom()) {
      const frame = this.#frames.shift();
      this.#inFlight += 1;
      this.#bytesInFlight += frame.length;
      void this.#answer(frame).finally(() => {
        this.#inFlight -= 1;
        this.#bytesInFlight -= frame.length;
        this.#hold();
        this.#next();
      });
    }
    if (this.#over) return;
    if (stopping.aborted && this.#inFlight === 0 && !this.#isDone) this.#fail(isStopping());
    if (this.#frames.hasMessage || !this.#hasRoom()) stream.pause();
    else if (stream.isPaused()) stream.resume();
    if (!this.#callerEnded || this.#inFlight > 0 || this.#frames.hasMessage) return;
    if (this.#frames.isEmpty) this.#close();
    else this.#fail(new CommonwattError('INVALID_REQUEST', 'the stream ends inside a message'));
  }

  /** Large messages of all callers share one budget. */
  #hold(): void {
    const { budget } = this.#options.door;
    const bytes = this.#over ? 0 : this.#frames.bytes + this.#bytesInFlight;
    if (bytes < this.#held) budget.give(this.#held - bytes);
    else if (!budget.take(bytes - this.#held)) throw tooBusy();
    this.#held = bytes;
  }

  get #isDone(): boolean {
    return this.#callerEnded && this.#frames.isEmpty;
  }

  #hasRoom(): boolean {
    const { stream, door, stopping } = this.#options;
    return (
      !stopping.aborted &&
      this.#inFlight < inFlightAtMost &&
      this.#bytesInFlight < door.house.maxBodyBytes &&
      !stream.writableNeedDrain
    );
  }

  /** Never rejects. */
  async #answer(frame: Buffer): Promise<void> {
    const { door, headers, newRequestId } = this.#options;
    const requestId = newRequestId();
    let release = () => {};
    let id = '';
    const before = this.#inOrder;
    this.#inOrder = new Promise((resolve) => {
      release = () => void before.then(resolve);
    });
    let call: InferCall | undefined;
    try {
      const { maxBodyBytes } = door.house;
      const message = await unwrap(frame, headers['grpc-encoding'], maxBodyBytes);
      const request = decodeInferRequest(message, maxBodyBytes);
      id = request.id;
      if (id !== '') release();
      const principal = await this.#options.authenticate();
      const { response, receipt } = await infer(door.house, request, {
        ...this.#wishes,
        requestId,
        principal,
        trace: traceOf(this.#options.stream),
        deadlineAtMs: this.#deadlineAtMs,
        reuse: mayReuse(headers),
        watch: (made) => {
          call = made;
          this.#calls.add(made);
          if (this.#over) made.cancel();
        },
      });
      // Trailers belong to the whole stream: here each answer carries its own.
      if (receipt !== undefined) response.parameters.commonwatt_receipt = text(receipt);
      if (id === '') await before;
      this.#write('', response);
    } catch (error) {
      if (id === '') await before;
      this.#refuse(error, requestId, id);
    } finally {
      if (call) this.#calls.delete(call);
      release();
    }
  }

  #refuse(error: unknown, requestId: string, id: string): void {
    if (this.#over) return;
    const refusal = refusalOf(error, requestId, this.#options.door.log);
    const isStranger = error instanceof CommonwattError && error.code === 'UNAUTHENTICATED';
    if (isStranger || this.#options.headers.triton_grpc_error === 'true') this.#fail(refusal);
    else this.#write(refusal.rawMessage, { ...emptyResponse, id });
  }

  #write(errorMessage: string, response: ModelInferResponse): void {
    if (this.#over) return;
    const inferResponse = {
      ...response,
      parameters: { ...response.parameters, triton_final_response: isFinal },
    };
    this.#options.stream.write(
      framed(ModelStreamInferResponseSchema, {
        $typeName: 'inference.ModelStreamInferResponse',
        errorMessage,
        inferResponse,
      }),
    );
  }

  /** Ends the call with a status that says why. */
  #fail(error: unknown): void {
    if (this.#over) return;
    const { requestId, door } = this.#options;
    const { code, rawMessage, metadata } = refusalOf(error, requestId, door.log);
    this.#trailers = {
      'grpc-status': String(code),
      'grpc-message': percentEncoded(rawMessage),
      ...Object.fromEntries(metadata),
    };
    this.#close();
  }

  #close(): void {
    const { stream } = this.#options;
    this.#end();
    if (stream.destroyed) return;
    hangUpAfterwards(stream);
    stream.end();
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    for (const call of this.#calls) call.cancel();
    this.#calls.clear();
    this.#hold();
  }
}

function isStopping(): CommonwattError {
  return new CommonwattError('NOT_READY', 'the server is being stopped', { retryAfterS: 1 });
}

const isFinal = {
  $typeName: 'inference.InferParameter',
  parameterChoice: { case: 'boolParam', value: true },
} as const;

const emptyResponse: ModelInferResponse = {
  $typeName: 'inference.ModelInferResponse',
  modelName: '',
  modelVersion: '',
  id: '',
  parameters: {},
  outputs: [],
  rawOutputContents: [],
};
