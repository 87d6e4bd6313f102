/**
 * The datasets room: data that models are trained and judged on; encrypted at rest like models.
 *
 * In: CSV with a header. Out: a profiled, checked, split data set. Promise: the same bytes and seed give the
 * same split, and nothing trains on data whose checks failed.
 */
import { randomUUID } from 'node:crypto';
import type { Selectable } from 'kysely';
import { CommonwattError } from '../errors.ts';
import type { AuditEvent } from '../gate/audit.ts';
import { checkName, quote } from '../models/names.ts';
import type { Db, Schema } from '../storage/db.ts';
import { sha256Of } from '../storage/hash.ts';
import { checkData } from './checks.ts';
import { parseCsv } from './csv.ts';
import { checkSplit, splitRows } from './split.ts';

export interface DatasetSplit {
  seed: number;
  train: number;
  validation: number;
  test: number;
}

export type SplitName = 'train' | 'validation' | 'test';

export interface DataCheck {
  name: string;
  passed: boolean;
  severity: 'error' | 'warning';
  message: string;
  value: number | null;
}

export interface ColumnProfile {
  name: string;
  missing: number;
  min: number | null;
  max: number | null;
  mean: number | null;
  distinct: number;
}

export interface DataReport {
  /** False when a check of severity `error` failed. */
  passed: boolean;
  checks: DataCheck[];
  columns: ColumnProfile[];
}

export interface DatasetRecord {
  id: string;
  organisationId: string;
  name: string;
  rows: number;
  label: string;
  features: string[];
  split: DatasetSplit & { rows: Record<SplitName, number> };
  report: DataReport;
  sha256: string;
  createdAt: string;
  createdBy: string;
}

/** A data set in memory. `x` is row-major, rows × features; split lists row indices. */
export interface LoadedDataset {
  record: DatasetRecord;
  x: Float32Array;
  y: Float32Array;
  split: Record<SplitName, Uint32Array>;
}

/** What training, evaluation and explanation need of this room. */
export interface DatasetReader {
  /** Throws NOT_FOUND. */
  load(organisationId: string, nameOrId: string): Promise<LoadedDataset>;
}

/** Who uploads. */
export interface DatasetOwner {
  organisationId: string;
  organisation: string;
  member: string;
}

export interface DatasetSettings {
  name: string;
  /** The column to predict. */
  label: string;
  split: DatasetSplit;
}

export interface DatasetsOptions {
  db: Db;
  /** Encrypted, content-addressed, durable once `put` returns. */
  artifacts: {
    put(organisationId: string, bytes: Buffer, maxBytes: number): Promise<unknown>;
    read(organisationId: string, sha256: string): Promise<Uint8Array>;
  };
  /** Writes the event in the same transaction as what it tells of. */
  audit(trx: Db, event: AuditEvent): Promise<unknown>;
  /** Largest CSV, bytes. */
  maxBytes?: number;
}

export interface DatasetRow {
  /** Place in the split, from 0. */
  row: number;
  features: Record<string, number>;
  label: number;
}

export class Datasets implements DatasetReader {
  readonly #options: DatasetsOptions;
  readonly #maxBytes: number;
  /** The data set loaded last, for as long as memory is not needed elsewhere. */
  #last: { id: string; data: WeakRef<LoadedDataset> } | undefined;

  constructor(options: DatasetsOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? 256 * 1024 * 1024;
  }

