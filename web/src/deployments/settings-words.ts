/** The settings of a deployment as a person reads them; docs/serving.md explains each. */
import type { DeploymentSettings } from '../server/shapes.ts';

export function settingsWords(settings: DeploymentSettings): [string, string][] {
  const { cache, maxBatchSize, preferredBatchSizes, maxQueueDelayMs, warmUpBatchSizes, threads } = settings;
  const batches = [
    maxBatchSize === undefined
      ? 'as many rows as the server computes in one go'
      : `up to ${maxBatchSize} rows`,
    ...(preferredBatchSizes.length > 0 ? [`preferably ${preferredBatchSizes.join(', ')}`] : []),
  ];
  return [
    ['Batches', batches.join('; ')],
    [
      'Waiting for company',
      maxQueueDelayMs === 'adaptive' ? 'as arrivals suggest' : `up to ${maxQueueDelayMs} ms`,
    ],
    ['Queue', queueWords(settings)],
    ['Answers used again', cache.enabled ? `for ${cache.maxAgeS} s, ${scopes[cache.scope]}` : 'never'],
    ['Memory', memoryWords(settings)],
    [
      'Copies',
      threads === undefined ? `${settings.replicas}` : `${settings.replicas}, ${threads} threads each`,
    ],
    [
      'Latency',
      settings.latencyObjectiveMs === undefined
        ? 'no objective'
        : `95 % within ${settings.latencyObjectiveMs} ms`,
    ],
    ['Warm-up', warmUpBatchSizes.length > 0 ? `batches of ${warmUpBatchSizes.join(', ')}` : 'none'],
    ['Computed on', settings.executionProviders.join(', ')],
  ];
}

const scopes = {
  organisation: 'inside each organisation',
  everyone: 'across organisations',
};

function queueWords({ queueLimit, queueTimeoutMs, priorityLevels }: DeploymentSettings): string {
  return [
    queueLimit === undefined ? 'as long as the server allows' : `up to ${queueLimit} requests`,
    ...(queueTimeoutMs === null ? [] : [`refused after ${queueTimeoutMs} ms`]),
    ...(priorityLevels > 1 ? [`${priorityLevels} levels of priority`] : []),
  ].join('; ');
}

function memoryWords({ pinned, idleUnloadS }: DeploymentSettings): string {
  if (pinned) return 'pinned: it stays';
  return idleUnloadS === null
    ? 'until another model needs the room'
    : `until ${idleUnloadS} s without a request`;
}
