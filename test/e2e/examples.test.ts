/** The examples of other frameworks, as their README says: made, imported, deployed, asked, and compared with themselves. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Commonwatt, type InferAnswer, type Version } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openModel } from '../../src/cli/packing.ts';
import { tensorsOf } from '../../src/cli/predict-tensors.ts';
import { runPython } from '../python.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

let server: ExampleServer;
const folder = mkdtempSync(join(tmpdir(), 'commonwatt-examples-'));
const examples = fileURLToPath(new URL('../../examples/', import.meta.url));

beforeAll(async () => {
  server = await startExampleServer();
});
afterAll(() => server?.stop({ keep: false }));

const client = () => new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });

interface Check {
  input: string;
  rows?: unknown[];
  files?: string[];
  expected: Record<string, (number | number[])[]>;
}

function make(example: string, script: string): { made: string; check: Check } {
  const made = join(folder, example);
  runPython(readFileSync(join(examples, example, script), 'utf8'), [made]);
  return { made, check: JSON.parse(readFileSync(join(made, 'check.json'), 'utf8')) as Check };
}

/** What `commonwatt import` and `deploy` do. */
async function serve(path: string, model: string): Promise<Version> {
  const version = await client().versions.import(`acme/${model}`, await openModel(path));
  await client().deployments.create({ model: `acme/${model}:1` });
  return version;
}

/** What `commonwatt predict --set` does. */
async function predict(model: string, { input, rows, files }: Check, at: string): Promise<InferAnswer> {
  const values = rows?.map((row) => (typeof row === 'string' ? row : JSON.stringify(row)));
  const given = values ?? (files ?? []).map((file) => `@${join(at, file)}`);
  const { inputs } = await client().metadata(`acme/${model}`);
  const settings = given.map((value) => `${input}=${value}`);
  return client().infer(`acme/${model}`, { inputs: tensorsOf(settings, inputs) });
}

function compare({ outputs }: InferAnswer, { expected }: Check, tolerance: number): void {
  for (const [name, wanted] of Object.entries(expected)) {
    const found = outputs.find((output) => output.name === name)?.data as number[];
    const flat = wanted.flat();
    expect(found?.length, name).toBe(flat.length);
    const furthest = Math.max(...flat.map((value, index) => Math.abs(value - (found[index] ?? Number.NaN))));
    expect(furthest, name).toBeLessThanOrEqual(tolerance);
  }
}

describe('a model of', () => {
  it.each(['scikit-learn', 'xgboost', 'lightgbm'])('%s predicts as it does there', async (example) => {
    const { made, check } = make(example, 'export.py');
    const version = await serve(join(made, 'model.onnx'), example);
    // Otherwise callers could not share batches.
    expect([...version.inputs, ...version.outputs].map(({ shape }) => shape[0])).toEqual([-1, -1, -1]);
    compare(await predict(example, check, made), check, 1e-5);
  });

  it('PyTorch predicts as it did when it was exported', async () => {
    const at = join(examples, 'pytorch');
    await serve(join(at, 'model.onnx'), 'pytorch');
    const check = JSON.parse(readFileSync(join(at, 'check.json'), 'utf8')) as Check;
    compare(await predict('pytorch', check, at), check, 1e-5);
  });

  it('scikit-learn with a list of dictionaries is refused, with the way out', async () => {
    const { made } = make('scikit-learn', 'export.py');
    const mapped = join(made, 'mapped.onnx');
    const script = readFileSync(join(examples, 'scikit-learn/export.py'), 'utf8');
    runPython(script.replace(', options={"zipmap": False}', '').replace('"model.onnx"', '"mapped.onnx"'), [
      made,
    ]);
    await expect(serve(mapped, 'mapped')).rejects.toMatchObject({
      code: 'UNSUPPORTED_FORMAT',
      detail: expect.stringMatching(/is not a tensor but a sequence/),
      hint: expect.stringContaining('"zipmap": False'),
    });
  });
});

describe('a pipeline of', () => {
  it.each([
    ['text-pipeline', 1e-5],
    ['image-pipeline', 1e-4],
  ])('the %s example answers as Python does', async (example, tolerance) => {
    const { made, check } = make(example, 'make.py');
    await serve(made, example);
    compare(await predict(example, check, made), check, tolerance);
  });
});

it('the ensemble of the example answers as its parts do in Python', async () => {
  const { made, check } = make('ensemble', 'make.py');
  await serve(join(made, 'encoder'), 'encoder');
  await serve(join(made, 'loud.onnx'), 'loud');
  await serve(join(made, 'pump.onnx'), 'pump');
  await serve(join(examples, 'ensemble/heating.yaml'), 'heating');
  compare(await predict('heating', check, made), check, 1e-5);
});
