/**
 * Keys that sign receipts: made once, and anew when the operator says so. Old public keys stay, since receipts do not
 * expire. A private key is the 32 random bytes of a data key of the vault (which is what Ed25519 wants: RFC 8032,
 * 5.1.5), so only its wrapped form rests in the database.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { Db } from '../../storage/db.ts';
import { keyContext, type Vault } from '../../vault/vault.ts';

const storedKey = z.object({
  kid: z.string(),
  x: z.string(),
  wrapped: z.string(),
  masterKeyId: z.string(),
  from: z.string(),
  until: z.string().nullable(),
});
const storedKeys = z.object({ installation: z.string(), keys: z.array(storedKey) });
type StoredKey = z.infer<typeof storedKey>;
type Stored = z.infer<typeof storedKeys>;

/** As the JWKS publishes it (RFC 8037), with the time in which it signed. */
export interface PublicKey {
  kty: 'OKP';
  crv: 'Ed25519';
  alg: 'EdDSA';
  use: 'sig';
  kid: string;
  x: string;
  commonwatt_from: string;
  /** null: it signs now. */
  commonwatt_until: string | null;
}

export interface SigningKey {
  kid: string;
  key: KeyObject;
}

const setting = 'receipt-keys';
const context = keyContext('receipt-key');
/** A PKCS #8 of Ed25519 is this before its 32 bytes (RFC 8410, 7). */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex');

export class KeyRing {
  readonly #db: Db;
  readonly #vault: Vault;
  #stored: Stored;
  #rotated: Promise<unknown> = Promise.resolve();
  signing: SigningKey;

  private constructor(db: Db, vault: Vault, stored: Stored, signing: SigningKey) {
    this.#db = db;
    this.#vault = vault;
    this.#stored = stored;
    this.signing = signing;
  }

  /** Throws STORE_FAILED when the master key is not the one that wrapped them. */
  static async open(db: Db, vault: Vault, newId: () => string, now: Date): Promise<KeyRing> {
    let stored = await readStored(db);
    if (!stored) {
      stored = { installation: newId(), keys: [await newKey(vault, now)] };
      await writeStored(db, stored);
    }
    const current = stored.keys.at(-1);
    if (!current) throw damaged();
    return new KeyRing(db, vault, stored, await unwrapped(vault, current));
  }

  /** Names this installation for ever. */
  get installation(): string {
    return this.#stored.installation;
  }

  get publicKeys(): PublicKey[] {
    return this.#stored.keys.map(({ kid, x, from, until }) => ({
      kty: 'OKP',
      crv: 'Ed25519',
      alg: 'EdDSA',
      use: 'sig',
      kid,
      x,
      commonwatt_from: from,
      commonwatt_until: until,
    }));
  }

  /** From now on another key signs. One rotation after another: none may overwrite the key of another. */
  rotate(now: Date): Promise<string> {
    const rotated = this.#rotated.then(() => this.#rotate(now));
    this.#rotated = rotated.catch(() => {});
    return rotated;
  }

  async #rotate(now: Date): Promise<string> {
    const next = await newKey(this.#vault, now);
    const keys = this.#stored.keys.map((key) => ({ ...key, until: key.until ?? now.toISOString() }));
    const stored = { ...this.#stored, keys: [...keys, next] };
    const signing = await unwrapped(this.#vault, next);
    await writeStored(this.#db, stored);
    this.#stored = stored;
    this.signing = signing;
    return next.kid;
  }
}

/** Master keys under which keys of receipts rest: with artifacts', what `openVault` wants as `wrappedBy`. */
export async function receiptWrappingKeys(db: Db): Promise<string[]> {
  const stored = await readStored(db);
  return [...new Set(stored?.keys.map(({ masterKeyId }) => masterKeyId))];
}

async function newKey(vault: Vault, now: Date): Promise<StoredKey> {
  const { key: seed, wrapped, keyId } = await vault.newDataKey(context);
  const { x } = createPublicKey(privateKey(seed)).export({ format: 'jwk' });
  if (x === undefined) throw damaged();
  const { calculateJwkThumbprint } = await import('jose');
  const kid = await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x });
  return { kid, x, wrapped, masterKeyId: keyId, from: now.toISOString(), until: null };
}

async function unwrapped(
  vault: Vault,
  { kid, wrapped, masterKeyId }: Pick<StoredKey, 'kid' | 'wrapped' | 'masterKeyId'>,
): Promise<SigningKey> {
  return { kid, key: privateKey(await vault.unwrap(wrapped, masterKeyId, context)) };
}

/** The bytes are not needed after this. */
function privateKey(seed: Buffer): KeyObject {
  const der = Buffer.concat([pkcs8, seed]);
  seed.fill(0);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  der.fill(0);
  return key;
}

async function readStored(db: Db): Promise<Stored | undefined> {
  const row = await db.selectFrom('settings').where('name', '=', setting).select('value').executeTakeFirst();
  if (!row) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(row.value);
  } catch (cause) {
    throw damaged(cause);
  }
  const parsed = storedKeys.safeParse(value);
  if (!parsed.success) throw damaged(parsed.error);
  return parsed.data;
}

async function writeStored(db: Db, stored: Stored): Promise<void> {
  const value = JSON.stringify(stored);
  await db
    .insertInto('settings')
    .values({ name: setting, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute();
}

function damaged(cause?: unknown): CommonwattError {
  return new CommonwattError('STORE_FAILED', 'the keys that sign receipts are damaged in the database', {
    where: `settings.${setting}`,
    hint: 'restore the database from a backup',
    cause,
  });
}
