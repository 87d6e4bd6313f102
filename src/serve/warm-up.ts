/**
 * Warm-up: a version computes zero-filled batches before it takes traffic, so that the first caller does not pay for
 * what a runtime does only once, and a version that cannot compute is found before an alias moves to it.
 * Nobody asked for it, so no tenant is booked: what it used is the platform's overhead.
 */
import { CommonwattError } from '../errors.ts';
import type { ModelSignature, TensorSpec } from '../models/models.ts';
import type { TensorParts } from '../runtimes/frames.ts';
import { bytesPerElement, elementsOf, emptyData } from '../runtimes/tensor.ts';
import type { Replica } from './runner/replica.ts';

/** For a variable dimension that is not the batch. */
const guessedDimension = 1;
const bytesAtMost = 128 * 2 ** 20;

/** Throws what the runner throws, and CORRUPT_MODEL when the model cannot take what its signature promises. */
export async function warmUp(
  replica: Pick<Replica, 'run' | 'parallelism'>,
  signature: ModelSignature,
  sizes: readonly number[],
): Promise<void> {
  const most = rowsAtMost(signature);
  for (const size of batched(signature) ? sizes : sizes.slice(0, 1)) {
    const rows = Math.min(size, most);
    // No request is as large as such a row.
    if (rows === 0) return;
    const inputs = signature.inputs.map((input) => zeros(input, rows));
    try {
      // Batches that run side by side go to different copies.
      await Promise.all(Array.from({ length: Math.max(1, replica.parallelism) }, () => replica.run(inputs)));
    } catch (cause) {
      if (!(cause instanceof CommonwattError) || cause.code !== 'INVALID_TENSOR') throw cause;
      // No text is no image, and one pixel may be too few: that zeros are refused then says nothing of the model.
      if (isGuessed(signature)) return;
      throw new CommonwattError(
        'CORRUPT_MODEL',
        `the model failed in its warm-up with ${rows} rows of zeros: ${cause.message}`,
        { hint: 'check the model; a warm-up is left out with the setting warmUpBatchSizes: []', cause },
      );
    }
  }
}

/** As many as fit into the memory that a warm-up may take in the server. */
function rowsAtMost({ inputs }: ModelSignature): number {
  const bytes = inputs.reduce((sum, { datatype, shape }) => {
    const row = shape.slice(1).map((size) => (size >= 0 ? size : guessedDimension));
    return sum + elementsOf(row) * (bytesPerElement(datatype) ?? 4);
  }, 0);
  return bytes === 0 ? Number.POSITIVE_INFINITY : Math.floor(bytesAtMost / bytes);
}

function zeros({ name, datatype, shape }: TensorSpec, rows: number): TensorParts {
  const sized = shape.map((size, index) => (size >= 0 ? size : index === 0 ? rows : guessedDimension));
  // Packed BYTES: each element is its length in four bytes, and these are empty.
  const length = elementsOf(sized) * (datatype === 'BYTES' ? 4 : 1);
  return { name, datatype, shape: sized, parts: [emptyData(datatype, length)] };
}

function batched({ inputs }: ModelSignature): boolean {
  return inputs.some(({ shape }) => shape[0] === -1);
}

function isGuessed({ inputs }: ModelSignature): boolean {
  return inputs.some(
    ({ datatype, shape }) => datatype === 'BYTES' || shape.slice(1).some((size) => size < 0),
  );
}
