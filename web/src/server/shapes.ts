/** What the page reads of the HTTP API: the TypeScript client's types, and what it does not have. A null has its reason beside it. */
import type { ImpactReport, InferAnswer, Quality } from '@commonwatt/client';

export type {
  ApiKey,
  Baseline,
  Budget,
  BudgetChange,
  BudgetSubjectKind,
  Burden,
  ConsolidationState,
  ConsolidationStep,
  CurvePoint,
  DatasetRow,
  Deployment,
  DeploymentSettings,
  DeploymentState,
  Explanation,
  Grant,
  GridState,
  GroupBy,
  Impact,
  ImpactReport,
  Job,
  Member,
  Model,
  NewBudget,
  Organisation,
  Quality,
  Range,
  SavingByCause,
  TensorSpec,
  Utilisation,
  Version,
  WhoAmI,
} from '@commonwatt/client';

export type SharingReport = ImpactReport['sharing'];
export type Group = ImpactReport['groups'][number];

/** As the server sends it: a setting of the server may keep the footprint out of answers. */
export type Answer = Pick<InferAnswer, 'model_version'> & {
  outputs: { name: string; shape: number[]; data: number[] }[];
  usage?: Partial<InferAnswer['usage']>;
};

/** Of one's own models, since the server started: the statistics extension of the Open Inference Protocol. */
export interface VersionCounts {
  name: string;
  version: string;
  /** Epoch ms; 0: not yet. */
  last_inference: number;
  inference_stats: { success: { count: number }; cache_hit: { count: number } };
}

/** What the stream of live figures carries. */
export interface LiveEvent {
  rur: number | null;
  energyWh: number | null;
  carbonGCo2e: number | null;
  requests: number;
  powerW: number | null;
  quality: Quality | null;
}
