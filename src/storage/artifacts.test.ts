import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openVault } from '../vault/vault.ts';
import { ArtifactStore, wrappingKeys } from './artifacts.ts';
import { openDiskBlobs } from './blobs.ts';
import { type Db, openDatabase } from './db.ts';

const model = Buffer.from('the weights of a model, which must not be readable on the disk');
const modelSha = createHash('sha256').update(model).digest('hex');
let folder: string;
let db: Db;
let artifacts: ArtifactStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'artifacts-'));
  db = await openDatabase(join(folder, 'commonwatt.db'));
  for (const id of ['acme', 'globex'])
    await db.insertInto('organisations').values({ id, name: id, created_at: '2026-01-01' }).execute();
  artifacts = await reopen();
});
afterEach(async () => {
  await db.destroy();
  rmSync(folder, { recursive: true });
});

async function reopen(): Promise<ArtifactStore> {
  const vault = await openVault(folder, { wrappedBy: await wrappingKeys(db) });
  return new ArtifactStore({ db, vault, blobs: await openDiskBlobs(folder) });
}

describe('an artifact', () => {
  it('is addressed by its SHA-256 and read again, also after a restart', async () => {
    expect(await artifacts.put('acme', model, 1000)).toEqual({ sha256: modelSha, sizeBytes: model.length });
    expect(await artifacts.read('acme', modelSha)).toEqual(model);
    expect(await (await reopen()).read('acme', modelSha)).toEqual(model);
  });

  it('is stored as it streams, over several segments', async () => {
    const parts = [randomBytes(1_500_000), randomBytes(1), randomBytes(1_500_000)];
    const { sha256, sizeBytes } = await artifacts.put('acme', stream(...parts), 1e7);
    expect(sizeBytes).toBe(3_000_001);
    expect((await artifacts.read('acme', sha256)).equals(Buffer.concat(parts))).toBe(true);
  });

  it('that is removed is gone, bytes and record, for its own organisation alone', async () => {
    await artifacts.put('acme', model, 1000);
    await artifacts.put('globex', model, 1000);
    await artifacts.remove('acme', modelSha);
    await artifacts.remove('acme', modelSha);
    await expect(artifacts.read('acme', modelSha)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await artifacts.read('globex', modelSha)).toEqual(model);
    expect(await db.selectFrom('artifacts').select('organisation_id').execute()).toEqual([
      { organisation_id: 'globex' },
    ]);
    // No bytes stay behind for the next start to find.
    expect(await artifacts.removeOrphans()).toBe(0);
  });

  it('may be empty', async () => {
    const { sha256 } = await artifacts.put('acme', Buffer.alloc(0), 10);
    expect(await artifacts.read('acme', sha256)).toEqual(Buffer.alloc(0));
  });

  it('never lies in plain text on the disk, nor under its hash', async () => {
    await artifacts.put('acme', model, 1000);
    for (const file of files()) {
      expect(file).not.toContain(modelSha);
      expect(readFileSync(file).includes('weights of a model')).toBe(false);
    }
  });

  it('is stored once inside an organisation and apart between two', async () => {
    await artifacts.put('acme', model, 1000);
    await artifacts.put('acme', stream(model), 1000);
    expect(blobs()).toHaveLength(1);
    expect(await artifacts.has('globex', modelSha)).toBe(false);
    await expect(artifacts.read('globex', modelSha)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await artifacts.put('globex', model, 1000);
    expect(blobs()).toHaveLength(2);
    expect(await artifacts.read('globex', modelSha)).toEqual(model);
  });

  it('over the limit is refused, and nothing of it stays', async () => {
    const limit = model.length * 2 - 1;
    await expect(artifacts.put('acme', stream(model, model), limit)).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      message: `the artifact has more than ${limit} bytes`,
    });
    expect(blobs()).toEqual([]);
    expect(await db.selectFrom('artifacts').selectAll().execute()).toEqual([]);
    await artifacts.put('acme', stream(model, model), limit + 1);
  });
});

describe('at a restart', () => {
  it('blobs that nothing refers to are removed, and others are kept', async () => {
    await artifacts.put('acme', model, 1000);
    await artifacts.stage('acme', Buffer.from('killed before its row was written'), 1000);
    expect(blobs()).toHaveLength(2);
    const again = await reopen();
    expect(await again.removeOrphans()).toBe(1);
    expect(blobs()).toHaveLength(1);
    expect(await again.read('acme', modelSha)).toEqual(model);
  });

  it('without its master key, the store does not open and no other key is made', async () => {
    await artifacts.put('acme', model, 1000);
    rmSync(join(folder, 'keys/master.key'));
    await expect(reopen()).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });
});

describe('a damaged artifact', () => {
  const damaged = { code: 'STORE_FAILED' };

  it('is refused when its bytes were changed, cut, or are gone; storing it again heals what is gone', async () => {
    await artifacts.put('acme', model, 1000);
    const [file = ''] = blobs();
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, -1));
    await expect(artifacts.read('acme', modelSha)).rejects.toMatchObject(damaged);
    bytes[50]! ^= 1;
    writeFileSync(file, bytes);
    await expect(artifacts.read('acme', modelSha)).rejects.toMatchObject(damaged);
    rmSync(file);
    await expect(artifacts.read('acme', modelSha)).rejects.toMatchObject(damaged);
    await artifacts.put('acme', model, 1000);
    expect(await artifacts.read('acme', modelSha)).toEqual(model);
  });

  it('is refused when rows were given another content, key or organisation', async () => {
    await artifacts.put('acme', model, 1000);
    const { sha256: otherSha } = await artifacts.put('acme', Buffer.alloc(model.length), 1000);
    const rows = await db.selectFrom('artifacts').selectAll().execute();
    const mine = rows.find((row) => row.sha256 === modelSha)!;
    const other = rows.find((row) => row.sha256 === otherSha)!;
    const set = (id: string, columns: Partial<typeof mine>) =>
      db.updateTable('artifacts').set(columns).where('id', '=', id).execute();

    await set(mine.id, { wrapped_key: other.wrapped_key });
    await expect(artifacts.read('acme', modelSha)).rejects.toMatchObject(damaged);
    await set(mine.id, { wrapped_key: mine.wrapped_key, organisation_id: 'globex' });
    await expect(artifacts.read('globex', modelSha)).rejects.toMatchObject(damaged);
    await set(mine.id, { organisation_id: 'acme', sha256: '0'.repeat(64) });
    await expect(artifacts.read('acme', '0'.repeat(64))).rejects.toMatchObject(damaged);
    await set(other.id, { size_bytes: 5 });
    await expect(artifacts.read('acme', otherSha)).rejects.toMatchObject(damaged);
  });
});

async function* stream(...parts: Buffer[]): AsyncGenerator<Buffer> {
  yield* parts;
}

function files(): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function blobs(): string[] {
  return files().filter((file) => file.includes('/blobs/'));
}
