/** The gRPC door of the running product, through the client that Triton's users have. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runPython } from '../python.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

let server: ExampleServer;
beforeAll(async () => {
  server = await startExampleServer();
});
afterAll(() => server?.stop({ keep: false }));

const script = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../python/${name}`, import.meta.url)), 'utf8');

const rows = [0, 1, 2].map((row) => exampleRow().map((value, column) => (column % 3 === row ? 0 : value)));
let expected: number[] = [];
beforeAll(async () => {
  const { example, baseUrl } = server;
  const rest = await fetch(`${baseUrl}/v2/models/${encodeURIComponent(example.model)}/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${example.consumer.apiKey}` },
    body: JSON.stringify({
      inputs: [{ name: 'input', shape: [3, 100], datatype: 'FP32', data: rows.flat() }],
    }),
  });
  expected = ((await rest.json()) as { outputs: { data: number[] }[] }).outputs[0]?.data ?? [];
  expect(expected).toHaveLength(3);
});

/** What a client got for rows, from the one with this index on, is what REST gave. */
function near(output: number[], from = 0, count = 3) {
  expect(output).toHaveLength(count);
  output.forEach((value, row) => {
    expect(Math.abs(value - (expected[from + row] ?? Number.NaN))).toBeLessThan(1e-6);
  });
}

function hear(name: string): unknown {
  const { example } = server;
  const keys = [example.consumer.apiKey, example.owner.apiKey];
  const args = [example.grpcAddress ?? '', example.model, ...keys];
  return JSON.parse(runPython(script(name), args, JSON.stringify(rows)));
}

interface Heard {
  live: boolean;
  ready: boolean;
  server: string;
  modelReady: boolean;
  metadata: { inputs: { name: string; datatype: string; shape: string[] }[] };
  raw: { output: number[]; version: string; id: string; energyWh: number; requestId: string };
  typed: { output: number[]; asContents: boolean; energyWh: number };
  header: string;
  refused: Record<string, string>;
}

describe('the Python client of Triton', () => {
  it('gets what REST gives, with raw bytes and with typed contents', () => {
    const heard = hear('triton.py') as Heard;
    expect(heard).toMatchObject({ live: true, ready: true, server: 'commonwatt', modelReady: true });
    expect(heard.metadata.inputs).toEqual([{ name: 'input', datatype: 'FP32', shape: ['-1', '100'] }]);
    for (const { output } of [heard.raw, heard.typed]) near(output);
    expect(heard.raw).toMatchObject({ version: '1', id: 'seven' });
    expect(heard.raw.energyWh).toBeGreaterThan(0);
    expect(heard.typed.energyWh).toBeGreaterThan(0);
    expect(heard.typed.asContents).toBe(true);
    expect(Number(heard.header)).toBe(heard.typed.energyWh);
    expect(heard.refused).toMatchObject({
      noKey: 'UNAUTHENTICATED',
      stranger: 'NOT_FOUND',
      wrongWidth: 'INVALID_ARGUMENT',
      noVersion: 'NOT_FOUND',
    });
  });

  it('streams, cancels, compresses, awaits, and asks what the extensions tell', () => {
    const heard = hear('triton_grpc.py') as HeardMore;
    const { got, errors } = heard.stream;
    expect(Object.keys(got)).toHaveLength(11);
    for (const [id, answer] of Object.entries(got)) {
      near(answer.output, Number(id) % 3, 1);
      expect(answer.final).toBe(true);
    }
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/acme\/nothing/);
    near(heard.brokenOff);
    expect(['StatusCode.CANCELLED', 'answered']).toContain(heard.cancelledFuture);
    expect(heard.aio.answers).toHaveLength(48);
    heard.aio.answers.forEach((value, index) => void near([value], index % 3, 1));
    expect(Object.keys(heard.aio.streamed)).toHaveLength(6);
    for (const [id, output] of Object.entries(heard.aio.streamed)) near(output, Number(id) % 3, 1);
    expect(['CANCELLED', 'answered']).toContain(heard.aio.cancelled);
    near(heard.compressed.gzip ?? []);
    near(heard.compressed.deflate ?? []);
    expect(heard).toMatchObject({
      config: {
        maxBatchSize: 128,
        platform: 'onnx_onnxruntime',
        input: [{ name: 'input', data_type: 'TYPE_FP32', dims: ['100'] }],
      },
      sharedMemory: 0,
      refused: {
        sharedMemory: 'UNIMPLEMENTED',
        cuda: 'UNIMPLEMENTED',
        trace: 'UNIMPLEMENTED',
        log: 'UNIMPLEMENTED',
        sequence: 'INVALID_ARGUMENT',
        inSharedMemory: 'INVALID_ARGUMENT',
        foreignStatistics: 'PERMISSION_DENIED',
        foreignUnload: 'NOT_FOUND',
      },
      unloaded: 'NOT_FOUND',
    });
    expect(heard.inferenceCount).toBeGreaterThan(0);
    expect(heard.extensions).toContain('statistics');
    expect(heard.index).toContainEqual([server.example.model.replace('--', '/'), '1', 'READY']);
    near(heard.loaded);
  });
});

describe('the Python client of KServe', () => {
  it('gets what REST gives, and loads and unloads with messages of its own', () => {
    const heard = hear('kserve_grpc.py') as HeardByKServe;
    expect(heard).toMatchObject({ live: true, ready: true, modelReady: true });
    for (const form of ['raw', 'typed'] as const) {
      near(heard.answers[form].output);
      expect(heard.answers[form]).toMatchObject({ id: 'seven', version: '1' });
    }
    expect(heard.refused).toEqual({ noKey: 'UNAUTHENTICATED', noModel: 'NOT_FOUND' });
    expect(heard).toMatchObject({ unloaded: true, loaded: true });
  });
});

interface HeardMore {
  stream: { got: Record<string, { output: number[]; final: boolean }>; errors: string[] };
  brokenOff: number[];
  cancelledFuture: string;
  aio: { answers: number[]; streamed: Record<string, number[]>; cancelled: string };
  compressed: Record<string, number[]>;
  inferenceCount: string | number;
  extensions: string[];
  index: string[][];
  loaded: number[];
}

interface HeardByKServe {
  answers: Record<'raw' | 'typed', { output: number[]; id: string; version: string }>;
  refused: Record<string, string>;
}

function exampleRow(): number[] {
  const rows: unknown = JSON.parse(readFileSync(new URL('row.json', import.meta.url), 'utf8'));
  return (rows as number[][]).flat();
}
