/** Where a deployment is computed: in a replica that comes and goes, or by other deployments (an ensemble). */
import type { Reservation } from '../energy/energy.ts';
import type { ArtifactFormat, ModelRecord, VersionRecord } from '../models/models.ts';
import type { Engine, LoadState, ServedVersion } from './serve.ts';
import type { ModelStatistics } from './statistics.ts';

export interface Place {
  /** What answers; made when it is first needed, so that a deployment that nobody uses holds nothing. */
  engine(): Engine;
  /** Requests that wait or are being computed; 0 without an engine. */
  readonly pending: number;
  /** Undefined: nothing was asked yet. */
  readonly statistics: ModelStatistics | undefined;
  readonly state: LoadState;
  /** A request sent now would be answered, at once or when its model has been loaded for it. */
  readonly answers: boolean;
  /** Ready to compute when it resolves; rejects with why it cannot be. A failure of before is forgotten. */
  load(): Promise<void>;
  /** A request is on its way. Cheap. */
  used(): void;
  /** Other settings from now on; requests that wait are answered under the old ones. */
  apply(served: ServedVersion): void;
  drained(): Promise<void>;
  /** Ends for good, when everything is answered. */
  discard(): Promise<void>;
  /** What it holds in which runner. */
  holds(): Omit<Reservation, 'use'>[];
}

/** A version whose engine is made of other deployments: what such an engine is made from. */
export interface Composition {
  model: ModelRecord;
  version: VersionRecord;
  served: ServedVersion;
  bytes(): Promise<Uint8Array>;
}

/** Throws why it cannot be served; then the deployment fails with that. */
export type Compose = (composition: Composition) => Promise<Engine>;

/** Formats that have no replica of their own. */
export type Composers = Partial<Record<ArtifactFormat, Compose>>;
