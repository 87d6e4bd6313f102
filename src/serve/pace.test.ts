import { expect, it } from 'vitest';
import { Pace } from './pace.ts';

/** A runner that takes fixedMs and perRowMs for each row; requests at these times. Gives sizes and waits. */
function simulate(pace: Pace, arrivals: number[], { fixedMs = 1, perRowMs = 0.01 } = {}) {
  const sizes: number[] = [];
  const waits: number[] = [];
  let waiting: number[] = [];
  let freeAt = 0;
  let next = 0;
  for (let now = 0; next < arrivals.length || waiting.length > 0; now += 0.02) {
    for (let at = arrivals[next]; at !== undefined && at <= now; at = arrivals[++next]) {
      pace.arrived(at);
      waiting.push(at);
    }
    const [oldest] = waiting;
    if (oldest === undefined || now < freeAt || pace.wait(waiting.length, oldest, now) > 0) continue;
    const ms = fixedMs + perRowMs * waiting.length;
    freeAt = now + ms;
    pace.computed(waiting.length, ms);
    sizes.push(waiting.length);
    waits.push(...waiting.map((at) => now - at));
    waiting = [];
  }
  const mean = (list: number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;
  return { meanSize: mean(sizes.slice(20)), waits, worst: Math.max(...waits) };
}

it('never keeps a client waiting that is alone', () => {
  const pace = new Pace();
  let now = 0;
  for (let index = 0; index < 1000; index++) {
    pace.arrived(now);
    expect(pace.wait(1, now, now)).toBe(0);
    // The answer comes after the computation, and the next request after the answer.
    pace.computed(1, 0.2);
    now += 0.2 + (index % 7) * 0.05;
  }
});

it('fills batches under a steady load that would cost many small ones, within its bound', () => {
  // 2,000 a second come one by one; a batch costs 1.5 ms whatever is in it.
  const arrivals = Array.from({ length: 2000 }, (_, index) => index * 0.5);
  const { meanSize, worst } = simulate(new Pace(), arrivals, { fixedMs: 1.5 });
  expect(meanSize).toBeGreaterThan(3);
  expect(worst).toBeLessThan(2 + 1.6 + 0.1);
});

it('waits for nothing when a batch costs little more than its rows', () => {
  const arrivals = Array.from({ length: 500 }, (_, index) => index * 5);
  const { worst } = simulate(new Pace(), arrivals, { fixedMs: 0, perRowMs: 1 });
  expect(worst).toBeLessThan(0.05);
});

it('does not wait for one that is overdue', () => {
  const pace = new Pace();
  for (let index = 0; index < 100; index++) pace.arrived(index * 0.1);
  for (let index = 0; index < 100; index++) pace.computed(1 + (index % 8), 5);
  const last = 9.9;
  expect(pace.wait(1, last, last + 0.01)).toBeGreaterThan(0);
  expect(pace.wait(1, last, last + 0.25)).toBe(0);
});
