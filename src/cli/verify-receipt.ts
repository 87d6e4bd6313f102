/**
 * Is a receipt what its issuer signed? Checked with nothing but the receipt, the issuer's published keys and a clock, so
 * that whoever is handed a receipt needs neither the server nor its trust.
 */
import { isDeepStrictEqual } from 'node:util';
import { compactVerify, decodeProtectedHeader, errors, importJWK } from 'jose';
import { z } from 'zod';

const time = z.iso.datetime();

const publicKey = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  kid: z.string(),
  x: z.string(),
  commonwatt_from: time.optional(),
  commonwatt_until: time.nullish(),
});
export const publicKeysSchema = z.object({ keys: z.array(publicKey).min(1) });
export type PublicKeys = z.infer<typeof publicKeysSchema>;
type PublicKey = z.infer<typeof publicKey>;

const claimsSchema = z.object({
  iss: z.string(),
  sub: z.string(),
  iat: z.int(),
  time,
  consumer: z.string().nullable(),
  model: z.string().nullable(),
  version: z.int().nullable(),
  modelDigest: z.string().nullable(),
  energyWh: z.number().nullable(),
  carbonGCo2e: z.number().nullable(),
  quality: z.enum(['measured', 'estimated', 'assumed']),
  method: z.string(),
  methodVersion: z.string(),
  settled: z.boolean(),
  unknown: z.record(z.string(), z.string()),
});
export type Claims = z.infer<typeof claimsSchema>;

export type Verdict =
  | { valid: true; kid: string; claims: Claims }
  | { valid: false; failure: Failure; detail: string };
type Failure =
  | 'malformed'
  | 'wrong algorithm'
  | 'unknown key'
  | 'bad signature'
  | 'altered claim'
  | 'wrong time';

const receiptType = 'commonwatt-receipt+jwt';
/** By so much may two clocks differ, s. */
const skewS = 60;

/** A compact JWS, or the JSON in which a server hands one out beside its claims. */
export async function verifyReceipt(text: string, keys: PublicKeys, nowMs: number): Promise<Verdict> {
  const given = parseGiven(text.trim());
  if (!given) return failed('malformed', 'this is neither a compact JWS nor JSON with a receipt in it');
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(given.receipt);
  } catch {
    return failed('malformed', 'its header cannot be read: it was cut or is no receipt');
  }
  if (header.alg !== 'EdDSA')
    return failed('wrong algorithm', `it says ${show(header.alg)}; receipts are signed with EdDSA only`);
  if (header.typ !== receiptType)
    return failed('malformed', `it is a ${show(header.typ)}, not a ${receiptType}`);
  const key = keys.keys.find(({ kid }) => kid === header.kid);
  if (!key)
    return failed(
      'unknown key',
      `it was signed with ${show(header.kid)}, which is not among ${keys.keys.map(({ kid }) => kid).join(', ')}`,
    );
  const claims = await signedClaims(given.receipt, key);
  if (typeof claims === 'string')
    return claims === 'bad signature'
      ? failed(claims, `it was altered after key ${key.kid} signed it, or that key never did`)
      : failed('malformed', claims);
  const wrongTime = timeProblem(claims, key, nowMs / 1000);
  if (wrongTime) return failed('wrong time', wrongTime);
  const altered = given.claims && alteration(given.claims, claims);
  if (altered) return failed('altered claim', altered);
  return { valid: true, kid: key.kid, claims };
}

interface Given {
  receipt: string;
  claims?: Record<string, unknown> | undefined;
}

const givenSchema = z.object({ receipt: z.string(), claims: z.record(z.string(), z.unknown()).optional() });

function parseGiven(text: string): Given | undefined {
  if (looksSigned(text)) return { receipt: text };
  try {
    const given = givenSchema.parse(JSON.parse(text));
    return looksSigned(given.receipt) ? given : undefined;
  } catch {
    return undefined;
  }
}

export function looksSigned(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
}

/** The claims, or why there are none. */
async function signedClaims(receipt: string, { x }: PublicKey): Promise<Claims | string> {
  let payload: Uint8Array;
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x }, 'EdDSA');
    ({ payload } = await compactVerify(receipt, key, { algorithms: ['EdDSA'] }));
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad signature';
    return `it cannot be verified: ${error instanceof Error ? error.message : String(error)}`;
  }
  try {
    return claimsSchema.parse(JSON.parse(Buffer.from(payload).toString()));
  } catch (error) {
    const [issue] = error instanceof z.ZodError ? error.issues : [];
    return `what was signed is no receipt${issue ? `: ${issue.path.join('.')}: ${issue.message}` : ''}`;
  }
}

function timeProblem({ iat, time }: Claims, key: PublicKey, nowS: number): string | undefined {
  const signed = new Date(iat * 1000).toISOString();
  if (iat > nowS + skewS)
    return `it says that it was signed at ${signed}, ${Math.round(iat - nowS)} s ahead of this clock`;
  if (secondsOf(time) > iat + skewS) return `the request (${time}) comes after the signature (${signed})`;
  const { kid, commonwatt_from: from, commonwatt_until: until } = key;
  if (from && iat < secondsOf(from) - skewS)
    return `it was signed at ${signed}, before key ${kid} was there (${from})`;
  if (until && iat > secondsOf(until) + skewS)
    return `it was signed at ${signed}, after key ${kid} was replaced (${until})`;
  return undefined;
}

const secondsOf = (iso: string) => Date.parse(iso) / 1000;

/** Where what stands beside the receipt differs from what was signed. */
function alteration(beside: Record<string, unknown>, signed: Claims): string | undefined {
  const names = new Set([...Object.keys(beside), ...Object.keys(signed)]);
  for (const name of names) {
    const was = signed[name as keyof Claims];
    if (!isDeepStrictEqual(beside[name], was))
      return `${name} reads ${show(beside[name])}; signed was ${show(was)}`;
  }
  return undefined;
}

function failed(failure: Failure, detail: string): Verdict {
  return { valid: false, failure, detail };
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 100);
}
