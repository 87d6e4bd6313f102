/** Pipelines against Python: tokens by Hugging Face's tokenizers, models by NumPy, images by Pillow. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { inspectArtifact } from '../models/formats/formats.ts';
import {
  bundleOf,
  bytesTensor,
  type Expected,
  loadPipeline,
  makePipelines,
  rowsOf,
  stringsOf,
} from './pipeline/testing/folders.ts';
import { Tokens } from './pipeline/tokens.ts';

let folder: string;
let expected: Expected;

beforeAll(() => {
  ({ folder, expected } = makePipelines());
});

const bundle = (name: string, changes?: Record<string, string | null>) =>
  bundleOf(join(folder, name), changes);
const kinds = ['wordpiece', 'bytelevel', 'unigram'];

describe('a text pipeline', () => {
  it.each([...kinds, 'wordlevel'])('%s: gives the vectors that Python gives', async (kind) => {
    const model = await loadPipeline(bundle(`${kind}-embed`));
    const [embedding] = await model.run([bytesTensor('text', expected.texts)]);
    expect(embedding).toMatchObject({
      name: 'embedding',
      datatype: 'FP32',
      shape: [expected.texts.length, 16],
    });
    close(rowsOf(embedding), expected.pipelines[`${kind}-embed`]?.embedding);
    await model.release();
  });

  it.each([...kinds, 'wordlevel'])('%s: cuts any text into the tokens that Python finds', (kind) => {
    const file = (name: string) =>
      JSON.parse(readFileSync(join(folder, `${kind}-embed`, name), 'utf8')) as object;
    const texts = expected.scrambled;
    for (const { length, one, pair } of expected.tokens[kind] ?? []) {
      const tokens = new Tokens(file('tokenizer.json'), file('tokenizer_config.json'), { maxLength: length });
      for (const [row, ids] of one.entries())
        expect(tokens.one(texts[row]!).ids, JSON.stringify(texts[row])).toEqual(ids);
      for (const [row, ids] of pair.entries())
        expect(tokens.pair(texts[row]!, texts[row + 1]!).ids, JSON.stringify(texts[row])).toEqual(ids);
    }
    expect(expected.tokens[kind]).toHaveLength(2);
  });

  it.each(kinds)('%s: finds entities where Python finds them', async (kind) => {
    const model = await loadPipeline(bundle(`${kind}-entities`));
    const [entities] = await model.run([bytesTensor('text', expected.texts)]);
    const found = stringsOf(entities).map((text) => JSON.parse(text) as Found[]);
    const wanted = expected.pipelines[`${kind}-entities`]?.entities as Found[][];
    expectEntities(found, wanted);
    for (const [row, entries] of found.entries()) {
      const characters = [...(expected.texts[row] ?? '')];
      for (const { word, start, end } of entries)
        expect(word).toBe(characters.slice(start as number, end as number).join(''));
    }
    await model.release();
  });

  it('joins the tokens of an entity', async () => {
    const model = await loadPipeline(bundle('wordpiece-entities', { 'commonwatt.yaml': null }));
    const [entities] = await model.run([bytesTensor('text', expected.texts)]);
    const wanted = (expected.pipelines['wordpiece-entities']?.entities ?? []).map((row) =>
      joinEntities(row as Entity[]),
    );
    const found = stringsOf(entities).map((text) => JSON.parse(text) as Found[]);
    expectEntities(found, wanted);
    await model.release();
  });

  it('names the class and gives every score', async () => {
    const model = await loadPipeline(bundle('wordpiece-classify'));
    const [label, score, scores] = await model.run([bytesTensor('text', expected.texts)]);
    const wanted = expected.pipelines['wordpiece-classify']?.scores ?? [];
    close(rowsOf(scores), wanted);
    const names = ['good', 'bad', 'neither'];
    expect(stringsOf(label)).toEqual(wanted.map((row) => names[row.indexOf(Math.max(...row))]));
    close(
      rowsOf(score),
      wanted.map((row) => [Math.max(...row)]),
    );
    await model.release();
  });

  it('scores pairs, the longer text cut first', async () => {
    const model = await loadPipeline(bundle('wordpiece-rerank'));
    const { pairs = [], score = [] } = expected.pipelines['wordpiece-rerank'] ?? {};
    const [scores] = await model.run([
      bytesTensor(
        'query',
        pairs.map(([query]) => query),
      ),
      bytesTensor(
        'document',
        pairs.map(([, document]) => document),
      ),
    ]);
    expect(scores?.shape).toEqual([pairs.length]);
    close(
      rowsOf(scores),
      score.map((value) => [value]),
    );
    await model.release();
  });

  it('answers a batch in any order as it answers each text alone', async () => {
    const model = await loadPipeline(bundle('wordpiece-embed'));
    const alone = new Map<string, number[]>();
    const words = expected.texts.join(' ').split(/\s+/);
    const text = fc.array(
      fc.oneof(fc.constantFrom(...words), fc.string({ unit: 'grapheme', maxLength: 8 })),
      {
        maxLength: 60,
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 12 }), async (batch) => {
        const sent = batch.map((parts) => parts.join(' '));
        const rows = rowsOf((await model.run([bytesTensor('text', sent)]))[0]);
        for (const one of sent)
          if (!alone.has(one)) alone.set(one, rowsOf((await model.run([bytesTensor('text', [one])]))[0])[0]!);
        close(
          rows,
          sent.map((one) => alone.get(one)!),
        );
      }),
      { numRuns: 150, seed: 15 },
    );
    await model.release();
  });

  it('refuses what is not UTF-8, and queries without documents', async () => {
    const model = await loadPipeline(bundle('wordpiece-embed'));
    await expect(model.run([bytesTensor('text', [Uint8Array.of(0xff, 0xfe)])])).rejects.toThrow(
      'text[0] is not valid UTF-8',
    );
    const rerank = await loadPipeline(bundle('wordpiece-rerank'));
    await expect(
      rerank.run([bytesTensor('query', ['a', 'b']), bytesTensor('document', ['c'])]),
    ).rejects.toThrow('2 queries for 1 documents');
    await Promise.all([model.release(), rerank.release()]);
  });
});

describe('an image pipeline', () => {
  const names = [
    'smooth.png',
    'noise.png',
    'alpha.png',
    'grey.png',
    'palette.png',
    'smooth.jpg',
    'noise.jpg',
    'full-colour.jpg',
    'progressive.jpg',
    'grey.jpg',
    'turned.jpg',
    'tiny.png',
  ];
  const read = (name: string) => readFileSync(join(folder, 'pictures', name));
  const ways = [0, 1, 2, 3, 4, 5].flatMap((resample) => [
    `image-stretch-${resample}`,
    `image-crop-${resample}`,
  ]);

  it.each(ways)('%s: sees what Pillow shows', async (way) => {
    const model = await loadPipeline(bundle(way));
    const [label, , scores] = await model.run([bytesTensor('image', names.map(read))]);
    close(rowsOf(scores), expected.pipelines[way]?.scores, 1e-4);
    expect(stringsOf(label)).toHaveLength(names.length);
    await model.release();
  });

  it('says which image is wrong, and goes on with the next request', async () => {
    const model = await loadPipeline(bundle('image-stretch-2'));
    const good = read('smooth.jpg');
    const cases: [Uint8Array, string][] = [
      [Buffer.from('GIF89a'), 'image[1]: it is neither PNG nor JPEG'],
      [new Uint8Array(), 'image[1]: it is neither PNG nor JPEG'],
      [read('smooth.png').subarray(0, 2000), 'image[1]: the PNG is damaged'],
      [good.subarray(0, 12), 'image[1]: the JPEG has no frame header'],
      [bombPng(), 'image[1]: it has 60000 × 60000 pixels'],
      [bombJpeg(good), 'image[1]: it has 65535 × 65535 pixels'],
    ];
    for (const [file, message] of cases) {
      await expect(model.run([bytesTensor('image', [good, file])])).rejects.toThrow(message);
      expect(rowsOf((await model.run([bytesTensor('image', [good])]))[2])[0]).toHaveLength(4);
    }
    await model.release();
  });

  it('does no worse than refuse damaged files', async () => {
    const model = await loadPipeline(bundle('image-stretch-2'));
    const files = ['smooth.jpg', 'progressive.jpg', 'palette.png', 'turned.jpg'].map(read);
    const damage = fc.tuple(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 8 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    );
    await fc.assert(
      fc.asyncProperty(damage, async ([file, changes, share]) => {
        const bytes = Buffer.from(file);
        for (const [at, byte] of changes) bytes.writeUInt8(byte, at % bytes.length);
        const cut = bytes.subarray(0, Math.ceil(bytes.length * Math.max(share, 0.05)));
        await model.run([bytesTensor('image', [cut])]).catch((error: Error) => {
          if (!error.message.startsWith('image[0]: ')) throw error;
        });
      }),
      { numRuns: 400, seed: 4 },
    );
    const [, , scores] = await model.run([bytesTensor('image', [read('smooth.jpg')])]);
    close(rowsOf(scores), [expected.pipelines['image-stretch-2']?.scores?.[5] ?? []], 1e-4);
    await model.release();
  });

  /** A header that asks for 3.6 thousand million pixels. */
  function bombPng(): Buffer {
    const png = Buffer.from(read('smooth.png'));
    png.writeUInt32BE(60_000, 16);
    png.writeUInt32BE(60_000, 20);
    return png;
  }

  function bombJpeg(good: Buffer): Buffer {
    const jpeg = Buffer.from(good);
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    jpeg.writeUInt16BE(0xffff, frame + 5);
    jpeg.writeUInt16BE(0xffff, frame + 7);
    return jpeg;
  }
});

