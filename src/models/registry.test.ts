import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import { ArtifactStore } from '../storage/artifacts.ts';
import { openDiskBlobs } from '../storage/blobs.ts';
import { type Db, openDatabase } from '../storage/db.ts';
import { openVault } from '../vault/vault.ts';
import type { ModelSignature } from './models.ts';
import { type InspectedArtifact, Registry } from './registry.ts';

const signature: ModelSignature = {
  inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 100] }],
  outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, 1] }],
};
const acme = { organisationId: 'a', organisation: 'acme', member: 'ada' };
const globex = { organisationId: 'g', organisation: 'globex', member: 'gil' };
const at = '2026-01-02T03:04:05.000Z';

let folder: string;
let db: Db;
let artifacts: ArtifactStore;
let registry: Registry;
let changes: number;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'registry-'));
  db = await openDatabase(join(folder, 'commonwatt.db'));
  for (const [id, name] of [
    ['a', 'acme'],
    ['g', 'globex'],
  ] as const)
    await db.insertInto('organisations').values({ id, name, created_at: at }).execute();
  artifacts = new ArtifactStore({
    db,
    vault: await openVault(folder),
    blobs: await openDiskBlobs(folder),
  });
  changes = 0;
  registry = new Registry({
    db,
    artifacts,
    inspect,
    changed: () => {
      changes++;
    },
    now: () => new Date(at),
  });
});
afterEach(async () => {
  await db.destroy();
  rmSync(folder, { recursive: true });
});

/** Formats have their own tests; here "h5:…" stands for a Keras file, "onnx:…" for what is ONNX already. */
async function inspect(bytes: Buffer): Promise<InspectedArtifact> {
  const text = bytes.toString();
  if (text.startsWith('onnx:')) return { format: 'onnx', signature, onnx: bytes };
  if (text.startsWith('h5:')) return { format: 'keras-h5', signature, onnx: Buffer.from(`onnx:${text}`) };
  throw new CommonwattError('UNSUPPORTED_FORMAT', 'neither');
}

const bring = (content: string, name = 'digits', principal = acme) =>
  registry.importVersion({
    principal,
    organisation: principal.organisation,
    name,
    bytes: Buffer.from(content),
  });
const sha = (text: string) => createHash('sha256').update(text).digest('hex');
const modelId = async (organisation = 'acme', name = 'digits') =>
  (await registry.findModel(organisation, name))?.id ?? '';

describe('an import', () => {
  it('registers version 1 of a new model, with what is known of it', async () => {
    const version = await bring('h5:first');
    expect(version).toMatchObject({
      number: 1,
      format: 'keras-h5',
      artifactSha256: sha('h5:first'),
      onnxSha256: sha('onnx:h5:first'),
      sizeBytes: 8,
      signature,
      createdAt: at,
      createdBy: 'ada',
      jobId: null,
      datasetId: null,
    });
    expect(await registry.findModel('acme', 'digits')).toMatchObject({
      id: version.modelId,
      organisationId: 'a',
      organisation: 'acme',
      name: 'digits',
    });
    expect(await registry.getVersion(version.modelId, 1)).toEqual(version);
    expect(changes).toBe(1);
  });

  it('numbers what follows, and leaves a version as it was', async () => {
    const first = await bring('h5:first');
    expect((await bring('h5:second')).number).toBe(2);
    expect((await bring('onnx:third')).number).toBe(3);
    expect(await registry.getVersion(first.modelId, 1)).toEqual(first);
    expect((await registry.listVersions(first.modelId)).map(({ number }) => number)).toEqual([1, 2, 3]);
    expect((await registry.latestVersion(first.modelId)).artifactSha256).toBe(sha('onnx:third'));
  });

  it('of the same bytes gives the version they are already, under another model a new one', async () => {
    const first = await bring('h5:first');
    await bring('h5:second');
    expect(await bring('h5:first')).toEqual(first);
    expect((await bring('h5:first', 'other')).number).toBe(1);
    expect((await bring('h5:first', 'digits', globex)).modelId).not.toBe(first.modelId);
  });

  it('many at once get numbers without gaps, and the same bytes one version', async () => {
    const contents = ['h5:a', 'h5:b', 'h5:c', 'h5:a', 'h5:b', 'h5:d'];
    const versions = await Promise.all(contents.map((content) => bring(content)));
    expect(new Set(versions.map(({ number }) => number))).toEqual(new Set([1, 2, 3, 4]));
    expect(versions[0]).toEqual(versions[3]);
    expect(await artifacts.removeOrphans()).toBe(0);
  });

  it('that is refused leaves nothing: no model, no row, no blob', async () => {
    await expect(bring('neither')).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' });
    await expect(bring('h5:x', 'Digits')).rejects.toMatchObject({ code: 'INVALID_NAME' });
    await expect(
      registry.importVersion({
        principal: globex,
        organisation: 'acme',
        name: 'digits',
        bytes: Buffer.from('h5:x'),
      }),
    ).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    await nothingRegistered();
  });

  it('whose last row cannot be written leaves no row at all', async () => {
    await db.schema.dropTable('audit_events').execute();
    await expect(bring('h5:first')).rejects.toThrow('audit_events');
    await nothingRegistered();
    expect(await artifacts.removeOrphans()).toBe(2);
  });

  it('writes who did it to the audit trail', async () => {
    await bring('h5:first');
    await registry.setAlias(await modelId(), 'production', 1, acme);
    const events = await db.selectFrom('audit_events').selectAll().orderBy('seq').execute();
    expect(events.map(({ actor, action, subject }) => [actor, action, subject])).toEqual([
      ['acme/ada', 'model.create', 'acme/digits'],
      ['acme/ada', 'version.import', 'acme/digits'],
      ['acme/ada', 'alias.set', 'acme/digits@production'],
    ]);
  });

  async function nothingRegistered() {
    for (const table of ['models', 'versions', 'artifacts'] as const)
      expect(await db.selectFrom(table).selectAll().execute(), table).toEqual([]);
  }
});

