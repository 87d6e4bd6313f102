/** What another process has computed since it began, where the system tells it. */
import { readFileSync } from 'node:fs';

/** Linux counts hundredths of a second here, whatever its own clock is. */
const tickMs = 10;

export function computedMsOf(pid: number): number | undefined {
  if (process.platform !== 'linux' || pid === 0) return undefined;
  try {
    // The name, in brackets, may hold anything; user and system time are the 12th and 13th field after it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) * tickMs;
  } catch {
    return undefined;
  }
}
