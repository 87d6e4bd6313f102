/**
 * Artifacts: models and data sets of an organisation, addressed by the SHA-256 of their content, encrypted at rest
 * under a data key each. The same content is stored once inside an organisation, and never shared between two.
 */
import { createHash, randomUUID } from 'node:crypto';
import { CommonwattError } from '../errors.ts';
import { decrypt, encrypt } from '../vault/streaming.ts';
import { keyContext, type Vault } from '../vault/vault.ts';
import type { BlobStore } from './blobs.ts';
import type { Db } from './db.ts';
import { slicesOf } from './hash.ts';

export interface StoredArtifact {
  /** Of the content, hex. */
  sha256: string;
  sizeBytes: number;
}

/** Bytes that are durable but belong to nobody yet: a restart before `record` removes them. */
export interface StagedArtifact extends StoredArtifact {
  /**
   * Gives them to the organisation. `db` is the transaction of what refers to them, so that both appear at once.
   * When the organisation has the same content already, that stays and the staged bytes go.
   */
  record(db: Db): Promise<void>;
}

export interface ArtifactStoreParts {
  db: Db;
  blobs: BlobStore;
  vault: Vault;
  now?: () => Date;
}

type Content = Buffer | AsyncIterable<Uint8Array>;

export class ArtifactStore {
  readonly #db: Db;
  readonly #blobs: BlobStore;
  readonly #vault: Vault;
  readonly #now: () => Date;

  constructor({ db, blobs, vault, now = () => new Date() }: ArtifactStoreParts) {
    this.#db = db;
    this.#blobs = blobs;
    this.#vault = vault;
    this.#now = now;
  }

