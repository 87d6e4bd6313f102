/** The data folder: made private to its owner, and held by one server at a time. */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { CommonwattError } from '../errors.ts';

export interface DataFolder {
  path: string;
  release(): void;
}

/**
 * Takes the folder for this process. The lock is an SQLite lock, which the operating system drops when the
 * process ends however it ends, so a crash never leaves a stale one. Throws CONFLICT when another server has it.
 */
export function takeDataFolder(path: string): DataFolder {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  } catch (cause) {
    throw new CommonwattError(
      'INVALID_CONFIG',
      `the data folder ${path} cannot be made or used: ${(cause as Error).message}`,
      {
        where: 'COMMONWATT_DATA',
        hint: 'name a folder this user may write to',
        cause,
      },
    );
  }
  const lock = new Database(join(path, 'lock.db'));
  try {
    lock.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    throw new CommonwattError('CONFLICT', `the data folder ${path} is in use by another server`, {
      where: 'COMMONWATT_DATA',
      hint: 'stop the other server, or give this one a folder of its own with COMMONWATT_DATA',
      cause,
    });
  }
  return { path, release: () => lock.close() };
}
