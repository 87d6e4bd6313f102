import { describe, expect, it } from 'vitest';
import { OtherWorkMeter } from './other-work.ts';

function meter() {
  const cpu = { s: 0 };
  return { cpu, meter: new OtherWorkMeter(() => cpu.s) };
}

describe('other work of the gateway', () => {
  it('is the CPU time between the begin of the first and the end of the last, with the requests meanwhile', () => {
    const { cpu, meter: work } = meter();
    cpu.s = 1;
    work.computed(5);
    const first = work.begin();
    cpu.s = 1.2;
    const second = work.begin();
    work.computed(3);
    first();
    // Twice is once.
    first();
    cpu.s = 1.5;
    second();
    cpu.s = 9;
    work.computed(7);
    expect(work.take()).toEqual({ cpuS: 0.5, requests: 3 });
    expect(work.take()).toBeUndefined();
  });

  it('goes over from one interval into the next', () => {
    const { cpu, meter: work } = meter();
    const end = work.begin();
    cpu.s = 2;
    expect(work.take()).toEqual({ cpuS: 2, requests: 0 });
    cpu.s = 2.25;
    end();
    expect(work.take()).toEqual({ cpuS: 0.25, requests: 0 });
  });

  it('reads the real clock of this process', () => {
    const work = new OtherWorkMeter();
    const end = work.begin();
    const start = process.cpuUsage();
    while (process.cpuUsage(start).user < 10_000);
    end();
    expect(work.take()?.cpuS).toBeGreaterThan(0.009);
  });
});
