/** How a version is served. What is not given is the server's default, so that none need be given. */
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';

const size = z.number().int().min(1).max(4096);

const cacheFields = {
  enabled: z.boolean(),
  maxAgeS: z.number().min(1).max(86_400),
  scope: z.enum(['organisation', 'everyone']),
};

/** A version to answer in dirty hours, named in full: which one an alias means may change. */
const variant = z.strictObject({
  use: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]*\/[a-z0-9][a-z0-9._-]*:[1-9]\d{0,8}$/, 'write organisation/model:version'),
  aboveGPerKwh: z.number().min(0).max(3000),
});

const fields = {
  /** Sizes at which a batch leaves at once while others still may come; ascending. */
  preferredBatchSizes: z.array(size).max(16),
  /** How long the oldest request may wait for company while a runner is free, ms; adaptive: learned from arrivals. */
  maxQueueDelayMs: z.union([z.number().min(0).max(10_000), z.literal('adaptive')]),
  /** A request that has waited so long is refused and never computed, ms; null: it waits. */
  queueTimeoutMs: z.number().min(1).max(600_000).nullable(),
  /** Levels of priority; 1: all requests are equal. */
  priorityLevels: z.number().int().min(1).max(16),
  /** Zero-filled batches of these sizes are computed before the version takes traffic. */
  warmUpBatchSizes: z.array(size).max(8),
  /** Stays in memory whatever happens. */
  pinned: z.boolean(),
  /** Unloaded after so long without a request, s; null: only when memory is needed. */
  idleUnloadS: z.number().min(1).max(31_536_000).nullable(),
  /** Copies, in as many runners as there are. */
  replicas: z.number().int().min(1).max(64),
  /** Where onnxruntime computes, in order of preference; what it was not built with is refused at deployment. */
  executionProviders: z
    .array(z.enum(['cpu', 'cuda', 'tensorrt', 'webgpu', 'coreml', 'dml']))
    .min(1)
    .max(4),
  /** Cheaper versions of the same signature that answer while the grid is dirtier than their limit, gCO2e/kWh. */
  greener: z.array(variant).max(8),
};

const optionalFields = {
  /** Most rows computed in one go; undefined: the server's `maxBatchSize`. */
  maxBatchSize: size.optional(),
  /** Requests that may wait; undefined: the server's `maxQueue`. */
  queueLimit: z.number().int().min(1).max(1_000_000).optional(),
  /** Consolidation leaves it so many copies; undefined: one. */
  minReplicas: z.number().int().min(1).max(64).optional(),
  /** 95 % of answers come sooner, ms; consolidation keeps it. Undefined: half as much again as it is now. */
  latencyObjectiveMs: z.number().positive().max(600_000).optional(),
  /** Threads of one computation; undefined: as the host has, never more than its cores over all runners. */
  threads: z.number().int().min(1).max(256).optional(),
};

export const deploymentSettings = z.strictObject({
  ...optionalFields,
  ...fields,
  /** Exact answers used again. `scope` everyone: also across organisations, when the model's owner says so. */
  cache: z.strictObject(cacheFields),
});
export type DeploymentSettings = z.infer<typeof deploymentSettings>;

/** As they are given with a deployment or in the configuration, and kept: only what somebody chose. */
export const givenSettings = z
  .strictObject({ ...optionalFields, ...fields, cache: z.strictObject(cacheFields).partial() })
  .partial();
export type GivenSettings = z.infer<typeof givenSettings>;

export const defaultSettings: DeploymentSettings = {
  preferredBatchSizes: [],
  maxQueueDelayMs: 'adaptive',
  queueTimeoutMs: null,
  priorityLevels: 1,
  cache: { enabled: true, maxAgeS: 300, scope: 'organisation' },
  warmUpBatchSizes: [1],
  pinned: false,
  idleUnloadS: 600,
  replicas: 1,
  executionProviders: ['cpu'],
  greener: [],
};

/** Later ones win; of the cache, field by field. */
export function mergeSettings(earlier: GivenSettings, later: GivenSettings): GivenSettings {
  const cache = { ...earlier.cache, ...later.cache };
  return { ...earlier, ...later, ...(Object.keys(cache).length > 0 ? { cache } : {}) };
}

/** What holds for a deployment. Throws INVALID_REQUEST naming the field that is wrong beside the others. */
export function effectiveSettings(
  given: GivenSettings,
  server: { defaults: GivenSettings; maxBatchSize: number },
): DeploymentSettings {
  const settings = deploymentSettings.parse(
    mergeSettings(mergeSettings(defaultSettings, server.defaults), given),
  );
  const most = settings.maxBatchSize ?? server.maxBatchSize;
  for (const field of ['preferredBatchSizes', 'warmUpBatchSizes'] as const) {
    const wrong = given[field]?.find((rows) => rows > most);
    if (wrong !== undefined)
      throw refused(field, `${wrong} is more than the ${most} rows that are computed in one go`);
  }
  const sizes = settings.preferredBatchSizes;
  if (sizes.some((rows, index) => rows <= (sizes[index - 1] ?? 0)))
    throw refused('preferredBatchSizes', 'the sizes must ascend');
  return settings;
}

/** As kept in the database. Throws INVALID_REQUEST when it is not what this version of the product writes. */
export function readSettings(json: string): GivenSettings {
  const parsed = givenSettings.safeParse(JSON.parse(json));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw refused(issue?.path.join('.') ?? '', issue?.message ?? 'not valid');
}

function refused(field: string, why: string): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', `setting ${field}: ${why}`, {
    where: `settings.${field}`,
    hint: 'docs/serving.md lists the settings of a deployment',
  });
}
