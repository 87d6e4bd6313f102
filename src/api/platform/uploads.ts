/**
 * Bodies that are files. They reach the handler as a stream, so that who may send one is decided before a byte
 * of it is kept, and are collected into one buffer of their true size within a bound.
 */
import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { CommonwattError } from '../../errors.ts';
import type { PlatformApp } from './house.ts';

/** Makes this scope accept exactly one content type, unread. Everything else is answered with 415. */
export function acceptOnly(app: PlatformApp, contentType: string): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(contentType, (_request, payload, done) => done(null, payload));
}

/** Throws INVALID_REQUEST (no body, cut short) and PAYLOAD_TOO_LARGE, at the first byte that is too many. */
export async function collectBody(request: FastifyRequest, maxBytes: number): Promise<Buffer> {
  const { body } = request;
  if (!(body instanceof Readable)) throw empty();
  const length = request.headers['content-length'];
  const declared = Number(length ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const bytes = await (length === undefined
    ? collectUnknown(body, maxBytes)
    : collectDeclared(body, declared));
  if (bytes.length === 0) throw empty();
  return bytes;
}

async function collectDeclared(body: Readable, declared: number): Promise<Buffer> {
  // Pages of it become memory only when they are written: a false length costs nothing.
  const bytes = Buffer.allocUnsafeSlow(declared);
  let size = 0;
  for await (const chunk of chunks(body)) {
    if (size + chunk.length > declared) throw cutShort();
    bytes.set(chunk, size);
    size += chunk.length;
  }
  if (size !== declared) throw cutShort();
  return bytes;
}

async function collectUnknown(body: Readable, maxBytes: number): Promise<Buffer> {
  const collected: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks(body)) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    collected.push(chunk);
  }
  return Buffer.concat(collected, size);
}

async function* chunks(body: Readable): AsyncGenerator<Buffer> {
  // Not destroyed when we stop early: the socket still has to carry the answer.
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    if (chunk instanceof Buffer) yield chunk;
  }
}

function empty() {
  return new CommonwattError('INVALID_REQUEST', 'the request has no body', {
    where: 'body',
    hint: 'send the bytes of the file as the body, e.g. curl --data-binary @FILE',
  });
}

function tooLarge(maxBytes: number) {
  return new CommonwattError('PAYLOAD_TOO_LARGE', `the body is larger than ${maxBytes} bytes`, {
    where: 'body',
    hint: 'maxArtifactBytes of the configuration raises the limit',
  });
}

function cutShort() {
  return new CommonwattError('INVALID_REQUEST', 'the body is not as long as content-length says', {
    where: 'body',
    hint: 'send the file again',
  });
}
