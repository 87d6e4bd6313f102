import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { broken, long, type Said, startWriter, stateOf } from './durability.ts';

/**
 * What makes bytes durable, or names appear and go; some have other forms in other C libraries. strace counts for
 * each thread: SQLite works on the first one, which a sweep without `-f` takes alone; files are written on a second.
 * The short form takes every third or fourth of the many, from a random one on, so that a few runs take them all.
 */
const points = [
  { calls: 'fsync,fdatasync', of: 'the database', threads: [], stride: long ? 1 : 3 },
  { calls: 'fsync,fdatasync', of: 'all', threads: ['-f'], stride: long ? 1 : 3 },
  { calls: 'rename,renameat,renameat2', of: 'all', threads: ['-f'], stride: 1 },
  { calls: 'mkdir,mkdirat', of: 'all', threads: ['-f'], stride: long ? 1 : 4 },
  { calls: 'unlink,unlinkat', of: 'all', threads: ['-f'], stride: 1 },
  { calls: 'ftruncate', of: 'all', threads: ['-f'], stride: 1 },
];

/** Killed there; or the disk fails in a sync: the writer may stop, but must not acknowledge what was not synced. */
const sweeps = [
  ...points.map((point) => ({ ...point, event: 'killed', effect: 'signal=SIGKILL' })),
  ...points
    .filter(({ calls }) => calls.startsWith('fsync'))
    .map((point) => ({ ...point, stride: point.stride * (long ? 1 : 2), event: 'EIO', effect: 'error=EIO' })),
].map((sweep) => [`${sweep.event} at every ${sweep.calls} of ${sweep.of}`, sweep] as const);

const traced = spawnSync('strace', ['-V'], { encoding: 'utf8' });
const canTrace =
  traced.status === 0 && spawnSync('strace', ['-o', '/dev/null', 'true'], { encoding: 'utf8' }).status === 0;

describe.skipIf(!canTrace && process.getuid?.() !== 0)('at the k-th system call', () => {
  beforeAll(() => {
    if (!canTrace)
      throw new Error('strace is missing or may not trace: run npm test as root, or install strace');
  });

  it.each(sweeps)(
    '%s: all that was acknowledged is there, nothing is broken',
    {
      timeout: 600_000,
    },
    async (_title, { calls, threads, stride, effect }) => {
      const base = mkdtempSync(join(tmpdir(), 'sweep-'));
      const before: Said[] = [];
      // The very first start of a folder, and one of a folder in use.
      const used = join(base, 'used');
      const setUp = startWriter('once', used);
      expect((await setUp.ended).code, setUp.complaints()).toBe(0);
      before.push(...setUp.said());
      // What a killed import leaves, so that a start has something to remove.
      const left = join(used, 'blobs/00');
      mkdirSync(left, { recursive: true });
      writeFileSync(join(left, '00000000-0000-4000-8000-000000000000'), 'a blob without a row');
      writeFileSync(join(left, '00000000-0000-4000-8000-000000000001.0011223344556677.tmp'), 'half a blob');
      let reached = 0;
      for (const first of [true, false]) {
        for (let k = 1 + (stride > 1 ? Math.floor(Math.random() * stride) : 0); ; k += stride) {
          const folder = join(base, `${first ? 'first' : 'used'}-${k}`);
          if (!first) cpSync(used, folder, { recursive: true });
          const inject = `inject=${calls}:${effect}:when=${k}`;
          const trace = join(base, 'trace');
          const running = startWriter('once', folder, {
            under: ['strace', ...threads, '-qq', '-o', trace, '-e', `trace=${calls}`, '-e', inject],
            env: { UV_THREADPOOL_SIZE: '1' },
          });
          const { code } = await running.ended;
          const said = [...(first ? [] : before), ...running.said()];
          expect(broken(stateOf(folder), said), `${calls} ${k}, kept in ${folder}`).toEqual([]);
          rmSync(folder, { recursive: true });
          // The k-th call did not come: all of them were taken.
          if (code === 0 && !readFileSync(trace, 'utf8').includes('(INJECTED)')) break;
          reached++;
        }
      }
      rmSync(base, { recursive: true });
      expect(reached).toBeGreaterThan(0);
    },
  );
});
