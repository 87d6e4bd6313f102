/** Memory for what is being received: large messages of all callers share it, so that many slow ones are no flood. */
import type { ServerResponse } from 'node:http';
import { type Readable, Transform, type TransformCallback } from 'node:stream';
import { CommonwattError } from '../../errors.ts';

/** One of the largest always has its place. */
export function bodiesBytesAtMost(largestBytes: number): number {
  return Math.max(256 * 1024 * 1024, 2 * largestBytes);
}

/** What a piece of a message costs beside its bytes. */
export const bytesPerPiece = 128;

/** Bytes of large messages that are under way, of all callers together. */
export class Budget {
  readonly #atMost: number;
  #taken = 0;

  constructor(atMost: number) {
    this.#atMost = atMost;
  }

  /** False: there is no room for them now. */
  take(bytes: number): boolean {
    if (this.#taken + bytes > this.#atMost) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }

  get taken(): number {
    return this.#taken;
  }
}

export function tooBusy(): CommonwattError {
  return new CommonwattError('OVERLOADED', 'too many large messages are under way', { retryAfterS: 1 });
}

/** A body whose bytes are held until `response` has left, or its caller. Fails with OVERLOADED when there is no room. */
export function budgeted(body: Readable, response: ServerResponse, budget: Budget): Readable {
  let held = 0;
  let pieces = 0;
  response.once('close', () => {
    budget.give(held);
    held = 0;
  });
  const counted = Object.assign(
    new Transform({
      transform(chunk: Buffer, _encoding, done: TransformCallback) {
        counted.receivedEncodedLength += chunk.length;
        // What comes in one piece is small, and holds nothing.
        if (++pieces === 1) done(null, chunk);
        else if (response.destroyed || !budget.take(chunk.length + bytesPerPiece)) done(tooBusy());
        else {
          held += chunk.length + bytesPerPiece;
          done(null, chunk);
        }
      },
    }),
    // What the framework compares with `content-length`.
    { receivedEncodedLength: 0 },
  );
  body.on('error', (error) => counted.destroy(error));
  return body.pipe(counted);
}
