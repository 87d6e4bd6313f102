/** Pipelines and ensembles through the real program: folders and YAML imported, deployed, asked and shared. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Commonwatt, type InferAnswer, type Version } from '@commonwatt/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Expected, makePipelines } from '../../src/runtimes/pipeline/testing/folders.ts';
import { runPython } from '../python.ts';
import { type ExampleServer, runCommand, startExampleServer } from './server.ts';

let server: ExampleServer;
let folder: string;
let expected: Expected;
const own = mkdtempSync(join(tmpdir(), 'commonwatt-pipelines-'));

beforeAll(async () => {
  [server, { folder, expected }] = await Promise.all([startExampleServer(), makePipelines()]);
  runPython(
    `
import sys, numpy as np, onnx
from onnx import helper, numpy_helper, TensorProto
def save(path, weights, **options):
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **options)
save(sys.argv[1] + "/head.onnx", np.eye(16, 2, dtype=np.float32), save_as_external_data=True, location="head.data", size_threshold=0)
save(sys.argv[1] + "/three.onnx", np.eye(3, 3, dtype=np.float32) * 2)
`,
    [own],
  );
});
afterAll(() => server?.stop({ keep: false }));

async function as<T>(apiKey: string, args: string[]): Promise<T> {
  const { code, out, err } = await runCommand([...args, '--json'], { baseUrl: server.baseUrl, apiKey });
  expect(code, `${args.join(' ')}\n${err}\n${out}`).toBe(0);
  return JSON.parse(out) as T;
}
const acme = <T>(...args: string[]) => as<T>(server.example.owner.apiKey, args);
const globex = <T>(...args: string[]) => as<T>(server.example.consumer.apiKey, args);
async function refused(apiKey: string, ...args: string[]): Promise<string> {
  const { code, err } = await runCommand(args, { baseUrl: server.baseUrl, apiKey });
  expect(code).not.toBe(0);
  return err;
}
const client = (apiKey: string) => new Commonwatt({ baseUrl: server.baseUrl, apiKey });
const rowsOf = (answer: InferAnswer, name: string) => {
  const output = answer.outputs.find((candidate) => candidate.name === name);
  const data = (output?.data ?? []) as number[];
  const width = data.length / (output?.shape[0] ?? 1);
  return Array.from({ length: output?.shape[0] ?? 0 }, (_, row) =>
    data.slice(row * width, (row + 1) * width),
  );
};
const organisation = () => server.example.model.split(/\/|--/)[0] as string;
const name = (model: string) => `${organisation()}/${model}`;

describe('a pipeline', () => {
  it('is imported from its folder, deployed and asked in words', async () => {
    const version = await acme<Version>('import', join(folder, 'wordpiece-embed'), '--name', name('words'));
    expect(version).toMatchObject({ format: 'pipeline', inputs: [{ name: 'text', datatype: 'BYTES' }] });
    await acme('deploy', `${name('words')}:1`);
    const texts = expected.texts.filter((text) => text !== '');
    const answer = await acme<InferAnswer>(
      'predict',
      name('words'),
      ...texts.flatMap((text) => ['--text', text]),
    );
    const wanted = (expected.pipelines['wordpiece-embed']?.embedding ?? []).filter(
      (_, row) => expected.texts[row] !== '',
    );
    for (const [row, values] of rowsOf(answer, 'embedding').entries())
      for (const [at, value] of values.entries())
        expect(value).toBeCloseTo(wanted[row]?.[at] ?? Number.NaN, 4);
    expect(answer.usage.impact.energyWh).toBeGreaterThan(0);
  });

  it('of images takes files as they are', async () => {
    await acme('import', join(folder, 'image-crop-3'), '--name', name('images'));
    await acme('deploy', `${name('images')}:1`);
    const picture = join(folder, 'pictures', 'smooth.jpg');
    const answer = await acme<InferAnswer>('predict', name('images'), '--image', picture, '--image', picture);
    const wanted = expected.pipelines['image-crop-3']?.scores?.[5] ?? [];
    for (const values of rowsOf(answer, 'scores'))
      for (const [at, value] of values.entries()) expect(value).toBeCloseTo(wanted[at] ?? Number.NaN, 3);
    expect(
      await refused(
        server.example.owner.apiKey,
        'predict',
        name('images'),
        '--image',
        join(own, 'head.onnx'),
      ),
    ).toMatch(/neither PNG nor JPEG/);
  });

  it('is given back as it was imported', async () => {
    const out = join(own, 'back.zip');
    await acme('export', name('words'), '--format', 'original', '--out', out);
    expect(readFileSync(out).subarray(0, 2).toString()).toBe('PK');
    const onnx = await refused(
      server.example.owner.apiKey,
      'export',
      name('words'),
      '--format',
      'onnx',
      '--out',
      out,
    );
    expect(onnx).toMatch(/has no onnx form/);
  });
});

describe('an ONNX model with external data', () => {
  it('is imported with the files beside it', async () => {
    const version = await acme<Version>('import', join(own, 'head.onnx'), '--name', name('head'));
    expect(version.format).toBe('onnx');
    await acme('deploy', `${name('head')}:1`);
    const row = JSON.stringify(Array.from({ length: 16 }, (_, i) => i + 0.5));
    const answer = await acme<InferAnswer>('predict', name('head'), '--set', `x=${row}`);
    expect(rowsOf(answer, 'y')).toEqual([[0.5, 1.5]]);
  });

  it('is refused without them, and when they are links', async () => {
    const bare = join(own, 'bare');
    mkdirSync(bare);
    execFileSync('cp', [join(own, 'head.onnx'), bare]);
    expect(
      await refused(server.example.owner.apiKey, 'import', join(bare, 'head.onnx'), '--name', name('bare')),
    ).toMatch(/head.data does not exist/);
    symlinkSync('/etc/hostname', join(bare, 'head.data'));
    expect(
      await refused(server.example.owner.apiKey, 'import', join(bare, 'head.onnx'), '--name', name('bare')),
    ).toMatch(/is a link/);
    const direct = await fetch(
      `${server.baseUrl}/api/v1/models/${encodeURIComponent(name('bare'))}/versions`,
      {
        method: 'POST',
        headers: {
          authorization: `Bearer ${server.example.owner.apiKey}`,
          'content-type': 'application/octet-stream',
        },
        body: readFileSync(join(own, 'head.onnx')),
      },
    );
    expect(await direct.json()).toMatchObject({
      code: 'UNSAFE_MODEL',
      hint: expect.stringContaining('commonwatt import'),
    });
  });
});

describe('an ensemble', () => {
  const yaml = () => `# Words and what becomes of them.
ensemble: 1
steps:
  words: { model: ${name('words')}, inputs: { text: text } }
  head: { model: '${name('head')}:1', inputs: { x: words.embedding } }
outputs: { embedding: words.embedding, first: head.y }
`;
  const file = (text: string) => {
    const path = join(own, 'ensemble.yaml');
    writeFileSync(path, text);
    return path;
  };

  it('is imported, deployed and asked like a model', async () => {
    const version = await acme<Version>('import', file(yaml()), '--name', name('both'));
    expect(version).toMatchObject({
      format: 'ensemble',
      inputs: [{ name: 'text', datatype: 'BYTES', shape: [-1] }],
      outputs: [
        { name: 'embedding', shape: [-1, 16] },
        { name: 'first', shape: [-1, 2] },
      ],
    });
    await acme('deploy', `${name('both')}:1`);
    const answer = await acme<InferAnswer>(
      'predict',
      name('both'),
      '--text',
      'The quick brown fox',
      '--text',
      'energy',
    );
    const embedding = rowsOf(answer, 'embedding');
    for (const [row, values] of rowsOf(answer, 'first').entries())
      for (const [at, value] of values.entries())
        expect(value).toBeCloseTo(embedding[row]?.[at] ?? Number.NaN, 5);
  });

  it('is refused at import where it does not fit, naming the step', async () => {
    const key = server.example.owner.apiKey;
    const wrong = (text: string) => refused(key, 'import', file(text), '--name', name('wrong'));
    expect(await wrong(yaml().replace('x: words.embedding', 'x: text'))).toMatch(/steps.head.inputs.x/);
    expect(await wrong(yaml().replace(name('words'), name('nothing')))).toMatch(
      /step words: model .*nothing does not exist/,
    );
    expect(await wrong(yaml().replace(':1', ':9'))).toMatch(/step head: version 9/);
    expect(await wrong(yaml().replace('text: text', 'text: head.y'))).toMatch(/wait for each other/);
  });

  it('may be used by whom it is shared with, without a grant of its steps', async () => {
    await acme('share', name('both'), '--with', await globexName());
    const answer = await globex<InferAnswer>('predict', name('both'), '--text', 'energy');
    expect(rowsOf(answer, 'first')[0]).toHaveLength(2);
    expect(await refused(server.example.consumer.apiKey, 'predict', name('head'), '--set', 'x=[1]')).toMatch(
      /does not exist/,
    );
  });

  it('stops when its owner may not use a step any more', async () => {
    const other = client(server.example.consumer.apiKey);
    const three = `${await globexName()}/three`;
    await other.versions.import(three, new Blob([readFileSync(join(own, 'three.onnx'))]));
    await other.deployments.create({ model: `${three}:1` });
    const doubled = `ensemble: 1\nsteps: { only: { model: ${three}, inputs: { x: x } } }\noutputs: { y: only.y }\n`;
    const key = server.example.owner.apiKey;
    expect(await refused(key, 'import', file(doubled), '--name', name('double'))).toMatch(
      /step only: model .* does not exist/,
    );
    const grant = await other.grants.create(three, { organisation: organisation(), permissions: ['infer'] });
    await acme('import', file(doubled), '--name', name('double'));
    await acme('deploy', `${name('double')}:1`);
    const answer = await acme<InferAnswer>('predict', name('double'), '--set', 'x=[1, 2, 3]');
    expect(rowsOf(answer, 'y')).toEqual([[2, 4, 6]]);
    await other.grants.revoke(three, grant.id);
    expect(await refused(key, 'predict', name('double'), '--set', 'x=[1, 2, 3]')).toMatch(
      /step only: the owner of this ensemble may not use its model/,
    );
  });

  async function globexName(): Promise<string> {
    return (await client(server.example.consumer.apiKey).whoami()).organisation;
  }
});
