/** Builds the energy room for this host: chooses the meter, says which, and opens the ledger. */
import { Counter, type Registry } from 'prom-client';
import type { Config } from '../config.ts';
import { CommonwattError } from '../errors.ts';
import type { Db } from '../storage/db.ts';
import { type Basis, readBasis } from './basis.ts';
import { Comparison } from './comparison.ts';
import { embodiedShare } from './embodied.ts';
import type { Accountant, Footprint, JobEnd, JobMeter, Reservation, UsageSource } from './energy.ts';
import { meteringIsOff, unmetered } from './footprint.ts';
import { type Grid, gridLine, openGridSignal } from './grid/open.ts';
import { Host } from './host.ts';
import { checkImpactFunction, impactFunction } from './impact-function.ts';
import { MemoryWatch } from './instance-memory.ts';
import { type LatencySource, LatencyWatch } from './latency.ts';
import { Ledger } from './ledger.ts';
import type { LedgerLog } from './ledger-options.ts';
import { LedgerReader } from './ledger-reader.ts';
import { type Live, LiveFigures, nothingChecked, nothingMetered, type SelfCheck } from './live.ts';
import { chooseMeter, type Metering } from './meters/choose.ts';
import type { Helper } from './processes.ts';
import { type ImpactReport, type ReportHost, type ReportQuery, resourceWeights } from './reports.ts';
import { type Settling, SettlingWindows } from './settling.ts';
import { readEarlierWindows } from './settling-store.ts';
import { bookOutcomes } from './store/heads.ts';
import type { RunnersAtWork } from './unbooked.ts';
import { UnmeteredUsage } from './unmetered-usage.ts';
import type { Settlement } from './unsettled.ts';
import type { UsageListener } from './usage-counts.ts';
import type { ReadOptions, UsageReading } from './usage-reading.ts';

/** The energy room as the rest of the house sees it. Everything but `describe` needs `start()` first. */
export interface Energy extends Accountant, UsageSource {
  /** Processes besides this one that speak to callers: what they use is caused by requests, as this one's is. */
  setGateways(pids: readonly number[]): void;
  /** Closes the open interval and writes it: afterwards reports hold everything up to now. */
  settle(): Promise<void>;
  /** All lines of these jobs say from now on what became of them. Settles first. */
  jobsEnded(ends: readonly JobEnd[]): Promise<void>;
  /** Settles first. Throws INVALID_REQUEST for an impossible window. */
  report(query: ReportQuery): Promise<ImpactReport>;
  live(): Live;
  /** Lines and intervals of the ledger; works without metering, too. */
  readonly books: LedgerReader;
  /** What a request of each version used lately. */
  readonly comparison: Comparison;
  /** The intensity of the electricity. */
  grid(): Grid;
  /** What carbon, water and hardware are computed with now. */
  basis(): Basis;
  /** Do the entries of each interval add up to the meter? Null: nothing is metered. */
  selfCheck(): SelfCheck | null;
  /** How far the energy per request of each model is to be trusted, by model id. */
  settling(): Record<string, Settling>;
  /** A child of this server that computes for no single request, by what it does; may come before `start`. */
  meterHelper(helper: Helper): void;
  /** What runners are at besides computing for callers; may come before `start`. */
  /** How long answers take, and how long they may: for the use that keeps every objective. */
  watchLatencies(source: LatencySource): void;
  watchRunners(atWork: RunnersAtWork): void;
  /** This process begins work that answers no inference; gives what to call when it has ended. */
  beginOtherWork(): () => void;
  /** How this host is metered, a line for each fact; for `doctor` and the start. */
  describe(): string[];
}

export interface EnergyOptions {
  db: Db;
  config: Pick<Config, 'energy'>;
  dataFolder: string;
  log: LedgerLog;
  metrics: Registry;
  host?: Host;
  clock?: { now(): number; monotonic(): number };
}

const systemClock = { now: () => Date.now(), monotonic: () => performance.now() / 1000 };

/** Its `start` throws INVALID_CONFIG when a sensor is demanded that cannot be read. */
export function createEnergy(options: EnergyOptions): Energy {
  return options.config.energy.meter === 'off' ? noAccountant(options) : new MeteredEnergy(options);
}

class MeteredEnergy implements Energy {
  readonly #options: EnergyOptions;
  readonly #host: Host;
  #started: { ledger: Ledger; basis: Basis; grid: Grid; live: LiveFigures; metering: Metering } | undefined;
  readonly #windows = new SettlingWindows();
  readonly #helpers: Helper[] = [];
  #atWork: RunnersAtWork | undefined;
  #reading: Promise<void> | undefined;
  #listener: UsageListener | undefined;
  #reservations: readonly Reservation[] = [];
  #runnerPids: readonly number[] = [];
  #gateways: readonly number[] = [];
  #latencies: LatencyWatch | undefined;
  readonly #memory = new MemoryWatch();

