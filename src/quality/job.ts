/** Evaluation as a job: the same as at once, later, when it may wait for cleaner hours. */
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import type { ModelAccess, PlatformGate, Principal } from '../gate/gate.ts';
import { askerOf } from '../jobs/asker.ts';
import type { JobHandler } from '../jobs/jobs.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import { parseModelRef } from '../models/names.ts';
import type { ServedVersion } from '../serve/serve.ts';
import type { Db } from '../storage/db.ts';
import { parseGate } from './gate.ts';
import type { Evaluations } from './quality.ts';

export const evaluateConfigSchema = z.strictObject({
  model: z.string().min(3).max(200).describe('organisation/model, :version or @alias may follow'),
  dataset: z.string().min(1).max(100),
  split: z.enum(['train', 'validation', 'test']).default('test'),
  gate: z.record(z.string(), z.unknown()).optional().describe('without: the default gate'),
});

/** The version is fixed when it is asked for. */
type Pinned = z.infer<typeof evaluateConfigSchema> & { version: number };

export interface EvaluateJobParts {
  db: Db;
  gate: Pick<PlatformGate, 'authorize' | 'hold'>;
  registry: {
    resolve(modelId: string, choice: { version?: number; alias?: string }): Promise<VersionRecord>;
  };
  deployments: {
    borrow(
      model: ModelRecord,
      version: VersionRecord,
    ): Promise<{ served: ServedVersion; giveBack(): Promise<void> }>;
  };
  evaluations: Pick<Evaluations, 'evaluate'>;
  datasets: { load(organisationId: string, name: string): Promise<{ split: Record<string, Uint32Array> }> };
}

/** Handles jobs of kind `evaluate`. They begin anew after an interruption, and so are never paused. */
export function evaluateHandler(parts: EvaluateJobParts): JobHandler {
  return {
    async check(organisationId, config, { keyId }) {
      const parsed = evaluateConfigSchema.safeParse(config);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        const where = ['config', ...(issue?.path ?? [])].join('.');
        throw new CommonwattError('INVALID_CONFIG', `${where}: ${issue?.message ?? 'not valid'}`, { where });
      }
      if (parsed.data.gate) parseGate(parsed.data.gate);
      await parts.datasets.load(organisationId, parsed.data.dataset);
      const asker = await askerOf(parts.db, { keyId, organisationId });
      const { version } = await versionOf(parts, asker, parsed.data.model);
      return { ...parsed.data, version: version.number } satisfies Pinned;
    },
    async work(organisationId, config) {
      const { dataset, split } = config as Pinned;
      return (await parts.datasets.load(organisationId, dataset)).split[split]?.length ?? 0;
    },
    async run(job, { signal, used }) {
      const config = job.config as Pinned;
      const asker = await askerOf(parts.db, job);
      const { access, version } = await versionOf(parts, asker, config.model, config.version);
      const { model } = access;
      const { place, release } = await parts.gate.hold(access);
      const borrowed = await parts.deployments.borrow(model, version).catch((error: unknown) => {
        release();
        throw error;
      });
      try {
        return await parts.evaluations.evaluate({
          principal: asker,
          place,
          served: borrowed.served,
          model: `${model.organisation}/${model.name}`,
          dataset: config.dataset,
          split: config.split,
          gate: config.gate && parseGate(config.gate),
          jobId: job.id,
          used,
          signal,
        });
      } finally {
        // What was computed is booked, and nothing is held for the rest.
        release();
        await borrowed.giveBack();
      }
    },
  };
}

async function versionOf(
  { gate, registry }: Pick<EvaluateJobParts, 'gate' | 'registry'>,
  asker: Principal,
  name: string,
  pinned?: number,
): Promise<{ access: ModelAccess; version: VersionRecord }> {
  const { organisation, name: model, version, alias } = parseModelRef(name);
  const access = await gate.authorize(asker, 'manage', organisation, model);
  const wanted = pinned ?? version;
  const choice = {
    ...(wanted === undefined ? {} : { version: wanted }),
    ...(alias && !pinned ? { alias } : {}),
  };
  return { access, version: await registry.resolve(access.model.id, choice) };
}
