/**
 * The model configuration extension: how a version is served, in the words of Triton's ModelConfig, as far as it is
 * meant here. Sources: extension_model_configuration.md, and model_config.proto of triton-inference-server/common.
 */
import type { Datatype, TensorSpec } from '../../models/models.ts';
import type { ServedVersion } from '../../serve/serve.ts';
import { platformOf } from './answer.ts';

/** `maxBatchSize`: where the deployment names none. */
export function modelConfig(name: string, served: ServedVersion, maxBatchSize: number) {
  const { signature, settings, version } = served;
  const batched = isBatched(served);
  const dims = ({ shape }: TensorSpec) => (batched ? shape.slice(1) : shape);
  return {
    name,
    platform: platformOf(served),
    ...(served.format === 'ensemble' ? {} : { backend: 'onnxruntime' }),
    version_policy: { specific: { versions: [version] } },
    max_batch_size: batched ? (settings.maxBatchSize ?? maxBatchSize) : 0,
    input: signature.inputs.map((input) => ({
      name: input.name,
      data_type: dataType(input.datatype),
      format: 'FORMAT_NONE',
      dims: dims(input),
      is_shape_tensor: false,
      allow_ragged_batch: false,
      optional: false,
    })),
    output: signature.outputs.map((output) => ({
      name: output.name,
      data_type: dataType(output.datatype),
      dims: dims(output),
      label_filename: '',
      is_shape_tensor: false,
    })),
    ...(batched ? { dynamic_batching: dynamicBatching(served) } : {}),
    instance_group: instanceGroups(served),
    model_warmup: settings.warmUpBatchSizes.map((size) => ({
      name: `zeros-${size}`,
      batch_size: size,
      count: 1,
    })),
    response_cache: { enable: settings.cache.enabled && served.deterministic },
    parameters: Object.fromEntries(
      Object.entries({
        queue_delay: settings.maxQueueDelayMs === 'adaptive' ? 'adaptive' : 'fixed',
        pinned: String(settings.pinned),
        idle_unload_s: String(settings.idleUnloadS ?? 'never'),
      }).map(([key, text]) => [`commonwatt_${key}`, { string_value: text }]),
    ),
  };
}

/** The first dimension of everything is the batch's. */
function isBatched({ signature: { inputs, outputs } }: ServedVersion): boolean {
  return inputs.length > 0 && [...inputs, ...outputs].every(({ shape }) => shape[0] === -1);
}

function dynamicBatching({ settings }: ServedVersion) {
  const { maxQueueDelayMs, priorityLevels, queueTimeoutMs, queueLimit } = settings;
  return {
    preferred_batch_size: settings.preferredBatchSizes,
    // A delay that is learned has no one figure; `parameters` says so.
    max_queue_delay_microseconds: maxQueueDelayMs === 'adaptive' ? 0 : Math.round(maxQueueDelayMs * 1000),
    preserve_ordering: false,
    priority_levels: priorityLevels > 1 ? priorityLevels : 0,
    default_priority_level: priorityLevels > 1 ? Math.ceil(priorityLevels / 2) : 0,
    default_queue_policy: {
      timeout_action: 'REJECT',
      default_timeout_microseconds: (queueTimeoutMs ?? 0) * 1000,
      allow_timeout_override: true,
      max_queue_size: queueLimit ?? 0,
    },
  };
}

function instanceGroups({ settings }: ServedVersion) {
  const onCpu = settings.executionProviders[0] === 'cpu';
  return [{ name: 'replicas', kind: onCpu ? 'KIND_CPU' : 'KIND_GPU', count: settings.replicas, gpus: [] }];
}

function dataType(datatype: Datatype): string {
  return datatype === 'BYTES' ? 'TYPE_STRING' : `TYPE_${datatype}`;
}