  readonly books: LedgerReader;
  readonly comparison: Comparison;

  constructor(options: EnergyOptions) {
    this.#options = options;
    this.books = new LedgerReader(options.db, () => this.settle());
    this.comparison = new Comparison(options.db, () => (options.clock ?? systemClock).now());
    this.#host = options.host ?? new Host();
  }

  async start(): Promise<void> {
    const { db, config, dataFolder, log, metrics, clock = systemClock } = this.#options;
    const basis = await readBasis(config.energy, this.#host);
    const grid = await openGridSignal(config.energy, { log, dataFolder, now: () => clock.now() });
    await grid.start();
    const missing = new Counter({
      name: 'commonwatt_meter_missing_samples_total',
      help: 'Intervals in which the meter, or a part of it, gave no sample: an estimate stands in.',
      labelNames: ['meter'],
      registers: [metrics],
    });
    const metering = await chooseMeter(config.energy, {
      host: this.#host,
      log,
      dataFolder,
      missed: (meter) => missing.inc({ meter }),
      ...(this.#options.clock ? { clock: () => clock.monotonic() } : {}),
    });
    missing.inc({ meter: metering.meter.name }, 0);
    const reported = this.#reportHost(basis, metering);
    const { idleW, maxW } = reported;
    const embodiedGPerH = embodiedShare(basis.embodied.grams, basis.embodied.lifeYears, 3600);
    const server = { idleW, maxW, pue: basis.pue.value, intensity: basis.intensity.value, embodiedGPerH };
    const f = impactFunction(config.energy.impactFunction, server, metering.watts.curve);
    for (const odd of checkImpactFunction(f)) log.warn({}, odd);
    const weights = resourceWeights(reported);
    const live = new LiveFigures(metrics, weights, { log, now: () => clock.now() });
    const windows = this.#windows;
    const { node, ledgerDetailDays: detailDays, ledgerKeepDays: keepDays } = config.energy;
    const ledger = new Ledger({
      db,
      host: this.#host,
      chosen: metering,
      idleIsConfigured: config.energy.idleW !== null,
      basis,
      grid,
      dataFolder,
      log,
      clock,
      ...(node === null ? {} : { node }),
      retention: { detailDays, keepDays },
      onSettled: (settled) => {
        live.settled(settled);
        this.#watchUse(settled.row);
        for (const [modelId, window] of Object.entries(settled.models)) windows.add(modelId, window);
      },
    });
    if (this.#listener) ledger.listen(this.#listener);
    await ledger.start();
    for (const helper of this.#helpers) ledger.meterHelper(helper);
    if (this.#atWork) ledger.watchRunners(this.#atWork);
    const earlier = readEarlierWindows(db, windows, clock.now());
    this.#reading = earlier.catch((err: unknown) => log.warn({ err }, 'earlier windows cannot be read'));
    ledger.setReservations(this.#reservations, this.#runnerPids);
    ledger.setGateways(this.#gateways);
    this.#started = { ledger, basis, grid, live, metering };
  }

  async stop(): Promise<void> {
    await this.#reading;
    await this.#started?.ledger.stop();
    await this.#started?.grid.stop();
    await this.#started?.metering.stop();
  }

  recordBatch(batch: Parameters<Accountant['recordBatch']>[0]): Footprint[] {
    return this.#running().ledger.recordBatch(batch);
  }

  recordAvoided(work: Parameters<Accountant['recordAvoided']>[0]): Footprint[] {
    return this.#running().ledger.recordAvoided(work);
  }

  meterJob(job: Parameters<Accountant['meterJob']>[0]): JobMeter {
    return this.#running().ledger.meterJob(job);
  }

  /** May come before `start`: what stands ready is known early. */
  setReservations(reservations: readonly Reservation[], runnerPids: readonly number[] = []): void {
    this.#reservations = [...reservations];
    this.#runnerPids = [...runnerPids];
    this.#started?.ledger.setReservations(reservations, runnerPids);
  }

  /** May come before `start`, too. */
  setGateways(pids: readonly number[]): void {
    this.#gateways = [...pids];
    this.#started?.ledger.setGateways(pids);
  }

  meterHelper(helper: Helper): void {
    this.#helpers.push(helper);
    this.#started?.ledger.meterHelper(helper);
  }

  watchLatencies(source: LatencySource): void {
    this.#latencies = new LatencyWatch(source);
  }

  #watchUse(row: Settlement['row']): void {
    if (!row) return;
    const seconds = (row.end_ms - row.start_ms) / 1000;
    this.#latencies?.interval(seconds, row.cpu_s_used + row.cpu_s_other, row.cpu_s_supplied);
  }

  watchRunners(atWork: RunnersAtWork): void {
    this.#atWork = atWork;
    this.#started?.ledger.watchRunners(atWork);
  }

  beginOtherWork(): () => void {
    return this.#started?.ledger.beginOtherWork() ?? (() => {});
  }

  selfCheck(): SelfCheck {
    return this.#started?.live.selfCheck ?? nothingChecked;
  }

  settling(): Record<string, Settling> {
    return this.#windows.all();
  }

  read(options: ReadOptions): UsageReading {
    return this.#running().ledger.readUsage(options);
  }

  listen(listener: UsageListener): void {
    this.#listener = listener;
    this.#started?.ledger.listen(listener);
  }

  settle(): Promise<void> {
    return this.#running().ledger.settle();
  }

  async jobsEnded(ends: readonly JobEnd[]): Promise<void> {
    await this.settle();
    await bookOutcomes(this.#options.db, ends);
  }

  async report(query: ReportQuery): Promise<ImpactReport> {
    const { ledger, metering } = this.#running();
    return ledger.report(this.#reportHost(this.basis(), metering), query);
  }

  grid(): Grid {
    return this.#running().grid;
  }

  basis(): Basis {
    const { basis, grid } = this.#running();
    return { ...basis, intensity: grid.current() };
  }

  live(): Live {
    return this.#started?.live.read() ?? nothingMetered;
  }

  describe(): string[] {
    const { basis, metering } = this.#started ?? {};
    return [
      ...(metering?.lines ?? ['energy: the meter is chosen at the start']),
      ...(basis
        ? [
            gridLine(this.#started?.grid.current() ?? basis.intensity),
            `PUE ${basis.pue.value}${basis.pue.assumed ? ', assumed' : ''}`,
          ]
        : []),
    ];
  }

  #reportHost(basis: Basis, { meter, watts }: Metering): ReportHost {
    const memoryOfModels: Record<string, number> = {};
    for (const { use, memoryBytes } of this.#reservations) {
      memoryOfModels[use.modelId] = (memoryOfModels[use.modelId] ?? 0) + memoryBytes;
    }
    const { impactFunction, rebound } = this.#options.config.energy;
    const reservedBytes = this.#reservations.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    return {
      impactFunction,
      rebound,
      calibrated: watts.curve ?? null,
      latencies: this.#latencies?.models() ?? [],
      instance: this.#memory.look([process.pid, ...this.#gateways], this.#runnerPids, reservedBytes),
      basis,
      idleW: watts.idleW,
      maxW: watts.maxW,
      cpuCount: this.#host.cpuCount,
      memoryBytes: this.#host.memoryBytes,
      uncertainty: meter.uncertainty,
      quality: meter.quality,
      method: meter.name,
      methodVersion: meter.methodVersion,
      memoryOfModels,
      settling: this.#windows.all(),
    };
  }

  #running() {
    if (this.#started) return this.#started;
    throw new CommonwattError('NOT_READY', 'the ledger has not been opened yet', { retryAfterS: 1 });
  }
}

/** Meters and books nothing, for benchmarks: every figure is unknown because metering is off. */
function noAccountant({ db, log }: EnergyOptions): Energy {
  const refuse = () =>
    new CommonwattError('NOT_READY', `there is no report: ${meteringIsOff}`, {
      where: 'COMMONWATT_METER',
      hint: 'start the server with COMMONWATT_METER=auto',
    });
  const usage = new UnmeteredUsage();
  return {
    async start() {
      log.warn(
        {},
        'metering is off (COMMONWATT_METER=off): nothing is booked, limits of grants start from 0',
      );
    },
    async stop() {},
    recordBatch: (work) => usage.count(work),
    recordAvoided: (work) => usage.count(work),
    meterJob: () => ({ soFar: () => unmetered, finish: async () => unmetered }),
    setReservations() {},
    setGateways() {},
    read: () => usage.read(),
    listen: (listener) => usage.listen(listener),
    async settle() {},
    // What was booked by an earlier server.
    jobsEnded: (ends) => bookOutcomes(db, ends),
    report: () => Promise.reject(refuse()),
    grid() {
      throw refuse();
    },
    basis() {
      throw refuse();
    },
    live: () => nothingMetered,
    books: new LedgerReader(db, async () => {}),
    comparison: new Comparison(db),
    selfCheck: () => null,
    settling: () => ({}),
    meterHelper() {},
    watchRunners() {},
    watchLatencies() {},
    beginOtherWork: () => () => {},
    describe: () => [meteringIsOff],
  };
}
