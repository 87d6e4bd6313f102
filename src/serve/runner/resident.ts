/** Resident memory of another process, where the system tells it without asking the process. */
import { readFileSync } from 'node:fs';

export function residentBytesOf(pid: number): number | undefined {
  if (process.platform !== 'linux' || pid === 0) return undefined;
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
