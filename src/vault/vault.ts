/**
 * The vault room: keys for encryption at rest.
 *
 * In: a context (what a key is for). Out: a fresh data key and its wrapped form, which may lie in the database.
 * Promise: without the master key nothing stored can be read, and a wrapped key opens in its own context only.
 * `LocalVault` keeps the master key in a file of the data folder; a key service is a sibling with this interface.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { chmod, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CommonwattError } from '../errors.ts';
import { makeFolder, onDisk, sweepTemporary, syncFolder, writeDurably } from '../storage/durable.ts';

interface DataKey {
  /** 32 bytes; never stored. */
  key: Buffer;
  /** The same key, encrypted by the master key, base64. */
  wrapped: string;
  /** Which master key wrapped it. */
  keyId: string;
}

export interface Vault {
  /** The id of the master key that wraps new data keys. */
  readonly keyId: string;
  newDataKey(context: string): Promise<DataKey>;
  /** Throws STORE_FAILED when the key was wrapped by another master key, for another context, or was changed. */
  unwrap(wrapped: string, keyId: string, context: string): Promise<Buffer>;
}

export interface VaultOptions {
  /** Ids of the master keys that wrapped what is stored. With any, no new master key is made in its place. */
  wrappedBy?: readonly string[];
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** A context from parts with their lengths (netstrings), so that no two different tuples give the same text. */
export function keyContext(...parts: readonly string[]): string {
  return parts.map((part) => `${Buffer.byteLength(part)}:${part},`).join('');
}

/**
 * Opens `keys/master.key` of the data folder, or makes it at the first start. Throws STORE_FAILED when it is
 * missing although something stored was wrapped by it, of a wrong size, unreadable, or not the key that wrapped
 * what is stored.
 */
export async function openVault(dataFolder: string, options: VaultOptions = {}): Promise<Vault> {
  const folder = join(dataFolder, 'keys');
  const file = join(folder, 'master.key');
  const what = 'the master key';
  await makeFolder(dataFolder, what);
  await makeFolder(folder, what);
  await onDisk(what, () => chmod(folder, 0o700));
  await onDisk(what, () => sweepTemporary(folder));
  const wrappedBy = options.wrappedBy ?? [];
  let key = await readKey(file);
  if (!key) {
    if (wrappedBy.length > 0)
      throw new CommonwattError(
        'STORE_FAILED',
        `the master key is missing, and what is stored was encrypted under master key ${wrappedBy.join(', ')}`,
        { where: 'keys/master.key', hint: 'restore keys/master.key from the backup of this data folder' },
      );
    key = randomBytes(KEY_BYTES);
    await writeDurably(file, [key], what);
  }
  // Also when it was there: whoever wrote it may have been killed between the rename and this.
  await syncFolder(folder, what);
  const vault = new LocalVault(key);
  if (wrappedBy.length > 0 && !wrappedBy.includes(vault.keyId)) throw wrongKey(vault.keyId, wrappedBy);
  return vault;
}

async function readKey(file: string): Promise<Buffer | undefined> {
  let key: Buffer;
  try {
    key = await readFile(file);
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) await chmod(file, 0o600);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new CommonwattError(
      'STORE_FAILED',
      `the master key cannot be read: ${cause instanceof Error && 'code' in cause ? cause.code : 'unknown error'}`,
      {
        where: 'keys/master.key',
        hint: 'let the user who runs the server own and read keys/master.key',
        cause,
      },
    );
  }
  if (key.length === KEY_BYTES) return key;
  throw new CommonwattError(
    'STORE_FAILED',
    `the master key has ${key.length} bytes where ${KEY_BYTES} are right`,
    {
      where: 'keys/master.key',
      hint: 'restore keys/master.key from the backup of this data folder',
    },
  );
}

/** Wrapped form: nonce (12 bytes) ‖ AES-256-GCM(master key, data key, associated data = context) ‖ tag (16 bytes). */
class LocalVault implements Vault {
  readonly keyId: string;
  readonly #master: Buffer;

  constructor(master: Buffer) {
    this.#master = master;
    this.keyId = createHmac('sha256', master).update('commonwatt master key id').digest('hex').slice(0, 16);
  }

  async newDataKey(context: string): Promise<DataKey> {
    const key = randomBytes(KEY_BYTES);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#master, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(context));
    const wrapped = Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
    return { key, wrapped: wrapped.toString('base64'), keyId: this.keyId };
  }

  async unwrap(wrapped: string, keyId: string, context: string): Promise<Buffer> {
    if (keyId !== this.keyId) throw wrongKey(this.keyId, [keyId]);
    const bytes = Buffer.from(wrapped, 'base64');
    if (bytes.length !== NONCE_BYTES + KEY_BYTES + TAG_BYTES) throw changedKey();
    const decipher = createDecipheriv('aes-256-gcm', this.#master, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(context));
    decipher.setAuthTag(bytes.subarray(NONCE_BYTES + KEY_BYTES));
    const key = decipher.update(bytes.subarray(NONCE_BYTES, NONCE_BYTES + KEY_BYTES));
    try {
      decipher.final();
    } catch (cause) {
      throw changedKey(cause);
    }
    return key;
  }
}

function wrongKey(have: string, want: readonly string[]): CommonwattError {
  return new CommonwattError(
    'STORE_FAILED',
    `the master key is ${have}, but what is stored was encrypted under master key ${want.join(', ')}`,
    {
      where: 'keys/master.key',
      hint: 'put the master key that belongs to this data folder back in its place',
    },
  );
}

function changedKey(cause?: unknown): CommonwattError {
  return new CommonwattError('STORE_FAILED', 'a stored data key was changed, or belongs to something else', {
    hint: 'restore the database and the blobs from the same backup',
    cause,
  });
}
