import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Db, openDatabase } from './db.ts';

const folder = mkdtempSync(join(tmpdir(), 'sqlite-'));
let db: Db | undefined;
afterEach(async () => {
  await db?.destroy();
  db = undefined;
});

const put = (on: Db, name: string, value = 'x') =>
  on.insertInto('settings').values({ name, value }).execute();
const names = async (on: Db) =>
  (await on.selectFrom('settings').select('name').orderBy('name').execute()).map(({ name }) => name);

describe('the embedded database', () => {
  it('refuses a file that is no database, and says what to do', async () => {
    const file = join(folder, 'text.db');
    writeFileSync(file, 'this is not a database '.repeat(100));
    await expect(openDatabase(file)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('file is not a database'),
      hint: expect.stringContaining('backup'),
      where: file,
    });
    await expect(openDatabase(join(folder, 'nowhere/x.db'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });

  it('leaves errors of a statement as they are, and goes on', async () => {
    db = await openDatabase(join(folder, 'statement.db'));
    await put(db, 'a');
    await expect(put(db, 'a')).rejects.toMatchObject({ message: expect.stringContaining('UNIQUE') });
    await put(db, 'b');
    expect(await names(db)).toEqual(['a', 'b']);
  });
});

/** Needs a file system of its own. */
describe.skipIf(process.getuid?.() !== 0)('on a full disk', () => {
  let mounted: string;
  let ballast: string;
  beforeEach(() => {
    mounted = mkdtempSync(join(tmpdir(), 'sqlite-full-'));
    ballast = join(mounted, 'ballast');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', mounted]);
  });
  afterEach(() => {
    execFileSync('umount', ['-l', mounted]);
    rmSync(mounted, { recursive: true });
  });

  it('goes on when there is room again, though somebody still reads what was there before', async () => {
    const open = await openDatabase(join(mounted, 'x.db'));
    db = open;
    await put(open, 'before');
    const reader = new Database(join(mounted, 'x.db'));
    reader.exec('begin');
    reader.prepare('select * from settings').all();
    try {
      writeFileSync(ballast, Buffer.alloc(8 << 20));
    } catch {
      // It is full now.
    }
    await expect(put(open, 'lost', 'x'.repeat(300_000))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    rmSync(ballast);
    await put(open, 'later');
    expect(await names(open)).toEqual(['before', 'later']);
    reader.close();
  });

  it('what failed is not acknowledged, reading goes on, and writing when there is room again', async () => {
    const said: string[] = [];
    const log = {
      info: (_: object, message: string) => said.push(message),
      error: (_: object, message: string) => said.push(message),
    };
    const open = await openDatabase(join(mounted, 'x.db'), log);
    db = open;
    await put(open, 'before');
    try {
      writeFileSync(ballast, Buffer.alloc(8 << 20));
    } catch {
      // It is full now.
    }
    const large = 'x'.repeat(300_000);
    const storeFailed = {
      code: 'STORE_FAILED',
      status: 503,
      retryAfterS: 1,
      hint: expect.stringContaining('disk'),
    };
    await expect(
      open.transaction().execute(async (tx) => {
        await put(tx, 'small');
        await put(tx, 'lost', large).catch(() => {});
        // The transaction is over: what follows must not be committed on its own.
        await put(tx, 'after the failure');
      }),
    ).rejects.toMatchObject(storeFailed);
    expect(await names(open)).toEqual(['before']);
    await expect(put(open, 'lost', large)).rejects.toMatchObject(storeFailed);
    // At most one attempt a second: this one is refused without any.
    await expect(names(open)).rejects.toMatchObject(storeFailed);
    rmSync(ballast);
    await sleep(1000);
    await put(open, 'later', large);
    expect(await names(open)).toEqual(['before', 'later']);
    expect(said).toEqual(
      Array(2)
        .fill(['the database failed; nothing is acknowledged', 'the database was opened again and verified'])
        .flat(),
    );
  });
});
