/**
 * The ledger: spools what every batch used before its answers leave, and each interval (a second while there is
 * work, up to half a minute while there is none) reads the meter, gives its joules to their owners and settles
 * them in the database in one transaction.
 */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import { type Attribution, attribute, type IntervalFacts } from './attribution.ts';
import { type Basis, ratesOf } from './basis.ts';
import type { Accountant, ComputedBatch, Footprint, JobMeter, JobWork, Reservation } from './energy.ts';
import type { Host } from './host.ts';
import { intervalRow, type MeteredInterval } from './interval-row.ts';
import { JobMeters, type TakenJob } from './job-meters.ts';
import { computedBy, HeadBook, lineText, type PricedLine, startText } from './lines.ts';
import type { ChosenMeter } from './meters/choose.ts';
import { IdlePower } from './meters/idle-power.ts';
import { Pricer } from './pricing.ts';
import { Processes } from './processes.ts';
import { mergeLines, recover } from './recovery.ts';
import { type IntervalRow, settleInterval } from './settlement.ts';
import { type Segment, Spool, type SpoolDisk } from './spool.ts';

/** Of one core: what an idle server may use for itself. */
const housekeeping = 0.005;
const quietIntervalMs = 30_000;
const tickMs = 1000;
/** Beyond this many lines that the database does not take, nothing more is acknowledged. */
const maxUnsettledLines = 500_000;
const methodVersion = '1';

interface Clock {
  /** Wall clock, epoch ms. */
  now(): number;
  /** Seconds on a clock that never steps. */
  monotonic(): number;
}

export interface LedgerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface SettledInterval {
  row: IntervalRow;
  attribution: Attribution;
  requests: number;
}

export interface LedgerOptions {
  db: Db;
  host: Host;
  chosen: ChosenMeter;
  /** True when the configuration gives the idle watts. */
  idleIsConfigured: boolean;
  basis: Basis;
  dataFolder: string;
  log: LedgerLog;
  clock: Clock;
  disk?: SpoolDisk;
  /** Tests settle by hand. */
  manual?: boolean;
  onSettled?: (settled: SettledInterval) => void;
}

/** An interval whose time is over and whose lines are not in the database yet. */
interface Closed extends MeteredInterval {
  segment: Segment | undefined;
  lines: PricedLine[];
  jobs: readonly TakenJob[];
}

