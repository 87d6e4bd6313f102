/**
 * Answers in the forms that clients already read: which there are, and which of them an answer carries.
 *
 * In: what serve knows of an answered request. Out: headers, fields of JSON, comments of a stream. Promise: all of
 * them are written from the same footprint, so that each converts back into any other.
 */
import { CommonwattError } from '../../errors.ts';
import type { Footprint } from '../energy.ts';

export const formNames = [
  /** `x-commonwatt-energy-wh`, `x-commonwatt-carbon-gco2e` */
  'headers',
  /** `usage.impact` */
  'impact',
  /** `Server-Timing` */
  'timing',
  /** `usage.impacts` of OpenGateLLM */
  'impacts',
  /** `energy` of Neuralwatt; in streams its comment */
  'energy',
  /** `impact` of GreenPT */
  'greenpt',
  /** `X-Energy-Joules` and its companions of GreenJoules */
  'greenjoules',
] as const;

export type FormName = (typeof formNames)[number];
export type Forms = Readonly<Record<FormName, boolean>>;

/** An answered request, as far as the forms tell of it. */
export interface Answered {
  footprint: Footprint;
  source: 'computed' | 'cached' | 'joined';
  /** Waiting; laid together with others, sent to the runner and back, booked; computing (of the whole batch). */
  queueMs: number;
  batchMs: number;
  computeMs: number;
  /** Requests of the batch it was computed in. */
  batchRequests: number;
  /** Its part of the rows of that batch; null: nothing was computed for it, or in several steps. */
  share: number | null;
  /** Of models that give tokens. */
  outputTokens?: number;
}

export const formsHeader = 'x-commonwatt-forms';
const none = formsOf([]);
export const standardForms = formsOf(['headers', 'impact', 'timing']);

export function formsOf(names: readonly FormName[]): Forms {
  return Object.fromEntries(formNames.map((name) => [name, names.includes(name)])) as Record<
    FormName,
    boolean
  >;
}

/** What a caller asks for, e.g. `impacts, energy`; `none` for none. Throws INVALID_REQUEST. */
export function readForms(text: string | string[] | undefined, standard: Forms): Forms {
  if (text === undefined) return standard;
  const named = String(text)
    .split(',')
    .map((name) => name.trim().toLowerCase());
  if (named.length === 1 && named[0] === 'none') return none;
  const names = named.map((name) => formNames.find((known) => known === name));
  const wrong = names.indexOf(undefined);
  if (wrong < 0) return formsOf(names as FormName[]);
  throw new CommonwattError(
    'INVALID_REQUEST',
    `${formsHeader}: ${JSON.stringify((named[wrong] ?? '').slice(0, 40))} is no form of a footprint`,
    { where: `header.${formsHeader}`, hint: `name some of ${formNames.join(', ')}, or none` },
  );
}
