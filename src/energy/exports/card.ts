/** The impact card of a model's version: what its training used, what an inference uses, and how that is known. */
import type { Db } from '../../storage/db.ts';
import { type Percentiles, percentilesOf, type WireBurden, wireBurden } from '../report-groups.ts';
import { countsOf, isRequest, type Reading, readIntervals, readLedger, sumsOf } from '../report-queries.ts';
import type { Head } from '../store/heads.ts';
import { Histogram } from '../store/histogram.ts';
import { readIntervalRows } from '../store/lines.ts';
import { hourMs } from '../store/tally.ts';
import { mergeHistograms } from '../store/window.ts';

export interface CardSubject {
  modelId: string;
  /** `org/model` */
  model: string;
  owner: string;
  version: number;
  versionId: string;
  sha256: string;
  createdAt: string;
  /** The job that trained it, where there was one. */
  job: { id: string; startedMs: number; finishedMs: number } | null;
  /** Whoever may only use a model is not told how much others do. */
  showsUse: boolean;
}

interface KnownAs {
  quality: string;
  method: string;
  methodVersion: string;
  zone: string;
}

export interface Training extends KnownAs {
  jobId: string | null;
  used: WireBurden;
  /** What was reserved for it; null: not known. */
  allocated: WireBurden | null;
  waterL: number | null;
  cpuSeconds: number;
  hardware: string;
  /** Mean over the energy of its time, gCO2e/kWh. */
  gPerKwh: number | null;
}

export interface InferenceUse extends KnownAs {
  from: string;
  to: string;
  requests: number | null;
  rows: number | null;
  /** Means of single inferences, as they were used; and with all that is reserved for the model. */
  perRequest: WireBurden | null;
  perRequestAllocated: WireBurden | null;
  whPerRequest: Percentiles | null;
  gPerKwh: number | null;
  /** Is the energy per request to be trusted yet? Null: no request lately. */
  settled: boolean | null;
}

export interface ImpactCard {
  model: string;
  owner: string;
  version: number;
  versionId: string;
  sha256: string;
  createdAt: string;
  asOf: string;
  training: Training | null;
  inference: InferenceUse | null;
  unknown: Record<string, string>;
  notes: string[];
}

export async function impactCard(
  db: Db,
  subject: CardSubject,
  { nowMs, settled }: { nowMs: number; settled: boolean | null },
): Promise<ImpactCard> {
  const { model, owner, version, versionId, sha256, createdAt } = subject;
  const training = await trainingOf(db, subject);
  const inference = await inferenceOf(db, subject, nowMs, settled);
  const unknown: Record<string, string> = {};
  if (!training)
    unknown.training = subject.job
      ? 'nothing was metered for the job that trained it'
      : 'it was imported: what its training used was never metered here';
  else if (training.waterL === null) unknown['training.waterL'] = 'the water of its electricity is not known';
  if (!inference) unknown.inference = 'no request has been computed by this version yet';
  else if (!subject.showsUse) unknown['inference.requests'] = 'how often it is used is told to its owner';
  if (inference && inference.whPerRequest === null)
    unknown['inference.whPerRequest'] = 'not all of its inferences were counted by size';
  if (inference && inference.perRequestAllocated === null)
    unknown['inference.perRequestAllocated'] = 'what is reserved is not known of all of it';
  return {
    model,
    owner,
    version,
    versionId,
    sha256,
    createdAt,
    asOf: new Date(nowMs).toISOString(),
    training,
    inference,
    unknown,
    notes: [
      'carbon is location-based; no certificates or offsets are counted; PUE is included once',
      'embodied carbon of the hardware stands beside the carbon of electricity and is in no sum with it',
    ],
  };
}

