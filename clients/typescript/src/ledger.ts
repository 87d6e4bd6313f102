/** The books: what every request, job, idle and overhead was given, and the metered intervals they add up to. */
import type { Figure, Quality } from './shapes.ts';
import type { CallOptions, Transport } from './transport.ts';

export interface LedgerFilter {
  /** ISO 8601; without: the last 24 hours. */
  from?: string;
  to?: string;
  kind?: LedgerLine['kind'];
  outcome?: LedgerLine['outcome'];
  /** `org/model` or its id. */
  model?: string;
  version?: number;
  /** The organisation that used it: its name or id. */
  tenant?: string;
  /** Id of an API key of your own. */
  key?: string;
  job?: string;
}

export interface LedgerLine {
  /** Of a request: `x-commonwatt-request-id` of its answer. */
  id: string;
  at: string;
  interval: string;
  kind: 'inference' | 'explanation' | 'evaluation' | 'training' | 'idle' | 'overhead' | 'unattributed';
  note: string | null;
  outcome: 'finished' | 'aborted' | 'failed' | 'cached';
  attributionMethod: 'direct' | 'shared step' | 'proportional';
  consumerId: string | null;
  consumer: string | null;
  ownerId: string | null;
  owner: string | null;
  modelId: string | null;
  model: string | null;
  version: number | null;
  keyId: string | null;
  memberId: string | null;
  grantId: string | null;
  jobId: string | null;
  runnerPid: number | null;
  node: string | null;
  rows: number;
  cpuSeconds: Figure;
  energyWh: Figure;
  idleShareWh: Figure;
  carbonGCo2e: Figure;
  embodiedGCo2e: Figure;
  waterL: Figure;
  /** Spared by using an answer again; in no sum of what was used. */
  avoidedWh: Figure;
  avoidedGCo2e: Figure;
  /** What was reserved for it. */
  allocatedWh: Figure;
  allocatedGCo2e: Figure;
  allocatedEmbodiedGCo2e: Figure;
  quality: Quality;
  method: string;
  methodVersion: string;
  zone: string | null;
  signal: string | null;
  scope: string | null;
  intensityGPerKwh: Figure;
}

export interface LedgerPage {
  lines: LedgerLine[];
  /** Gives the next page; null: there is nothing more. */
  cursor: string | null;
}

export interface MeteredInterval {
  id: string;
  start: string;
  end: string;
  node: string | null;
  energyWh: Figure;
  acceleratorWh: Figure;
  /** Device seconds; null: no meter tells. */
  acceleratorSecondsSupplied: Figure;
  acceleratorSecondsReserved: Figure;
  acceleratorSecondsUsed: Figure;
  carbonGCo2e: Figure;
  embodiedGCo2e: Figure;
  waterL: Figure;
  quality: Quality;
  method: string;
  methodVersion: string;
  zone: string | null;
  signal: string | null;
  scope: string | null;
  intensityGPerKwh: Figure;
  basis: unknown;
  cpuSecondsSupplied: Figure;
  cpuSecondsUsed: Figure;
  cpuSecondsOther: Figure;
  memoryGbSecondsSupplied: Figure;
  memoryGbSecondsReserved: Figure;
  memoryGbSecondsUsed: Figure;
}

export type LedgerFormat = 'csv' | 'jsonl' | 'parquet';
export type LedgerResource = ReturnType<typeof ledgerResource>;

export function ledgerResource(transport: Transport) {
  const page = (
    filter: LedgerFilter & { limit?: number; cursor?: string } = {},
    options?: CallOptions,
  ): Promise<LedgerPage> => transport.json('GET', '/api/v1/ledger', { ...options, query: { ...filter } });
  return {
    /** At most `limit` lines (100), and the cursor of the next page. */
    page,
    /** Every line, page after page. */
    async *lines(filter: LedgerFilter = {}, options?: CallOptions): AsyncGenerator<LedgerLine> {
      for (let cursor: string | null | undefined; cursor !== null; ) {
        const answer: LedgerPage = await page(
          { ...filter, limit: 1000, ...(cursor === undefined ? {} : { cursor }) },
          options,
        );
        yield* answer.lines;
        cursor = answer.cursor;
      }
    },
    /** What one request, job or entry was given, settled. */
    get(id: string, options?: CallOptions): Promise<LedgerLine> {
      return transport.json('GET', `/api/v1/ledger/${encodeURIComponent(id)}`, options);
    },
    /** All lines as a file, while it is written. */
    download(
      format: LedgerFormat,
      filter: LedgerFilter = {},
      options?: CallOptions,
    ): Promise<ReadableStream<Uint8Array>> {
      return transport.bytes('GET', '/api/v1/ledger', { ...options, query: { ...filter, format } });
    },
    /** Metered intervals, at most `limit` (100), and where the next page begins. */
    intervals(
      window: { from?: string; to?: string; limit?: number } = {},
      options?: CallOptions,
    ): Promise<{ intervals: MeteredInterval[]; next: string | null }> {
      return transport.json('GET', '/api/v1/ledger/intervals', { ...options, query: { ...window } });
    },
  };
}
