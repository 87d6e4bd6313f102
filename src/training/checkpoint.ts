/** Where a training was, as bytes: what the trainer reported, and the history up to there. */
import { deserialize, serialize } from 'node:v8';
import type { EpochResult, TrainState } from './protocol.ts';

interface Checkpoint {
  /** It goes on with nothing else, so that no two trainings ever share one. */
  jobId: string;
  datasetId: string;
  history: EpochResult[];
  state: TrainState;
}

/** Raised when a state of before is of no use any more. */
const version = 1;

export function checkpointBytes(checkpoint: Checkpoint): Buffer {
  return serialize({ version, ...checkpoint });
}

/** Null: there is none that fits; then the training begins at the beginning. */
export function readCheckpoint(
  bytes: Buffer | null,
  { jobId, datasetId }: Pick<Checkpoint, 'jobId' | 'datasetId'>,
): Checkpoint | null {
  if (!bytes) return null;
  const read = deserialize(bytes) as Checkpoint & { version: number };
  if (read.version !== version || read.jobId !== jobId || read.datasetId !== datasetId) return null;
  return { ...read, history: read.history.slice(0, read.state.epoch) };
}