export class Ledger implements Accountant {
  readonly #options: LedgerOptions;
  readonly #spool: Spool;
  readonly #processes: Processes;
  readonly #pricer: Pricer;
  readonly #idle: IdlePower;
  readonly #boot: string;
  readonly #heads = new HeadBook();
  readonly #jobs: JobMeters;
  #reservations: readonly Reservation[] = [];
  #sequence = 0;
  #id = '';
  #startMs = 0;
  #openedAt = 0;
  #lines: PricedLine[] = [];
  #closed: Closed[] = [];
  #unsettledLines = 0;
  #settling: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#boot = `${options.clock.now().toString(36)}${randomBytes(3).toString('hex')}`;
    this.#spool = new Spool(options.dataFolder, options.disk);
    this.#processes = new Processes(options.host);
    this.#jobs = new JobMeters({
      host: options.host,
      settle: () => this.settle(),
      prices: () => this.#pricer,
      openS: () => Math.max(0, options.clock.monotonic() - this.#openedAt),
    });
    const { idleW, maxW } = options.chosen.watts;
    this.#idle = new IdlePower(idleW, {
      fixed: options.idleIsConfigured || options.chosen.meter.quality === 'estimated',
    });
    const { meter } = options.chosen;
    const rates = ratesOf(options.basis, 1);
    this.#pricer = new Pricer({
      joulesPerCpuS: (maxW - idleW) / options.host.cpuCount,
      cpuPerComputeS: 1,
      gatewayCpuSPerRequest: 100e-6,
      idleW,
      pue: rates.pue,
      gPerKwh: rates.gPerKwh,
      litresPerKwh: rates.litresPerKwh,
      embodiedGPerCpuS: rates.embodiedG / options.host.cpuCount,
      quality: meter.quality,
      method: meter.name,
      methodVersion: `${methodVersion}.${meter.methodVersion}`,
      unknown: options.basis.water.unknown,
    });
  }

  /** Idle power of the host as it is believed now, W. */
  get idleW(): number {
    return this.#idle.watts;
  }

  async start(): Promise<void> {
    const { db, host, basis, log, clock, chosen, manual } = this.#options;
    const recovered = await recover(db, this.#spool, {
      idleW: chosen.watts.idleW,
      cpuCount: host.cpuCount,
      memoryBytes: host.memoryBytes,
      methodVersion,
      rates: (durationS) => ratesOf(basis, durationS),
    });
    if (recovered.segments > 0 || recovered.broken > 0) {
      log.warn(
        recovered,
        'the last run ended before its ledger was settled; its requests have been booked now',
      );
    }
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
  }

  recordBatch(batch: ComputedBatch): Footprint[] {
    if (this.#spool.failure) throw this.#spool.failure;
    if (this.#unsettledLines > maxUnsettledLines) {
      throw new CommonwattError('STORE_FAILED', 'the ledger database takes no more lines', {
        hint: 'free or repair the disk of the data folder',
        retryAfterS: 2,
      });
    }
    const { use, runnerPid, computeNs, items } = batch;
    const nowMs = this.#options.clock.now();
    let rows = 0;
    for (const item of items) rows += item.rows;
    const price = this.#pricer.price(use, computeNs, rows, nowMs);
    this.#processes.watchRunner(runnerPid);
    const footprints: Footprint[] = [];
    const lines: PricedLine[] = [];
    let text = this.#spool.isOpen() ? '' : startText(this.#startMs);
    for (const { context, rows: own } of items) {
      const known = this.#heads.of(context, use);
      text += this.#heads.define(known, this.#id);
      const line: PricedLine = {
        id: context.kind === 'inference' ? context.requestId : `${context.requestId}~${this.#id}`,
        atMs: nowMs,
        rows: own,
        runnerPid,
        computeNs: rows > 0 ? (computeNs * own) / rows : 0,
        head: known.head,
        cpuS: price.cpuSPerRow * own + price.gatewayCpuS,
        dynamicJ: price.dynamicJPerRow * own + price.gatewayJ,
        idleShareJ: price.idleJPerRow * own,
      };
      text += lineText(line, known.index);
      lines.push(line);
      footprints.push(this.#pricer.footprint(line.cpuS, line.dynamicJ, line.idleShareJ));
    }
    try {
      this.#spool.append(this.#id, text);
    } catch (error) {
      // What this write was to define is not in the file.
      this.#heads.clear();
      throw error;
    }
    for (const line of lines) this.#lines.push(line);
    this.#unsettledLines += lines.length;
    return footprints;
  }

  meterJob({ context, pid, use }: JobWork): JobMeter {
    return this.#jobs.track({ context, pid: this.#processes.isOurs(pid) ? null : pid, use });
  }

  setReservations(reservations: readonly Reservation[]): void {
    this.#reservations = [...reservations];
    const pids = new Set(reservations.map(({ runnerPid }) => runnerPid));
    for (const pid of pids) this.#processes.watchRunner(pid);
    this.#pricer.setReservations(reservations, this.#options.host.memoryBytes);
  }

  async requestsOfGrant(grantId: string, sinceMs: number): Promise<number> {
    // Intervals that are still in memory are counted there and left out of the query, so that none counts twice.
    const open = [
      { id: this.#id, lines: this.#lines.slice() },
      ...this.#closed.map(({ facts, lines }) => ({ id: facts.id, lines })),
    ];
    const request = sql<string>`case when kind = 'inference' then id else substr(id, 1, instr(id, '~') - 1) end`;
    const settled = await this.#options.db
      .selectFrom('ledger_entries')
      .where('grant_id', '=', grantId)
      .where('at_ms', '>=', sinceMs)
      .where('kind', '!=', 'training')
      .where(
        'interval_id',
        'not in',
        open.map(({ id }) => id),
      )
      .select(sql<number>`count(distinct ${request})`.as('count'))
      .executeTakeFirst();
    const inMemory = new Set<string>();
    for (const { lines } of open) {
      for (const { id, head, atMs } of lines) {
        if (head.grantId === grantId && atMs >= sinceMs) inMemory.add(id.split('~', 1)[0] ?? id);
      }
    }
    return Number(settled?.count ?? 0) + inMemory.size;
  }

  /** Closes the open interval and writes everything that is closed. Failures are kept for the next time. */
  settle(): Promise<void> {
    const settling = this.#settling.then(async () => {
      this.#close();
      await this.#drain();
    });
    // One failure must not keep the next settlement from being tried.
    this.#settling = settling.catch(() => {});
    return settling;
  }

  /** Once a second: repairs the spool after a failure, and settles when there is something to settle. */
  tick(): void {
    if (this.#spool.failure) this.#reopen();
    const age = this.#options.clock.now() - this.#startMs;
    const active = this.#lines.length > 0 || this.#jobs.size > 0 || this.#closed.length > 0;
    if (!active && age < quietIntervalMs) return;
    this.settle().catch((error) =>
      this.#options.log.error({ err: error }, 'the ledger could not be settled'),
    );
  }

  #reopen(): void {
    this.#heads.clear();
    this.#begin(this.#startMs, this.#openedAt);
    let text = startText(this.#startMs);
    for (const line of this.#lines) {
      const known = this.#heads.again(line.head);
      text += this.#heads.define(known, this.#id) + lineText(line, known.index);
    }
    if (this.#spool.rewrite(this.#id, text)) {
      this.#options.log.info(
        { lines: this.#lines.length },
        'the ledger can be written again and has been verified',
      );
    }
  }

  #begin(startMs: number, openedAt: number): void {
    this.#id = `${this.#boot}-${String(this.#sequence++).padStart(8, '0')}`;
    this.#startMs = startMs;
    this.#openedAt = openedAt;
  }

  /** Reads the meter and every process once; from here on time belongs to the next interval. Synchronous. */
  #close(): void {
    const { clock, host, chosen, basis } = this.#options;
    const monotonic = clock.monotonic();
    const nowMs = clock.now();
    const durationS = monotonic - this.#openedAt;
    if (durationS <= 0) return;
    const reading = chosen.meter.read();
    const estimate = chosen.fallback === chosen.meter ? reading : chosen.fallback.read();
    const used = 'energyJ' in reading ? reading : estimate;
    // Nothing is known of this time yet: it stays open until something is.
    if (!('energyJ' in used)) return;
    const measured = 'energyJ' in reading;
    const source = measured ? chosen.meter : chosen.fallback;
    const taken = this.#processes.take();
    const jobs = this.#jobs.take(this.#id);
    const lines = mergeLines(this.#lines);
    const utilisation = taken.hostBusyS / (host.cpuCount * durationS);
    if (measured) this.#idle.observe(used.energyJ / durationS, utilisation);
    const facts: IntervalFacts = {
      id: this.#id,
      // A clock that was set back must not give an interval a negative length.
      startMs: Math.min(this.#startMs, nowMs),
      endMs: nowMs,
      durationS,
      energyJ: used.energyJ,
      idleW: source.quality === 'measured' ? this.#idle.watts : chosen.watts.idleW,
      cpuCount: host.cpuCount,
      memoryBytes: host.memoryBytes,
      hostBusyS: taken.hostBusyS,
      gatewayCpuS: taken.gatewayS,
      housekeepingS: housekeeping * durationS,
      runners: taken.runners.map(({ pid, cpuS }) => ({ pid, cpuS: cpuS ?? computedBy(pid, lines) })),
      lines,
      jobs: jobs.map(({ use }) => use),
      reservations: this.#reservations,
      rates: ratesOf(basis, durationS),
    };
    this.#closed.push({
      facts,
      segment: this.#spool.rotate(),
      lines: this.#lines,
      jobs,
      method: source.name,
      quality: source.quality,
      missing: 'missing' in reading ? reading.missing : null,
      memoryUsedBytes: taken.runners.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
    });
    this.#lines = [];
    this.#processes.forgetRunnersExcept(new Set(this.#reservations.map(({ runnerPid }) => runnerPid)));
    this.#begin(nowMs, monotonic);
  }

  async #drain(): Promise<void> {
    const { db, log, onSettled, basis, chosen } = this.#options;
    for (let closed = this.#closed[0]; closed; closed = this.#closed[0]) {
      await this.#spool.sync(closed.segment);
      const attribution = attribute(closed.facts);
      const row = intervalRow(closed, attribution, {
        basis,
        chosen,
        methodVersion: this.#pricer.prices.methodVersion,
      });
      try {
        await settleInterval(db, row, attribution.entries);
      } catch (error) {
        log.error(
          { err: error, lines: this.#unsettledLines },
          'the ledger database cannot be written; trying again',
        );
        return;
      }
      this.#closed.shift();
      this.#unsettledLines -= closed.lines.length;
      if (closed.segment) this.#spool.remove(closed.segment);
      for (const [index, job] of closed.jobs.entries()) {
        const entry = attribution.entries[closed.facts.lines.length + index];
        if (entry) job.book(entry, row, this.#pricer.prices.unknown);
      }
      this.#learn(closed, attribution);
      onSettled?.({ row, attribution, requests: closed.facts.lines.length });
    }
  }

  /** The prices of the next interval's provisional figures are those of this one. */
  #learn({ facts, method, quality }: Closed, { joulesPerCpuS, entries }: Attribution): void {
    const prices = this.#pricer.prices;
    const computeS = facts.lines.reduce((sum, { computeNs }) => sum + computeNs, 0) / 1e9;
    const runnerS = facts.runners.reduce((sum, { cpuS }) => sum + cpuS, 0);
    const linesS = facts.lines.reduce((sum, _, index) => sum + (entries[index]?.cpuS ?? 0), 0);
    this.#pricer.prices = {
      ...prices,
      joulesPerCpuS: joulesPerCpuS !== null && facts.hostBusyS > 0.05 ? joulesPerCpuS : prices.joulesPerCpuS,
      cpuPerComputeS:
        computeS > 0.02 ? Math.min(facts.cpuCount, Math.max(0.1, runnerS / computeS)) : prices.cpuPerComputeS,
      gatewayCpuSPerRequest:
        facts.lines.length >= 10
          ? Math.max(0, linesS - runnerS) / facts.lines.length
          : prices.gatewayCpuSPerRequest,
      idleW: facts.idleW,
      quality,
      method,
    };
  }
}
