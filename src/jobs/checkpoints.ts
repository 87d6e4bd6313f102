/**
 * Where jobs go on after an interruption: bytes of their own making, encrypted at rest like every artifact, the last
 * one of each job. Promise: the one before goes only when the next is durable.
 */
import type { ArtifactStore } from '../storage/artifacts.ts';
import type { Db } from '../storage/db.ts';

interface CheckpointsParts {
  db: Db;
  artifacts: Pick<ArtifactStore, 'stage' | 'read' | 'remove'>;
  log: { warn(fields: object, message: string): void };
}

interface Kept {
  sha256: string;
  atMs: number;
}

/** Of 20 million parameters three copies are 240 MB. */
const mostBytes = 1024 * 1024 * 1024;

export class Checkpoints {
  readonly #parts: CheckpointsParts;

  constructor(parts: CheckpointsParts) {
    this.#parts = parts;
  }

  /** Throws STORE_FAILED; then the one before is still there. */
  async save(job: { id: string; organisationId: string }, bytes: Buffer): Promise<void> {
    const { db, artifacts } = this.#parts;
    const before = await this.#kept(job.id);
    const staged = await artifacts.stage(job.organisationId, bytes, mostBytes);
    const checkpoint = JSON.stringify({ sha256: staged.sha256, atMs: Date.now() } satisfies Kept);
    await db.transaction().execute(async (trx) => {
      await staged.record(trx);
      await trx.updateTable('jobs').set({ checkpoint }).where('id', '=', job.id).execute();
    });
    if (before && before.sha256 !== staged.sha256) await artifacts.remove(job.organisationId, before.sha256);
  }

  /** Null: it begins at the beginning. One that cannot be read costs the work, not the job. */
  async load(job: { id: string; organisationId: string }): Promise<Buffer | null> {
    const kept = await this.#kept(job.id);
    if (!kept) return null;
    try {
      return await this.#parts.artifacts.read(job.organisationId, kept.sha256);
    } catch (error) {
      this.#parts.log.warn({ jobId: job.id, err: error }, 'a job begins anew: its checkpoint cannot be read');
      return null;
    }
  }

  /** Its job has ended. */
  async drop(job: { id: string; organisationId: string }): Promise<void> {
    const { db, artifacts } = this.#parts;
    const kept = await this.#kept(job.id);
    if (!kept) return;
    await db.updateTable('jobs').set({ checkpoint: null }).where('id', '=', job.id).execute();
    await artifacts.remove(job.organisationId, kept.sha256);
  }

  async #kept(id: string): Promise<Kept | null> {
    const row = await this.#parts.db
      .selectFrom('jobs')
      .select('checkpoint')
      .where('id', '=', id)
      .executeTakeFirst();
    return row?.checkpoint ? (JSON.parse(row.checkpoint) as Kept) : null;
  }
}
