/**
 * The bytes of a model while it is loaded. They leave this process's memory as soon as a runner has them: the
 * collector of garbage would let a gigabyte lie until something else happens to need memory.
 */
import { MessageChannel } from 'node:worker_threads';

/** Smaller ones lie in a pool with others, and are not worth it. */
const worthBytes = 2 ** 20;

export class ReadOnce {
  readonly #source: () => Promise<Uint8Array>;
  #read: Uint8Array[] | undefined = [];

  /** `source` gives a buffer of its own each time. */
  constructor(source: () => Promise<Uint8Array>) {
    this.#source = source;
  }

  readonly bytes = async (): Promise<Uint8Array> => {
    const bytes = await this.#source();
    this.#read?.push(bytes);
    return bytes;
  };

  /**
   * The model is loaded in so many runners. When it was read more often, a write to a runner that died may still hold
   * one of the buffers: then the collector has to see to them.
   */
  loaded(runners: number): void {
    const read = this.#read ?? [];
    this.#read = undefined;
    if (read.length === runners) for (const bytes of read) giveBack(bytes);
  }

  failed(): void {
    this.#read = undefined;
  }
}

function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (!(buffer instanceof ArrayBuffer) || byteLength < worthBytes || byteLength !== buffer.byteLength) return;
  // What was handed to a port is freed with the message that nobody reads.
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, [buffer]);
  port1.close();
  port2.close();
}
