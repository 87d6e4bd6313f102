/**
 * An ensemble's YAML, read and checked: steps that are models, each input fed from the request or from an earlier step,
 * and which of all this is the answer. Pure: the signatures of the models come in, the signature of the whole goes out.
 *
 *     ensemble: 1
 *     steps:
 *       embed: { model: acme/encoder@production, inputs: { text: text } }
 *       judge: { model: acme/head:2, inputs: { x: embed.embedding } }
 *     outputs: { probability: judge.probabilities, embedding: embed.embedding }
 */
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { CommonwattError } from '../errors.ts';
import type { ModelRef, ModelSignature, TensorSpec } from '../models/models.ts';
import { parseModelRef, quote } from '../models/names.ts';

/** Where a tensor comes from: an input of the request (step null), or an output of a step. */
export interface Source {
  step: string | null;
  tensor: string;
}

export interface Step {
  name: string;
  ref: ModelRef;
  inputs: Map<string, Source>;
}

export interface Plan {
  /** Each after those whose outputs it takes. */
  steps: Step[];
  outputs: Map<string, Source>;
}

const maxBytes = 256 * 1024;
const maxSteps = 32;
const maxTensors = 64;

const stepName = z.string().regex(/^[a-z0-9_-]{1,63}$/i, 'a step is named by letters, digits, "_" and "-"');
const tensorMap = z.record(z.string().min(1).max(200), z.string().min(1).max(300));
const planSchema = z.strictObject({
  ensemble: z.literal(1),
  steps: z.record(stepName, z.strictObject({ model: z.string().max(200), inputs: tensorMap })),
  outputs: tensorMap,
});

/** Its first word says what it is; comments may come before it. */
export function isEnsemble(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.subarray(0, 4096)).toString('utf8');
  return /^\uFEFF?(?:[ \t]*(?:#[^\n]*|---[^\n]*)?\r?\n)*ensemble[ \t]*:/.test(start);
}

/** Throws INVALID_CONFIG, INVALID_NAME, PAYLOAD_TOO_LARGE. */
export function readPlan(bytes: Uint8Array): Plan {
  if (bytes.length > maxBytes)
    throw new CommonwattError(
      'PAYLOAD_TOO_LARGE',
      `the ensemble has ${bytes.length} bytes; at most ${maxBytes} are read`,
    );
  const parsed = planSchema.safeParse(parseText(bytes));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw wrong(issue?.message ?? 'not valid', issue?.path.join('.') || 'ensemble');
  }
  const { steps, outputs } = parsed.data;
  const names = Object.keys(steps);
  if (names.length === 0) throw wrong('it has no steps', 'steps');
  if (names.length > maxSteps)
    throw wrong(`it has ${names.length} steps; at most ${maxSteps} are computed`, 'steps');
  if (Object.keys(outputs).length === 0) throw wrong('it has no outputs', 'outputs');
  const read = Object.entries(steps).map(([name, { model, inputs }]): Step => {
    const where = `steps.${name}`;
    return { name, ref: parseModelRef(model), inputs: sourcesOf(inputs, `${where}.inputs`, names) };
  });
  return { steps: inOrder(read), outputs: sourcesOf(outputs, 'outputs', names, true) };
}

function parseText(bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // No aliases: a few lines of them can stand for gigabytes.
    return parseYaml(text, { maxAliasCount: 0, uniqueKeys: true });
  } catch (cause) {
    const message = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : 'unreadable';
    throw wrong(message, 'ensemble', cause);
  }
}

function sourcesOf(
  map: Record<string, string>,
  where: string,
  steps: readonly string[],
  onlySteps = false,
): Map<string, Source> {
  const entries = Object.entries(map);
  if (entries.length > maxTensors) throw wrong(`there are ${entries.length}; at most ${maxTensors}`, where);
  return new Map(
    entries.map(([name, from]): [string, Source] => {
      const dot = from.indexOf('.');
      if (dot < 0 && !onlySteps) return [name, { step: null, tensor: from }];
      const step = from.slice(0, Math.max(0, dot));
      if (!steps.includes(step) || dot === from.length - 1)
        throw wrong(
          `${quote(from)} names no step's output${onlySteps ? '' : ' and no input of the request'}`,
          `${where}.${name}`,
        );
      return [name, { step, tensor: from.slice(dot + 1) }];
    }),
  );
}

