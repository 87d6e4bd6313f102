/** The answers of the HTTP API that the page reads, as docs/api.md describes them. A null has its reason beside it. */

export type Quality = 'measured' | 'estimated' | 'assumed';

export interface Whoami {
  organisation: string;
  member: string;
  role: 'operator' | 'admin' | 'member';
  keyId: string;
}

export interface TensorSpec {
  name: string;
  datatype: string;
  shape: number[];
}

export interface Version {
  number: number;
  format: string;
  inputs: TensorSpec[];
  dataset: string | null;
}

export interface Grant {
  permissions: string[];
  limit: { requests: number; period: 'hour' | 'day' | 'month' } | null;
  /** Null: without a limit nothing is counted. */
  usedInPeriod: number | null;
  expiresAt: string | null;
}

/** idle: not in memory for want of use; the next request brings it back. */
export type DeploymentState = 'loading' | 'ready' | 'idle' | 'failed' | 'quarantined';

export interface Deployment {
  id: string;
  model: string;
  version: number;
  state: DeploymentState;
  /** Why it failed or is quarantined; null for other organisations, as are `settings`. */
  reason: string | null;
  memoryBytes: number;
  settings: DeploymentSettings | null;
}

export interface DeploymentSettings {
  /** Undefined: as the server computes. */
  maxBatchSize?: number | undefined;
  preferredBatchSizes: number[];
  maxQueueDelayMs: number | 'adaptive';
  queueLimit?: number | undefined;
  queueTimeoutMs: number | null;
  priorityLevels: number;
  cache: { enabled: boolean; maxAgeS: number; scope: 'organisation' | 'everyone' };
  warmUpBatchSizes: number[];
  pinned: boolean;
  idleUnloadS: number | null;
  threads?: number | undefined;
  replicas: number;
  executionProviders: string[];
}

/** Of one's own models, since the server started: the statistics extension of the Open Inference Protocol. */
export interface VersionCounts {
  name: string;
  version: string;
  /** Epoch ms; 0: not yet. */
  last_inference: number;
  inference_stats: { success: { count: number }; cache_hit: { count: number } };
}

export interface Model {
  id: string;
  organisation: string;
  name: string;
  ref: string;
  flat: string;
  owned: boolean;
  versions: Version[];
  aliases: { alias: string; version: number }[];
  deployments: Pick<Deployment, 'id' | 'version' | 'state'>[];
  grant: Grant | null;
}

export interface Impact {
  energyWh: number | null;
  dynamicWh: number | null;
  idleShareWh: number | null;
  carbonGCo2e: number | null;
  quality: Quality;
  method: string;
  settled: boolean;
  unknown: Record<string, string>;
}

export interface LiveEvent {
  rur: number | null;
  energyWh: number | null;
  carbonGCo2e: number | null;
  requests: number;
  powerW: number | null;
  quality: Quality;
}

export interface CurvePoint {
  utilisation: number;
  gCo2ePerRequest: number | null;
}

export interface Baseline {
  id: string;
  name: string;
  description: string;
  carbonGCo2e: number | null;
  savingGCo2e: number | null;
  savingPercent: number | null;
}

export interface RurOfResource {
  usedOverSupplied: number | null;
  usedOverReserved: number | null;
  reservedOverSupplied: number | null;
}

export interface Burden {
  energyWh: number | null;
  carbonGCo2e: number | null;
  embodiedGCo2e: number | null;
}

export interface GridState {
  current: {
    gPerKwh: number;
    zone: string;
    kind: 'average' | 'marginal';
    scope: 'life-cycle' | 'direct';
    estimated: boolean;
    stale: boolean;
    source: string;
    at: string | null;
    /** Why it is not a value of the first source; null: it is. */
    instead: string | null;
  };
  forecast: { start: string; end: string; gPerKwh: number }[];
}

export interface ImpactReport {
  from: string;
  to: string;
  quality: Quality;
  method: string;
  zone: string;
  intensityGPerKwh: { value: number | null; source: string; kind: string };
  pue: { value: number; assumed: boolean };
  consumption: {
    energyWh: number | null;
    carbonGCo2e: number | null;
    embodiedGCo2e: number | null;
    requests: number;
    jobs: number;
    /** What was reserved, and what of it was not used; null: data from before it was told. */
    allocated: Burden | null;
    waste: Burden | null;
  };
  /** Spared by using answers again: estimated, in no sum of what was used. */
  avoided: { requests: number; energyWh: number | null; carbonGCo2e: number | null; quality: Quality };
  split: {
    requestsWh: number | null;
    jobsWh: number | null;
    idleWh: number | null;
    overheadWh: number | null;
    unattributedWh: number | null;
    meterWh: number | null;
  };
  rur: { headline: number | null; cpu: RurOfResource; memory: RurOfResource };
  impact: {
    totalGCo2e: number | null;
    perRequestGCo2e: number | null;
    atFullUtilisationGCo2e: number | null;
    curve: CurvePoint[];
    /** Where the machine ran; null without a request. */
    operatingPoint: CurvePoint | null;
  };
  sharing: {
    headlineBaseline: string;
    savingGCo2e: number | null;
    savingPercent: number | null;
    /** 5th and 95th percentile of the saving, in per cent. */
    low: number | null;
    high: number | null;
    distinguishable: boolean;
    shared: { carbonGCo2e: number | null; energyWh: number | null };
    baselines: Baseline[];
    assumptions: string[];
  };
  groups: {
    key: string;
    requests: number;
    energyWh: number | null;
    whPerRequest: { p50: number | null; p90: number | null; p99: number | null } | null;
    settled: boolean | null;
  }[];
  unknown: Record<string, string>;
  notes: string[];
}

export interface InferAnswer {
  model_version: string;
  outputs: { name: string; shape: number[]; data: number[] }[];
  usage?: { impact?: Impact };
}

export interface Explanation {
  attributions: { feature: string; value: number }[];
  baseValue: number;
  prediction: number;
  output: string;
  method: string;
  modelCalls: number;
  modelRows: number;
  additivityGap: number;
  impact: Impact;
}

export interface DatasetRow {
  row: number;
  features: Record<string, number>;
  label: number;
}
