/**
 * A pipeline bundle as it is served: its task and every choice of Hugging Face's files settled once, here, so that
 * runners only do what `pipeline.json` says. `commonwatt.yaml` overrules them.
 */
import { parse as parseYaml } from 'yaml';
import { CommonwattError } from '../../errors.ts';
import { type PipelineManifest, pipelineFiles } from '../../runtimes/pipeline/manifest.ts';
import { writeZip } from '../../zip.ts';
import type { ModelSignature, TensorSpec } from '../models.ts';
import type { Bundle } from './bundle.ts';
import { imageManifest } from './bundle-image.ts';
import {
  type Choices,
  choicesSchema,
  configSchema,
  jsonOf,
  type ModelConfig,
  type PipelineParts,
  type Task,
  tasks,
} from './bundle-parts.ts';
import { textManifest } from './bundle-text.ts';

/** Throws INVALID_CONFIG, UNSUPPORTED_FORMAT, CORRUPT_MODEL. */
export function inspectPipeline(
  bundle: Bundle,
  onnx: Uint8Array,
  signature: ModelSignature,
): { signature: ModelSignature; onnx: Uint8Array } {
  const choices = readChoices(bundle.text('commonwatt.yaml'));
  const config = jsonOf(bundle, 'config.json', configSchema) ?? {};
  const task = choices.task ?? guessTask(bundle, config);
  const parts: PipelineParts = { bundle, choices, config, task, signature };
  const files: [string, Uint8Array][] = [];
  let manifest: PipelineManifest;
  let inputs: TensorSpec[];
  if (task === 'image-classification' || task === 'image-feature-extraction') {
    manifest = imageManifest(parts, task);
    inputs = [bytesInput('image')];
  } else {
    manifest = textManifest(parts, task);
    inputs = task === 'reranking' ? [bytesInput('query'), bytesInput('document')] : [bytesInput('text')];
    const tokenizer = bundle.text('tokenizer.json') ?? '{}';
    files.push([pipelineFiles.tokenizer, Buffer.from(tokenizer)]);
    files.push([pipelineFiles.tokenizerConfig, Buffer.from(bundle.text('tokenizer_config.json') ?? '{}')]);
  }
  files.unshift([pipelineFiles.manifest, Buffer.from(JSON.stringify(manifest))]);
  files.push([pipelineFiles.model, onnx]);
  const outputs = outputsOf(parts, manifest);
  return { signature: { ...signature, inputs, outputs }, onnx: writeZip(files) };
}

function bytesInput(name: string): TensorSpec {
  return { name, datatype: 'BYTES', shape: [-1] };
}

function outputsOf({ signature, task }: PipelineParts, { output, labels }: PipelineManifest): TensorSpec[] {
  const score: TensorSpec = { name: 'score', datatype: 'FP32', shape: [-1] };
  const width = signature.outputs.find(({ name }) => name === output)?.shape.at(-1) ?? -1;
  switch (task) {
    case 'feature-extraction':
    case 'image-feature-extraction':
      return [{ name: 'embedding', datatype: 'FP32', shape: [-1, width] }];
    case 'token-classification':
      return [{ name: 'entities', datatype: 'BYTES', shape: [-1] }];
    case 'reranking':
      return [score];
    default:
      return [
        { name: 'label', datatype: 'BYTES', shape: [-1] },
        score,
        { name: 'scores', datatype: 'FP32', shape: [-1, width === -1 ? labels.length : width] },
      ];
  }
}

function readChoices(yaml: string | undefined): Choices {
  if (yaml === undefined) return {};
  let value: unknown;
  try {
    value = parseYaml(yaml, { maxAliasCount: 0 }) ?? {};
  } catch (cause) {
    throw wrongChoices(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : 'unreadable', cause);
  }
  const parsed = choicesSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw wrongChoices([issue?.path.join('.'), issue?.message].filter(Boolean).join(': '));
}

function wrongChoices(message: string, cause?: unknown): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', `commonwatt.yaml: ${message}`, {
    where: 'commonwatt.yaml',
    hint: `it may have task (${tasks.join(', ')}), output, pooling, normalize, max_length, aggregation, function_to_apply`,
    cause,
  });
}

/** By the class that Hugging Face's config names. */
function guessTask(bundle: Bundle, config: ModelConfig): Task {
  const architecture = config.architectures?.[0] ?? '';
  const labels = Object.keys(config.id2label ?? {}).length;
  if (architecture.endsWith('ForImageClassification')) return 'image-classification';
  if (architecture.endsWith('ForTokenClassification')) return 'token-classification';
  // Cross-encoders are classifiers of one class: how well the two texts go together.
  if (architecture.endsWith('ForSequenceClassification'))
    return labels === 1 ? 'reranking' : 'text-classification';
  const isPlain = architecture === '' || /(Model|ForMaskedLM)$/.test(architecture);
  const hasTokenizer = bundle.files.has(`${bundle.root}tokenizer.json`);
  const hasImages = bundle.files.has(`${bundle.root}preprocessor_config.json`);
  if (isPlain && hasTokenizer !== hasImages)
    return hasTokenizer ? 'feature-extraction' : 'image-feature-extraction';
  throw new CommonwattError(
    'UNSUPPORTED_FORMAT',
    `the task of the pipeline is not known${architecture ? `: its config names ${architecture.slice(0, 80)}` : ''}`,
    { where: 'config.json', hint: `add a commonwatt.yaml with one line, task: one of ${tasks.join(', ')}` },
  );
}
