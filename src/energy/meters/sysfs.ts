/** Files of /sys: a number or why there is none. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Unavailable } from './meter.ts';

export function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

export function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return null;
  }
}

export function readNumber(file: string): number | Unavailable {
  try {
    const text = readFileSync(file, 'utf8').trim();
    const value = Number(text);
    return text !== '' && Number.isFinite(value)
      ? value
      : { unavailable: `${file} holds ${JSON.stringify(text)}, not a number` };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EACCES' || code === 'EPERM') {
      return {
        unavailable: `no permission to read ${file}`,
        help: `run as root, or: sudo chmod a+r ${file}`,
      };
    }
    return {
      unavailable: `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}
