/**
 * Other clusters that serve the same models, and which of them is the cleanest that is near enough: now, and by the
 * forecast. It only tells: callers choose, nothing is passed on.
 */
import { z } from 'zod';
import { chooseRegion, type RegionChoice, type RegionPolicy } from '../energy/calc/region-choice.ts';
import type { Grid } from '../energy/grid/open.ts';
import { gridSettings } from '../energy/grid/settings.ts';

export const regionsSettings = z.strictObject({
  /** Name, address, zone of the grid, and how far it is from those who ask here. */
  list: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(100),
        url: z.url({ protocol: /^https?$/ }),
        zone: z.string().min(1),
        latencyMs: z.number().min(0),
        /** Sources of its intensities, as `energy.grid`; without: the yearly average of its zone. */
        grid: gridSettings.prefault({}),
      }),
    )
    .max(100)
    .default([]),
  maxLatencyMs: z.number().positive().nullable().default(null),
  gPerKwhPerMs: z.number().min(0).default(0),
});

type RegionsSettings = z.infer<typeof regionsSettings>;

export interface RegionsParts {
  settings: RegionsSettings;
  /** A signal of its own for each. */
  open(region: RegionsSettings['list'][number]): Promise<Pick<Grid, 'start' | 'stop' | 'over' | 'forecast'>>;
}

export interface RegionState {
  name: string;
  url: string;
  zone: string;
  latencyMs: number;
  gPerKwh: number | null;
  source: string;
}

export interface RegionForecast {
  startMs: number;
  endMs: number;
  best: string;
  gPerKwh: number | null;
}

type Signal = Awaited<ReturnType<RegionsParts['open']>>;

export class Regions {
  readonly #parts: RegionsParts;
  readonly #signals = new Map<string, Signal>();

  constructor(parts: RegionsParts) {
    this.#parts = parts;
  }

  /** Throws INVALID_CONFIG for a zone or source that cannot be. */
  async start(): Promise<void> {
    for (const region of this.#parts.settings.list) {
      const signal = await this.#parts.open(region);
      await signal.start();
      this.#signals.set(region.name, signal);
    }
  }

  async stop(): Promise<void> {
    for (const signal of this.#signals.values()) await signal.stop();
  }

  now(
    nowMs: number,
    policy?: Partial<RegionPolicy>,
  ): { regions: RegionState[]; choice: RegionChoice | null } {
    const regions = this.#parts.settings.list.map(({ name, url, zone, latencyMs }) => {
      const intensity = this.#signals.get(name)?.over(nowMs, nowMs);
      return {
        name,
        url,
        zone,
        latencyMs,
        gPerKwh: intensity?.value ?? null,
        source: intensity?.source ?? 'not known',
      };
    });
    return { regions, choice: regions.length === 0 ? null : chooseRegion(regions, this.#policy(policy)) };
  }

  /** In the steps of the forecasts; a region counts while one is known of it. */
  forecast(fromMs: number, toMs: number, policy?: Partial<RegionPolicy>): RegionForecast[] {
    const { list } = this.#parts.settings;
    const slots = list.map(({ name }) => this.#signals.get(name)?.forecast(fromMs, toMs) ?? []);
    const edges = [
      ...new Set([fromMs, toMs, ...slots.flat().flatMap(({ startMs, endMs }) => [startMs, endMs])]),
    ]
      .filter((edge) => edge >= fromMs && edge <= toMs)
      .sort((a, b) => a - b);
    const found: RegionForecast[] = [];
    for (const [index, startMs] of edges.entries()) {
      const endMs = edges[index + 1];
      if (endMs === undefined) break;
      const known = list.map((region, at) => ({
        ...region,
        gPerKwh: slots[at]?.find((slot) => slot.startMs <= startMs && slot.endMs > startMs)?.gPerKwh ?? null,
      }));
      if (known.every(({ gPerKwh }) => gPerKwh === null)) continue;
      const { best } = chooseRegion(known, this.#policy(policy));
      const gPerKwh = known.find(({ name }) => name === best)?.gPerKwh ?? null;
      const last = found.at(-1);
      if (last && last.best === best && last.gPerKwh === gPerKwh && last.endMs === startMs)
        last.endMs = endMs;
      else found.push({ startMs, endMs, best, gPerKwh });
    }
    return found;
  }

  #policy(given: Partial<RegionPolicy> | undefined): RegionPolicy {
    const { maxLatencyMs, gPerKwhPerMs } = this.#parts.settings;
    return { maxLatencyMs, gPerKwhPerMs, ...given };
  }
}
