/**
 * What the gateway and the process that reads artifacts say to each other, one frame each way:
 *
 *   frame = u32 length of the head ‖ f64 count of bytes ‖ head (JSON) ‖ bytes        (little-endian)
 */
import type { Duplex } from 'node:stream';

const prefixBytes = 12;
/** A model with many thousand inputs has a long signature. */
const maxHeadBytes = 4 * 1024 * 1024;

export interface ImportFrame {
  head: unknown;
  bytes: Buffer;
}

/** The bytes are not copied. */
export function sendFrame(socket: Duplex, head: object, bytes: Uint8Array): void {
  const text = Buffer.from(JSON.stringify(head));
  if (text.length > maxHeadBytes) throw new RangeError(`a head of ${text.length} bytes`);
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32LE(text.length, 0);
  prefix.writeDoubleLE(bytes.length, 4);
  socket.write(Buffer.concat([prefix, text]));
  if (bytes.length > 0) socket.write(bytes);
}

/**
 * Straight into one buffer, which begins where numbers of any size may. Undefined when the peer has ended; throws when
 * it ends in between, or lies.
 */
export async function receiveFrame(socket: Duplex, maxBytes: number): Promise<ImportFrame | undefined> {
  let begun = Buffer.alloc(0);
  let frame: ImportFrame | undefined;
  let filled = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    if (!(chunk instanceof Buffer)) throw new TypeError('a socket gives bytes');
    let rest = chunk;
    if (!frame) {
      begun = Buffer.concat([begun, chunk]);
      const opened = openFrame(begun, maxBytes);
      if (!opened) continue;
      ({ frame, rest } = opened);
    }
    if (filled + rest.length > frame.bytes.length) throw new RangeError('more bytes than were announced');
    filled += rest.copy(frame.bytes, filled);
    if (filled === frame.bytes.length) return frame;
  }
  if (begun.length > 0) throw new Error('the connection ended early');
  return undefined;
}

/** Undefined while the head is not all there. */
function openFrame(begun: Buffer, maxBytes: number): { frame: ImportFrame; rest: Buffer } | undefined {
  if (begun.length < prefixBytes) return undefined;
  const headBytes = begun.readUInt32LE(0);
  const count = begun.readDoubleLE(4);
  if (headBytes > maxHeadBytes || !(count <= maxBytes)) throw new RangeError(`a frame of ${count} bytes`);
  const end = prefixBytes + headBytes;
  if (begun.length < end) return undefined;
  const head: unknown = JSON.parse(begun.toString('utf8', prefixBytes, end));
  // Of its own, not of the pool: weights are read in place, as numbers of four bytes.
  return { frame: { head, bytes: Buffer.allocUnsafeSlow(count) }, rest: begun.subarray(end) };
}
