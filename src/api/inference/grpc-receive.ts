/**
 * The one message of a unary call: five bytes (compressed or not, and the length), then protobuf. What is longer than
 * allowed is refused by what it says of itself, before it is here, and all bodies under way share one budget.
 */
import type { ServerHttp2Stream } from 'node:http2';
import { gunzip, inflate } from 'node:zlib';
import { CommonwattError } from '../../errors.ts';
import { type Budget, bytesPerPiece, tooBusy } from './budget.ts';

const prefixBytes = 5;

export interface Receiving {
  bytesAtMost: number;
  budget: Budget;
  /** Gets the frame of the message. */
  done(frame: Buffer): void;
  fail(error: unknown): void;
}

/** Calls `done` or `fail` once, and neither when the caller leaves before its message is complete. */
export function receive(stream: ServerHttp2Stream, receiving: Receiving): void {
  const { bytesAtMost, budget } = receiving;
  let chunks: Buffer[] | undefined = [];
  let length = 0;
  let held = 0;
  let size: number | undefined;
  const refuse = (error: CommonwattError) => {
    chunks = undefined;
    receiving.fail(error);
  };
  stream.on('data', (chunk: Buffer) => {
    if (!chunks) return;
    chunks.push(chunk);
    length += chunk.length;
    // Small messages come in one piece, and hold nothing.
    if (chunks.length > 1) {
      // Until then its tensors are in memory, too.
      if (held === 0) stream.on('close', () => budget.give(held));
      const more = length + chunks.length * bytesPerPiece - held;
      if (!budget.take(more)) return refuse(tooBusy());
      held += more;
    }
    if (size === undefined && length >= prefixBytes) size = Buffer.concat(chunks).readUInt32BE(1);
    if (length > bytesAtMost + prefixBytes || (size ?? 0) > bytesAtMost) refuse(tooLarge(bytesAtMost));
  });
  stream.on('end', () => {
    if (!chunks) return;
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    chunks = undefined;
    receiving.done(body ?? nothing);
  });
}

/** Cuts what arrives on a stream of many messages into their frames. */
export class FrameReader {
  readonly #bytesAtMost: number;
  readonly #frames: Buffer[] = [];
  #rest: Buffer = nothing;
  #restLength = 0;
  #bytes = 0;

  constructor(bytesAtMost: number) {
    this.#bytesAtMost = bytesAtMost;
  }

  get hasMessage(): boolean {
    return this.#frames.length > 0;
  }

  /** Nothing is left, not even a part of a message. */
  get isEmpty(): boolean {
    return this.#frames.length === 0 && this.#restLength === 0;
  }

  /** What is kept here. */
  get bytes(): number {
    return this.#bytes + this.#rest.length;
  }

  /** Throws for what is no frame, and for a frame that says it is too large. */
  push(chunk: Buffer): void {
    let data = this.#restLength === 0 ? chunk : this.#joined(chunk);
    while (data.length >= prefixBytes) {
      const size = data.readUInt32BE(1);
      if ((data[0] ?? 0) > 1) throw notAMessage('goes on with bytes that begin no message');
      if (size > this.#bytesAtMost) throw tooLarge(this.#bytesAtMost);
      const end = prefixBytes + size;
      if (data.length < end) break;
      this.#frames.push(data.subarray(0, end));
      this.#bytes += end;
      data = data.subarray(end);
    }
    this.#keep(data);
  }

  shift(): Buffer {
    const frame = this.#frames.shift() ?? nothing;
    this.#bytes -= frame.length;
    return frame;
  }

  #joined(chunk: Buffer): Buffer {
    const length = this.#restLength + chunk.length;
    // Grown by doubling: however small the pieces are, each byte is copied a few times at most.
    if (length > this.#rest.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#rest.length));
      this.#rest.copy(grown, 0, 0, this.#restLength);
      this.#rest = grown;
    }
    chunk.copy(this.#rest, this.#restLength);
    this.#restLength = length;
    return this.#rest.subarray(0, length);
  }

  #keep(data: Buffer): void {
    if (data.length === 0) this.#rest = nothing;
    else if (data.buffer !== this.#rest.buffer || data.byteOffset !== this.#rest.byteOffset)
      this.#rest = Buffer.from(data);
    this.#restLength = data.length;
  }
}

const nothing = Buffer.alloc(0);

/** Takes the message out of its frame. Without a promise unless it must be inflated; throws what is the caller's fault. */
export function unwrap(
  frame: Buffer,
  encoding: string | string[] | undefined,
  bytesAtMost: number,
): Uint8Array | Promise<Uint8Array> {
  const compressed = frame[0];
  if (frame.length < prefixBytes || compressed === undefined || compressed > 1)
    throw notAMessage(`has ${frame.length} bytes that begin no message`);
  const size = frame.readUInt32BE(1);
  const message = frame.subarray(prefixBytes);
  if (size !== message.length)
    throw notAMessage(`says that its message has ${size} bytes; ${message.length} came`);
  return compressed === 0 ? message : inflated(message, encoding, bytesAtMost);
}

function inflated(
  message: Buffer,
  encoding: string | string[] | undefined,
  bytesAtMost: number,
): Promise<Uint8Array> {
  const inflating = encoding === 'gzip' ? gunzip : encoding === 'deflate' ? inflate : undefined;
  if (!inflating)
    throw new CommonwattError('NOT_SUPPORTED', 'the message is compressed, but not with gzip or deflate', {
      hint: 'name the compression in grpc-encoding',
    });
  return new Promise((resolve, reject) => {
    inflating(message, { maxOutputLength: bytesAtMost }, (error: NodeJS.ErrnoException | null, plain) => {
      if (!error) resolve(plain);
      else if (error.code === 'ERR_BUFFER_TOO_LARGE') reject(tooLarge(bytesAtMost));
      else reject(notAMessage(`is not ${String(encoding)}: ${error.message}`));
    });
  });
}

function notAMessage(why: string): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', `the request ${why}`, {
    hint: 'one gRPC message goes into a unary call',
  });
}

function tooLarge(bytesAtMost: number): CommonwattError {
  return new CommonwattError('PAYLOAD_TOO_LARGE', `the message is larger than ${bytesAtMost} bytes`, {
    hint: 'send fewer rows at a time, or have the operator set COMMONWATT_MAX_BODY_BYTES',
  });
}
