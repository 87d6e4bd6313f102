/** The files beside an ONNX model that hold its weights ("external data"), found without reading what is not needed. */
import { type FileHandle, open } from 'node:fs/promises';

/** Field numbers of onnx.proto that lead to tensors, and what is inside. */
const inside: Record<string, Record<number, string>> = {
  model: { 7: 'graph', 25: 'function' },
  function: { 7: 'node' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  tensor: { 13: 'entry' },
};

/** Names as the model writes them. Empty for what is no ONNX model: the server says what is wrong with it. */
export async function externalFiles(path: string): Promise<string[]> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const walk = new Walk(file);
    await walk.message('model', 0, size).catch((error: unknown) => {
      if (!(error instanceof RangeError)) throw error;
    });
    return [...walk.locations];
  } finally {
    await file.close();
  }
}

class Walk {
  readonly locations = new Set<string>();
  readonly #file: FileHandle;
  readonly #window = Buffer.alloc(64 * 1024);
  #windowAt = 0;
  #windowEnd = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async message(kind: string, from: number, end: number, depth = 0): Promise<void> {
    if (depth > 60) throw new RangeError('nested too deeply');
    let at = from;
    while (at < end) {
      const [tag, afterTag] = await this.#varint(at);
      const wire = tag & 7;
      if (wire === 1 || wire === 5) {
        at = afterTag + (wire === 1 ? 8 : 4);
        continue;
      }
      const [value, afterValue] = await this.#varint(afterTag);
      if (wire === 0) {
        at = afterValue;
        continue;
      }
      if (wire !== 2 || afterValue + value > end) throw new RangeError('no ONNX model');
      const next = inside[kind]?.[tag >>> 3];
      if (next === 'entry') await this.#entry(afterValue, afterValue + value);
      else if (next) await this.message(next, afterValue, afterValue + value, depth + 1);
      at = afterValue + value;
    }
  }

  /** key (1) and value (2), both text. */
  async #entry(from: number, end: number): Promise<void> {
    const fields: string[] = [];
    for (let at = from; at < end; ) {
      const [tag, afterTag] = await this.#varint(at);
      const [length, start] = await this.#varint(afterTag);
      if ((tag & 7) !== 2 || start + length > end || length > 4096) throw new RangeError('no ONNX model');
      const text = Buffer.alloc(length);
      for (let i = 0; i < length; i++) text[i] = await this.#byte(start + i);
      fields[tag >>> 3] = text.toString();
      at = start + length;
    }
    if (fields[1] === 'location' && fields[2]) this.locations.add(fields[2]);
  }

  async #varint(from: number): Promise<[value: number, next: number]> {
    let value = 0;
    for (let at = from, scale = 1; at < from + 10; at++, scale *= 128) {
      const byte = await this.#byte(at);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return [value, at + 1];
    }
    throw new RangeError('no ONNX model');
  }

  async #byte(at: number): Promise<number> {
    if (at < this.#windowAt || at >= this.#windowEnd) {
      const { bytesRead } = await this.#file.read(this.#window, 0, this.#window.length, at);
      this.#windowAt = at;
      this.#windowEnd = at + bytesRead;
      if (bytesRead === 0) throw new RangeError('cut off');
    }
    return this.#window[at - this.#windowAt] as number;
  }
}
