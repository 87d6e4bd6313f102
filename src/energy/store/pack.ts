/**
 * Old intervals with all their lines in few bytes, and back to the last bit. Ids are told by how they differ from the
 * one before. A figure is told by how its bits differ from what the lines before it predict (the carbon of a joule is
 * the same within an interval, and so on): where the prediction is right, nothing is left but zeros for Brotli.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { z } from 'zod';
import { integerReader, putInteger } from './integers.ts';
import { type Interval, type Line, noFigures, type summed } from './tally.ts';

export interface Packed {
  intervals: Interval[];
  /** In the order of `intervals`, and within one as they were written. */
  lines: Line[];
}

const intervalNames = [
  'id',
  'start_ms',
  'end_ms',
  'energy_j',
  'carbon_g',
  'embodied_g',
  'water_l',
  'quality',
  'method',
  'method_version',
  'basis',
  'cpu_s_supplied',
  'cpu_s_used',
  'cpu_s_other',
  'memory_gbs_supplied',
  'memory_gbs_reserved',
  'memory_gbs_used',
  'node',
  'zone',
  'intensity_g_per_kwh',
  'signal',
  'scope',
  'accelerator_j',
  // Unknown in what was packed before there were such.
  'accelerator_s_supplied',
  'accelerator_s_reserved',
  'accelerator_s_used',
] as const satisfies readonly (keyof Interval)[];

const headerSchema = z.object({
  version: z.literal(1),
  /** A list of values for each name. */
  intervals: z.record(z.string(), z.array(z.unknown())),
  /** Lines of each interval. */
  counts: z.array(z.number()),
  heads: z.array(z.number()),
  /** What follows the part that an id shares with the one before. */
  suffixes: z.array(z.string()),
  /** Bytes of the integers; those of the figures follow. */
  integers: z.number(),
});

/** Each is predicted from those before it in the line, the last line of the head, and the line before. */
const rules: readonly { name: Figure; predict(own: Values, head: Values, before: Values): number }[] = [
  { name: 'cpu_s', predict: (_, head) => head.cpu_s },
  { name: 'idle_share_j', predict: (own, head) => (head.idle_share_j / head.cpu_s) * own.cpu_s },
  {
    name: 'energy_j',
    predict: (own, _, last) =>
      own.idle_share_j + ((last.energy_j - last.idle_share_j) / last.cpu_s) * own.cpu_s,
  },
  { name: 'carbon_g', predict: (own, _, last) => (last.carbon_g / last.energy_j) * own.energy_j },
  { name: 'embodied_g', predict: (own, _, last) => (last.embodied_g / last.cpu_s) * own.cpu_s },
  { name: 'water_l', predict: (own, _, last) => (last.water_l / last.energy_j) * own.energy_j },
  { name: 'allocated_j', predict: (own, head) => (head.allocated_j / head.energy_j) * own.energy_j },
  {
    name: 'allocated_g',
    predict: (own, _, last) => (last.allocated_g / last.allocated_j) * own.allocated_j,
  },
  {
    name: 'allocated_embodied_g',
    predict: (own, head) => (head.allocated_embodied_g / head.allocated_j) * own.allocated_j,
  },
  { name: 'avoided_j', predict: (_, head) => head.avoided_j },
  { name: 'avoided_g', predict: (own, _, last) => (last.avoided_g / last.avoided_j) * own.avoided_j },
];
/** Unknown is NaN. */
type Values = Record<Figure, number>;
type Figure = (typeof summed)[number];

const compression = { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 22 } };

export function pack({ intervals, lines }: Packed): Uint8Array {
  const heads = [...new Set(lines.map(({ head }) => head))];
  const indexOf = new Map(heads.map((head, index) => [head, index]));
  const counts = new Map<string, number>();
  const integers: number[] = [];
  const shared = Buffer.alloc(lines.length);
  const suffixes: string[] = [];
  const bits = rules.map(() => new Float64Array(lines.length));
  const words = bits.map(wordsOf);
  const history = new History();
  let id = '';
  let atMs = 0;
  for (const [index, line] of lines.entries()) {
    counts.set(line.interval_id, (counts.get(line.interval_id) ?? 0) + 1);
    const prefix = sharedPrefix(id, line.id);
    shared[index] = prefix;
    suffixes.push(line.id.slice(prefix));
    id = line.id;
    putInteger(integers, indexOf.get(line.head) ?? 0);
    putInteger(integers, zigzag(line.at_ms - atMs));
    atMs = line.at_ms;
    putInteger(integers, zigzag(line.rows));
    const own = valuesOf(line);
    for (const [column, { name, predict }] of rules.entries()) {
      const values = bits[column];
      if (values) values[index] = own[name];
      history.predictions[column] = guess(predict, own, history.of(line.head), history.last);
    }
    for (const [column, own] of words.entries()) differ(own, index, history.predictions[column] ?? 0);
    history.add(line.head, own);
  }
  const header = JSON.stringify({
    version: 1,
    intervals: Object.fromEntries(
      intervalNames.map((name) => [name, intervals.map((interval) => interval[name] ?? null)]),
    ),
    counts: intervals.map((interval) => counts.get(interval.id) ?? 0),
    heads,
    suffixes,
    integers: integers.length,
  });
  const text = Buffer.from(header);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(text.length);
  const planes = bits.map((values) => planesOf(values));
  return brotliCompressSync(
    Buffer.concat([size, text, shared, Buffer.from(integers), ...planes]),
    compression,
  );
}

