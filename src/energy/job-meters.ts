/** Meters of running jobs: their processes' CPU time, interval by interval, booked to the job. */
import type { Amounts, JobUse } from './attribution.ts';
import type { Footprint, JobMeter, JobWork } from './energy.ts';
import { sumFootprints } from './footprint.ts';
import type { Host } from './host.ts';
import type { Pricer } from './pricing.ts';
import { JobProcess } from './processes.ts';
import type { IntervalRow } from './settlement.ts';
import { gramsCo2e, joules, litres } from './units.ts';

interface Tracked {
  process: JobProcess;
  booked: Footprint[];
  /** In intervals that are closed and not settled yet, CPU·s. */
  takenS: number;
  finished: boolean;
}

/** A job's part of an interval that has been closed, and where its settled figures go. */
export interface TakenJob {
  use: JobUse;
  book(amounts: Amounts, row: IntervalRow, unknown: Footprint['unknown']): void;
}

export interface JobMetersOptions {
  host: Host;
  settle(): Promise<void>;
  prices(): Pricer;
  /** How long the open interval has lasted, s. */
  openS(): number;
}

export class JobMeters {
  readonly #options: JobMetersOptions;
  readonly #jobs = new Set<Tracked>();

  constructor(options: JobMetersOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** `pid` null: what it computes is booked through batches, or cannot be read. */
  track({ context, pid, use }: Omit<JobWork, 'pid'> & { pid: number | null }): JobMeter {
    const { requestId, ...rest } = context;
    const job: Tracked = {
      process: new JobProcess(this.#options.host, pid, context.jobId ?? requestId, { ...rest, use }),
      booked: [],
      takenS: 0,
      finished: false,
    };
    this.#jobs.add(job);
    return {
      soFar: () => this.#soFar(job),
      finish: async (cpuSeconds) => {
        if (cpuSeconds !== undefined) job.process.told(cpuSeconds);
        job.process.read();
        job.finished = true;
        await this.#options.settle();
        if (!this.#jobs.has(job) && job.booked.length > 0) return sumFootprints(job.booked);
        return this.#soFar(job);
      },
    };
  }

  /** What each job used since the last call. A finished one is taken for the last time. */
  take(intervalId: string): TakenJob[] {
    const taken: TakenJob[] = [];
    for (const job of this.#jobs) {
      const use = job.process.take(intervalId);
      job.takenS += use.cpuS;
      taken.push({
        use,
        book: (amounts, row, unknown) => {
          job.takenS -= use.cpuS;
          book(job, amounts, row, unknown);
        },
      });
      if (job.finished) this.#jobs.delete(job);
    }
    return taken;
  }

  #soFar(job: Tracked): Footprint {
    job.process.read();
    const pricer = this.#options.prices();
    const { joulesPerCpuS, idleW } = pricer.prices;
    const cpuS = job.process.unbookedS + job.takenS;
    const share = job.process.memoryBytes / this.#options.host.memoryBytes;
    const open = pricer.footprint(cpuS, cpuS * joulesPerCpuS, share * idleW * this.#options.openS());
    return sumFootprints([open, ...job.booked]);
  }
}

/** An hour of intervals is thousands of footprints: they are summed as they come. */
const keptApart = 60;

function book(job: Tracked, amounts: Amounts, row: IntervalRow, unknown: Footprint['unknown']): void {
  job.booked.push({
    energyJ: joules(amounts.energyJ),
    dynamicJ: joules(amounts.energyJ - amounts.idleShareJ),
    idleShareJ: joules(amounts.idleShareJ),
    carbonGCo2e: gramsCo2e(amounts.carbonG),
    embodiedGCo2e: gramsCo2e(amounts.embodiedG),
    waterL: amounts.waterL === null ? null : litres(amounts.waterL),
    quality: row.quality,
    method: row.method,
    methodVersion: row.method_version,
    settled: true,
    unknown,
  });
  if (job.booked.length > keptApart) job.booked = [sumFootprints(job.booked)];
}
