import type { DeploymentState } from '../server/shapes.ts';

/** The state of a deployment as people say it. */
export const stateText: Record<DeploymentState, string> = {
  loading: 'loading',
  ready: 'ready',
  idle: 'ready, loads on demand',
  failed: 'failed',
  quarantined: 'quarantined',
};
