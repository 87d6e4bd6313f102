/**
 * The ledger: spools what every batch used before its answers leave, and each interval (a second while there is
 * work, up to half a minute while there is none) reads the meter, gives its joules to their owners and settles
 * them in the database in one transaction.
 */
import { randomBytes } from 'node:crypto';
import { CommonwattError } from '../errors.ts';
import { useKey } from './allocation.ts';
import type { LineHead } from './attribution.ts';
import { Backlog, type Closed } from './backlog.ts';
import { basisAt, meteredInterval, type Place, type Sample, sampleOf, thisNode } from './closing.ts';
import type {
  Accountant,
  AvoidedWork,
  ComputedBatch,
  Footprint,
  JobMeter,
  JobWork,
  Reservation,
} from './energy.ts';
import { JobMeters } from './job-meters.ts';
import type { LedgerOptions } from './ledger-options.ts';
import { LedgerWorker } from './ledger-worker.ts';
import { batchText, groupText, HeadBook, pico, requestOf, reusedText, startText } from './lines.ts';
import { IdlePower } from './meters/idle-power.ts';
import { OtherWorkMeter } from './other-work.ts';
import { plausibleBytes, plausibleNs } from './plausible.ts';
import { firstPrices, Pricer } from './pricing.ts';
import { type Helper, Processes } from './processes.ts';
import { checkWindow, type ImpactReport, type ReportHost, type ReportQuery } from './reports.ts';
import { Spool } from './spool.ts';
import { type RunnersAtWork, Unbooked } from './unbooked.ts';
import type { Settlement } from './unsettled.ts';
import { corrections, UsageCounts, type UsageListener, useOf } from './usage-counts.ts';
import { type ReadOptions, readUsage, type UsageReading } from './usage-reading.ts';

const quietIntervalMs = 30_000;
const tickMs = 1000;
/** An interval waits so long for the end of a computation that is under way. */
const longestWaitMs = 10_000;
/** Beyond this many lines that the database does not take, nothing more is acknowledged. */
const maxWaiting = 4_000_000;
const methodVersion = '2';

