/** What the platform sends and takes: the JSON shapes of docs/api.md. Energy in Wh, carbon in gCO2e, water in L. */

/** Null where it is not known; the reason stands beside it in `unknown`. */
export type Figure = number | null;
export type Quality = 'measured' | 'estimated' | 'assumed';
export type Datatype =
  | 'BOOL'
  | 'UINT8'
  | 'INT8'
  | 'INT32'
  | 'INT64'
  | 'FP32'
  | 'FP64'
  | (string & Record<never, never>);

/** What one answer or job used. A null has its reason in `unknown`. */
export interface Impact {
  energyWh: Figure;
  dynamicWh: Figure;
  idleShareWh: Figure;
  carbonGCo2e: Figure;
  waterL: Figure;
  embodiedGCo2e: Figure;
  quality: Quality;
  method: string;
  methodVersion: string;
  settled: boolean;
  unknown: Record<string, string>;
}

/** How dirty the electricity is now, and as forecast. */
export interface GridState {
  /** Of the yearly average that stands in. */
  zone: string;
  current: {
    gPerKwh: number;
    zone: string;
    kind: 'average' | 'marginal';
    scope: 'life-cycle' | 'direct';
    estimated: boolean;
    /** An older value, carried on. */
    stale: boolean;
    source: string;
    /** Since when the value has held; null: it is of a year. */
    at: string | null;
    /** Why it is not a value of the first source; null: it is. */
    instead: string | null;
  };
  forecast: { start: string; end: string; gPerKwh: number }[];
  sources: {
    name: string;
    zone: string;
    kind: 'average' | 'marginal';
    scope: 'life-cycle' | 'direct';
    description: string;
    updatedAt: string | null;
    nextAt: string | null;
    /** For operators. */
    problem: string | null;
    refused: { count: number; reason: string } | null;
  }[];
}

export interface WhoAmI {
  organisation: string;
  member: string;
  role: 'operator' | 'admin' | 'member';
  keyId: string;
}

export interface Organisation {
  id: string;
  name: string;
  createdAt: string;
}

export interface CreatedOrganisation extends Organisation {
  /** The first administrator; `apiKey` is shown this once. */
  admin: { member: string; apiKey: string; keyId: string };
}

export interface Member {
  id: string;
  name: string;
  role: 'operator' | 'admin' | 'member';
  createdAt: string;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  member: string;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
}

export interface CreatedApiKey extends ApiKey {
  /** Shown this once. */
  apiKey: string;
}

/** One input or output; −1 is a variable dimension (the first one is the batch). */
export interface TensorSpec {
  name: string;
  datatype: Datatype;
  shape: number[];
}

export interface Version {
  id: string;
  number: number;
  format: 'keras-h5' | 'keras' | 'tfjs-layers' | 'onnx' | 'pipeline' | 'ensemble';
  sha256: string;
  onnxSha256: string;
  sizeBytes: number;
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  createdAt: string;
  /** Null for other organisations, as are `jobId` and `dataset`. */
  createdBy: string | null;
  jobId: string | null;
  dataset: string | null;
}

/** idle: not in memory for want of use; the next request brings it back. */
export type DeploymentState = 'loading' | 'ready' | 'idle' | 'failed' | 'quarantined';

export interface Model {
  id: string;
  organisation: string;
  name: string;
  ref: string;
  flat: string;
  createdAt: string;
  owned: boolean;
  versions: Version[];
  aliases: { alias: string; version: number }[];
  deployments: { id: string; version: number; state: DeploymentState }[];
  grant: Grant | null;
}

export interface Deployment {
  id: string;
  model: string;
  version: number;
  state: DeploymentState;
  /** Why it failed or is quarantined; null for other organisations. */
  reason: string | null;
  /** Held by runners, estimated. */
  memoryBytes: number;
  /** Null for other organisations. */
  settings: DeploymentSettings | null;
  createdAt: string;
}

