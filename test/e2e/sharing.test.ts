/**
 * What a report predicts of own instances, held to real ones: the short form of `node bench/sharing.mjs`. The same
 * requests, once to one shared server and once to a server of its own for each organisation.
 */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

interface Result {
  requests: number;
  rows: {
    name: string;
    shared: number;
    predicted: { value: number; low: number; high: number };
    measured: number;
    within: boolean;
  }[];
}

const script = fileURLToPath(new URL('../../bench/sharing.mjs', import.meta.url));

async function experiment(seed: number): Promise<Result> {
  const args = ['--organisations', '2', '--seconds', '15', '--rate', '60', '--seed', String(seed), '--json'];
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (!out.trim()) throw new Error(errors);
  return JSON.parse(out) as Result;
}

const missed = ({ rows }: Result) => rows.filter(({ within }) => !within);

describe.runIf(process.platform === 'linux')('sharing against everyone running their own', () => {
  it('takes what was predicted: CPU time, memory and energy lie within their ranges', async () => {
    let result = await experiment(1);
    // A range of 90 % is missed by one run in ten; by two in a row it is not.
    if (missed(result).length > 0) result = await experiment(2);
    expect(missed(result)).toEqual([]);
    expect(result.requests).toBeGreaterThan(300);
    // And it saves: two instances hold more memory and more idle power than one for both.
    for (const { name, shared, measured } of result.rows)
      if (name !== 'CPU·s') expect(measured).toBeGreaterThan(shared);
  }, 300_000);
});
