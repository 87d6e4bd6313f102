/** How a command line tells what went wrong. */
import { CommonwattApiError } from '@commonwatt/client';
import { CommonwattError } from '../errors.ts';
import type { Terminal } from './terminal.ts';

/** The command was called wrongly; exit status 2. */
export class WrongUse extends Error {
  override readonly name = 'WrongUse';
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

export function reportFailure(error: unknown, terminal: Terminal, json: boolean): void {
  const { code, message, hint, requestId } = describe(error);
  if (json) {
    terminal.err(`${JSON.stringify({ error: { code, message, hint, requestId } })}\n`);
    return;
  }
  terminal.err(`error: ${message}\n`);
  if (hint) terminal.err(`hint:  ${hint}\n`);
  if (requestId) terminal.err(`       request ${requestId}\n`);
}

function describe(error: unknown): {
  code: string;
  message: string;
  hint: string | null;
  requestId: string | null;
} {
  if (error instanceof WrongUse)
    return { code: 'WRONG_USE', message: error.message, hint: error.hint, requestId: null };
  if (error instanceof CommonwattApiError)
    return { code: error.code, message: error.detail, hint: error.hint, requestId: error.requestId };
  if (error instanceof CommonwattError)
    return { code: error.code, message: error.message, hint: error.hint ?? null, requestId: null };
  if (error instanceof Error && 'code' in error && typeof error.code === 'string')
    return { code: error.code, message: error.message, hint: null, requestId: null };
  return {
    code: 'INTERNAL',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    hint: null,
    requestId: null,
  };
}
