// What a process and all that it started hold and use. Linux only (/proc).
import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;

/** Itself first, then its children, each with its own. */
export function family(pid, table = processes()) {
  const children = table.filter(({ parent }) => parent === pid);
  return [pid, ...children.flatMap((child) => family(child.pid, table))];
}

/** `field`: Rss, or Pss (pages that several share count once). */
export function memoryMb(pid, field) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)[1]) / 1024;
}

/** User and system time so far. */
export function cpuSeconds(pid) {
  return statOf(pid).seconds;
}

/** Of these processes and all that they started; those that are gone count no more. */
export function familySeconds(pids) {
  const table = processes();
  const wanted = new Set(pids.flatMap((pid) => family(pid, table)));
  return table.reduce((sum, { pid, seconds }) => sum + (wanted.has(pid) ? seconds : 0), 0);
}

function processes() {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return [statOf(Number(name))];
    } catch {
      return [];
    }
  });
}

function statOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in brackets, may itself hold blanks and brackets.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [parent, user, system] = [fields[1], fields[11], fields[12]].map(Number);
  return { pid, parent, seconds: (user + system) / ticksPerSecond };
}
