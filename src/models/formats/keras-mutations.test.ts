import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import { readZip, writeZip } from '../../zip.ts';
import { inspectArtifact } from './formats.ts';
import { KerasFolder } from './testing/keras-folder.ts';

const names = ['sequential', 'branches', 'recurrent'];
/** COMMONWATT_TEST_RUNS=100000 tries more of them. */
const runs = Number(process.env.COMMONWATT_TEST_RUNS ?? 1500);

let keras: KerasFolder;
const originals: Map<string, Uint8Array>[] = [];
beforeAll(() => {
  keras = new KerasFolder('keras-few.py');
  for (const name of names) {
    const files = readZip(keras.read(name, '.keras'), { maxEntries: 10, maxBytes: 1e8 });
    originals.push(new Map([...files].map(([file, entry]) => [file, entry.read()])));
  }
}, 120_000);
afterAll(() => keras?.remove());

const refusals = ['CORRUPT_MODEL', 'UNSAFE_MODEL', 'UNSUPPORTED_LAYER', 'UNSUPPORTED_FORMAT'];
const limits = { maxParameters: 1e5, maxRowElements: 1e5, maxKerasBytes: 1e6 };

/** Either a model or a refusal that says where; anything else is a fault of ours. */
async function outcome(bytes: Buffer): Promise<string> {
  try {
    const { onnx } = await inspectArtifact(bytes, limits);
    expect(onnx.length).toBeLessThan(4e6);
    return 'model';
  } catch (error) {
    if (!(error instanceof CommonwattError)) throw error;
    expect(refusals).toContain(error.code);
    expect(error.where).toBeTruthy();
    expect(error.hint).toBeTruthy();
    return error.code;
  }
}

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  byte: fc.integer({ min: 0, max: 255 }),
});

function mutate(bytes: Uint8Array, edits: { at: number; byte: number }[], keep: number): Buffer {
  const copy = Buffer.from(bytes.subarray(0, Math.ceil(bytes.length * keep)));
  for (const { at, byte } of edits) if (copy.length > 0) copy[Math.floor(at * (copy.length - 1))] = byte;
  return copy;
}

/** A place in JSON, by a number for each level on the way. */
function replaceAt(json: unknown, path: number[], value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined || typeof json !== 'object' || json === null) return value;
  const keys = Object.keys(json);
  const key = keys[step % Math.max(1, keys.length)];
  if (key === undefined) return value;
  const changed = replaceAt(Object.entries(json).find(([k]) => k === key)?.[1], rest, value);
  if (Array.isArray(json)) return json.map((item, i) => (String(i) === key ? changed : item));
  return { ...json, [key]: changed };
}

const anything = fc.oneof(
  fc.constantFrom(
    null,
    -1,
    0,
    1,
    2,
    3,
    7,
    2 ** 31,
    2 ** 53,
    1e308,
    'relu',
    'Dense',
    'LSTM',
    'Lambda',
    'input',
    '',
    [],
    {},
    true,
  ),
  fc.jsonValue(),
);

describe('a .keras file that was changed', () => {
  it('somewhere in the archive is a model or refused', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(edit, { maxLength: 3 }),
        fc.constantFrom(1, 1, 0.99, 0.5, 0.01),
        async (n, edits, keep) => {
          await outcome(mutate(keras.read(names[n % names.length] ?? '', '.keras'), edits, keep));
        },
      ),
      { numRuns: runs / 3, seed: 1 },
    );
  });

  it('somewhere in its weights is a model or refused', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(edit, { minLength: 1, maxLength: 8 }),
        fc.constantFrom(1, 1, 1, 0.9),
        async (n, edits, keep) => {
          const files = new Map(originals[n % originals.length]);
          files.set(
            'model.weights.h5',
            mutate(files.get('model.weights.h5') ?? new Uint8Array(), edits, keep),
          );
          seen.add(await outcome(writeZip(files)));
        },
      ),
      { numRuns: runs / 3, seed: 2 },
    );
    expect([...seen]).toEqual(expect.arrayContaining(['model', 'CORRUPT_MODEL']));
  });

  it('somewhere in its configuration is a model or refused', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(fc.nat({ max: 30 }), { maxLength: 7 }),
        anything,
        async (n, path, value) => {
          const files = new Map(originals[n % originals.length]);
          const config: unknown = JSON.parse(Buffer.from(files.get('config.json') ?? []).toString());
          files.set('config.json', Buffer.from(JSON.stringify(replaceAt(config, [2, ...path], value))));
          seen.add(await outcome(writeZip(files)));
        },
      ),
      { numRuns: runs, seed: 3 },
    );
    expect([...seen]).toEqual(expect.arrayContaining(['model', ...refusals.slice(0, 3)]));
  });
});
