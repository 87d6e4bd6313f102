import { afterEach, describe, expect, it } from 'vitest';
import { newRunners, pair, pidOf, plain, stopAll } from './testing/runners.ts';

afterEach(stopAll);

describe('runners that are gathered', () => {
  it('hold everything in fewer processes, without a failed request, and spread again what is loaded anew', async () => {
    const runners = newRunners({ processes: 3 });
    const replicas = [];
    // One after another: each goes where most room is.
    for (const name of ['a', 'b', 'c']) replicas.push(await runners.load(plain(name)));
    expect(new Set(replicas.map(pidOf)).size).toBe(3);
    let stop = false;
    let answered = 0;
    const callers = replicas.map(async (replica) => {
      while (!stop) {
        const { outputs } = await replica.run(pair(21, 1));
        expect(outputs[0]?.data[0]).toBe(20);
        answered += 1;
      }
    });
    await runners.gather(1);
    const before = answered;
    while (answered < before + 30) await new Promise((resolve) => setImmediate(resolve));
    stop = true;
    await Promise.all(callers);
    expect(new Set(replicas.map(pidOf)).size).toBe(1);
    const d = await runners.load(plain('d'));
    expect(pidOf(d)).toBe(pidOf(replicas[0] ?? d));
    await runners.gather(3);
    const e = await runners.load(plain('e'));
    expect(pidOf(e)).not.toBe(pidOf(d));
  });

  it('keep one copy of a version where there were several: in one process they would wait for each other', async () => {
    const runners = newRunners({ processes: 2 });
    const replica = await runners.load({ ...plain('a'), replicas: 2 });
    expect(replica.parallelism).toBe(2);
    await runners.gather(1);
    expect(replica.parallelism).toBe(1);
    expect((await replica.run(pair(21, 1))).outputs[0]?.data[0]).toBe(20);
  });
});
