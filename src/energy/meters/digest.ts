/** Sign-in by HTTP digest (RFC 7616), as Shelly plugs since generation 2 want it: the password itself is not sent. */
import { createHash, randomBytes } from 'node:crypto';

export interface DigestCall {
  user: string;
  password: string;
  method: string;
  /** Path and query. */
  uri: string;
}

const hashes: Record<string, string> = { MD5: 'md5', 'SHA-256': 'sha256' };

/** The `authorization` that answers a `www-authenticate`; null: it asks for something else. */
export function digestAnswer(
  challenge: string,
  { user, password, method, uri }: DigestCall,
  cnonce = randomBytes(16).toString('hex'),
): string | null {
  if (!/^digest /i.test(challenge)) return null;
  const told = new Map<string, string>();
  for (const [, name = '', quoted, bare] of challenge.matchAll(/([a-z]+)=(?:"([^"]*)"|([^\s,]+))/gi))
    told.set(name.toLowerCase(), quoted ?? bare ?? '');
  const algorithm = told.get('algorithm') ?? 'MD5';
  const hash = hashes[algorithm.toUpperCase()];
  const { realm, nonce } = { realm: told.get('realm'), nonce: told.get('nonce') };
  if (hash === undefined || realm === undefined || nonce === undefined) return null;
  if (!(told.get('qop') ?? '').split(/\s*,\s*/).includes('auth')) return null;
  const digest = (text: string) => createHash(hash).update(text).digest('hex');
  const nc = '00000001';
  const secret = digest(`${user}:${realm}:${password}`);
  const response = digest(`${secret}:${nonce}:${nc}:${cnonce}:auth:${digest(`${method}:${uri}`)}`);
  const opaque = told.get('opaque');
  const parts = [
    `username="${user}"`,
    `realm="${realm}"`,
    `uri="${uri}"`,
    `algorithm=${algorithm}`,
    `nonce="${nonce}"`,
    `nc=${nc}`,
    `cnonce="${cnonce}"`,
    'qop=auth',
    `response="${response}"`,
    ...(opaque === undefined ? [] : [`opaque="${opaque}"`]),
  ];
  return `Digest ${parts.join(', ')}`;
}
