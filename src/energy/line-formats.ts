/** Ledger lines as files: CSV for tables, JSON Lines for programs, Parquet for analysis. In pieces, never all at once. */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { LedgerLine } from './ledger-lines.ts';

export const exportFormats = ['csv', 'jsonl', 'parquet'] as const;
export type ExportFormat = (typeof exportFormats)[number];

export const contentTypes: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8',
  jsonl: 'application/jsonl',
  parquet: 'application/vnd.apache.parquet',
};

type ColumnType = 'STRING' | 'TIMESTAMP' | 'INT32' | 'INT64' | 'DOUBLE';

/** In the order of the columns of every format. */
const columns = {
  id: 'STRING',
  at: 'TIMESTAMP',
  interval: 'STRING',
  kind: 'STRING',
  note: 'STRING',
  outcome: 'STRING',
  attributionMethod: 'STRING',
  consumerId: 'STRING',
  consumer: 'STRING',
  ownerId: 'STRING',
  owner: 'STRING',
  modelId: 'STRING',
  model: 'STRING',
  version: 'INT32',
  keyId: 'STRING',
  memberId: 'STRING',
  grantId: 'STRING',
  jobId: 'STRING',
  runnerPid: 'INT32',
  node: 'STRING',
  rows: 'INT64',
  cpuSeconds: 'DOUBLE',
  energyWh: 'DOUBLE',
  idleShareWh: 'DOUBLE',
  carbonGCo2e: 'DOUBLE',
  embodiedGCo2e: 'DOUBLE',
  waterL: 'DOUBLE',
  avoidedWh: 'DOUBLE',
  avoidedGCo2e: 'DOUBLE',
  allocatedWh: 'DOUBLE',
  allocatedGCo2e: 'DOUBLE',
  allocatedEmbodiedGCo2e: 'DOUBLE',
  quality: 'STRING',
  method: 'STRING',
  methodVersion: 'STRING',
  zone: 'STRING',
  signal: 'STRING',
  scope: 'STRING',
  intensityGPerKwh: 'DOUBLE',
} as const satisfies Record<keyof LedgerLine, ColumnType>;
const names = Object.keys(columns) as (keyof LedgerLine)[];

/** Rows of a Parquet row group: what is held in memory. */
const rowsPerGroup = 50_000;

export function renderLines(
  batches: AsyncIterable<readonly LedgerLine[]>,
  format: ExportFormat,
): AsyncGenerator<Uint8Array> {
  return format === 'parquet' ? parquet(batches) : text(batches, format);
}

async function* text(
  batches: AsyncIterable<readonly LedgerLine[]>,
  format: 'csv' | 'jsonl',
): AsyncGenerator<Uint8Array> {
  if (format === 'csv') yield Buffer.from(`${names.join(',')}\r\n`);
  const lineText = format === 'csv' ? csvLine : (line: LedgerLine) => `${JSON.stringify(line)}\n`;
  for await (const lines of batches) yield Buffer.from(lines.map(lineText).join(''));
}

function csvLine(line: LedgerLine): string {
  return `${names.map((name) => csvField(line[name])).join(',')}\r\n`;
}

/**
 * RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe before it
 * (https://owasp.org/www-community/attacks/CSV_Injection); unknown is empty.
 */
function csvField(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function* parquet(batches: AsyncIterable<readonly LedgerLine[]>): AsyncGenerator<Uint8Array> {
  const bytes = new ByteWriter();
  const take = () => {
    const written = bytes.getBytes().slice();
    bytes.index = 0;
    return written;
  };
  const writer = new ParquetWriter({ writer: bytes, schema: parquetSchema(), createdBy: 'commonwatt' });
  let group: LedgerLine[] = [];
  const write = () => {
    writer.write({
      columnData: names.map((name) => ({ name, data: group.map((line) => parquetValue(name, line[name])) })),
      rowGroupSize: rowsPerGroup,
    });
    group = [];
    return take();
  };
  for await (const lines of batches) {
    for (const line of lines) group.push(line);
    if (group.length >= rowsPerGroup) yield write();
  }
  if (group.length > 0) yield write();
  writer.finish();
  yield take();
}

function parquetValue(name: keyof LedgerLine, value: string | number | null) {
  if (value === null) return null;
  if (columns[name] === 'TIMESTAMP') return new Date(value);
  return columns[name] === 'INT64' ? BigInt(value) : value;
}

function parquetSchema(): ConstructorParameters<typeof ParquetWriter>[0]['schema'] {
  const element = (name: keyof LedgerLine) => {
    const column = { name, repetition_type: 'OPTIONAL' as const };
    const type = columns[name];
    switch (type) {
      case 'STRING':
        return { ...column, type: 'BYTE_ARRAY' as const, converted_type: 'UTF8' as const };
      case 'TIMESTAMP':
        return { ...column, type: 'INT64' as const, converted_type: 'TIMESTAMP_MILLIS' as const };
      default:
        return { ...column, type };
    }
  };
  return [{ name: 'ledger', num_children: names.length }, ...names.map(element)];
}
