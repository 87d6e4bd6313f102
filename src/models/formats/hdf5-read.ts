/**
 * The numbers of an HDF5 file. Data that is there as it is, which is how Keras writes it, is taken from the file
 * without a copy; compressed data goes through the library, in its worker.
 */
import type { H5Process, H5Tensor } from './h5-process.ts';
import type { Hdf5Group } from './hdf5-structure.ts';
import type { StoredWeight } from './keras-weights.ts';

/** Bytes of the largest data set, for the library's memory. */
export function largestDataset(root: Hdf5Group): number {
  let bytes = 0;
  const seen = new Set<Hdf5Group>();
  const open = [root];
  for (let group = open.pop(); group; group = open.pop()) {
    if (seen.has(group)) continue;
    seen.add(group);
    for (const child of group.children.values()) {
      if (child.kind === 'group') open.push(child);
      else bytes = Math.max(bytes, child.bytes);
    }
  }
  return bytes;
}

/** Weights that only the library can read. */
export function compressed(weights: readonly (StoredWeight | undefined)[]): StoredWeight[] {
  return weights.filter(
    (weight): weight is StoredWeight => weight !== undefined && weight.dataset.offset === undefined,
  );
}

export async function readCompressed(
  process: H5Process,
  weights: readonly StoredWeight[],
): Promise<Map<string, H5Tensor>> {
  if (weights.length === 0) return new Map();
  const wanted = weights.map(({ path, dataset }) => ({ path, shape: dataset.shape }));
  const tensors = await process.tensors(wanted);
  return new Map(tensors.map((tensor, i) => [wanted[i]?.path ?? '', tensor]));
}

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** A view into the file where the machine can address it, else a copy. */
export function floatsAt(bytes: Buffer, offset: number, count: number): Float32Array {
  const start = bytes.byteOffset + offset;
  if (offset + 4 * count > bytes.length) throw new Error('data beyond the end of the file');
  if (hostIsLittleEndian && start % 4 === 0) return new Float32Array(bytes.buffer, start, count);
  const copy = Buffer.from(bytes.subarray(offset, offset + 4 * count));
  if (!hostIsLittleEndian) copy.swap32();
  return new Float32Array(copy.buffer.slice(copy.byteOffset, copy.byteOffset + copy.length));
}

/** A loop, because a call for each of many millions of numbers would hold up everybody else's requests. */
export function allFinite(data: Float32Array): boolean {
  for (let i = 0; i < data.length; i++) {
    const value = data[i] ?? 0;
    // Only NaN and the infinities differ from themselves by something else than zero.
    if (value - value !== 0) return false;
  }
  return true;
}
