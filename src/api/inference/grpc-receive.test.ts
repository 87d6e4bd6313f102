import type { ServerHttp2Stream } from 'node:http2';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Budget } from './budget.ts';
import { receive } from './grpc-receive.ts';

/** What becomes of bytes that arrive in these pieces; the stream stays open until it is closed by the test. */
function receiving(budget: Budget, bytesAtMost: number) {
  const stream = new PassThrough({ autoDestroy: false });
  const got: { frame?: Buffer; error?: unknown } = {};
  receive(stream as unknown as ServerHttp2Stream, {
    bytesAtMost,
    budget,
    done: (frame) => {
      got.frame = frame;
    },
    fail: (error) => {
      got.error = error;
    },
  });
  const closed = new Promise((resolve) => stream.once('close', resolve));
  return {
    got,
    push: async (...pieces: Buffer[]) => {
      for (const piece of pieces) {
        stream.write(piece);
        await new Promise((next) => setImmediate(next));
      }
    },
    end: async () => {
      stream.end();
      await new Promise((next) => setImmediate(next));
    },
    close: async () => {
      stream.destroy();
      await closed;
    },
  };
}

const prefix = (length: number) => Buffer.from([0, 0, 0, length >> 8, length & 255]);

describe('a message that arrives', () => {
  it('in one piece holds nothing of the budget', async () => {
    const budget = new Budget(0);
    const call = receiving(budget, 1000);
    await call.push(Buffer.concat([prefix(3), Buffer.from('abc')]));
    await call.end();
    expect(call.got.frame?.subarray(5).toString()).toBe('abc');
    expect(budget.taken).toBe(0);
  });

  it('in pieces is joined, and held against the budget until the call is over', async () => {
    const budget = new Budget(10_000);
    const call = receiving(budget, 1000);
    await call.push(Buffer.from([0, 0]), Buffer.from([0, 0, 3, 97]), Buffer.from('bc'));
    await call.end();
    expect(call.got.frame?.subarray(5).toString()).toBe('abc');
    expect(budget.taken).toBeGreaterThan(8);
    await call.close();
    expect(budget.taken).toBe(0);
  });

  it('is refused by what it says of its length, before it is here', async () => {
    const call = receiving(new Budget(10_000), 1000);
    await call.push(prefix(1001));
    expect(call.got.error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });

  it('is refused when it is longer than it said', async () => {
    const call = receiving(new Budget(10_000), 10);
    await call.push(prefix(5), Buffer.alloc(20));
    expect(call.got.error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });

  it('when others fill the budget is refused for now, and has room when they are done', async () => {
    const budget = new Budget(1_000);
    const first = receiving(budget, 1_000);
    await first.push(prefix(700), Buffer.alloc(600));
    const second = receiving(budget, 1_000);
    await second.push(prefix(700), Buffer.alloc(600));
    expect(second.got.error).toMatchObject({ code: 'OVERLOADED', retryAfterS: 1 });
    await second.close();
    await first.close();
    const third = receiving(budget, 1_000);
    await third.push(prefix(600), Buffer.alloc(600));
    await third.end();
    expect(third.got.frame).toHaveLength(605);
    await third.close();
    expect(budget.taken).toBe(0);
  });

  it('in very many tiny pieces counts for more than its bytes', async () => {
    const budget = new Budget(2_000);
    const call = receiving(budget, 1_000);
    await call.push(prefix(500), ...Array.from({ length: 50 }, () => Buffer.alloc(1)));
    expect(call.got.error).toMatchObject({ code: 'OVERLOADED' });
  });
});
