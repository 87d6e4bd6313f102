/**
 * node's request, whose body can be taken as it comes from the parser: a stream with its events costs more than reading
 * a small body. Without a taker it is the stream that everybody knows.
 */
import { IncomingMessage } from 'node:http';

export class QuickRequest extends IncomingMessage {
  #taker: ((chunk: Buffer | null) => void) | undefined;

  /** From now on each chunk goes to `taker`, and null when the body is whole; nothing more when the caller leaves. */
  takeBody(taker: (chunk: Buffer | null) => void): void {
    this.#taker = taker;
  }

  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    if (!this.#taker) return super.push(chunk, encoding);
    this.#taker(chunk);
    return true;
  }

  /** node wants what nobody read to be read; of a body that was taken nothing is left. */
  override resume(): this {
    return this.#taker ? this : super.resume();
  }
}
