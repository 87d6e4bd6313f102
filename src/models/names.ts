/**
 * Names of organisations and models, and references to a model. A name is lower-case letters, digits, `.`, `_`
 * and single `-`, 1 to 63 characters, beginning and ending with a letter or digit. Since no name contains `--`,
 * the flat form `org--model` (for clients that cannot send a slash) is unambiguous.
 *
 * Percent-encoding is decoded once, by the HTTP router; everything here and below sees the decoded name.
 */
import { CommonwattError } from '../errors.ts';
import type { ModelRef } from './models.ts';

const namePattern = /^(?!.*--)[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

export function isName(text: string): boolean {
  return namePattern.test(text);
}

export function checkName(text: string, what: string): string {
  if (isName(text)) return text;
  throw new CommonwattError('INVALID_NAME', `${what} ${quote(text)} is not a valid name`, {
    where: what,
    hint: 'use 1 to 63 lower-case letters, digits, ".", "_" or single "-", beginning and ending with a letter or digit, e.g. acme/digits',
  });
}

/** `acme/digits`, `acme--digits`, each optionally followed by `:1` or `@production`. */
export function parseModelRef(text: string): ModelRef {
  const match = /^([^/:@]+?)(?:\/|--)([^/:@]+?)(?::(\d{1,9})|@([^/:@]+))?$/.exec(text);
  if (!match) {
    throw new CommonwattError('INVALID_NAME', `${quote(text)} is not a model name`, {
      where: 'model',
      hint: 'write organisation/model or organisation--model, optionally with :version or @alias, e.g. acme/digits:1',
    });
  }
  const [, organisation = '', name = '', version, alias] = match;
  checkName(organisation, 'organisation');
  checkName(name, 'model');
  if (alias !== undefined) checkName(alias, 'alias');
  if (version !== undefined && Number(version) < 1) {
    throw new CommonwattError('INVALID_NAME', `version ${version} is not a version number`, {
      where: 'version',
      hint: 'versions count from 1',
    });
  }
  return {
    organisation,
    name,
    ...(version === undefined ? {} : { version: Number(version) }),
    ...(alias === undefined ? {} : { alias }),
  };
}

export function flatName(organisation: string, name: string): string {
  return `${organisation}--${name}`;
}

/** Shows what was sent without letting it fill a page or a log. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
