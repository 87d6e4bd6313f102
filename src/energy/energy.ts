/**
 * The energy room: measures joules, gives every joule to a request, a job, idle or overhead, and turns the
 * sums into carbon, water, embodied hardware, RUR and the difference between sharing and everyone their own.
 *
 * In: batches a runner computed, jobs that run, processes to watch. Out: a footprint for each answer at once
 * (provisional), settled ledger entries each interval, impact reports.
 * Promise: for every interval Σ entries = meter, to 1e-9 (conservation), for energy, carbon, water, embodied.
 */
import type { GramsCo2e, Joules, Litres } from './units.ts';
import type { UsageListener, Use } from './usage-counts.ts';
import type { ReadOptions, UsageReading } from './usage-reading.ts';

/** For whom and why something is computed. Made by the doors, carried down unchanged. */
export interface WorkContext {
  kind: 'inference' | 'explanation' | 'evaluation' | 'training';
  /** Ours, unique, sortable by time; never a client's `x-request-id`. */
  requestId: string;
  consumer: Party;
  keyId: string | null;
  /** The person whose key it is; absent or null: not known. */
  memberId?: string | null;
  /** The grant that allowed it, null when the consumer owns the model. */
  grantId: string | null;
  jobId: string | null;
  /** What limits hold for it until its use is booked. */
  place?: Reserved | undefined;
}

/** A place under limits: told of each use that has been counted, which it need not hold any more. */
export interface Reserved {
  booked(use: Use): void;
}

/** An organisation as it was at that moment: the name stays readable after the organisation is gone. */
export interface Party {
  organisationId: string;
  organisation: string;
}

/** The model version that computed. */
export interface ModelUse {
  modelId: string;
  /** `org/model` */
  model: string;
  version: number;
  owner: Party;
}

/** What one runner really computed in one go for several callers. */
export interface ComputedBatch {
  use: ModelUse;
  runnerPid: number;
  /** Wall time of the computation itself inside the runner, ns. */
  computeNs: number;
  /** Rows of each caller, in order; Σ rows = the batch. What became of it, where it is not that he was answered. */
  items: readonly { context: WorkContext; rows: number; outcome?: 'aborted' | 'failed' | undefined }[];
}

/** Requests answered by a computation that was made for another one. */
export interface AvoidedWork {
  use: ModelUse;
  /** computeNs: the computing that each would have needed, as the answer that was used again needed it. */
  items: readonly { context: WorkContext; rows: number; computeNs: number }[];
}

/** What one answer (or job) used. `null` always has its reason beside it in `unknown`. */
export interface Footprint {
  energyJ: Joules;
  /** The part caused by computing (dynamic) and the part of idle power carried for being ready. */
  dynamicJ: Joules;
  idleShareJ: Joules;
  carbonGCo2e: GramsCo2e;
  embodiedGCo2e: GramsCo2e;
  waterL: Litres | null;
  /** measured: a sensor; estimated: from CPU time; assumed: a constant. */
  quality: 'measured' | 'estimated' | 'assumed';
  /** e.g. `rapl`, `cpu-time`. */
  method: string;
  methodVersion: string;
  /** false at answer time; the ledger entry of the same id is settled when its interval closes. */
  settled: boolean;
  /** Field name → why it is null. */
  unknown: Readonly<Record<string, string>>;
}

/** Memory that a deployed replica holds, for the reserved share of idle power. */
export interface Reservation {
  use: ModelUse;
  runnerPid: number;
  memoryBytes: number;
  /** Its execution providers are not the processor alone; absent: they are. */
  mayAccelerate?: boolean;
}

export interface JobMeter {
  /** Joules so far (provisional until finish). */
  soFar(): Footprint;
  /**
   * Books the rest and returns the job's total. Called for finished, failed and cancelled jobs alike. `cpuSeconds`
   * is the CPU time of the process over its whole life, where it has told it (an exited process cannot be read).
   */
  finish(cpuSeconds?: number): Promise<Footprint>;
}

/** The single metering point below all protocols; fed by what runners computed, never by the socket. */
export interface Accountant {
  start(): Promise<void>;
  /** Settles the open interval, drains the spool, stops the meter. */
  stop(): Promise<void>;
  /**
   * Prices a finished batch and appends its ledger lines to the spool with one plain write, before the answers
   * leave. Returns one footprint for each item, in order. Synchronous and cheap: it is on the hot path.
   */
  recordBatch(batch: ComputedBatch): Footprint[];
  /**
   * Books requests for which nothing was computed: what they use themselves as any other's, and beside it, in a
   * column that no sum of used energy includes, what was avoided. Footprints are of what they use.
   */
  recordAvoided(work: AvoidedWork): Footprint[];
  /** Starts to attribute a child process (a trainer) to a job. */
  meterJob(job: JobWork): JobMeter;
  /**
   * Tells the meter what runner processes hold, and which there are besides (`runnerPids`: loading a model and its
   * warm-up cost energy, too); called whenever that changes.
   */
  setReservations(reservations: readonly Reservation[], runnerPids?: readonly number[]): void;
}

/** What limits count by: the ledger as it is, and every change of it. */
export interface UsageSource {
  read(options: ReadOptions): UsageReading;
  /** One listener; it hears of everything that is booked from now on. */
  listen(listener: UsageListener): void;
}

/** Of a job that came to nothing: it broke, or was cancelled. */
export interface JobEnd {
  jobId: string;
  outcome: 'failed' | 'aborted';
}

export interface JobWork {
  context: WorkContext;
  pid: number;
  /** Null for training (no model version exists yet). */
  use: ModelUse | null;
}
