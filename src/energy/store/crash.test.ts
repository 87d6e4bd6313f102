/** The ledger is tidied up by a process that is killed again and again: nothing is lost, nothing is there twice. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openDatabase } from '../../storage/db.ts';
import { readLines } from './lines.ts';
import { hourMs } from './tally.ts';
import { makeBooks } from './testing/books.ts';
import { readWindow } from './window.ts';

const built = (name: string) => fileURLToPath(new URL(`../../../dist/${name}.js`, import.meta.url));
const start = Date.UTC(2026, 2, 28);
const all = { fromMs: 0, toMs: start + 1e10 };

/** A Node without TypeScript runs what was built. */
const program = `
  const { openDatabase } = await import(${JSON.stringify(built('storage/db'))});
  const { tidyStep } = await import(${JSON.stringify(built('energy/store/tidy'))});
  const db = await openDatabase(process.argv[1]);
  console.log('begun');
  while (await tidyStep(db, ${all.toMs}, { detailDays: 7, keepDays: null }));
  console.log('done');`;

async function state(file: string) {
  const db = await openDatabase(file);
  const lines: string[] = [];
  for await (const batch of readLines(db, { ...all, heads: null }))
    for (const { id, energy_j } of batch.lines) lines.push(`${id} ${energy_j}`);
  const { sums } = await readWindow(db, all);
  const energyJ = [...sums.values()].reduce((sum, one) => sum + one.energy_j, 0);
  const left = await db.selectFrom('ledger_lines').select('id').execute();
  await db.destroy();
  return { lines, energyJ, left: left.length };
}

it('goes on after kill -9, however often', { timeout: 60_000 }, async () => {
  if (!existsSync(built('energy/store/tidy'))) throw new Error('run `npm run build` first');
  const books = await makeBooks();
  for (let number = 0; number < 60; number++) await books.add(start + number * 0.7 * hourMs, 300);
  await books.db.destroy();
  const before = await state(books.file);
  expect(before.lines.length).toBe(books.booked.length);
  let killed = 0;
  for (let done = false; !done; ) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, books.file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    while (!said.includes('begun') && child.exitCode === null) await sleep(1);
    await sleep(2 + killed * 15);
    if (child.exitCode === null) child.kill('SIGKILL');
    await exited;
    done = said.includes('done');
    if (!done) killed++;
    const now = await state(books.file);
    expect(now.lines).toEqual(before.lines);
    expect(Math.abs(now.energyJ / before.energyJ - 1)).toBeLessThan(1e-9);
    if (done) expect(now.left).toBe(0);
  }
  expect(killed).toBeGreaterThan(1);
});
