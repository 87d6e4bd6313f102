/** gzip and deflate (zlib) of requests and answers, as Triton's clients ask for them; bounded in what comes out. */
import { constants, deflate, gunzip, gzip, inflate } from 'node:zlib';
import { CommonwattError } from '../../errors.ts';

/** The body as it was before it was compressed, at once when it was not. */
export function decompress(
  body: Buffer,
  encoding: string | undefined,
  maxBytes: number,
): Buffer | Promise<Buffer> {
  const name = encoding?.trim().toLowerCase();
  if (name === undefined || name === 'identity') return body;
  const expand = name === 'gzip' || name === 'x-gzip' ? gunzip : name === 'deflate' ? inflate : undefined;
  if (!expand)
    throw new CommonwattError(
      'UNSUPPORTED_MEDIA_TYPE',
      `content-encoding ${JSON.stringify(name.slice(0, 40))} is not read here`,
      { where: 'header.content-encoding', hint: 'use gzip, deflate, or none' },
    );
  return new Promise((resolve, reject) => {
    expand(body, { maxOutputLength: maxBytes }, (error, plain) => {
      if (error) reject(refusal(error, name, maxBytes));
      else resolve(plain);
    });
  });
}

function refusal(error: Error & { code?: string }, name: string, maxBytes: number): CommonwattError {
  if (error.code === 'ERR_BUFFER_TOO_LARGE')
    return new CommonwattError(
      'PAYLOAD_TOO_LARGE',
      `the body is larger than ${maxBytes} bytes once expanded`,
      {
        hint: 'send less at once',
      },
    );
  return new CommonwattError('INVALID_REQUEST', `the body is not valid ${name}`, { cause: error });
}

/** What fits into one packet gains nothing from being smaller. */
const worthwhileBytes = 1400;

export type Encoding = 'gzip' | 'deflate';

/** How an answer of this size leaves; undefined: as it is. */
export function encodingFor(acceptEncoding: string | undefined, bytes: number): Encoding | undefined {
  if (acceptEncoding === undefined || bytes < worthwhileBytes) return undefined;
  let best: Encoding | undefined;
  let bestWeight = 0;
  for (const entry of acceptEncoding.slice(0, 1000).toLowerCase().split(',')) {
    const [name = '', ...parameters] = entry.split(';').map((part) => part.trim());
    if (name !== 'gzip' && name !== 'deflate') continue;
    const weight = weightOf(parameters);
    if (weight > bestWeight || (weight > 0 && weight === bestWeight && name === 'gzip'))
      [best, bestWeight] = [name, weight];
  }
  return best;
}

function weightOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
}

/** Quickly rather than tightly: numbers compress little, and the time is energy. */
export function compress(body: string | Buffer, encoding: Encoding): Promise<Buffer> {
  const shrink = encoding === 'gzip' ? gzip : deflate;
  return new Promise((resolve, reject) => {
    shrink(body, { level: constants.Z_BEST_SPEED }, (error, packed) =>
      error ? reject(error) : resolve(packed),
    );
  });
}
