import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { broken, long, type Said, startWriter, stateOf } from './durability.ts';

const rounds = long ? 60 : 10;
/** Runs on one folder before a new one: restarts over what earlier kills left are part of the test. */
const roundsOfFolder = 5;

it(`killed ${rounds} times at random: all that was acknowledged is there, nothing is broken`, {
  timeout: rounds * 15_000,
}, async () => {
  let acknowledged = 0;
  let folder = '';
  let said: Said[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % roundsOfFolder === 0) {
      if (folder) rmSync(folder, { recursive: true });
      folder = mkdtempSync(join(tmpdir(), 'kill-'));
      said = [];
    }
    const running = startWriter('forever', folder);
    // Every fourth kill falls into the start itself, the others into the work that follows.
    const started = Date.now();
    if (round % 4 !== 0) while (running.said().length === 0 && Date.now() - started < 10_000) await sleep(5);
    await sleep(Math.random() * 400);
    running.process.kill('SIGKILL');
    const { signal } = await running.ended;
    expect(signal, running.complaints()).toBe('SIGKILL');
    said.push(...running.said());
    acknowledged += running.said().filter((line) => 'done' in line).length;
    expect(broken(stateOf(folder), said), `round ${round}, kept in ${folder}`).toEqual([]);
  }
  rmSync(folder, { recursive: true });
  // A writer that acknowledges nothing would pass the above.
  expect(acknowledged).toBeGreaterThan(rounds * 2);
});
