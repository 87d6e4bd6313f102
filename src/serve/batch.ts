/** Callers' tensors laid together for one computation, and its outputs cut into each caller's own rows. */
import type { TensorParts } from '../runtimes/frames.ts';
import { elementsOf, splitRows, type Tensor } from '../runtimes/tensor.ts';
import type { Waiting } from './waiting.ts';

/** Their rows can be laid one after another. */
export function sameRowShape({ inputs }: Waiting, other: Waiting): boolean {
  for (let index = 0; index < inputs.length; index++) {
    const shape = inputs[index]?.shape;
    const otherShape = other.inputs[index]?.shape;
    if (!shape || !otherShape || shape.length !== otherShape.length) return false;
    for (let d = 1; d < shape.length; d++) if (shape[d] !== otherShape[d]) return false;
  }
  return inputs.length === other.inputs.length;
}

export function batchRows(batch: readonly Waiting[]): number {
  let rows = 0;
  for (const waiting of batch) rows += waiting.rows;
  return rows;
}

export function gather(batch: readonly Waiting[], rows: number): TensorParts[] {
  const gathered: TensorParts[] = [];
  const inputs = batch[0]?.inputs ?? [];
  for (let index = 0; index < inputs.length; index++) {
    const input = inputs[index];
    if (!input) continue;
    const { name, datatype, shape } = input;
    const parts: Tensor['data'][] = [];
    for (const waiting of batch) {
      const data = waiting.inputs[index]?.data;
      if (data) parts.push(data);
    }
    gathered.push({
      name,
      datatype,
      shape: batch.length === 1 ? shape : [rows, ...shape.slice(1)],
      parts,
    });
  }
  return gathered;
}

/** Every output has a row for each row of the batch: only then is it known whose row is whose. */
export function rowForRow(outputs: readonly Tensor[], rows: number): boolean {
  for (const { shape } of outputs) if (shape[0] !== rows) return false;
  return true;
}

/** Each caller's own rows, as views; `rowForRow` must hold. */
export function scatter(batch: readonly Waiting[], outputs: readonly Tensor[]): Tensor[][] {
  const answers: Tensor[][] = [];
  for (let index = 0; index < batch.length; index++) answers.push([]);
  for (const output of outputs) {
    const { name, datatype, shape, data } = output;
    if (datatype === 'BYTES') {
      const pieces = splitRows(
        output,
        batch.map(({ rows }) => rows),
      );
      for (const [index, piece] of pieces.entries()) answers[index]?.push(piece);
      continue;
    }
    const rowShape = shape.slice(1);
    const perRow = elementsOf(rowShape);
    let at = 0;
    for (let index = 0; index < batch.length; index++) {
      const rows = batch[index]?.rows ?? 0;
      const end = at + rows * perRow;
      answers[index]?.push({ name, datatype, shape: [rows, ...rowShape], data: data.subarray(at, end) });
      at = end;
    }
  }
  return answers;
}
