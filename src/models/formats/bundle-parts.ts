/** What a pipeline's bundle says about itself: its task and choices, Hugging Face's config, the model's ends. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import type { ModelSignature, TensorSpec } from '../models.ts';
import type { Bundle } from './bundle.ts';

export const tasks = [
  'feature-extraction',
  'text-classification',
  'token-classification',
  'reranking',
  'image-classification',
  'image-feature-extraction',
] as const;
export type Task = (typeof tasks)[number];

export const choicesSchema = z.strictObject({
  task: z.enum(tasks).optional(),
  /** The model's output to use. */
  output: z.string().max(200).optional(),
  pooling: z.enum(['mean', 'cls']).optional(),
  normalize: z.boolean().optional(),
  max_length: z.int().min(2).max(65_536).optional(),
  aggregation: z.enum(['none', 'simple']).optional(),
  function_to_apply: z.enum(['softmax', 'sigmoid', 'none']).optional(),
});
export type Choices = z.infer<typeof choicesSchema>;

export const configSchema = z.looseObject({
  architectures: z.array(z.string()).nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  problem_type: z.string().nullish(),
  function_to_apply: z.enum(['softmax', 'sigmoid', 'none']).nullish().catch(null),
  max_position_embeddings: z.number().nullish().catch(null),
  pad_token_id: z.number().nullish().catch(null),
  model_type: z.string().nullish(),
});
export type ModelConfig = z.infer<typeof configSchema>;

export interface PipelineParts {
  bundle: Bundle;
  choices: Choices;
  config: ModelConfig;
  task: Task;
  signature: ModelSignature;
}

/** Undefined: there is no such file. Throws CORRUPT_MODEL. */
export function jsonOf<T>(bundle: Bundle, name: string, schema: z.ZodType<T>): T | undefined {
  const text = bundle.text(name);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damagedFile(name, cause instanceof Error ? cause.message.slice(0, 200) : 'unreadable', cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw damagedFile(name, [issue?.path.join('.'), issue?.message].filter(Boolean).join(': '));
}

function damagedFile(name: string, message: string, cause?: unknown): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `${name} cannot be used: ${message}`, {
    where: name,
    hint: 'save the model again with save_pretrained(FOLDER), and export it with optimum-cli export onnx',
    cause,
  });
}

/** The labels in the order of their numbers, which must be 0, 1, 2, …; as many as the model gives scores. */
export function labelsOf({ config, signature }: PipelineParts, output: string): string[] {
  const classes = signature.outputs.find(({ name }) => name === output)?.shape.at(-1) ?? -1;
  const names = config.id2label ?? {};
  const count = Object.keys(names).length || Math.max(0, classes);
  if (count === 0)
    throw damagedFile(
      'config.json',
      'it has no id2label, and the model does not say how many classes it has',
    );
  if (classes !== -1 && count !== classes)
    throw damagedFile(
      'config.json',
      `id2label names ${count} classes, but the model gives ${classes} scores`,
    );
  return Array.from({ length: count }, (_, index) => {
    const label = Object.keys(names).length === 0 ? `LABEL_${index}` : names[index];
    if (label === undefined) throw damagedFile('config.json', `id2label has no label ${index}`);
    return label;
  });
}

/** The model's output by name, else the first of those that are there. Throws UNSUPPORTED_FORMAT. */
export function pickOutput({ signature, choices }: PipelineParts, usual: readonly string[]): TensorSpec {
  const { outputs } = signature;
  const wanted = choices.output;
  const found =
    wanted === undefined
      ? (usual.flatMap((name) => outputs.find((output) => output.name === name) ?? [])[0] ?? outputs[0])
      : outputs.find(({ name }) => name === wanted);
  if (found && ['FP32', 'FP16', 'FP64'].includes(found.datatype)) return found;
  throw unfit(
    found
      ? `the model's output ${found.name} is ${found.datatype}, not floating point`
      : `the model has no output ${JSON.stringify(wanted)}; it has ${outputs.map(({ name }) => name).join(', ')}`,
    wanted ?? found?.name ?? 'outputs',
  );
}

export function unfit(message: string, where: string, hint?: string): CommonwattError {
  return new CommonwattError('UNSUPPORTED_FORMAT', `the pipeline's model does not fit its task: ${message}`, {
    where: where.slice(0, 200),
    hint: hint ?? 'export it for its task: optimum-cli export onnx --model MODEL --task TASK FOLDER',
  });
}
