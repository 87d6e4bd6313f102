import { describe, expect, it } from 'vitest';
import { ReadOnce } from './read-once.ts';

const large = () => new Uint8Array(2 ** 20);

describe('the bytes of a model', () => {
  it('are given back when it is loaded, and can be read again', async () => {
    const { bytes, ...reading } = once(async () => large());
    const read = await bytes();
    reading.loaded(1);
    expect(read.byteLength).toBe(0);
    // A runner that is started again reads for itself; nobody takes that away.
    expect((await bytes()).byteLength).toBe(2 ** 20);
  });

  it('stay when a write of them may still be under way', async () => {
    const { bytes, ...reading } = once(async () => large());
    const [first, second] = [await bytes(), await bytes()];
    reading.loaded(1);
    expect([first.byteLength, second.byteLength]).toEqual([2 ** 20, 2 ** 20]);
    const failing = once(async () => large());
    const third = await failing.bytes();
    failing.failed();
    failing.loaded(1);
    expect(third.byteLength).toBe(2 ** 20);
  });

  it('that are a part of something else are left alone', async () => {
    const whole = new Uint8Array(2 ** 22);
    const { bytes, ...reading } = once(async () => whole.subarray(0, 2 ** 21));
    await bytes();
    reading.loaded(1);
    expect(whole.byteLength).toBe(2 ** 22);
  });
});

function once(source: () => Promise<Uint8Array>) {
  const reading = new ReadOnce(source);
  return {
    bytes: reading.bytes,
    loaded: (runners: number) => reading.loaded(runners),
    failed: () => reading.failed(),
  };
}