/** How a version is served; docs/operations.md says what each setting does. */
export interface DeploymentSettings {
  /** Undefined, as `queueLimit` and `threads`: the server's own. */
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
  /** Consolidation leaves it so many copies, and keeps this 95th percentile. */
  minReplicas?: number | undefined;
  latencyObjectiveMs?: number | undefined;
  replicas: number;
  executionProviders: ('cpu' | 'cuda' | 'tensorrt' | 'webgpu' | 'coreml' | 'dml')[];
  /** Cheaper versions of the same signature that answer while the grid is dirtier than their limit. */
  greener: { use: string; aboveGPerKwh: number }[];
}

/** Settings as they are given: what is left out stays, or is the default. */
export type GivenSettings = Partial<Omit<DeploymentSettings, 'cache'>> & {
  cache?: Partial<DeploymentSettings['cache']>;
};

export type Permission = 'infer' | 'explain' | 'download';
export interface Limit {
  requests: number;
  period: 'hour' | 'day' | 'month';
}

export interface Grant {
  id: string;
  organisation: string;
  permissions: Permission[];
  limit: Limit | null;
  /** Null: without a limit nothing is counted here. */
  usedInPeriod: number | null;
  expiresAt: string | null;
  createdAt: string;
  revokedAt: string | null;
}

export interface GrantRequest {
  organisation: string;
  permissions?: Permission[];
  limit?: Limit;
  expiresAt?: string;
}

export interface DataReport {
  passed: boolean;
  checks: {
    name: string;
    passed: boolean;
    severity: 'error' | 'warning';
    message: string;
    value: number | null;
  }[];
  columns: {
    name: string;
    missing: number;
    min: number | null;
    max: number | null;
    mean: number | null;
    distinct: number;
  }[];
}

export type SplitName = 'train' | 'validation' | 'test';

export interface Dataset {
  id: string;
  name: string;
  rows: number;
  label: string;
  features: string[];
  split: {
    seed: number;
    train: number;
    validation: number;
    test: number;
    rows: Record<SplitName, number>;
  };
  report: DataReport;
  sha256: string;
  createdAt: string;
  createdBy: string;
}

export interface DatasetUpload {
  name: string;
  label: string;
  seed?: number;
  /** Fractions; they add up to 1. */
  train?: number;
  validation?: number;
  test?: number;
}

export interface DatasetRow {
  row: number;
  features: Record<string, number>;
  label: number;
}

/** Rules a version must meet on the test split before the alias `production` may point at it. */
export type GateConfig = Record<string, unknown>;

export interface TrainConfig {
  dataset: string;
  name?: string;
  layers: { type: string; units: number; activation?: string }[];
  optimizer: string;
  learningRate?: number;
  loss: string;
  metrics?: string[];
  epochs: number;
  batchSize?: number;
  seed?: number;
  gate?: GateConfig;
}

export interface JobProgress {
  epoch: number;
  epochs: number;
  loss: number | null;
  accuracy: number | null;
  valLoss: number | null;
  valAccuracy: number | null;
  energyWh: number | null;
}

/** Of a batch of inferences. */
export interface BatchProgress {
  rows: number;
  ofRows: number;
  energyWh: number | null;
}

export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

export interface Job {
  id: string;
  kind: string;
  state: JobState;
  createdBy: string;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  attempts: number;
  /** As its kind has it; an evaluation has none. */
  progress: JobProgress | BatchProgress | null;
  result: TrainResult | BatchResult | Evaluation | null;
  error: { code: string; message: string; hint: string | null } | null;
  /** Null: it runs as soon as its turn comes. */
  schedule: JobSchedule | null;
}

export interface TrainResult {
  artifactSha256: string;
  sizeBytes: number;
  history: {
    epoch: number;
    loss: number;
    accuracy: number;
    valLoss: number | null;
    valAccuracy: number | null;
  }[];
  impact: Impact;
}