describe('a pipeline bundle', () => {
  it('tells clients what goes in and comes out', async () => {
    const ends = async (name: string) => {
      const { format, signature } = await inspectArtifact(bundle(name));
      expect(format).toBe('pipeline');
      const show = (specs: typeof signature.inputs) =>
        specs.map((spec) => `${spec.name} ${spec.datatype} [${spec.shape}]`).join(', ');
      return `${show(signature.inputs)} → ${show(signature.outputs)}`;
    };
    expect(await ends('wordpiece-embed')).toBe('text BYTES [-1] → embedding FP32 [-1,16]');
    expect(await ends('wordpiece-entities')).toBe('text BYTES [-1] → entities BYTES [-1]');
    expect(await ends('wordpiece-rerank')).toBe('query BYTES [-1], document BYTES [-1] → score FP32 [-1]');
    const classes = 'label BYTES [-1], score FP32 [-1], scores FP32';
    expect(await ends('wordpiece-classify')).toBe(`text BYTES [-1] → ${classes} [-1,3]`);
    expect(await ends('image-crop-3')).toBe(`image BYTES [-1] → ${classes} [-1,4]`);
  });

  it.each([
    [
      'no tokenizer',
      { 'tokenizer.json': null, 'commonwatt.yaml': 'task: feature-extraction' },
      'UNSUPPORTED_FORMAT',
      /no tokenizer.json/,
    ],
    [
      'a tokenizer that is no JSON',
      { 'tokenizer.json': '{' },
      'CORRUPT_MODEL',
      /tokenizer.json cannot be used/,
    ],
    [
      'a tokenizer of another kind',
      { 'tokenizer.json': '{"model":{"type":"X"}}' },
      'CORRUPT_MODEL',
      /model.type/,
    ],
    ['a task that is none', { 'commonwatt.yaml': 'task: sing' }, 'INVALID_CONFIG', /commonwatt.yaml: task/],
    ['a field that is none', { 'commonwatt.yaml': 'tasc: x' }, 'INVALID_CONFIG', /tasc/],
    ['YAML that is none', { 'commonwatt.yaml': 'a: [' }, 'INVALID_CONFIG', /commonwatt.yaml/],
    ['an output that is none', { 'commonwatt.yaml': 'output: z' }, 'UNSUPPORTED_FORMAT', /no output "z"/],
    [
      'a task that does not fit',
      { 'commonwatt.yaml': 'task: reranking' },
      'UNSUPPORTED_FORMAT',
      /3 dimensions/,
    ],
    [
      'an unknown class',
      { 'config.json': '{"architectures":["XForCausalLM"]}' },
      'UNSUPPORTED_FORMAT',
      /XForCausalLM/,
    ],
    ['no model', { 'model.onnx': null }, 'UNSUPPORTED_FORMAT', /zip archive/],
    ['two models', { 'a/model.onnx': 'x', 'b/model.onnx': 'x' }, 'UNSUPPORTED_FORMAT', /3 ONNX models/],
  ])('with %s is refused', async (_, changes: Record<string, string | null>, code, message) => {
    await expect(inspectArtifact(bundle('wordpiece-embed', changes))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      hint: expect.any(String),
    });
  });

  it.each([
    [{ id2label: { '0': 'a' } }, {}, /names 1 classes, but the model gives 4/],
    [{}, { do_pad: true }, /do_pad/],
    [{}, { resample: 9 }, /resample 9/],
    [{}, { size: { longest_edge: 3 } }, /size/],
    [{}, { crop_size: { height: 30, width: 30 }, do_center_crop: true }, /makes 30 × 30/],
  ])('of images that does not fit is refused (%#)', async (config, preprocessor, message) => {
    const name = 'image-stretch-2';
    const merged = (file: string, changes: object) =>
      JSON.stringify({ ...JSON.parse(readFileSync(join(folder, name, file), 'utf8')), ...changes });
    const changes = {
      'config.json': merged('config.json', config),
      'preprocessor_config.json': merged('preprocessor_config.json', preprocessor),
    };
    await expect(inspectArtifact(bundle(name, changes))).rejects.toMatchObject({
      code: expect.stringMatching(/UNSUPPORTED_FORMAT|CORRUPT_MODEL/),
      message: expect.stringMatching(message),
    });
  });
});

