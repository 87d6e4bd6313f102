/**
 * What a door process and the server say to each other over a local socket: u32 length of what follows ‖ u8 kind ‖
 * fields, little-endian. All that is said in one turn of the event loop leaves in one write.
 */
import type { Duplex } from 'node:stream';
import { FrameCutter } from '../../runtimes/frame-cutter.ts';

export const kinds = {
  /** Door: may this key use this model, and what does it look like? */
  open: 1,
  opened: 2,
  refused: 3,
  /** Door: compute. */
  infer: 4,
  answer: 5,
  failed: 6,
  /** The model is no longer what the door has read the request by. */
  stale: 7,
  cancel: 8,
  /** Door: every visit is forgotten. */
  forget: 9,
} as const;

const usualBytes = 64 * 1024;

/** Gathers frames, and writes them at the end of the turn. */
export class Outbox {
  readonly #socket: Duplex;
  #buffer = Buffer.allocUnsafeSlow(usualBytes);
  #at = 0;
  #start = 0;
  /** A frame was begun and not ended: whoever wrote it threw. */
  #open = false;
  #scheduled = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** What was begun before and not ended is dropped. */
  begin(kind: number): this {
    if (this.#open) this.#at = this.#start;
    this.#open = true;
    this.#start = this.#at;
    this.#at = this.#room(5) + 4;
    return this.u8(kind);
  }

  end(): void {
    this.#open = false;
    this.#buffer.writeUInt32LE(this.#at - this.#start - 4, this.#start);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#at = this.#buffer.writeUInt8(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#at = this.#buffer.writeUInt32LE(value, at);
    return this;
  }

  f64(value: number): this {
    const at = this.#room(8);
    this.#at = this.#buffer.writeDoubleLE(value, at);
    return this;
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  bytes(value: Uint8Array): this {
    this.u32(value.byteLength);
    const at = this.#room(value.byteLength);
    this.#buffer.set(value, at);
    this.#at = at + value.byteLength;
    return this;
  }

  /** Where the next `bytes` go; the buffer has room for them. */
  #room(bytes: number): number {
    if (this.#at + bytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + bytes));
      this.#buffer.copy(larger, 0, 0, this.#at);
      this.#buffer = larger;
    }
    return this.#at;
  }

  readonly #flush = () => {
    this.#scheduled = false;
    const said = this.#buffer.subarray(0, this.#open ? this.#start : this.#at);
    this.#open = false;
    this.#at = 0;
    if (this.#socket.destroyed) return;
    this.#socket.write(said);
    // What the kernel has not taken yet is still read from the buffer.
    if (this.#socket.writableLength > 0 || this.#buffer.length > usualBytes)
      this.#buffer = Buffer.allocUnsafeSlow(usualBytes);
  };
}

/** Reads the fields of one frame, in order. Throws RangeError past its end. */
export class Fields {
  readonly #data: Buffer;
  #at = 0;

  constructor(data: Buffer) {
    this.#data = data;
  }

  u8(): number {
    this.#at += 1;
    return this.#data.readUInt8(this.#at - 1);
  }

  u32(): number {
    this.#at += 4;
    return this.#data.readUInt32LE(this.#at - 4);
  }

  f64(): number {
    this.#at += 8;
    return this.#data.readDoubleLE(this.#at - 8);
  }

  text(): string {
    return this.bytes().toString();
  }

  /** A view: whoever keeps it copies it. */
  bytes(): Buffer {
    const length = this.u32();
    const end = this.#at + length;
    if (end > this.#data.length) throw new RangeError('a field runs past the end of its frame');
    const bytes = this.#data.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }
}

/** Calls back once for each whole frame; `onBroken` once when the other side talks nonsense: nothing more is read. */
export function readFrames(
  socket: Duplex,
  onFrame: (kind: number, fields: Fields) => void,
  onBroken: (error: unknown) => void,
): void {
  const cutter = new FrameCutter((frame) => onFrame(frame.readUInt8(4), new Fields(frame.subarray(5))), 1);

  function onData(chunk: Buffer): void {
    try {
      cutter.push(chunk);
    } catch (error) {
      socket.off('data', onData);
      onBroken(error);
    }
  }
  socket.on('data', onData);
}