describe('lineage', () => {
  beforeEach(async () => {
    await db
      .insertInto('datasets')
      .values({
        ...{ id: 'd1', organisation_id: 'a', name: 'digits', artifact_sha256: '00', rows: 1, label: 'even' },
        ...{ features: '[]', split: '{}', report: '{}', created_at: at, created_by: 'ada' },
      })
      .execute();
    await addJob('j1', 'a', 'h5:first', 'succeeded', '2026-01-01T00:00:00.000Z');
    await addJob('j2', 'a', 'h5:first', 'succeeded', '2026-01-01T00:00:01.000Z');
    await addJob('j3', 'a', 'h5:failed', 'failed', at);
    await addJob('j4', 'g', 'h5:theirs', 'succeeded', at);
  });

  it('is found from the bytes: the newest job that made them, and its data set', async () => {
    expect(await bring('h5:first')).toMatchObject({ jobId: 'j2', datasetId: 'd1' });
  });

  it('is not guessed from jobs that failed, of others, or of other bytes', async () => {
    for (const content of ['h5:failed', 'h5:theirs', 'h5:new'])
      expect(await bring(content)).toMatchObject({ jobId: null, datasetId: null });
  });

  it('can be named, as far as it is true', async () => {
    const base = { principal: acme, organisation: 'acme', name: 'digits', bytes: Buffer.from('h5:first') };
    await expect(registry.importVersion({ ...base, jobId: 'j4' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(registry.importVersion({ ...base, jobId: 'j3' })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    });
    await expect(registry.importVersion({ ...base, datasetId: 'd9' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await registry.importVersion({ ...base, jobId: 'j1' })).toMatchObject({
      jobId: 'j1',
      datasetId: 'd1',
    });
  });

  async function addJob(
    id: string,
    organisation_id: string,
    made: string,
    state: 'succeeded' | 'failed',
    created_at: string,
  ) {
    await db
      .insertInto('jobs')
      .values({
        ...{ id, organisation_id, state, created_at, key_id: null, created_by: 'ada', kind: 'train' },
        ...{ spec: JSON.stringify({ config: { dataset: 'digits' } }), cancel_requested: 0, attempts: 1 },
        ...{ progress: null, error: null, started_at: null, finished_at: null },
        result: JSON.stringify({ artifactSha256: sha(made), sizeBytes: 8 }),
      })
      .execute();
  }
});

describe('which version is meant', () => {
  beforeEach(async () => {
    for (const content of ['h5:1', 'h5:2', 'h5:3']) await bring(content);
  });
  const resolve = async (choice: { version?: number; alias?: string }) =>
    (await registry.resolve(await modelId(), choice)).number;

  it('a number, an alias, latest; without any, production or else the newest', async () => {
    expect(await resolve({ version: 1 })).toBe(1);
    expect(await resolve({ alias: 'latest' })).toBe(3);
    expect(await resolve({})).toBe(3);
    await registry.setAlias(await modelId(), 'production', 2, acme);
    expect(await resolve({})).toBe(2);
    expect(await resolve({ alias: 'production' })).toBe(2);
    expect(await resolve({ alias: 'latest' })).toBe(3);
  });

  it('an alias moves, and is listed with who moved it', async () => {
    const id = await modelId();
    await registry.setAlias(id, 'production', 1, acme);
    expect(await registry.setAlias(id, 'production', 2, { ...acme, member: 'bob' })).toEqual({
      alias: 'production',
      version: 2,
      updatedAt: at,
      updatedBy: 'bob',
    });
    await registry.setAlias(id, 'best', 3, acme);
    expect((await registry.aliases(id)).map(({ alias, version }) => [alias, version])).toEqual([
      ['best', 3],
      ['production', 2],
    ]);
  });

  it('what does not exist is said', async () => {
    const notFound = { code: 'VERSION_NOT_FOUND' };
    await expect(resolve({ version: 4 })).rejects.toMatchObject(notFound);
    await expect(resolve({ alias: 'nobody' })).rejects.toMatchObject(notFound);
    await expect(registry.setAlias(await modelId(), 'production', 9, acme)).rejects.toMatchObject(notFound);
    await expect(registry.latestVersion('no-such-model')).rejects.toMatchObject(notFound);
    await expect(resolve({ version: 1, alias: 'production' })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    });
    for (const alias of ['latest', 'Production', ''])
      await expect(registry.setAlias(await modelId(), alias, 1, acme)).rejects.toMatchObject({
        code: 'INVALID_NAME',
      });
  });
});

describe('the bytes of a version', () => {
  it('come back as they were imported, and as ONNX', async () => {
    const version = await bring('h5:first');
    expect((await registry.onnxBytes(version)).toString()).toBe('onnx:h5:first');
    expect((await registry.artifactBytes(version, 'onnx')).toString()).toBe('onnx:h5:first');
    expect((await registry.artifactBytes(version, 'keras-h5')).toString()).toBe('h5:first');
  });

  it('of an ONNX import are stored once, and have no .h5 form', async () => {
    const version = await bring('onnx:x');
    expect(version.onnxSha256).toBe(version.artifactSha256);
    expect(await db.selectFrom('artifacts').selectAll().execute()).toHaveLength(1);
    await expect(registry.artifactBytes(version, 'keras-h5')).rejects.toMatchObject({
      code: 'UNSUPPORTED_FORMAT',
      hint: 'ask for format=original or format=onnx',
    });
  });
});

describe('lists of models', () => {
  it('show one’s own by name, and those granted now', async () => {
    for (const name of ['zebra', 'ant', 'expired', 'revoked']) await bring(`h5:${name}`, name);
    await bring('h5:g', 'own', globex);
    const grant = async (name: string, columns: { expires_at?: string; revoked_at?: string }) =>
      db
        .insertInto('grants')
        .values({
          ...{ id: name, model_id: await modelId('acme', name), grantee_organisation_id: 'g' },
          ...{ permissions: '["infer"]', limit_requests: null, limit_period: null, created_at: at },
          ...{ expires_at: null, revoked_at: null, ...columns },
        })
        .execute();
    await grant('zebra', { expires_at: '2026-01-02T03:04:06.000Z' });
    await grant('expired', { expires_at: at });
    await grant('revoked', { revoked_at: '2026-01-01T00:00:00.000Z' });
    const names = (list: { organisation: string; name: string }[]) =>
      list.map(({ organisation, name }) => `${organisation}/${name}`);
    expect(names(await registry.listModels('g'))).toEqual(['globex/own']);
    expect(names(await registry.listModels('a'))).toEqual([
      'acme/ant',
      'acme/expired',
      'acme/revoked',
      'acme/zebra',
    ]);
    expect(names(await registry.listGrantedModels('g'))).toEqual(['acme/zebra']);
    expect(await registry.listGrantedModels('a')).toEqual([]);
  });
});
