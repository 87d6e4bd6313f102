/** Which of several clusters to ask. */
import type { CallOptions, Transport } from './transport.ts';

export interface RegionsState {
  /** Null: no regions are configured. */
  best: string | null;
  /** nearest: none is near enough, or no grid is known. */
  why: 'cleanest' | 'nearest' | null;
  regions: {
    name: string;
    url: string;
    zone: string;
    latencyMs: number;
    gPerKwh: number | null;
    source: string;
    score: number | null;
  }[];
  forecast: { start: string; end: string; best: string; gPerKwh: number | null }[];
}

export interface RegionsQuery extends CallOptions {
  maxLatencyMs?: number;
  gPerKwhPerMs?: number;
  hours?: number;
}

export type RegionResource = ReturnType<typeof regionResource>;

export function regionResource(transport: Transport) {
  return {
    /** `baseUrl` of another client: the `url` of the best one. */
    get({ maxLatencyMs, gPerKwhPerMs, hours, ...options }: RegionsQuery = {}): Promise<RegionsState> {
      return transport.json('GET', '/api/v1/regions', {
        ...options,
        query: { maxLatencyMs, gPerKwhPerMs, hours },
      });
    },
  };
}
