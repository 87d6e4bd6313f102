/**
 * Signed receipts: what an answer used, as a JWS that anyone verifies without asking us.
 *
 * In: an answer's footprint, or the id of a settled ledger entry. Out: a compact JWS (EdDSA over Ed25519, RFC 8037), and
 * the public keys as a JWKS. Promise: nothing is signed that nobody asked for, and a settled receipt says what the
 * ledger says.
 */
import { randomUUID } from 'node:crypto';
import { CommonwattError } from '../../errors.ts';
import { Remembered } from '../../gate/remembered.ts';
import type { Db } from '../../storage/db.ts';
import type { Vault } from '../../vault/vault.ts';
import { claimsOf, type ReceiptClaims, type ReceiptFacts, receiptType } from './claims.ts';
import { KeyRing, type PublicKey } from './keys.ts';
import { settledEntry } from './settled.ts';

export interface Receipt {
  receipt: string;
  claims: ReceiptClaims;
}

export interface PublicKeys {
  issuer: string;
  keys: PublicKey[];
}

/** What the doors need: signs for an answer, by the version that computed it. */
export interface AnswerReceipts {
  /** Also for callers who do not ask. */
  readonly always: boolean;
  sign(facts: Omit<ReceiptFacts, 'modelSha256'> & { versionId: string }): Promise<string>;
}

export interface ReceiptsOptions {
  db: Db;
  vault: Vault;
  always: boolean;
  /** Null: the installation's own id. */
  issuer: string | null;
  /** Books everything up to now. */
  settle(): Promise<void>;
  now?: () => Date;
}

/** Versions never change: so many digests are remembered. */
const maxDigests = 10_000;

export class Receipts implements AnswerReceipts {
  readonly always: boolean;
  readonly #options: ReceiptsOptions;
  readonly #keys: KeyRing;
  readonly #now: () => Date;
  readonly #digests = new Remembered<string>(maxDigests);

  private constructor(options: ReceiptsOptions, keys: KeyRing, now: () => Date) {
    this.#options = options;
    this.always = options.always;
    this.#keys = keys;
    this.#now = now;
  }

  /** Makes the first key where there is none. */
  static async open(options: ReceiptsOptions): Promise<Receipts> {
    const now = options.now ?? (() => new Date());
    return new Receipts(options, await KeyRing.open(options.db, options.vault, randomUUID, now()), now);
  }

  get issuer(): string {
    return this.#options.issuer ?? `urn:uuid:${this.#keys.installation}`;
  }

  publicKeys(): PublicKeys {
    return { issuer: this.issuer, keys: this.#keys.publicKeys };
  }

  async sign({ versionId, ...facts }: Parameters<AnswerReceipts['sign']>[0]): Promise<string> {
    const { receipt } = await this.#receipt({ ...facts, modelSha256: await this.#digest(versionId) });
    return receipt;
  }

  /**
   * For the settled entry of a request. Throws NOT_FOUND where the caller's organisation (null: the operator) has no
   * such entry.
   */
  async ofEntry(id: string, consumerId: string | null): Promise<Receipt> {
    const { db, settle } = this.#options;
    let facts = await settledEntry(db, id, consumerId);
    if (!facts) {
      await settle();
      facts = await settledEntry(db, id, consumerId);
    }
    if (!facts)
      throw new CommonwattError('NOT_FOUND', `there is no ledger entry ${JSON.stringify(id.slice(0, 100))}`, {
        hint: 'give the x-commonwatt-request-id of an answer to your own organisation; an ensemble has an entry for each step (ID.1, ID.2, …), and details of long ago are only kept as sums',
      });
    return this.#receipt(facts);
  }

  /** Returns the id of the key that signs from now on. */
  rotate(): Promise<string> {
    return this.#keys.rotate(this.#now());
  }

  async #receipt(facts: ReceiptFacts): Promise<Receipt> {
    const claims = claimsOf(facts, this.issuer, this.#now());
    const { kid, key } = this.#keys.signing;
    // Ten megabytes that a server which signs nothing does without.
    const { CompactSign } = await import('jose');
    const receipt = await new CompactSign(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ alg: 'EdDSA', kid, typ: receiptType })
      .sign(key);
    return { receipt, claims };
  }

  async #digest(versionId: string): Promise<string | null> {
    const known = this.#digests.get(versionId);
    if (known !== undefined) return known;
    const row = await this.#options.db
      .selectFrom('versions')
      .where('id', '=', versionId)
      .select('artifact_sha256')
      .executeTakeFirst();
    if (row) this.#digests.set(versionId, row.artifact_sha256);
    return row?.artifact_sha256 ?? null;
  }
}
