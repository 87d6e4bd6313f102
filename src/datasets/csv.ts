/**
 * Reads a CSV table of numbers (RFC 4180, comma, header, UTF-8) into memory, row by row, so that a large file
 * neither blocks the server nor exists twice. Every refusal names the line and the column.
 */
import { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { CommonwattError } from '../errors.ts';
import { quote } from '../models/names.ts';

export interface Table {
  features: string[];
  /** Row-major, rows × features; a missing value is NaN. */
  x: Float32Array;
  /** 0 or 1; a missing label is NaN. */
  y: Float32Array;
}

interface CsvLimits {
  maxFeatures: number;
  maxCells: number;
}

/** 100 million cells are 400 MB in memory. */
const defaultCsvLimits: CsvLimits = { maxFeatures: 4096, maxCells: 100_000_000 };

const chunkBytes = 64 * 1024;
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const missing = /^(?:|na|n\/a|nan|null)$/i;

/** Throws INVALID_DATASET with `where` = line (counted from 1, the header is line 1) and column name. */
export async function parseCsv(csv: Uint8Array, label: string, limits = defaultCsvLimits): Promise<Table> {
  if (csv.length === 0) throw emptyFile();
  const records = Readable.from(slices(csv), { objectMode: false }).pipe(
    // A different number of fields is checked here, to say which line has how many.
    parse({
      bom: true,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      max_record_size: 1 << 20,
    }),
  );
  let header: Header | undefined;
  const values = new GrowingFloats();
  const labels = new GrowingFloats();
  try {
    for await (const entry of records) {
      const { record, info }: { record: string[]; info: { lines: number } } = entry;
      if (!header) {
        header = readHeader(record, label, limits);
        continue;
      }
      if (record.length !== header.names.length) {
        throw invalid(
          `line ${info.lines} has ${count(record.length, 'field')}, the header has ${header.names.length}`,
          `line ${info.lines}`,
          'every line needs one value for each column; quote values that contain a comma',
        );
      }
      if (values.length + header.features.length > limits.maxCells) {
        throw invalid(
          `the table has more than ${limits.maxCells} cells`,
          `line ${info.lines}`,
          'train on a sample of the rows',
        );
      }
      for (let i = 0; i < record.length; i++) {
        const name = header.names[i] ?? '';
        const cell = record[i] ?? '';
        if (i === header.labelIndex) labels.push(labelOf(cell, name, info.lines));
        else values.push(numberOf(cell, name, info.lines));
      }
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = typeof error.lines === 'number' ? `line ${error.lines}` : 'the file';
    throw invalid(
      `${line} is not valid CSV: ${error.message}`,
      line,
      'save the table as UTF-8 CSV with commas',
    );
  }
  if (!header) throw emptyFile();
  if (labels.length === 0)
    throw invalid(
      'the file has a header but no rows',
      'line 2',
      'add at least one row for each class and split',
    );
  return { features: header.features, x: values.toArray(), y: labels.toArray() };
}

interface Header {
  names: string[];
  features: string[];
  labelIndex: number;
}

function readHeader(record: string[], label: string, limits: CsvLimits): Header {
  const names = record.map((name) => name.trim());
  const seen = new Map<string, number>();
  names.forEach((name, index) => {
    const column = `line 1, column ${index + 1}`;
    if (name === '' || name.length > 100)
      throw invalid(
        `column ${index + 1} has ${name === '' ? 'no name' : 'a name longer than 100 characters'}`,
        column,
        'the first line must name every column',
      );
    const first = seen.get(name);
    if (first !== undefined)
      throw invalid(
        `columns ${first + 1} and ${index + 1} are both named ${quote(name)}`,
        column,
        'give every column its own name',
      );
    seen.set(name, index);
  });
  const labelIndex = seen.get(label);
  if (labelIndex === undefined) {
    const numeric = names.length > 0 && names.every((name) => decimal.test(name));
    throw invalid(
      `there is no column ${quote(label)} for the label`,
      'line 1',
      numeric
        ? 'the first line holds numbers: add a header line with the names of the columns'
        : `name one of the columns as label: ${names.slice(-8).map(quote).join(', ')}`,
    );
  }
  const features = names.filter((_, index) => index !== labelIndex);
  if (features.length === 0 || features.length > limits.maxFeatures)
    throw invalid(
      `the table has ${count(features.length, 'feature')}`,
      'line 1',
      `give between 1 and ${limits.maxFeatures} columns besides the label`,
    );
  return { names, features, labelIndex };
}

function numberOf(cell: string, column: string, line: number): number {
  const text = cell.trim();
  if (missing.test(text)) return Number.NaN;
  // + 0 makes −0 the same value, and the same bytes, as 0.
  const value = decimal.test(text) ? Math.fround(Number(text)) + 0 : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw invalid(
    `line ${line}, column ${quote(column)}: ${quote(cell)} is not a 32-bit number`,
    `line ${line}, column ${column}`,
    'features are decimal numbers such as 0.25; encode categories as numbers',
  );
}

function labelOf(cell: string, column: string, line: number): number {
  const text = cell.trim();
  if (missing.test(text)) return Number.NaN;
  const value = decimal.test(text) ? Number(text) : Number.NaN;
  if (value === 0 || value === 1) return value === 1 ? 1 : 0;
  throw invalid(
    `line ${line}, column ${quote(column)}: the label ${quote(cell)} is neither 0 nor 1`,
    `line ${line}, column ${column}`,
    'the label must be binary: 1 for the class to recognise, 0 for the rest',
  );
}

function emptyFile(): CommonwattError {
  return invalid('the file is empty', 'line 1', 'send CSV with a header line and at least one row');
}

function invalid(message: string, where: string, hint: string): CommonwattError {
  return new CommonwattError('INVALID_DATASET', message, { where, hint });
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += chunkBytes)
    yield bytes.subarray(start, start + chunkBytes);
}

/** Numbers of unknown count without a JavaScript object each. */
class GrowingFloats {
  #values = new Float32Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = new Float32Array(this.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length++] = value;
  }

  toArray(): Float32Array {
    return this.#values.slice(0, this.length);
  }
}
