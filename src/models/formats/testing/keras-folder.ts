/** Models saved by real Keras, good and hostile, in a temporary folder; see keras-models.py. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { runPython } from '../../../../test/python.ts';
import { onnxRuntime } from '../../../runtimes/onnx.ts';

const casesSchema = z.record(
  z.string(),
  z.object({ shape: z.array(z.number()), rows: z.array(z.number()), predictions: z.array(z.number()) }),
);
export type KerasCase = z.infer<typeof casesSchema>[string];

export class KerasFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'commonwatt-keras-'));
  /** Good models with rows and what Keras predicts for them. */
  readonly cases: Map<string, KerasCase>;

  constructor() {
    const script = readFileSync(new URL('./keras-models.py', import.meta.url), 'utf8');
    this.cases = new Map(Object.entries(casesSchema.parse(JSON.parse(runPython(script, [this.path])))));
  }

  read(name: string): Buffer {
    return readFileSync(join(this.path, `${name}.h5`));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Runs an ONNX model on rows of FP32, through the real runtime. */
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

/** The largest difference, relative to the size of the numbers where they are larger than one. */
export function distance(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return a.reduce((worst, x, i) => {
    const y = b[i] ?? Number.NaN;
    const difference = Math.abs(x - y) / Math.max(1, Math.abs(y));
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
  }, 0);
}