  /**
   * Profiles, checks and stores a CSV table; also one whose checks failed, so that its report can be read.
   * The same name with the same bytes and settings answers with what is there. Throws INVALID_DATASET with line
   * and column, INVALID_NAME, PAYLOAD_TOO_LARGE, and CONFLICT when the name is taken by other data.
   */
  async create(owner: DatasetOwner, settings: DatasetSettings, csv: Buffer): Promise<DatasetRecord> {
    const name = checkName(settings.name, 'data set');
    const split = checkSplit(settings.split);
    if (csv.length > this.#maxBytes)
      throw new CommonwattError(
        'PAYLOAD_TOO_LARGE',
        `the data set has ${csv.length} bytes, the limit is ${this.#maxBytes}`,
        { hint: 'upload a sample of the rows' },
      );
    const sha256 = await sha256Of(csv);
    const existing = await this.#find(owner.organisationId, name);
    if (existing) return same(existing, sha256, settings.label, split);

    const table = await parseCsv(csv, settings.label);
    const rows = splitRows(table.y, split);
    const report = await checkData(table, settings.label, rows);
    await this.#options.artifacts.put(owner.organisationId, csv, this.#maxBytes);
    const record: DatasetRecord = {
      id: randomUUID(),
      organisationId: owner.organisationId,
      name,
      rows: table.y.length,
      label: settings.label,
      features: table.features,
      split: {
        ...split,
        rows: { train: rows.train.length, validation: rows.validation.length, test: rows.test.length },
      },
      report,
      sha256,
      createdAt: new Date().toISOString(),
      createdBy: owner.member,
    };
    const stored = await this.#options.db.transaction().execute(async (trx) => {
      // Another upload may have taken the name while this one was checked.
      const earlier = await trx
        .selectFrom('datasets')
        .selectAll()
        .where('organisation_id', '=', owner.organisationId)
        .where('name', '=', name)
        .executeTakeFirst();
      if (earlier) return same(recordOf(earlier), sha256, settings.label, split);
      await trx.insertInto('datasets').values(rowFrom(record)).execute();
      await this.#options.audit(trx, {
        actor: `${owner.organisation}/${owner.member}`,
        organisationId: owner.organisationId,
        action: 'dataset.create',
        subject: `${owner.organisation}/${name}`,
        detail: { sha256, rows: record.rows, passed: report.passed },
      });
      return record;
    });
    if (stored === record) this.#remember({ record, x: table.x, y: table.y, split: rows });
    return stored;
  }

  /** Throws NOT_FOUND, also for another organisation's data set. */
  async get(organisationId: string, nameOrId: string): Promise<DatasetRecord> {
    const record = await this.#find(organisationId, nameOrId);
    if (record) return record;
    throw new CommonwattError('NOT_FOUND', `data set ${quote(nameOrId)} does not exist`, {
      where: 'dataset',
      hint: 'see GET /api/v1/datasets (commonwatt datasets) for the data sets of your organisation',
    });
  }

  async list(organisationId: string): Promise<DatasetRecord[]> {
    const rows = await this.#options.db
      .selectFrom('datasets')
      .selectAll()
      .where('organisation_id', '=', organisationId)
      .orderBy('name')
      .execute();
    return rows.map(recordOf);
  }

  async load(organisationId: string, nameOrId: string): Promise<LoadedDataset> {
    const record = await this.get(organisationId, nameOrId);
    const remembered = this.#last?.id === record.id ? this.#last.data.deref() : undefined;
    if (remembered) return remembered;
    const csv = await this.#options.artifacts.read(organisationId, record.sha256);
    const { x, y } = await parseCsv(csv, record.label);
    return this.#remember({ record, x, y, split: splitRows(y, record.split) });
  }

  /** The `index`-th row of a split, from 0. Throws NOT_FOUND when there is no such row. */
  async rowOf(record: DatasetRecord, split: SplitName, index: number): Promise<DatasetRow> {
    const { x, y, split: splits } = await this.load(record.organisationId, record.id);
    const row = splits[split][index];
    if (row === undefined)
      throw new CommonwattError('NOT_FOUND', `the ${split} split of ${record.name} has no row ${index}`, {
        where: 'row',
        hint: `rows of this split are 0 to ${splits[split].length - 1}`,
      });
    const width = record.features.length;
    return {
      row: index,
      features: Object.fromEntries(
        record.features.map((name, i) => [name, x[row * width + i] ?? Number.NaN]),
      ),
      label: y[row] ?? Number.NaN,
    };
  }

  async #find(organisationId: string, nameOrId: string): Promise<DatasetRecord | undefined> {
    const row = await this.#options.db
      .selectFrom('datasets')
      .selectAll()
      .where('organisation_id', '=', organisationId)
      .where((by) => by.or([by('name', '=', nameOrId), by('id', '=', nameOrId)]))
      // An id has the form of a name: what is named so comes first.
      .orderBy((by) => by.case().when('name', '=', nameOrId).then(0).else(1).end())
      .executeTakeFirst();
    return row && recordOf(row);
  }

  #remember(data: LoadedDataset): LoadedDataset {
    this.#last = { id: data.record.id, data: new WeakRef(data) };
    return data;
  }
}

/** `Dataset` of docs/api.md. */
export function datasetJson(record: DatasetRecord): Omit<DatasetRecord, 'organisationId'> {
  const { organisationId: _, ...json } = record;
  return json;
}

/** Throws INVALID_DATASET when a check of severity `error` failed, naming each. */
export function assertPassed(record: DatasetRecord): void {
  if (record.report.passed) return;
  const failed = record.report.checks.filter((check) => !check.passed && check.severity === 'error');
  throw new CommonwattError(
    'INVALID_DATASET',
    `data set ${record.name} did not pass its checks: ${failed.map((check) => check.message).join('; ')}`,
    {
      where: failed.map((check) => check.name).join(', '),
      hint: 'correct the data and upload it under a new name',
    },
  );
}

function same(existing: DatasetRecord, sha256: string, label: string, split: DatasetSplit): DatasetRecord {
  const differences = [
    existing.sha256 === sha256 ? '' : 'bytes',
    existing.label === label ? '' : 'label',
    existing.split.seed === split.seed ? '' : 'seed',
    (['train', 'validation', 'test'] as const).every((name) => existing.split[name] === split[name])
      ? ''
      : 'fractions',
  ].filter((difference) => difference !== '');
  if (differences.length === 0) return existing;
  throw new CommonwattError(
    'CONFLICT',
    `data set ${existing.name} exists with other ${differences.join(' and ')}`,
    { where: 'name', hint: `data sets never change: choose another name, e.g. ${existing.name}-2` },
  );
}

function recordOf(row: Selectable<Schema['datasets']>): DatasetRecord {
  return {
    id: row.id,
    organisationId: row.organisation_id,
    name: row.name,
    rows: row.rows,
    label: row.label,
    features: JSON.parse(row.features),
    split: JSON.parse(row.split),
    report: JSON.parse(row.report),
    sha256: row.artifact_sha256,
    createdAt: row.created_at,
    createdBy: row.created_by,
  };
}

function rowFrom(record: DatasetRecord): Selectable<Schema['datasets']> {
  return {
    id: record.id,
    organisation_id: record.organisationId,
    name: record.name,
    artifact_sha256: record.sha256,
    rows: record.rows,
    label: record.label,
    features: JSON.stringify(record.features),
    split: JSON.stringify(record.split),
    report: JSON.stringify(record.report),
    created_at: record.createdAt,
    created_by: record.createdBy,
  };
}
