/** Models saved by real Keras in a temporary folder, with inputs and what Keras predicts; see the scripts beside. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { runPython } from '../../../../test/python.ts';
import { onnxRuntime } from '../../../runtimes/onnx.ts';
import type { Tensor } from '../../../runtimes/tensor.ts';
import type { ModelSignature } from '../../models.ts';

const numbersSchema = z.object({
  datatype: z.enum(['FP32', 'INT32', 'INT64', 'UINT8']),
  shape: z.array(z.number()),
  data: z.base64(),
});
type Numbers = z.infer<typeof numbersSchema>;
const casesSchema = z.record(
  z.string(),
  z.object({ formats: z.array(z.string()), inputs: z.array(numbersSchema), outputs: z.array(numbersSchema) }),
);
export type KerasCase = z.infer<typeof casesSchema>[string];

type Script = 'keras-few.py' | 'keras-models.py' | 'keras-layers.py' | 'keras-random.py';

export class KerasFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'commonwatt-keras-'));
  /** Good models with inputs and what Keras predicts for them. */
  readonly cases: Map<string, KerasCase>;

  constructor(name: Script, ...args: string[]) {
    const script = ['keras-save.py', name]
      .map((file) => readFileSync(new URL(`./${file}`, import.meta.url), 'utf8'))
      .join('\n');
    this.cases = new Map(
      Object.entries(casesSchema.parse(JSON.parse(runPython(script, [this.path, ...args])))),
    );
  }

  read(name: string, end = '.h5'): Buffer {
    return readFileSync(join(this.path, `${name}${end}`));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** How far ONNX is from Keras on the inputs of a case, at worst. */
export async function distanceOf(
  onnx: Uint8Array,
  signature: ModelSignature,
  example: KerasCase,
): Promise<number> {
  const inputs = signature.inputs.map(({ name, datatype }, i): Tensor => {
    const given = example.inputs[i];
    if (!given || given.datatype !== datatype)
      throw new Error(`input ${name} is ${datatype}, not ${given?.datatype}`);
    return { name, datatype, shape: given.shape, data: numbersOf(given) };
  });
  const model = await onnxRuntime.load(onnx);
  try {
    const outputs = await model.run(inputs);
    const distances = signature.outputs.map(({ name, shape }, i) => {
      const found = outputs.find((output) => output.name === name);
      const expected = example.outputs[i];
      if (!found || !expected || found.shape.join() !== expected.shape.join() || !fits(found.shape, shape))
        throw new Error(
          `output ${name} has the shape [${found?.shape}], not [${expected?.shape}] or [${shape}]`,
        );
      return distance(
        Array.from(found.data as Float32Array),
        Array.from(numbersOf(expected) as Float32Array),
      );
    });
    return Math.max(...distances, outputs.length === example.outputs.length ? 0 : Number.POSITIVE_INFINITY);
  } finally {
    await model.release();
  }
}

function fits(shape: number[], declared: number[]): boolean {
  return shape.length === declared.length && declared.every((dim, axis) => dim === -1 || dim === shape[axis]);
}

function numbersOf({ datatype, data }: Numbers): Tensor['data'] {
  const bytes = new Uint8Array(Buffer.from(data, 'base64')).buffer;
  const arrays = { FP32: Float32Array, INT32: Int32Array, INT64: BigInt64Array, UINT8: Uint8Array };
  return new arrays[datatype](bytes);
}

/** The largest difference, relative to the size of the numbers where they are larger than one. */
export function distance(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return a.reduce((worst, x, i) => {
    const y = b[i] ?? Number.NaN;
    const difference = Math.abs(x - y) / Math.max(1, Math.abs(y));
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
  }, 0);
}

/** Runs an ONNX model with one input on rows of FP32, through the real runtime. */
export async function predict(onnx: Uint8Array, rows: number[], shape: number[]): Promise<number[]> {
  const model = await onnxRuntime.load(onnx);
  try {
    const [output] = await model.run([
      { name: 'input', datatype: 'FP32', shape, data: Float32Array.from(rows) },
    ]);
    return Array.from(output?.data ?? [], Number);
  } finally {
    await model.release();
  }
}
