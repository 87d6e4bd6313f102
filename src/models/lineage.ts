/** Lineage: which training job and data set an artifact came from, as far as the organisation's own jobs tell. */
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';

export interface Lineage {
  jobId: string | null;
  datasetId: string | null;
}

/** What a training job records of itself; other kinds of jobs record other things. */
const trainingSpec = z.object({ config: z.object({ dataset: z.string() }) });
const trainingResult = z.object({ artifactSha256: z.string() });

/**
 * From what the importer names, else from the newest job that succeeded with exactly these bytes. Throws NOT_FOUND
 * for a job or data set the organisation does not have, INVALID_REQUEST for a job that made other bytes.
 */
export async function findLineage(
  db: Db,
  organisationId: string,
  sha256: string,
  named: { jobId?: string; datasetId?: string },
): Promise<Lineage> {
  const job =
    named.jobId === undefined
      ? await jobThatMade(db, organisationId, sha256)
      : await namedJob(db, organisationId, sha256, named.jobId);
  const datasetId =
    named.datasetId === undefined
      ? await datasetOf(db, organisationId, job?.spec)
      : await namedDataset(db, organisationId, named.datasetId);
  return { jobId: job?.id ?? null, datasetId };
}

async function jobThatMade(db: Db, organisationId: string, sha256: string) {
  const candidates = await jobsOf(db, organisationId)
    .where('state', '=', 'succeeded')
    .where('result', 'like', `%${sha256}%`)
    .orderBy('created_at', 'desc')
    .execute();
  return candidates.find((job) => madeBy(job) === sha256);
}

async function namedJob(db: Db, organisationId: string, sha256: string, jobId: string) {
  const job = await jobsOf(db, organisationId).where('id', '=', jobId).executeTakeFirst();
  if (!job)
    throw new CommonwattError('NOT_FOUND', `job ${jobId.slice(0, 80)} does not exist`, {
      where: 'job',
      hint: 'list the jobs of your organisation, or leave the job out',
    });
  const made = madeBy(job);
  if (made !== undefined && made !== sha256)
    throw new CommonwattError('INVALID_REQUEST', `job ${jobId} made other bytes (SHA-256 ${made})`, {
      where: 'job',
      hint: "import the job's own artifact, or leave the job out",
    });
  return job;
}

async function datasetOf(db: Db, organisationId: string, spec: string | undefined): Promise<string | null> {
  const parsed = trainingSpec.safeParse(spec === undefined ? undefined : JSON.parse(spec));
  if (!parsed.success) return null;
  const row = await datasets(db, organisationId)
    .where('name', '=', parsed.data.config.dataset)
    .executeTakeFirst();
  return row?.id ?? null;
}

async function namedDataset(db: Db, organisationId: string, datasetId: string): Promise<string> {
  const row = await datasets(db, organisationId).where('id', '=', datasetId).executeTakeFirst();
  if (row) return row.id;
  throw new CommonwattError('NOT_FOUND', `data set ${datasetId.slice(0, 80)} does not exist`, {
    where: 'dataset',
    hint: 'list the data sets of your organisation',
  });
}

function madeBy(job: { result: string | null }): string | undefined {
  const parsed = trainingResult.safeParse(job.result === null ? undefined : JSON.parse(job.result));
  return parsed.success ? parsed.data.artifactSha256 : undefined;
}

function jobsOf(db: Db, organisationId: string) {
  return db.selectFrom('jobs').select(['id', 'spec', 'result']).where('organisation_id', '=', organisationId);
}

function datasets(db: Db, organisationId: string) {
  return db.selectFrom('datasets').select('id').where('organisation_id', '=', organisationId);
}