export interface BatchResult {
  artifactSha256: string;
  sizeBytes: number;
  rows: number;
  columns: string[];
  model: string;
  version: number;
  impact: Impact;
}

/** Until when a job may wait for cleaner hours: a deadline, or how much later than at once it may end. */
export interface ScheduleRequest {
  /** ISO 8601 with its zone. */
  deadline?: string;
  maxDelayS?: number;
  /** May be paused at a checkpoint; without a word, where its kind can. */
  interruptible?: boolean;
  /** How long it runs; without a word, as earlier jobs of its kind and size did. */
  expectedS?: number;
  minRunS?: number;
}

export interface JobSchedule {
  deadline: string;
  interruptible: boolean;
  minRunS: number;
  expectedS: number | null;
  expectedFrom: 'asked' | 'earlier jobs' | null;
  plan: {
    /** cleanest: it waits for better hours; the others: why it begins at once. */
    why: 'cleanest' | 'flat' | 'no forecast' | 'deadline' | 'unknown length';
    madeAt: string;
    runs: { start: string; end: string }[];
    meanGPerKwh: number | null;
    atOnceGPerKwh: number | null;
    forecastSavedPercent: number | null;
  } | null;
  ran: { start: string; end: string; energyWh: number | null }[];
  /** What waiting saved, at the intensities that there were; null before the end. */
  actual: {
    emittedGCo2e: number | null;
    atOnceGCo2e: number | null;
    savedGCo2e: number | null;
    savedPercent: number | null;
    unknown: string | null;
  } | null;
}

/** What a job is asked to do. A config read from a file may be passed as it is: the server judges it. */
export type JobRequest = { schedule?: ScheduleRequest } & (
  | { kind: 'train'; config: TrainConfig | Record<string, unknown> }
  /** Again as a version was trained. */
  | { kind: 'retrain'; config: { model: string; dataset?: string; epochs?: number; seed?: number } }
  | { kind: 'evaluate'; config: { model: string; dataset: string; split?: SplitName; gate?: GateConfig } }
  | { kind: 'batch'; config: { model: string; dataset?: string; split?: SplitName; rows?: number[][] } }
);

/** A figure with its 95 % bootstrap interval; null where it is not defined (one class only). */
export interface Metric {
  value: number | null;
  low: number | null;
  high: number | null;
}

export interface GateRule {
  metric: string;
  /** value ≥ min, ≤ max, > above; improvement over the version in production ≥ minGain */
  min?: number;
  max?: number;
  above?: number;
  minGain?: number;
  value: number | null;
  /** Null: the rule did not run; `reason` says why. */
  passed: boolean | null;
  reason?: string;
}