async function trainingOf(db: Db, { job }: CardSubject): Promise<Training | null> {
  if (!job) return null;
  const window = { fromMs: job.startedMs, toMs: job.finishedMs + 1 };
  // An interval belongs to where it starts; the one that the job began in may have started long before.
  const reading = await readLedger(db, { ...window, fromMs: hourBefore(job.startedMs) });
  const isOfJob = (head: Head) => head.kind === 'training' && head.job_id === job.id;
  const sums = sumsOf(reading, isOfJob);
  if (sums.energyJ === 0) return null;
  const intervals = await readIntervals(db, await readLedger(db, window));
  return {
    jobId: job.id,
    used: wireBurden(sums),
    allocated: sums.allocated && wireBurden(sums.allocated),
    waterL: sums.waterL,
    cpuSeconds: sums.cpuS,
    hardware: await hardwareOf(db, window),
    gPerKwh: intervals.gPerKwh,
    ...knownAs(intervals),
  };
}

async function inferenceOf(
  db: Db,
  { modelId, version, createdAt, showsUse }: CardSubject,
  nowMs: number,
  settled: boolean | null,
): Promise<InferenceUse | null> {
  const reading = await readLedger(db, { fromMs: hourBefore(Date.parse(createdAt)), toMs: nowMs + 1 });
  const isOfVersion = (head: Head) => head.model_id === modelId && head.version === version;
  const isInference = (head: Head) => isOfVersion(head) && head.kind === 'inference';
  const inferences = countsOf(reading, isInference);
  if (inferences.requests === 0) return null;
  const histogram = await histogramOf(db, reading, isInference);
  const used = sumsOf(reading, isInference);
  const reserved = sumsOf(reading, isOfVersion).allocated;
  const requests = countsOf(reading, (head) => isOfVersion(head) && isRequest(head.kind)).requests;
  const intervals = await readIntervals(db, reading);
  return {
    from: createdAt,
    to: new Date(nowMs).toISOString(),
    requests: showsUse ? inferences.requests : null,
    rows: showsUse ? inferences.rows : null,
    perRequest: each(wireBurden(used), inferences.requests),
    perRequestAllocated: reserved && each(wireBurden(reserved), requests),
    whPerRequest: histogram.total === inferences.requests ? percentilesOf(histogram) : null,
    gPerKwh: intervals.gPerKwh,
    settled,
    ...knownAs(intervals),
  };
}

async function histogramOf(db: Db, reading: Reading, chosen: (head: Head) => boolean): Promise<Histogram> {
  const histogram = new Histogram();
  await mergeHistograms(db, reading.sums, (id) => {
    const head = reading.heads.get(id);
    return head && chosen(head) ? histogram : undefined;
  });
  return histogram;
}

const hourBefore = (ms: number) => (Math.floor(ms / hourMs) - 1) * hourMs;

function each({ energyWh, carbonGCo2e, embodiedGCo2e }: WireBurden, requests: number): WireBurden {
  return {
    energyWh: energyWh / requests,
    carbonGCo2e: carbonGCo2e / requests,
    embodiedGCo2e: embodiedGCo2e / requests,
  };
}

/** Of the intervals of the time, which all models and jobs share. */
function knownAs(intervals: Awaited<ReturnType<typeof readIntervals>>): KnownAs {
  return {
    quality: intervals.qualities.join(' + '),
    method: intervals.methods.join(' + '),
    methodVersion: intervals.methodVersions.join(' + '),
    zone: intervals.zones.join(' + ') || 'unknown',
  };
}

/** What the first interval of the time says of the machine. */
async function hardwareOf(db: Db, window: { fromMs: number; toMs: number }): Promise<string> {
  const { intervals } = await readIntervalRows(db, window, 1);
  const basis = JSON.parse(intervals[0]?.basis ?? '{}') as { cpuCount?: unknown; memoryBytes?: unknown };
  const { cpuCount, memoryBytes } = basis;
  if (typeof cpuCount !== 'number' || typeof memoryBytes !== 'number') return 'unknown';
  return `${cpuCount} CPUs, ${(memoryBytes / 1e9).toPrecision(3)} GB of memory`;
}
