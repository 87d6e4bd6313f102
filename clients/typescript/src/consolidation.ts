/** Fewer, fuller runners, for the operator. */
import type { CallOptions, Transport } from './transport.ts';

export type ConsolidationStep =
  | { kind: 'unload'; id: string; name: string; freesBytes: number }
  | { kind: 'replicas' | 'threads' | 'maxBatchSize'; id: string; name: string; from: number; to: number }
  | { kind: 'runners'; from: number; to: number };

interface ConsolidationShape {
  runners: number;
  copies: number;
  reservedBytes: number;
  rur: number | null;
}

interface Measured {
  gCo2ePerHour: number;
  energyWhPerHour: number;
  rur: number | null;
  requestsPerS: number;
}

export interface ConsolidationState {
  mode: 'off' | 'propose' | 'perform';
  windowS: number;
  steps: (ConsolidationStep & { why: string })[];
  before: ConsolidationShape;
  /** As predicted. */
  after: ConsolidationShape;
  performed: {
    id: string;
    at: string;
    by: string;
    steps: ConsolidationStep[];
    skipped: { step: ConsolidationStep; why: string }[];
    undoneAt: string | null;
    before: Measured | null;
    after: Measured | null;
    afterUnknown: string | null;
  } | null;
}

export type ConsolidationResource = ReturnType<typeof consolidationResource>;

export function consolidationResource(transport: Transport) {
  const call = (method: 'GET' | 'POST', path: string, options?: CallOptions): Promise<ConsolidationState> =>
    transport.json(method, `/api/v1/consolidation${path}`, options);
  return {
    get: (options?: CallOptions) => call('GET', '', options),
    perform: (options?: CallOptions) => call('POST', '/perform', options),
    /** Takes back what was performed last. */
    undo: (options?: CallOptions) => call('POST', '/undo', options),
  };
}
