import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { Tidying } from './tidying.ts';

const minute = 60_000;

it('begins a minute after the start, goes on until nothing is left, and comes back after an hour', async () => {
  let now = 0;
  let left = 3;
  const step = vi.fn(async () => --left > 0);
  const tidying = new Tidying(
    step,
    () => {},
    () => now,
  );
  tidying.whenDue();
  expect(step).not.toHaveBeenCalled();
  now = minute;
  tidying.whenDue();
  await vi.waitFor(() => expect(step).toHaveBeenCalledTimes(3));
  now = 60 * minute;
  tidying.whenDue();
  now = 61 * minute;
  left = 1;
  tidying.whenDue();
  await vi.waitFor(() => expect(step).toHaveBeenCalledTimes(4));
  await tidying.stop();
});

it('waits for the step that is under way when it is stopped, and begins no other', async () => {
  let now = 0;
  let ended = 0;
  const step = async () => {
    await sleep(30);
    ended++;
    return true;
  };
  const tidying = new Tidying(
    step,
    () => {},
    () => now,
  );
  now = minute;
  tidying.whenDue();
  await tidying.stop();
  expect(ended).toBe(1);
  now = 200 * minute;
  tidying.whenDue();
  await sleep(50);
  expect(ended).toBe(1);
});

it('tells of a failure and tries again an hour later', async () => {
  let now = 0;
  const failed = vi.fn();
  const step = vi.fn(() => Promise.reject(new Error('the disk is full')));
  const tidying = new Tidying(step, failed, () => now);
  for (now of [minute, 61 * minute]) {
    tidying.whenDue();
    await vi.waitFor(() => expect(failed).toHaveBeenCalledTimes(now === minute ? 1 : 2));
  }
  await tidying.stop();
});