export class Ledger implements Accountant {
  readonly #options: LedgerOptions;
  readonly #spool: Spool;
  readonly #worker: LedgerWorker;
  readonly #backlog: Backlog;
  readonly #processes: Processes;
  readonly #pricer: Pricer;
  readonly #idle: IdlePower;
  readonly #boot: string;
  readonly #heads = new HeadBook();
  readonly #jobs: JobMeters;
  readonly #otherWork = new OtherWorkMeter();
  readonly #unbooked = new Unbooked();
  readonly #place: Place;
  #reservations: readonly Reservation[] = [];
  /** Runner processes that there are; one that holds nothing now loads models and computes their warm-up all the same. */
  #runnerPids: ReadonlySet<number> = new Set();
  /** In the open interval, those that are unloaded meanwhile, too. */
  #acceleratorUsers = new Set<string>();
  #sequence = 0;
  #id = '';
  #startMs = 0;
  #openedAt = 0;
  /** It is to be closed as soon as what takes long has come to its end. */
  #isDue = false;
  /** Callers of the open interval. */
  #items = 0;
  #counts = new UsageCounts();
  #listener: UsageListener | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#boot = `${options.clock.now().toString(36)}${randomBytes(3).toString('hex')}`;
    this.#place = { basis: options.basis, grid: options.grid, node: options.node ?? thisNode() };
    this.#spool = new Spool(options.dataFolder, options.disk);
    const { db, log, clock, loopUse } = options;
    this.#worker = new LedgerWorker(db, log, options.retention);
    this.#backlog = new Backlog({
      worker: this.#worker,
      log,
      clock,
      spool: this.#spool,
      settled: (closed, settlement) => this.#settled(closed, settlement),
      ...(loopUse ? { loopUse } : {}),
    });
    this.#processes = new Processes(options.host);
    this.#jobs = new JobMeters({
      host: options.host,
      settle: () => this.settle(),
      prices: () => this.#pricer,
      openS: () => Math.max(0, options.clock.monotonic() - this.#openedAt),
    });
    this.#idle = new IdlePower(options.chosen.watts.idleW, {
      fixed: options.idleIsConfigured || options.chosen.meter.quality === 'estimated',
    });
    this.#pricer = new Pricer(firstPrices(options, methodVersion));
  }

  /** Idle power of the host as it is believed now, W. */
  get idleW(): number {
    return this.#idle.watts;
  }

  async start(): Promise<void> {
    const { clock, chosen, manual, host } = this.#options;
    const nowMs = clock.now();
    await this.#backlog.takeLeftovers({
      idleW: chosen.watts.idleW,
      cpuCount: host.cpuCount,
      memoryBytes: host.memoryBytes,
      methodVersion,
      node: this.#place.node,
      basis: basisAt(this.#place, nowMs - tickMs, nowMs),
    });
    chosen.meter.read();
    if (chosen.fallback !== chosen.meter) chosen.fallback.read();
    this.#processes.take();
    this.#begin(clock.now(), clock.monotonic());
    if (manual) return;
    this.#timer = setInterval(() => this.tick(), tickMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.settle();
    await this.#worker.stop();
  }

  recordBatch(batch: ComputedBatch): Footprint[] {
    this.#mayWrite();
    const { use, runnerPid, items } = batch;
    const computeNs = plausibleNs(batch.computeNs);
    const nowMs = this.#options.clock.now();
    let batchRows = 0;
    for (const item of items) batchRows += item.rows;
    const price = this.#pricer.price(use, computeNs, batchRows, nowMs);
    this.#processes.watchRunner(runnerPid);
    this.#unbooked.booked(runnerPid, computeNs);
    let definitions = this.#spool.isOpen() ? '' : startText(this.#startMs);
    let text = batchText(runnerPid, computeNs, price, nowMs);
    const footprints: Footprint[] = [];
    const heads: LineHead[] = [];
    let known: ReturnType<HeadBook['of']> | undefined;
    let footprint: Footprint | undefined;
    let rows = -1;
    let outcome: (typeof items)[number]['outcome'];
    for (const item of items) {
      const own = this.#heads.of(item.context, use);
      if (own !== known || item.rows !== rows || item.outcome !== outcome) {
        if (known) text += ']';
        // Callers with as many rows have equal figures: they share one object.
        if (item.rows !== rows) footprint = undefined;
        known = own;
        rows = item.rows;
        outcome = item.outcome;
        definitions += this.#heads.define(known, this.#id);
        text += groupText(known.index, rows, outcome);
      }
      text += `,${JSON.stringify(requestOf(item.context))}`;
      footprint ??= this.#pricer.footprint(
        price.cpuSPerRow * rows + price.gatewayCpuS,
        price.dynamicJPerRow * rows + price.gatewayJ,
        price.idleJPerRow * rows,
      );
      footprints.push(footprint);
      heads.push(own.head);
    }
    this.#append(`${definitions}${text}]]\n`, items);
    this.#count(items, heads, footprints, nowMs);
    return footprints;
  }

  recordAvoided({ use, items }: AvoidedWork): Footprint[] {
    this.#mayWrite();
    const nowMs = this.#options.clock.now();
    const rows = items.reduce((sum, item) => sum + item.rows, 0);
    const price = this.#pricer.price(use, 0, rows, nowMs);
    let definitions = this.#spool.isOpen() ? '' : startText(this.#startMs);
    let text = reusedText(price, nowMs);
    let group = '';
    const footprints = new Map<number, Footprint>();
    const heads: LineHead[] = [];
    const own = items.map((item) => {
      const known = this.#heads.of(item.context, use);
      heads.push(known.head);
      definitions += this.#heads.define(known, this.#id);
      const start = `,[${known.index},${item.rows},${pico(this.#pricer.avoidedJ(item.computeNs))}`;
      if (start !== group) text += group === '' ? start : `]${start}`;
      group = start;
      text += `,${JSON.stringify(requestOf(item.context))}`;
      let footprint = footprints.get(item.rows);
      if (!footprint) {
        const idleJ = price.idleJPerRow * item.rows;
        footprint = this.#pricer.footprint(price.gatewayCpuS, price.gatewayJ, idleJ);
        footprints.set(item.rows, footprint);
      }
      return footprint;
    });
    if (items.length === 0) return own;
    this.#append(`${definitions}${text}]]}\n`, items);
    this.#count(items, heads, own, nowMs);
    return own;
  }

  #mayWrite(): void {
    if (this.#spool.failure) throw this.#spool.failure;
    if (this.#backlog.items <= maxWaiting) return;
    throw new CommonwattError('STORE_FAILED', 'the ledger database takes no more lines', {
      hint: 'free or repair the disk of the data folder',
      retryAfterS: 2,
    });
  }

  #append(text: string, items: ComputedBatch['items']): void {
    try {
      this.#spool.append(this.#id, text);
    } catch (error) {
      // What this write was to define is not in the file.
      this.#heads.clear();
      throw error;
    }
    if (this.#isDue) {
      this.#isDue = false;
      setImmediate(() => this.tick());
    }
    this.#items += items.length;
    this.#otherWork.computed(items.length);
  }

  /** Of what has been written: what limits know of it takes the place of what they held for it. */
  #count(
    items: ComputedBatch['items'],
    heads: readonly LineHead[],
    footprints: readonly Footprint[],
    nowMs: number,
  ): void {
    const listener = this.#listener?.listening ? this.#listener : undefined;
    for (const [index, item] of items.entries()) {
      const head = heads[index];
      const footprint = footprints[index];
      if (!head || !footprint) continue;
      const use = useOf(head, item, footprint, nowMs);
      this.#counts.add(use);
      listener?.used(use);
      item.context.place?.booked(use);
    }
  }

  meterJob({ context, pid, use }: JobWork): JobMeter {
    return this.#jobs.track({ context, pid: this.#processes.isOurs(pid) ? null : pid, use });
  }

  setReservations(reservations: readonly Reservation[], runnerPids: readonly number[] = []): void {
    this.#reservations = reservations.map((each) => ({
      ...each,
      memoryBytes: plausibleBytes(each.memoryBytes),
    }));
    this.#runnerPids = new Set([...runnerPids, ...reservations.map(({ runnerPid }) => runnerPid)]);
    for (const pid of this.#runnerPids) this.#processes.watchRunner(pid);
    this.#pricer.setReservations(this.#reservations, this.#options.host.memoryBytes);
    this.#addAcceleratorUsers();
  }

  #addAcceleratorUsers(): void {
    for (const { use, mayAccelerate } of this.#reservations)
      if (mayAccelerate) this.#acceleratorUsers.add(useKey(use));
  }

  setGateways(pids: readonly number[]): void {
    this.#processes.setGateways(pids);
  }

  watchRunners(atWork: RunnersAtWork): void {
    this.#unbooked.watch(atWork);
  }

  /** See `Processes.watchHelper`. */
  meterHelper(helper: Helper): void {
    this.#processes.watchHelper(helper);
  }

  /** The gateway begins work that is no request's; gives what to call when it has ended. */
  beginOtherWork(): () => void {
    return this.#otherWork.begin();
  }

  listen(listener: UsageListener): void {
    this.#listener = listener;
  }

  readUsage(options: ReadOptions): UsageReading {
    const open = this.#id;
    const unsettled = [{ id: open, counts: this.#counts }, ...this.#backlog.counts()];
    return readUsage(this.#options.db, unsettled, options, () => this.#id !== open);
  }

  /** Closes the open interval and writes everything that is closed. Failures are kept for the next time. */
  settle(): Promise<void> {
    this.#close();
    return this.#backlog.settle();
  }

  /** Of everything up to now. Throws INVALID_REQUEST for an impossible window. */
  async report(host: ReportHost, query: ReportQuery): Promise<ImpactReport> {
    checkWindow(query);
    await this.settle();
    const report = await this.#worker.report({ ...host, idleW: this.idleW }, query);
    const { failure, items } = this.#backlog;
    if (failure === null) return report;
    const late = `${items} entries are not in these figures yet, and will be: they could not be booked (${failure})`;
    return { ...report, notes: [late, ...report.notes] };
  }

  /** Once a second: repairs the spool after a failure, closes the interval and settles when it is time for it. */
  tick(): void {
    const { log, clock } = this.#options;
    if (this.#spool.failure && this.#spool.repair()) {
      log.info({}, 'the ledger can be written again and has been verified');
    }
    const active = this.#items > 0 || this.#jobs.size > 0;
    const openMs = clock.now() - this.#startMs;
    const waits = active && openMs < longestWaitMs && this.#unbooked.isUnderWay();
    this.#isDue = waits;
    if (waits) this.#spool.flush();
    else if (active || openMs >= quietIntervalMs) this.#close();
    this.#backlog.tick();
  }

  #begin(startMs: number, openedAt: number): void {
    this.#id = `${this.#boot}-${String(this.#sequence++).padStart(8, '0')}`;
    this.#startMs = startMs;
    this.#openedAt = openedAt;
  }

  /** Reads the meter and every process once; from here on time belongs to the next interval. Synchronous. */
  #close(): void {
    const { clock, host, chosen } = this.#options;
    const monotonic = clock.monotonic();
    const nowMs = clock.now();
    const durationS = monotonic - this.#openedAt;
    if (durationS <= 0) return;
    const taken = sampleOf(chosen, durationS);
    // Nothing is known of this time yet: it stays open until something is.
    if (!taken) return;
    const used = this.#processes.take();
    const jobs = this.#jobs.take(this.#id);
    this.#watchIdle(taken, used.hostBusyS, durationS);
    const segment = this.#spool.rotate();
    const otherWork = this.#otherWork.take();
    const { gatewayCpuSPerRequest, methodVersion } = this.#pricer.prices;
    const unsettled = meteredInterval({
      id: this.#id,
      file: segment?.file ?? null,
      items: this.#items,
      startMs: this.#startMs,
      nowMs,
      durationS,
      taken,
      // What stands in for a sensor is at the sensor's scale.
      idleW: chosen.meter.quality === 'measured' ? this.#idle.watts : chosen.watts.idleW,
      host,
      used,
      jobs: jobs.map(({ use }) => use),
      unbookedS: this.#unbooked.take(),
      otherWork,
      gatewayCpuSPerRequest,
      reservations: this.#reservations,
      acceleratorUsers: [...this.#acceleratorUsers],
      place: this.#place,
      chosen,
      methodVersion,
    });
    this.#pricer.setIntensity(unsettled.facts.rates.gPerKwh);
    this.#backlog.add({ unsettled, segment, items: this.#items, counts: this.#counts, jobs });
    this.#items = 0;
    this.#counts = new UsageCounts();
    this.#acceleratorUsers.clear();
    this.#addAcceleratorUsers();
    this.#processes.forgetRunnersExcept(this.#runnerPids);
    this.#begin(nowMs, monotonic);
  }

  /** Idle power of the host without its accelerators, which watch theirs. */
  #watchIdle({ sample, missing }: Sample, hostBusyS: number, durationS: number): void {
    if (missing !== null) return;
    const hostJ = sample.energyJ - (sample.acceleratorJ ?? 0);
    this.#idle.observe(hostJ / durationS, hostBusyS / (this.#options.host.cpuCount * durationS));
  }

  #settled({ jobs, unsettled, counts }: Closed, settlement: Settlement): void {
    const { row, learnt, uses } = settlement;
    if (this.#listener?.listening) this.#listener.settled(corrections(counts.list(), uses));
    // What was recovered tells nothing about this run.
    if (!row || unsettled.kind === 'leftover') return;
    for (const [index, job] of jobs.entries()) {
      const amounts = settlement.jobs[index];
      if (amounts) job.book(amounts, row, this.#pricer.prices.unknown);
    }
    if (learnt) this.#pricer.learn(learnt, row);
    this.#options.onSettled?.(settlement);
  }
}
