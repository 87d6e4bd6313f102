/** Signed receipts of settled ledger entries, and the public keys with which anyone verifies receipts. */
import { z } from 'zod';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';

const receiptSchema = z.object({
  receipt: z.string().describe('compact JWS (EdDSA over Ed25519); what counts'),
  claims: z
    .object({
      iss: z.string().describe('who signed'),
      sub: z.string().describe('id of the request'),
      iat: z.int().describe('when it was signed, s since 1970'),
      time: z.string().describe('when the request was answered'),
      consumer: z.string().nullable().describe('id of the organisation that asked'),
      model: z.string().nullable(),
      version: z.int().nullable(),
      modelDigest: z.string().nullable().describe('sha256:… of the artifact that was imported'),
      energyWh: z.number().nullable(),
      carbonGCo2e: z.number().nullable(),
      quality: z.enum(['measured', 'estimated', 'assumed']),
      method: z.string(),
      methodVersion: z.string(),
      settled: z.boolean(),
      unknown: z.record(z.string(), z.string()).describe('claim → why it is null'),
    })
    .describe('the same, to be read'),
});

const keysSchema = z.object({
  issuer: z.string(),
  keys: z.array(
    z.object({
      kty: z.literal('OKP'),
      crv: z.literal('Ed25519'),
      alg: z.literal('EdDSA'),
      use: z.literal('sig'),
      kid: z.string(),
      x: z.string(),
      commonwatt_from: z.string().describe('signs since'),
      commonwatt_until: z.string().nullable().describe('signed until; null: it signs now'),
    }),
  ),
});

export function receiptRoutes(app: PlatformApp, { receipts }: Pick<House, 'receipts'>): void {
  app.get(
    '/ledger/:id/receipt',
    {
      config: { access: 'key', errors: ['NOT_FOUND'] },
      schema: {
        tags: ['impact'],
        summary: 'A signed receipt of what a request used, settled',
        description: 'Of a request of your own organisation; the operator gets any.',
        params: z.object({ id: z.string() }),
        response: { 200: receiptSchema },
      },
    },
    (request) => {
      const { role, organisationId } = principalOf(request);
      return receipts.ofEntry(request.params.id, role === 'operator' ? null : organisationId);
    },
  );
  app.post(
    '/receipt-keys',
    {
      config: { access: 'operator' },
      schema: {
        tags: ['impact'],
        summary: 'Sign receipts with a new key from now on',
        description: 'Receipts of before stay valid: old public keys stay published.',
        response: { 201: z.object({ kid: z.string() }) },
      },
    },
    async (_request, reply) => reply.code(201).send({ kid: await receipts.rotate() }),
  );
}

export function receiptKeyRoutes(app: PlatformApp, { receipts }: Pick<House, 'receipts'>): void {
  app.get(
    '/.well-known/commonwatt-receipts.json',
    {
      config: { access: 'public' },
      schema: {
        tags: ['impact'],
        summary: 'Public keys that verify receipts (JWKS)',
        security: [],
        response: { 200: keysSchema },
      },
    },
    (_request, reply) => {
      reply.header('cache-control', 'public, max-age=300');
      return receipts.publicKeys();
    },
  );
}
