/** `acme/digits`, `acme/digits:1`, `acme/digits@production` as typed by a person, and which version is meant. */
import type { Commonwatt, DeploymentState, Model } from '@commonwatt/client';
import { InvalidArgumentError } from 'commander';
import { WrongUse } from './failure.ts';

export interface Reference {
  /** `acme/digits` */
  model: string;
  version: number | undefined;
  alias: string | undefined;
}

/** For commander's arguments: wrong forms are wrong use. The server judges the names themselves. */
export function reference(text: string): Reference {
  const match = /^([^/:@\s]+(?:\/|--)[^/:@\s]+)(?::([1-9]\d{0,8})|@([^/:@\s]+))?$/.exec(text);
  if (!match?.[1])
    throw new InvalidArgumentError('write organisation/model, :version or @alias may follow: acme/digits:1');
  return { model: match[1], version: match[2] ? Number(match[2]) : undefined, alias: match[3] };
}

/** The version that is meant: the named one, the alias's, else what the server would answer with. */
export async function findVersion(client: Commonwatt, ref: Reference): Promise<number> {
  if (ref.version !== undefined) return ref.version;
  return pickVersion(await client.models.get(ref.model), ref.alias);
}

export function pickVersion(
  model: Pick<Model, 'ref' | 'versions' | 'aliases' | 'deployments'>,
  alias: string | undefined,
): number {
  const named = model.aliases.find((entry) => entry.alias === (alias ?? 'production'));
  if (named) return named.version;
  if (alias !== undefined) {
    const known = model.aliases.map((entry) => entry.alias).join(', ');
    throw new WrongUse(
      `model ${model.ref} has no alias ${JSON.stringify(alias)}`,
      known ? `it has: ${known}` : 'set one with `commonwatt deploy … --alias production`',
    );
  }
  const deployed = model.deployments.filter(({ state }) => answers(state)).map(({ version }) => version);
  const numbers = deployed.length > 0 ? deployed : model.versions.map(({ number }) => number);
  if (numbers.length === 0)
    throw new WrongUse(
      `model ${model.ref} has no version`,
      'import one: `commonwatt import model.h5 --name …`',
    );
  return Math.max(...numbers);
}

/** A request to a deployment in this state is answered; an idle one is loaded for it. */
export function answers(state: DeploymentState): boolean {
  return state === 'ready' || state === 'idle';
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('write a whole number, 0 or more');
  return Number(text);
}
