/**
 * The grid signal of this host: its sources in order, one standing in for the other, and behind them the yearly
 * average. Which value was used, how old it was and why is part of every answer.
 *
 * Promise: figures of another kind or scope never stand in silently, and splitting a time never changes its sum.
 */
import type { Config } from '../../config.ts';
import { CommonwattError } from '../../errors.ts';
import { type GridSignal, gridIntensity, type Intensity } from '../grid.ts';
import { carbonIntensityUk } from './carbonintensity-uk.ts';
import { electricityMaps, electricityMapsToken } from './electricity-maps.ts';
import { Feed, type FeedLog } from './feed.ts';
import { gridFile } from './file.ts';
import { Layers } from './layers.ts';
import type { SourceSettings } from './settings.ts';
import type { GridSource } from './source.ts';
import { watttime, watttimeVariables } from './watttime.ts';

export interface ForecastSlot {
  startMs: number;
  endMs: number;
  gPerKwh: number;
}

export interface SourceState {
  name: string;
  zone: string;
  kind: Intensity['kind'];
  scope: Intensity['scope'];
  description: string;
  updatedAtMs: number | null;
  nextAtMs: number | null;
  problem: string | null;
  refused: { count: number; reason: string } | null;
}

export interface Grid extends GridSignal {
  /** Takes what is on disk and begins to ask; does not wait for answers. Throws INVALID_CONFIG for a wrong file. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Asks every source now, except those that asked for patience. Never throws: see `sources`. */
  refresh(): Promise<void>;
  /** As it is now. */
  current(): Intensity;
  /** What is expected, clipped to the time asked for; where nothing is known there is no slot. */
  forecast(fromMs: number, toMs: number): ForecastSlot[];
  sources(): SourceState[];
}

export interface GridOptions {
  log: FeedLog;
  /** Null: nothing is kept. */
  dataFolder: string | null;
  now?: () => number;
  env?: NodeJS.ProcessEnv;
}

/** How often it is looked whether a source is due, ms. */
const lookMs = 5_000;

/** For people, with every label. Example: `grid: 120 gCO2e/kWh in GB (average, direct, estimated): …`. */
export function gridLine({ zone, value, kind, scope, estimated, stale, source, instead }: Intensity): string {
  const labels = [kind, scope, ...(estimated ? ['estimated'] : []), ...(stale ? ['stale'] : [])];
  const rounded = Math.round(value * 100) / 100;
  const because = instead === null ? '' : `; ${instead}`;
  return `grid: ${rounded} gCO2e/kWh in ${zone} (${labels.join(', ')}): ${source}${because}`;
}

/** Throws INVALID_CONFIG for a zone that is not known, sources that do not go together, or absent credentials. */
export async function openGridSignal(config: Config['energy'], options: GridOptions): Promise<Grid> {
  const { log, dataFolder, now = Date.now, env = process.env } = options;
  const yearly = await gridIntensity(config.zone);
  const { sources: settings, staleAfterS, maxAgeS, timeoutS } = config.grid;
  checkOrder(settings);
  const sources = settings.flatMap((source) =>
    source.type === 'yearly' ? [] : [openSource(source, { config, env, timeoutMs: timeoutS * 1000, now })],
  );
  checkSameKind(sources);
  const feeds = sources.map((source) => new Feed({ source, dataFolder, log, now }));
  const layers = new Layers(feeds, yearly, { staleAfterMs: staleAfterS * 1000, maxAgeMs: maxAgeS * 1000 });
  let stopped = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const askAll = (force: boolean) =>
    Promise.all(feeds.map((feed) => feed.refresh(stopped.signal, { force }))).then(() => undefined);
  return {
    zone: yearly.zone,
    async start() {
      stopped = new AbortController();
      for (const feed of feeds) await feed.start(stopped.signal);
      if (feeds.length === 0) return;
      void askAll(false);
      timer = setInterval(() => void askAll(false), lookMs);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      stopped.abort();
      await Promise.all(feeds.map((feed) => feed.idle()));
    },
    refresh: () => askAll(true),
    over: (startMs, endMs) => layers.over(startMs, endMs),
    current: () => layers.over(now(), now()),
    forecast: (fromMs, toMs) => layers.known(fromMs, toMs),
    sources: () => [...feeds.map(stateOf), yearlyState(yearly)],
  };
}

function checkOrder(settings: readonly SourceSettings[]): void {
  const yearlyAt = settings.findIndex(({ type }) => type === 'yearly');
  if (yearlyAt === -1 || yearlyAt === settings.length - 1) return;
  throw new CommonwattError(
    'INVALID_CONFIG',
    'nothing comes after the yearly average, which is always known',
    {
      where: `energy.grid.sources.${yearlyAt + 1}`,
      hint: 'put "yearly" last, or leave it out: it always stands behind the others',
    },
  );
}

/** Average and marginal, direct and life-cycle are different quantities: one cannot stand in for the other. */
function checkSameKind(sources: readonly GridSource[]): void {
  const [first, ...others] = sources;
  const other = others.find(({ kind, scope }) => kind !== first?.kind || scope !== first?.scope);
  if (!first || !other) return;
  throw new CommonwattError(
    'INVALID_CONFIG',
    `${other.name} gives ${other.kind}, ${other.scope} figures; it cannot stand in for ${first.name} with ${first.kind}, ${first.scope} ones`,
    {
      where: 'energy.grid.sources',
      hint: 'use sources of one kind and scope; the yearly average stands behind them and says so',
    },
  );
}

interface OpenContext {
  config: Config['energy'];
  env: NodeJS.ProcessEnv;
  timeoutMs: number;
  now: () => number;
}

function openSource(
  source: Exclude<SourceSettings, { type: 'yearly' }>,
  { config, env, timeoutMs, now }: OpenContext,
): GridSource {
  switch (source.type) {
    case 'file': {
      const { path, kind, scope, zone = config.zone } = source;
      return gridFile({ path, kind, scope, zone });
    }
    case 'electricity-maps': {
      const { zone, scope, baseUrl } = source;
      const token = credential(env.COMMONWATT_ELECTRICITY_MAPS_TOKEN, source.type, electricityMapsToken);
      return electricityMaps({ zone, scope, token, timeoutMs, baseUrl });
    }
    case 'watttime': {
      const { region, baseUrl } = source;
      const username = credential(env.COMMONWATT_WATTTIME_USERNAME, source.type, watttimeVariables);
      const password = credential(env.COMMONWATT_WATTTIME_PASSWORD, source.type, watttimeVariables);
      return watttime({ region, username, password, timeoutMs, baseUrl, now });
    }
    case 'carbonintensity-uk':
      return carbonIntensityUk({ region: source.region ?? null, timeoutMs, baseUrl: source.baseUrl, now });
  }
}

function credential(value: string | undefined, type: string, variables: string): string {
  if (value) return value;
  throw new CommonwattError('INVALID_CONFIG', `the grid source ${type} needs credentials`, {
    where: 'energy.grid.sources',
    hint: `set ${variables} in the environment of the server`,
  });
}

function stateOf({ source, updatedAtMs, nextAtMs, problem, refused }: Feed): SourceState {
  const { name, zone, kind, scope, description } = source;
  return { name, zone, kind, scope, description, updatedAtMs, nextAtMs, problem, refused };
}

function yearlyState({ zone, kind, scope, source }: Intensity): SourceState {
  return {
    name: `yearly ${zone}`,
    zone,
    kind,
    scope,
    description: source,
    updatedAtMs: null,
    nextAtMs: null,
    problem: null,
    refused: null,
  };
}
