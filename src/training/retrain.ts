/** Training again as a version was trained, on other data or from another seed. */
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import type { VersionRecord } from '../models/models.ts';
import { parseTrainConfig, type TrainConfig } from './training.ts';

export const retrainConfigSchema = z.strictObject({
  model: z.string().min(3).max(200).describe('organisation/model, :version or @alias may follow'),
  dataset: z.string().min(1).max(100).optional().describe('without: the one it was trained on'),
  epochs: z.int().min(1).max(10_000).optional(),
  seed: z.int().min(0).optional(),
});

export type RetrainConfig = z.infer<typeof retrainConfigSchema>;

/** Throws CONFLICT for a version that was not trained here. */
export async function retrainConfig(
  { model, ...changes }: RetrainConfig,
  version: VersionRecord,
  trainedBy: (jobId: string) => Promise<{ config: unknown }>,
): Promise<TrainConfig> {
  if (version.jobId === null)
    throw new CommonwattError('CONFLICT', `${model} was imported, and how it was trained is not known`, {
      where: 'config.model',
      hint: 'train it with `commonwatt train --config file.yaml`, then import the result with --job',
    });
  const { config } = await trainedBy(version.jobId);
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  return parseTrainConfig({ ...(config as object), ...Object.fromEntries(given) });
}