/** Throws when it is not what `pack` made. */
export function unpack(packed: Uint8Array): Packed {
  const bytes = brotliDecompressSync(packed);
  const start = 4 + bytes.readUInt32LE(0);
  const header = headerSchema.parse(JSON.parse(bytes.toString('utf8', 4, start)));
  const intervals = header.counts.map((_, index) => intervalOf(header.intervals, index));
  const total = header.suffixes.length;
  const shared = bytes.subarray(start, start + total);
  const { next } = integerReader(bytes.subarray(start + total, start + total + header.integers));
  const planes = bytes.subarray(start + total + header.integers);
  const bits = rules.map((_, column) =>
    fromPlanes(planes.subarray(column * 8 * total, (column + 1) * 8 * total)),
  );
  const words = bits.map(wordsOf);
  const history = new History();
  const lines: Line[] = [];
  let id = '';
  let atMs = 0;
  for (const [index, interval] of intervals.entries()) {
    for (let left = header.counts[index] ?? 0; left > 0; left--) {
      const at = lines.length;
      id = id.slice(0, shared[at]) + (header.suffixes[at] ?? '');
      const head = header.heads[next()] ?? 0;
      atMs += unzigzag(next());
      const rows = unzigzag(next());
      const own = { ...noFigures };
      for (const [column, { name, predict }] of rules.entries()) {
        const own64 = words[column];
        if (own64) differ(own64, at, guess(predict, own, history.of(head), history.last));
        own[name] = bits[column]?.[at] ?? 0;
      }
      history.add(head, own);
      lines.push(lineFrom({ id, interval_id: interval.id, head, at_ms: atMs, rows }, own));
    }
  }
  return { intervals, lines };
}

/** What was seen so far: the last line of each head, and the last of all. */
class History {
  readonly #heads = new Map<number, Values>();
  readonly predictions: number[] = rules.map(() => 0);
  last: Values = { ...noFigures };

  of(head: number): Values {
    return this.#heads.get(head) ?? this.last;
  }

  add(head: number, values: Values): void {
    this.#heads.set(head, values);
    this.last = values;
  }
}

function guess(predict: (typeof rules)[number]['predict'], own: Values, head: Values, last: Values): number {
  const value = predict(own, head, last);
  return Number.isFinite(value) ? value : 0;
}

/** XORs the bits of a value, two words, with those of its prediction: done twice, it is undone. */
const one = new Float64Array(1);
const oneBits = new Uint32Array(one.buffer);
function differ(words: Uint32Array, index: number, prediction: number): void {
  one[0] = prediction;
  words[2 * index] = (words[2 * index] ?? 0) ^ (oneBits[0] ?? 0);
  words[2 * index + 1] = (words[2 * index + 1] ?? 0) ^ (oneBits[1] ?? 0);
}

function wordsOf(values: Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
}

/** All first bytes, then all second ones, …: the high ones are alike. */
function planesOf(values: Float64Array): Buffer {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const planes = Buffer.alloc(bytes.length);
  const { length } = values;
  for (let at = 0; at < bytes.length; at++) planes[(at % 8) * length + Math.floor(at / 8)] = bytes[at] ?? 0;
  return planes;
}

function fromPlanes(planes: Uint8Array): Float64Array {
  const length = planes.length / 8;
  const values = new Float64Array(length);
  const bytes = new Uint8Array(values.buffer);
  for (let at = 0; at < bytes.length; at++) bytes[at] = planes[(at % 8) * length + Math.floor(at / 8)] ?? 0;
  return values;
}

function valuesOf(line: Line): Values {
  const values = { ...noFigures };
  for (const { name } of rules) values[name] = line[name] ?? Number.NaN;
  return values;
}

/** Written out: spreading two objects took more time than everything else. */
function lineFrom(
  { id, interval_id, head, at_ms, rows }: Pick<Line, 'id' | 'interval_id' | 'head' | 'at_ms' | 'rows'>,
  values: Values,
): Line {
  return {
    id,
    interval_id,
    head,
    at_ms,
    rows,
    cpu_s: values.cpu_s,
    energy_j: values.energy_j,
    idle_share_j: values.idle_share_j,
    carbon_g: values.carbon_g,
    embodied_g: values.embodied_g,
    water_l: known(values.water_l),
    avoided_j: values.avoided_j,
    avoided_g: values.avoided_g,
    allocated_j: known(values.allocated_j),
    allocated_g: known(values.allocated_g),
    allocated_embodied_g: known(values.allocated_embodied_g),
  };
}

function known(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

function intervalOf(columns: Record<string, unknown[]>, index: number): Interval {
  const row = Object.fromEntries(intervalNames.map((name) => [name, columns[name]?.[index] ?? null]));
  // Written by `pack` from rows of this type, and whole: what is damaged does not decompress.
  return row as unknown as Interval;
}

function sharedPrefix(a: string, b: string): number {
  const most = Math.min(a.length, b.length, 255);
  let length = 0;
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function unzigzag(value: number): number {
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
}