  /** Stores and records; resolves when it survives a power cut. Throws PAYLOAD_TOO_LARGE, STORE_FAILED. */
  async put(organisationId: string, content: Content, maxBytes: number): Promise<StoredArtifact> {
    const staged = await this.stage(organisationId, content, maxBytes);
    await staged.record(this.#db);
    return { sha256: staged.sha256, sizeBytes: staged.sizeBytes };
  }

  /** Encrypts the bytes to a blob as they come. Throws PAYLOAD_TOO_LARGE, STORE_FAILED; then nothing is stored. */
  async stage(organisationId: string, content: Content, maxBytes: number): Promise<StagedArtifact> {
    const id = randomUUID();
    const context = contextOf(organisationId, id);
    const { key, wrapped, keyId } = await this.#vault.newDataKey(context);
    const measure = new Measure(maxBytes);
    await this.#blobs.put(id, encrypt(key, context, measure.passing(content)));
    key.fill(0);
    const { sha256, sizeBytes } = measure.result();
    const row = {
      id,
      organisation_id: organisationId,
      sha256,
      size_bytes: sizeBytes,
      wrapped_key: wrapped,
      key_id: keyId,
      created_at: this.#now().toISOString(),
    };
    const record = async (db: Db): Promise<void> => {
      const existing = await find(db, organisationId, sha256);
      if (!existing) {
        // When this fails the blob stays: a failed commit may yet be found done, and orphans go at the next start.
        await inDatabase(() => db.insertInto('artifacts').values(row).execute());
      } else if (await this.#blobs.exists(existing.id)) {
        await this.#blobs.delete(id);
      } else {
        // The bytes behind that row were lost: the new ones take their place.
        await inDatabase(() => db.updateTable('artifacts').set(row).where('id', '=', existing.id).execute());
      }
    };
    return { sha256, sizeBytes, record };
  }

  /**
   * The content, decrypted straight into memory and verified against its SHA-256. Throws NOT_FOUND when the
   * organisation has no such artifact, STORE_FAILED when its bytes are lost or damaged.
   */
  async read(organisationId: string, sha256: string): Promise<Buffer> {
    const row = await find(this.#db, organisationId, sha256);
    if (!row)
      throw new CommonwattError('NOT_FOUND', `there is no artifact ${sha256}`, {
        hint: 'import it first; the SHA-256 is that of the whole file',
      });
    const context = contextOf(organisationId, row.id);
    const key = await this.#vault.unwrap(row.wrapped_key, row.key_id, context);
    if (!(await this.#blobs.exists(row.id))) throw damaged(sha256, 'its bytes are missing');
    const content = Buffer.allocUnsafe(row.size_bytes);
    const hash = createHash('sha256');
    let filled = 0;
    for await (const chunk of decrypt(key, context, this.#blobs.open(row.id))) {
      if (filled + chunk.length > content.length) throw damaged(sha256, 'it is longer than was recorded');
      filled += chunk.copy(content, filled);
      hash.update(chunk);
    }
    key.fill(0);
    if (filled !== content.length) throw damaged(sha256, 'it is shorter than was recorded');
    if (hash.digest('hex') !== sha256) throw damaged(sha256, 'its content has another SHA-256');
    return content;
  }

  async has(organisationId: string, sha256: string): Promise<boolean> {
    return (await find(this.#db, organisationId, sha256)) !== undefined;
  }

  /** For what is of no use any more and nobody else refers to. Does nothing when there is none. */
  async remove(organisationId: string, sha256: string): Promise<void> {
    const row = await find(this.#db, organisationId, sha256);
    if (!row) return;
    // The row first: bytes without one are removed at the next start, a row without bytes would be damage.
    await inDatabase(() => this.#db.deleteFrom('artifacts').where('id', '=', row.id).execute());
    await this.#blobs.delete(row.id);
  }

  /** Removes blobs that no row refers to (interrupted imports). At start only, before anything is stored. */
  async removeOrphans(): Promise<number> {
    const rows = await this.#db.selectFrom('artifacts').select('id').execute();
    const known = new Set(rows.map(({ id }) => id));
    let removed = 0;
    for await (const name of this.#blobs.names())
      if (!known.has(name)) {
        await this.#blobs.delete(name);
        removed++;
      }
    return removed;
  }
}

/** Ids of the master keys that wrapped the data keys in this database; what `openVault` wants as `wrappedBy`. */
export async function wrappingKeys(db: Db): Promise<string[]> {
  const rows = await db.selectFrom('artifacts').select('key_id').distinct().execute();
  return rows.map(({ key_id }) => key_id);
}

/** Hashes and counts what passes. */
class Measure {
  readonly #hash = createHash('sha256');
  readonly #maxBytes: number;
  #sizeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  async *passing(content: Content): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of Buffer.isBuffer(content) ? slicesOf(content) : content) {
      this.#sizeBytes += chunk.length;
      if (this.#sizeBytes > this.#maxBytes)
        throw new CommonwattError('PAYLOAD_TOO_LARGE', `the artifact has more than ${this.#maxBytes} bytes`, {
          hint: 'send a smaller file, or raise maxArtifactBytes in the configuration',
        });
      this.#hash.update(chunk);
      yield chunk;
    }
  }

  result(): StoredArtifact {
    return { sha256: this.#hash.digest('hex'), sizeBytes: this.#sizeBytes };
  }
}

/** Binds key and bytes to one artifact of one organisation: swapped rows or blobs do not open. */
function contextOf(organisationId: string, id: string): string {
  return keyContext(organisationId, id);
}

function find(db: Db, organisationId: string, sha256: string) {
  return inDatabase(() =>
    db
      .selectFrom('artifacts')
      .selectAll()
      .where('organisation_id', '=', organisationId)
      .where('sha256', '=', sha256)
      .executeTakeFirst(),
  );
}

async function inDatabase<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    throw new CommonwattError('STORE_FAILED', 'the database did not take or give the record of an artifact', {
      hint: 'check the disk of the data folder, then try again',
      cause,
    });
  }
}

function damaged(sha256: string, what: string): CommonwattError {
  return new CommonwattError('STORE_FAILED', `artifact ${sha256} is damaged: ${what}`, {
    hint: 'restore the data folder (blobs, keys and database together) from a backup, or import the file again',
  });
}
