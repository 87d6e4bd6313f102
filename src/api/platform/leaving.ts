/** Long work ends when nobody waits for its answer any more. */
import type { ServerResponse } from 'node:http';
import { CommonwattError } from '../../errors.ts';

export function callerLeft({ raw }: { raw: ServerResponse }): AbortSignal {
  const leaving = new AbortController();
  raw.once('close', () => {
    if (!raw.writableFinished) leaving.abort(new CommonwattError('CANCELLED', 'the caller has left'));
  });
  return leaving.signal;
}