export interface Evaluation {
  id: string;
  version: number;
  dataset: string;
  split: SplitName;
  rows: number;
  createdAt: string;
  createdBy: string;
  passed: boolean;
  metrics: Record<'accuracy' | 'rocAuc' | 'logLoss' | 'calibrationError' | 'brierScore', Metric>;
  majorityClassAccuracy: number;
  gate: {
    passed: boolean;
    rules: GateRule[];
  };
  impact: Impact;
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

export interface ExplainRequest {
  instances: number[][];
  method?: 'permutation_shap';
  version?: number;
  maxCalls?: number;
  seed?: number;
}

export interface ExplainAnswer {
  explanations: Explanation[];
  model: string;
  version: number;
}

/** One tensor of the Open Inference Protocol, in JSON. */
export interface InferTensor {
  name: string;
  datatype: Datatype;
  shape: number[];
  data: unknown[];
}

export interface InferRequest {
  id?: string;
  inputs: InferTensor[];
  outputs?: { name: string }[];
  parameters?: Record<string, unknown>;
}

export interface InferAnswer {
  model_name: string;
  model_version: string;
  id?: string;
  outputs: InferTensor[];
  usage: { impact: Impact };
}

export interface ModelMetadata {
  name: string;
  versions: string[];
  platform: string;
  inputs: TensorSpec[];
  outputs: TensorSpec[];
}

export interface Prediction {
  model: string;
  version: number;
  /** One row of outputs for each instance. */
  outputs: number[][];
  impact: Impact;
}

export interface Baseline {
  id: string;
  name: string;
  description: string;
  carbonGCo2e: Figure;
  energyWh: Figure;
  savingGCo2e: Figure;
  savingPercent: Figure;
  low: Figure;
  high: Figure;
  distinguishable: boolean;
  decomposition: SavingByCause;
}

/** RUR of one resource; the product of the last two is the first. */
export interface Utilisation {
  usedOverSupplied: Figure;
  usedOverReserved: Figure;
  reservedOverSupplied: Figure;
}

export interface CurvePoint {
  utilisation: number;
  gCo2ePerRequest: number;
  /** Of the whole supply: it rises with use. */
  gCo2ePerHour: number;
}

/** The middle, and where the truth is believed to be in 90 of 100 cases. */
export interface Range {
  value: number;
  low: number;
  high: number;
}

/** Grams saved by each cause; they sum to the saving. */
export interface SavingByCause {
  utilisationGCo2e: number;
  batchingGCo2e: number;
  pueGCo2e: number;
  gridGCo2e: number;
  embodiedGCo2e: number;
}

/** By what requests used in the last 30 days. */
export interface ModelAlternatives {
  model: string;
  version: number;
  energyWhPerRequest: Figure;
  /** Null: another organisation's model. */
  requests: number | null;
  /** Same inputs and outputs, less energy per request, least first. */
  alternatives: {
    model: string;
    version: number;
    energyWhPerRequest: number;
    /** Of the energy per request of the model that was asked for. */
    ratio: number;
    requests: number | null;
    settled: boolean | null;
  }[];
  unknown: Record<string, string>;
}

export interface ImpactReport {
  from: string;
  to: string;
  quality: Quality;
  method: string;
  methodVersion: string;
  zone: string;
  intensityGPerKwh: { value: Figure; source: string; kind: string };
  pue: { value: number; assumed: boolean };
  consumption: {
    energyWh: Figure;
    carbonGCo2e: Figure;
    waterL: Figure;
    embodiedGCo2e: Figure;
    requests: number;
    /** Of them, those whose answers were of use. */
    finished: number;
    jobs: number;
    /** What was reserved, and what of it neither requests nor jobs used. */
    allocated: Burden | null;
    waste: Burden | null;
    whPerRequest: Percentiles | null;
  };
  /** Spared by using answers again; estimated, in no sum of what was used. */
  avoided: { requests: number; energyWh: Figure; carbonGCo2e: Figure; quality: Quality };
  supply: { cpuSeconds: Figure; memoryGbSeconds: Figure; energyWh: Figure };
  split: {
    requestsWh: Figure;
    jobsWh: Figure;
    idleWh: Figure;
    overheadWh: Figure;
    unattributedWh: Figure;
    meterWh: Figure;
    residualRatio: Figure;
  };
  rur: {
    headline: Figure;
    cpu: Utilisation;
    memory: Utilisation;
    /** Null: no meter told how long accelerators were busy. */
    accelerator: Utilisation | null;
    weights: { cpu: number; memory: number };
    /** Without what failed or was left by its caller. */
    goodput: { usedOverSupplied: Figure; partOfUsed: Figure };
    nodes: { node: string; headline: Figure; cpu: Utilisation; memory: Utilisation }[];
    models: { model: string; cpu: Utilisation; memory: Utilisation; goodputOverSupplied: Figure }[];
    tenants: { tenant: string; cpuOverSupplied: Figure; goodputOverSupplied: Figure; partOfUsed: Figure }[];
  };
  impact: {
    totalGCo2e: Figure;
    perRequestGCo2e: Figure;
    perRequestWh: Figure;
    atFullUtilisationGCo2e: Figure;
    /** f(RUR), as it is in use. */
    function: { kind: string; formula: string };
    curve: CurvePoint[];
    operatingPoint: CurvePoint | null;
    /** The least of f, whatever latency says. */
    best: CurvePoint | null;
    /** The best use that keeps every latency objective. */
    sloSafe:
      | (CurvePoint & {
          mostUtilisation: number;
          model: string;
          objectiveMs: number;
          p95Ms: number;
          method: string;
          savingGCo2ePerHour: number;
        })
      | null;
  };
  sharing: {
    headlineBaseline: string;
    savingGCo2e: Figure;
    savingPercent: Figure;
    low: Figure;
    high: Figure;
    distinguishable: boolean;
    decomposition: SavingByCause;
    shared: { carbonGCo2e: Figure; energyWh: Figure; cpuSeconds: Figure; memoryBytes: Figure };
    /** What an own instance for each organisation, always on, would use. */
    own: { instances: number; cpuSeconds: Range; energyWh: Range; memoryBytes: Range | null };
    rebound: { assumedPart: number; breakEvenPart: Figure };
    baselines: Baseline[];
    tenants: number;
    assumptions: string[];
  };
  groups: {
    key: string;
    by: Partial<Record<GroupBy, string>>;
    requests: number;
    finished: number;
    rows: number;
    energyWh: Figure;
    idleShareWh: Figure;
    carbonGCo2e: Figure;
    waterL: Figure;
    embodiedGCo2e: Figure;
    cpuSeconds: Figure;
    allocated: Burden | null;
    waste: Burden | null;
    whPerRequest: Percentiles | null;
    /** Is the energy per request of its model to be trusted yet? */
    settled: boolean | null;
  }[];
  unknown: Record<string, string>;
  notes: string[];
}

export type GroupBy =
  | 'model'
  | 'tenant'
  | 'kind'
  | 'version'
  | 'key'
  | 'member'
  | 'runner'
  | 'node'
  | 'owner'
  | 'job'
  | 'outcome'
  | 'hour'
  | 'day'
  | 'month';

export interface Burden {
  energyWh: Figure;
  carbonGCo2e: Figure;
  embodiedGCo2e: Figure;
}

/** Of single inferences, Wh, to 1 %. */
export interface Percentiles {
  p50: Figure;
  p90: Figure;
  p99: Figure;
}

/** What the server is made of, for its operator. */
export interface ServerFacts {
  version: string;
  node: string;
  pid: number;
  startedAt: string;
  /** Told to stop: it is ready no more. */
  leaving: boolean;
  gateways: { count: number; pids: number[] };
  runners: {
    processes: {
      pid: number;
      kind: 'shared' | 'alone';
      residentBytes: number;
      /** Since its start, warm-ups included, by its own account. */
      computedS: number;
      models: { model: string; memoryBytes: number }[];
    }[];
    restarts: number;
    threads: number;
    memoryLimitBytes: number;
  };
  models: { heldBytes: number; budgetBytes: number; deployments: Record<DeploymentState, number> };
  /** Do the entries of each interval add up to its meter (to 1e-9, else an alarm)? Null: nothing is metered. */
  ledger: {
    residualRatio: number | null;
    alarms: number;
    lastAlarm: { interval: string; residualRatio: number } | null;
  } | null;
}

export interface RunnersRestarted {
  runners: number;
  tookMs: number;
}

/** What a request used, signed by the server. */
export interface SignedReceipt {
  /** Compact JWS: what counts. */
  receipt: string;
  /** The same, to be read. */
  claims: {
    iss: string;
    sub: string;
    iat: number;
    time: string;
    consumer: string | null;
    model: string | null;
    version: number | null;
    modelDigest: string | null;
    energyWh: Figure;
    carbonGCo2e: Figure;
    quality: 'measured' | 'estimated' | 'assumed';
    method: string;
    methodVersion: string;
    settled: boolean;
    unknown: Record<string, string>;
  };
}