/** Throws INVALID_CONFIG naming the steps that wait for each other. */
function inOrder(steps: readonly Step[]): Step[] {
  const ordered: Step[] = [];
  const done = new Set<string>();
  let left = [...steps];
  while (left.length > 0) {
    const ready = left.filter(({ inputs }) =>
      [...inputs.values()].every(({ step }) => step === null || done.has(step)),
    );
    if (ready.length === 0)
      throw wrong(`the steps ${left.map(({ name }) => name).join(', ')} wait for each other`, 'steps');
    for (const step of ready) done.add(step.name);
    ordered.push(...ready);
    left = left.filter(({ name }) => !done.has(name));
  }
  return ordered;
}

/** What the whole takes and gives. Throws INVALID_CONFIG where a tensor is missing or does not fit. */
export function signatureOf(plan: Plan, signatures: ReadonlyMap<string, ModelSignature>): ModelSignature {
  const request = new Map<string, TensorSpec>();
  for (const { name, inputs } of plan.steps) {
    const signature = signatures.get(name) ?? { inputs: [], outputs: [] };
    for (const input of inputs.keys())
      if (!signature.inputs.some((spec) => spec.name === input))
        throw wrong(
          `its model has no input ${quote(input)}; it has ${namesOf(signature.inputs)}`,
          `steps.${name}.inputs.${input}`,
        );
    for (const spec of signature.inputs) {
      const where = `steps.${name}.inputs.${spec.name}`;
      const source = inputs.get(spec.name);
      if (!source) throw wrong(`its model needs the input ${quote(spec.name)}`, where);
      const known = source.step === null ? request.get(source.tensor) : outputOf(source, signatures, where);
      if (known) checkFit(known, spec, where);
      if (source.step === null)
        request.set(source.tensor, {
          ...spec,
          name: source.tensor,
          shape: known ? narrower(known.shape, spec.shape) : [...spec.shape],
        });
    }
  }
  const outputs = [...plan.outputs].map(([name, source]) => ({
    ...outputOf(source, signatures, `outputs.${name}`),
    name,
  }));
  return { inputs: [...request.values()], outputs };
}

function outputOf(
  { step, tensor }: Source,
  signatures: ReadonlyMap<string, ModelSignature>,
  where: string,
): TensorSpec {
  const outputs = signatures.get(step ?? '')?.outputs ?? [];
  const found = outputs.find(({ name }) => name === tensor);
  if (!found) throw wrong(`step ${step} has no output ${quote(tensor)}; it has ${namesOf(outputs)}`, where);
  return found;
}

function checkFit(given: TensorSpec, wanted: TensorSpec, where: string): void {
  const fits =
    given.datatype === wanted.datatype &&
    given.shape.length === wanted.shape.length &&
    given.shape.every((size, at) => size === -1 || wanted.shape[at] === -1 || wanted.shape[at] === size);
  if (!fits) throw wrong(`${show(given)} is given where ${show(wanted)} is wanted`, where);
}

function narrower(a: readonly number[], b: readonly number[]): number[] {
  return a.map((size, at) => (size === -1 ? (b[at] ?? -1) : size));
}

function namesOf(specs: readonly TensorSpec[]): string {
  return specs.map(({ name }) => name).join(', ') || 'none';
}

function show({ datatype, shape }: Pick<TensorSpec, 'datatype' | 'shape'>): string {
  return `${datatype} [${shape.join(', ')}]`;
}

function wrong(message: string, where: string, cause?: unknown): CommonwattError {
  return new CommonwattError('INVALID_CONFIG', `the ensemble does not fit together: ${where}: ${message}`, {
    where,
    hint: 'docs/pipelines.md has an example; `commonwatt models` shows what a model takes and gives',
    cause,
  });
}
