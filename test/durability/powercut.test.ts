import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatDisk, insertDisk, obstacle } from './disk.ts';
import { broken, long, type Said, startWriter, stateOf } from './durability.ts';

const rounds = long ? 24 : 3;
const roundsOfDisk = 4;
const faultRounds = 8;

const why = obstacle();
if (why) console.warn(`power cuts are not tested: ${why}`);

describe.skipIf(why !== undefined)('a power cut', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'powercut-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it(`${rounds} times at random: all that was acknowledged is there, nothing is broken`, {
    timeout: rounds * 30_000,
  }, async () => {
    let said: Said[] = [];
    let acknowledged = 0;
    for (let round = 0; round < rounds; round++) {
      if (round % roundsOfDisk === 0) {
        formatDisk(folder);
        said = [];
      }
      const { saidThen, problems } = await cutDuringWork(folder, said);
      said.push(...saidThen);
      acknowledged += saidThen.filter((line) => 'done' in line).length;
      expect(problems, `round ${round}`).toEqual([]);
    }
    expect(acknowledged).toBeGreaterThan(rounds * 3);
  });

  // A check that never failed proves nothing: with these faults it must fail.
  it.each([
    ['syncs that do nothing (eatmydata)', { under: ['eatmydata'] }, /^lost: |does not start/],
    [
      'a blob renamed before its sync',
      { nodeFlags: ['--import', new URL('late-sync.mjs', import.meta.url).href] },
      /stored bytes are not what was written|bytes are missing/,
    ],
  ])('%s is found', { timeout: faultRounds * 30_000 }, async (_fault, options, expected) => {
    for (let round = 0; round < faultRounds; round++) {
      formatDisk(folder);
      const { problems } = await cutDuringWork(folder, [], options);
      if (problems.some((problem) => expected.test(problem))) return;
      expect(problems).toEqual([]);
    }
    expect.fail(`${faultRounds} power cuts did not show the fault`);
  });
});

/** Works on the disk, cuts its power, starts again and compares. The list of what was acknowledged is not on the disk. */
async function cutDuringWork(
  folder: string,
  earlier: Said[],
  options: Parameters<typeof startWriter>[2] = {},
) {
  const disk = await insertDisk(folder);
  const running = startWriter('forever', join(disk.path, 'data'), options);
  const started = Date.now();
  while (!running.said().some((line) => 'done' in line && line.done === 'import')) {
    if (Date.now() - started > 15_000) break;
    await sleep(5);
  }
  await sleep(Math.random() * 800);
  await disk.cut();
  running.process.kill('SIGKILL');
  await running.ended;
  const saidThen = running.said();
  const again = await insertDisk(folder);
  try {
    return { saidThen, problems: problemsOf(join(again.path, 'data'), [...earlier, ...saidThen]) };
  } finally {
    await again.eject();
  }
}

function problemsOf(data: string, said: Said[]): string[] {
  try {
    return broken(stateOf(data), said);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}
