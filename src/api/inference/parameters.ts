/**
 * The parameters of a request, of its inputs and of its outputs: scalars by name. Unknown ones are ignored; those with
 * a meaning need its type; those that ask for what is not served here are refused.
 * Source: Triton's extension_parameters.md, extension_schedule_policy.md, extension_sequence.md.
 */
import { CommonwattError } from '../../errors.ts';
import { show } from './tensors.ts';

export type Parameters = Readonly<Record<string, unknown>>;

export interface Schedule {
  priority: number | undefined;
  timeoutMs: number | undefined;
  /** False: no cheaper variant may answer. */
  variants: boolean;
}

/**
 * When and before whom a request wants to be computed. `priority`: 1 is the most urgent, 0 the model's default;
 * `timeout`: µs, 0 the model's default.
 */
export function readSchedule(parameters: Parameters): Schedule {
  refuseSequences(parameters);
  const priority = countParameter(parameters, 'priority', 'parameters');
  const timeoutUs = countParameter(parameters, 'timeout', 'parameters');
  return {
    priority: priority ? priority - 1 : undefined,
    timeoutMs: timeoutUs ? timeoutUs / 1000 : undefined,
    variants: allowsVariants(parameters[variantParameter], `parameters.${variantParameter}`),
  };
}

const variantParameter = 'commonwatt_variant';

/** As header, and as metadata of a call. */
export const variantHeader = 'x-commonwatt-variant';

/** `none`: exactly what was asked for is to answer. Throws INVALID_REQUEST for anything else. */
export function allowsVariants(given: unknown, where: string): boolean {
  if (given === undefined) return true;
  if (given === 'none') return false;
  throw new CommonwattError('INVALID_REQUEST', `${where} is ${show(given)}, not "none"`, {
    where,
    hint: 'say "none" to be answered by exactly what is asked for, or leave it out',
  });
}

function refuseSequences(parameters: Parameters): void {
  const { sequence_id: id, sequence_start: start, sequence_end: end } = parameters;
  const isNone = id === undefined || id === 0 || id === 0n || id === '';
  if (isNone && start !== true && end !== true) return;
  throw new CommonwattError('INVALID_REQUEST', 'sequences are not served here: models keep no state', {
    where: 'parameters.sequence_id',
    hint: 'send each request on its own, without sequence_id, sequence_start and sequence_end',
  });
}

export function refuseSharedMemory(parameters: Parameters, where: string): void {
  if (parameters.shared_memory_region === undefined) return;
  throw new CommonwattError('INVALID_REQUEST', 'shared memory is not served here', {
    where: `${where}.parameters.shared_memory_region`,
    hint: 'send and receive the tensors in the request and its answer, as binary data for speed',
  });
}

/** An object of scalars; missing or null: none. */
export function parametersOf(given: unknown, where: string): Parameters {
  if (given === undefined || given === null) return none;
  if (typeof given !== 'object' || Array.isArray(given))
    throw wrongType(where, given, 'an object of strings, numbers and truth values');
  for (const name in given) {
    const value: unknown = (given as Parameters)[name];
    if (typeof value === 'object')
      throw wrongType(`${where}.${name}`, value, 'a string, number or truth value');
  }
  return given as Parameters;
}

const none: Parameters = {};

/** A whole number from 0; undefined when it is not given. */
export function countParameter(parameters: Parameters, name: string, where: string): number | undefined {
  const value = parameters[name];
  if (value === undefined) return undefined;
  const count = typeof value === 'bigint' ? Number(value) : value;
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0)
    throw wrongType(`${where}.${name}`, value, 'a whole number from 0');
  return count;
}

export function flagParameter(parameters: Parameters, name: string, where: string): boolean | undefined {
  const value = parameters[name];
  if (value === undefined || typeof value === 'boolean') return value;
  throw wrongType(`${where}.${name}`, value, 'true or false');
}

function wrongType(where: string, value: unknown, wanted: string): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', `${where.slice(0, 200)} is ${show(value)}, not ${wanted}`, {
    where: where.slice(0, 200),
  });
}
