/** The shapes of docs/api.md that several resources share. Energy in Wh, carbon in gCO2e, water in L, times ISO 8601 UTC. */
import { z } from 'zod';

const figure = z.number().nullable();

export const impactSchema = z.object({
  energyWh: figure,
  dynamicWh: figure,
  idleShareWh: figure,
  carbonGCo2e: figure,
  waterL: figure,
  embodiedGCo2e: figure,
  quality: z.enum(['measured', 'estimated', 'assumed']),
  method: z.string(),
  methodVersion: z.string(),
  settled: z.boolean(),
  unknown: z.record(z.string(), z.string()).describe('why a figure is null'),
});

export const permissionSchema = z.enum(['infer', 'explain', 'download']);

export const limitSchema = z.strictObject({
  requests: z.int().min(1).max(Number.MAX_SAFE_INTEGER),
  period: z.enum(['hour', 'day', 'month']).describe('calendar period in UTC'),
});

export const grantSchema = z.object({
  id: z.string(),
  organisation: z.string().describe('who may use it'),
  permissions: z.array(permissionSchema),
  limit: limitSchema.nullable(),
  usedInPeriod: z.int().nullable().describe('null: without a limit nothing is counted here'),
  expiresAt: z.string().nullable(),
  createdAt: z.string(),
  revokedAt: z.string().nullable(),
});

const tensorSchema = z.object({
  name: z.string(),
  datatype: z.string(),
  shape: z.array(z.int()).describe('−1: any size'),
});

export const versionSchema = z.object({
  id: z.string(),
  number: z.int(),
  format: z.enum(['keras-h5', 'keras', 'tfjs-layers', 'onnx', 'pipeline', 'ensemble']),
  sha256: z.string(),
  onnxSha256: z.string(),
  sizeBytes: z.int(),
  inputs: z.array(tensorSchema),
  outputs: z.array(tensorSchema),
  createdAt: z.string(),
  createdBy: z.string().nullable().describe('null for other organisations, as are jobId and dataset'),
  jobId: z.string().nullable(),
  dataset: z.string().nullable(),
});

export const deploymentStateSchema = z
  .enum(['loading', 'ready', 'idle', 'failed', 'quarantined'])
  .describe('idle: not in memory for want of use; the next request brings it back');

export const aliasSchema = z.object({ alias: z.string(), version: z.int() });

export const modelSchema = z.object({
  id: z.string(),
  organisation: z.string(),
  name: z.string(),
  ref: z.string().describe('organisation/model'),
  flat: z.string().describe('organisation--model, for clients that cannot send a slash'),
  createdAt: z.string(),
  owned: z.boolean(),
  versions: z.array(versionSchema),
  aliases: z.array(aliasSchema),
  deployments: z.array(z.object({ id: z.string(), version: z.int(), state: deploymentStateSchema })),
  grant: grantSchema.nullable().describe("the grant by which the caller's organisation may use it"),
});

export const modelParams = z.object({
  model: z.string().describe('organisation--model, or organisation%2Fmodel'),
});

export const versionParams = modelParams.extend({
  number: z.coerce.number().int().min(1).max(999_999_999).describe('version number, from 1'),
});

export const idParams = z.object({ id: z.string().min(1).max(100) });

/** A time to come; any offset is understood. */
export const timeSchema = z.iso.datetime({ offset: true }).describe('ISO 8601, e.g. 2030-01-31T00:00:00Z');

export const splitNameSchema = z.enum(['train', 'validation', 'test']);

/** Bytes; the description is all that OpenAPI can say about them. */
export const bytesSchema = z.unknown().meta({ type: 'string', format: 'binary' });

export type ModelJson = z.output<typeof modelSchema>;
export type VersionJson = z.output<typeof versionSchema>;
export type GrantJson = z.output<typeof grantSchema>;
