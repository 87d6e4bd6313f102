/** A request of the Open Inference Protocol whose BYTES are raw: the binary tensor data extension. */
import type { InferRequest, InferTensor } from './shapes.ts';

export interface BinaryRequest {
  bytes: Uint8Array<ArrayBuffer>;
  headers: Record<string, string>;
}

/** Undefined: everything in it can be written as JSON. */
export function binaryRequest(request: InferRequest): BinaryRequest | undefined {
  if (!request.inputs.some(isRaw)) return undefined;
  const parts: Uint8Array[] = [];
  const inputs = request.inputs.map((input) => {
    if (!isRaw(input)) return input;
    const packed = packBytes(input.data);
    parts.push(packed);
    const { data: _, ...rest } = input;
    return { ...rest, parameters: { binary_data_size: packed.length } };
  });
  const head = new TextEncoder().encode(JSON.stringify({ ...request, inputs }));
  return {
    bytes: joined([head, ...parts]),
    headers: { 'inference-header-content-length': String(head.length) },
  };
}

function isRaw({ data }: InferTensor): boolean {
  return data.some((element) => element instanceof Uint8Array);
}

/** Each element after its length, a little-endian uint32. */
function packBytes(elements: readonly unknown[]): Uint8Array {
  return joined(
    elements.flatMap((element) => {
      const bytes = element instanceof Uint8Array ? element : new TextEncoder().encode(String(element));
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, bytes.length, true);
      return [length, bytes];
    }),
  );
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
