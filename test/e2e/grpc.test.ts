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

const script = fileURLToPath(new URL('../python/triton.py', import.meta.url));

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
  it('gets what REST gives, with raw bytes and with typed contents', async () => {
    const { example, baseUrl } = server;
    const rows = [0, 1, 2].map((row) =>
      exampleRow().map((value, column) => (column % 3 === row ? 0 : value)),
    );
    const rest = await fetch(`${baseUrl}/v2/models/${encodeURIComponent(example.model)}/infer`, {
      method: 'POST',
      headers: { authorization: `Bearer ${example.consumer.apiKey}` },
      body: JSON.stringify({
        inputs: [{ name: 'input', shape: [3, 100], datatype: 'FP32', data: rows.flat() }],
      }),
    });
    const expected = ((await rest.json()) as { outputs: { data: number[] }[] }).outputs[0]?.data ?? [];
    expect(expected).toHaveLength(3);

    const heard = JSON.parse(
      runPython(
        readFileSync(script, 'utf8'),
        [example.grpcAddress ?? '', example.model, example.consumer.apiKey],
        JSON.stringify(rows),
      ),
    ) as Heard;
    expect(heard).toMatchObject({ live: true, ready: true, server: 'commonwatt', modelReady: true });
    expect(heard.metadata.inputs).toEqual([{ name: 'input', datatype: 'FP32', shape: ['-1', '100'] }]);
    for (const { output } of [heard.raw, heard.typed]) {
      expect(output).toHaveLength(3);
      output.forEach((value, row) => {
        expect(Math.abs(value - (expected[row] ?? Number.NaN))).toBeLessThan(1e-6);
      });
    }
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
      streaming: 'UNIMPLEMENTED',
    });
  });
});

function exampleRow(): number[] {
  const rows: unknown = JSON.parse(readFileSync(new URL('row.json', import.meta.url), 'utf8'));
  return (rows as number[][]).flat();
}
