/** One deployment as this process knows it. Small: a thousand of them cost little until they are used. */
import type { Accountant, ModelUse } from '../energy/energy.ts';
import type { AuditEvent } from '../gate/audit.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import type { Place } from './place.ts';
import type { LoadState, ServedVersion } from './serve.ts';
import type { DeploymentSettings, GivenSettings } from './settings.ts';

/** idle: not in memory for want of use; the next request brings it back. */
type DeploymentState = 'loading' | 'ready' | 'idle' | 'failed' | 'quarantined';

export interface Deployment {
  id: string;
  modelId: string;
  versionId: string;
  version: number;
  state: DeploymentState;
  /** Why, for failed and quarantined. */
  reason: string | null;
  /** Held in runners, estimated. */
  memoryBytes: number;
  settings: DeploymentSettings;
  createdAt: string;
}

export interface Live {
  readonly id: string;
  readonly createdAt: string;
  readonly model: ModelRecord;
  readonly version: VersionRecord;
  readonly use: ModelUse;
  readonly artifactBytes: number;
  /** Requests may be led here: it is committed, and not lent for a while. */
  routed: boolean;
  /** Lent for a while: no deployment of anybody. */
  readonly borrowed: boolean;
  given: GivenSettings;
  served: ServedVersion;
  place: Place;
  /** The last change under way: they follow one another. */
  changing: Promise<unknown>;
}

const stateNames = {
  loading: 'loading',
  loaded: 'ready',
  unloaded: 'idle',
  failed: 'failed',
  quarantined: 'quarantined',
} as const satisfies Record<LoadState['state'], DeploymentState>;

export function deploymentOf({ id, createdAt, served, place, routed }: Live): Deployment {
  const { state, reason, memoryBytes } = place.state;
  return {
    id,
    modelId: served.modelId,
    versionId: served.versionId,
    version: served.version,
    state: routed || state === 'failed' || state === 'quarantined' ? stateNames[state] : 'loading',
    reason,
    memoryBytes,
    settings: served.settings,
    createdAt,
  };
}

/** What the meter is told: only what is in memory reserves a part of the host. */
export function reservationsOf(lives: Iterable<Live>): Parameters<Accountant['setReservations']>[0] {
  return [...lives].flatMap(({ use, place }) => place.holds().map((held) => ({ use, ...held })));
}

export function eventOf(
  { model, use }: Live,
  action: string,
  by: string,
  detail?: Record<string, unknown>,
): AuditEvent {
  return {
    actor: by,
    organisationId: model.organisationId,
    action,
    subject: `${use.model}:${use.version}`,
    ...(detail ? { detail } : {}),
  };
}
