/**
 * Cuts a stream of chunks into frames: u32 length of what follows ‖ that much (little-endian). Feed it every chunk; it
 * calls back once for each whole frame, its length included, as a view into what was received. A frame larger than a
 * chunk is gathered in one buffer of its size, so that a model of 1 GB is in memory once and not twice.
 */

/** A frame larger than this is a fault of the other side. */
const largestFrameBytes = 0x7fffffff;
const empty = Buffer.alloc(0);

export class FrameCutter {
  readonly #onFrame: (frame: Buffer) => void;
  readonly #leastBytes: number;
  readonly #mostBytes: number;
  /** The beginning of a frame whose length is not known yet, or all that came of a frame that is. */
  #partial: Buffer = empty;
  #filled = 0;

  /** Throws a RangeError from `push` when a frame announces fewer or more bytes than it may have. */
  constructor(onFrame: (frame: Buffer) => void, leastBytes: number, mostBytes = largestFrameBytes) {
    this.#onFrame = onFrame;
    this.#leastBytes = leastBytes;
    this.#mostBytes = mostBytes;
  }

  push(chunk: Buffer): void {
    let data = chunk;
    if (this.#filled > 0) {
      data = this.#complete(data);
      if (this.#filled > 0) return;
    }
    while (data.length >= 4) {
      const length = this.#length(data);
      if (data.length < length) break;
      this.#onFrame(data.subarray(0, length));
      data = data.subarray(length);
    }
    if (data.length > 0) this.#keep(data);
  }

  /** Adds to the frame that was begun; returns what is left for the next ones. */
  #complete(chunk: Buffer): Buffer {
    let from = 0;
    if (this.#filled < 4) {
      from = chunk.copy(this.#partial, this.#filled, 0, 4 - this.#filled);
      this.#filled += from;
      if (this.#filled < 4) return empty;
      this.#grow();
    }
    const copied = chunk.copy(this.#partial, this.#filled, from);
    this.#filled += copied;
    if (this.#filled < this.#partial.length) return empty;
    const whole = this.#partial;
    this.#partial = empty;
    this.#filled = 0;
    this.#onFrame(whole);
    return chunk.subarray(from + copied);
  }

  #keep(data: Buffer) {
    this.#partial = Buffer.allocUnsafe(4);
    this.#filled = data.copy(this.#partial, 0, 0, 4);
    if (this.#filled < 4) return;
    this.#grow();
    this.#filled += data.copy(this.#partial, 4, 4);
  }

  /** Makes room for the frame whose length has been read. */
  #grow() {
    const head = this.#partial;
    this.#partial = Buffer.allocUnsafeSlow(this.#length(head));
    head.copy(this.#partial);
  }

  #length(data: Buffer): number {
    const length = data.readUInt32LE(0);
    if (length < this.#leastBytes || length > this.#mostBytes)
      throw new RangeError(`frame of ${length} bytes`);
    return 4 + length;
  }
}