type Found = Record<string, unknown>;

interface Entity {
  entity: string;
  score: number;
  index: number;
  start: number;
  end: number;
}

/** The rule of Hugging Face's aggregation "simple", written anew over what has no label O. */
function joinEntities(entities: readonly Entity[]): Found[] {
  const groups: Entity[][] = [];
  for (const entity of entities) {
    const last = groups.at(-1)?.at(-1);
    const follows =
      last && last.index + 1 === entity.index && last.entity.slice(2) === entity.entity.slice(2);
    if (follows && !entity.entity.startsWith('B-')) groups.at(-1)?.push(entity);
    else groups.push([entity]);
  }
  return groups.map((group) => ({
    entity_group: group[0]?.entity.slice(2),
    score: group.reduce((sum, { score }) => sum + score, 0) / group.length,
    start: group[0]?.start,
    end: group.at(-1)?.end,
  }));
}

function expectEntities(found: Found[][], wanted: Found[][]): void {
  // A token of blanks is nowhere: it has a beginning and no extent.
  const nowhere = (start: unknown, end: unknown) => (start === end ? { start: null, end: null } : {});
  const places = (rows: Found[][]) =>
    rows.map((row) =>
      row.map(({ word: _w, score: _s, ...place }) => ({ ...place, ...nowhere(place.start, place.end) })),
    );
  const scores = (rows: Found[][]) => rows.map((row) => row.map(({ score }) => Number(score)));
  expect(places(found)).toEqual(places(wanted));
  close(scores(found), scores(wanted));
}

function close(found: number[][], wanted: number[][] | undefined, tolerance = 1e-5): void {
  expect(found.length).toBe(wanted?.length);
  for (const [row, values] of found.entries()) {
    expect(values.length).toBe(wanted?.[row]?.length);
    const furthest = Math.max(
      0,
      ...values.map((value, at) => Math.abs(value - (wanted?.[row]?.[at] ?? Number.NaN))),
    );
    if (!(furthest <= tolerance))
      throw new Error(`row ${row} is off by ${furthest}: ${values} for ${wanted?.[row]}`);
  }
}
