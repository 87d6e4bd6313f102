/** How a version is served. Kept with the deployment; every field has a default, so that none need be given. */
import { z } from 'zod';

export const deploymentSettings = z.strictObject({
  /** Most rows computed in one go; undefined: the server's `maxBatchSize`. */
  maxBatchSize: z.number().int().min(1).max(4096).optional(),
  /** Sizes at which a batch leaves at once while others still may come; ascending. */
  preferredBatchSizes: z.array(z.number().int().min(1).max(4096)).max(16).default([]),
  /** How long the oldest request may wait for company while a runner is free, ms; adaptive: learned from arrivals. */
  maxQueueDelayMs: z.union([z.number().min(0).max(10_000), z.literal('adaptive')]).default('adaptive'),
  /** Requests that may wait; undefined: the server's `maxQueue`. */
  queueLimit: z.number().int().min(1).max(1_000_000).optional(),
  /** A request that has waited so long is refused and never computed, ms; null: it waits. */
  queueTimeoutMs: z.number().min(1).max(600_000).nullable().default(null),
  /** Levels of priority; 1: all requests are equal. */
  priorityLevels: z.number().int().min(1).max(16).default(1),
  /** Exact answers used again. `scope` everyone: also across organisations, when the model's owner says so. */
  cache: z
    .strictObject({
      enabled: z.boolean().default(true),
      maxAgeS: z.number().min(1).max(86_400).default(300),
      scope: z.enum(['organisation', 'everyone']).default('organisation'),
    })
    .prefault({}),
  /** Zero-filled batches of these sizes are computed before the version takes traffic. */
  warmUpBatchSizes: z.array(z.number().int().min(1).max(4096)).max(8).default([1]),
  /** Stays in memory whatever happens. */
  pinned: z.boolean().default(false),
  /** Unloaded after so long without a request, s; null: only when memory is needed. */
  idleUnloadS: z.number().min(1).max(31_536_000).nullable().default(600),
  /** Threads of one computation; undefined: as the host has, never more than its cores over all runners. */
  threads: z.number().int().min(1).max(256).optional(),
  /** Copies, in as many runners as there are. */
  replicas: z.number().int().min(1).max(64).default(1),
  /** Where onnxruntime computes, in order of preference; what it was not built with is refused at deployment. */
  executionProviders: z
    .array(z.enum(['cpu', 'cuda', 'tensorrt', 'coreml', 'dml']))
    .min(1)
    .max(4)
    .default(['cpu']),
});

export type DeploymentSettings = z.infer<typeof deploymentSettings>;
export type DeploymentSettingsInput = z.input<typeof deploymentSettings>;

export const defaultSettings: DeploymentSettings = deploymentSettings.parse({});
