import type { ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { Budget, budgeted, bytesPerPiece } from './budget.ts';

const response = () => new PassThrough() as unknown as ServerResponse;

/** What is read of a body that comes in these pieces. */
function received(pieces: number[], budget: Budget, to = response()) {
  const body = new PassThrough();
  const whole = buffer(budgeted(body, to, budget));
  for (const size of pieces) body.write(Buffer.alloc(size, 1));
  body.end();
  return whole;
}

describe('the memory for bodies', () => {
  it('holds what comes in several pieces until the answer has left', async () => {
    const budget = new Budget(400);
    const to = response();
    expect(await received([10, 20, 30], budget, to)).toHaveLength(60);
    expect(budget.taken).toBe(50 + 2 * bytesPerPiece);
    to.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    expect(budget.taken).toBe(0);
  });

  it('is shared: who finds no room is refused, and the others are not disturbed', async () => {
    const budget = new Budget(400);
    const first = response();
    await received([10, 200], budget, first);
    await expect(received([10, 200], budget)).rejects.toMatchObject({ code: 'OVERLOADED', retryAfterS: 1 });
    expect(await received([90], budget)).toHaveLength(90);
    first.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await received([10, 200], budget)).toHaveLength(210);
  });
});
