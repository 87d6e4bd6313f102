/**
 * What a receipt says: which request to which model used how much, and how that is known. It names the consumer by the
 * id of its organisation, a random one that tells a stranger nothing, and never by name, member or key.
 */
import { CommonwattError } from '../../errors.ts';
import type { Footprint } from '../energy.ts';
import { impactJson } from '../footprint.ts';

export const receiptHeader = 'x-commonwatt-receipt';
/** What keeps a receipt from being taken for another kind of token, and the other way round (RFC 8725, 3.11). */
export const receiptType = 'commonwatt-receipt+jwt';

export interface ReceiptFacts {
  requestId: string;
  /** Organisation that asked. */
  consumerId: string | null;
  /** `org/model`; null: training, which has no model yet. */
  model: string | null;
  version: number | null;
  /** SHA-256 of what was imported, hex; null: the version is gone. */
  modelSha256: string | null;
  footprint: Footprint;
  answeredAt: Date;
}

/** The payload of the JWS. */
export interface ReceiptClaims {
  iss: string;
  /** The request. */
  sub: string;
  /** When it was signed, s. */
  iat: number;
  time: string;
  consumer: string | null;
  model: string | null;
  version: number | null;
  modelDigest: string | null;
  energyWh: number | null;
  carbonGCo2e: number | null;
  quality: Footprint['quality'];
  method: string;
  methodVersion: string;
  /** false: the figure of the answer; true: that of the ledger. */
  settled: boolean;
  /** Claim → why it is null. */
  unknown: Record<string, string>;
}

export function claimsOf(facts: ReceiptFacts, issuer: string, now: Date): ReceiptClaims {
  const { energyWh, carbonGCo2e, quality, method, methodVersion, settled, unknown } = impactJson(
    facts.footprint,
  );
  const why: Record<string, string> = {};
  if (energyWh === null) why.energyWh = unknown.energyWh ?? 'not known';
  if (carbonGCo2e === null) why.carbonGCo2e = unknown.carbonGCo2e ?? 'not known';
  if (facts.model === null) why.model = why.version = why.modelDigest = 'no model version computed it';
  else if (facts.modelSha256 === null) why.modelDigest = 'this version is not kept any more';
  return {
    iss: issuer,
    sub: facts.requestId,
    iat: Math.floor(now.getTime() / 1000),
    time: facts.answeredAt.toISOString(),
    consumer: facts.consumerId,
    model: facts.model,
    version: facts.version,
    modelDigest: facts.modelSha256 === null ? null : `sha256:${facts.modelSha256}`,
    energyWh,
    carbonGCo2e,
    quality,
    method,
    methodVersion,
    settled,
    unknown: why,
  };
}

/** Whether this answer is to carry one. Throws INVALID_REQUEST. */
export function wantsReceipt(header: string | string[] | undefined, always: boolean): boolean {
  if (header === undefined) return always;
  if (header === '1' || header === 'true') return true;
  if (header === '0' || header === 'false') return false;
  throw new CommonwattError('INVALID_REQUEST', `${receiptHeader} is neither 1 nor 0`, {
    where: `header.${receiptHeader}`,
    hint: '1 asks for a receipt',
  });
}
