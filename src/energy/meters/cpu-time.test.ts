import { describe, expect, it } from 'vitest';
import { architectureOf, processorName } from './architectures.ts';
import { CpuTimeMeter, energyFromCpuTime, hostWatts, showInterval } from './cpu-time.ts';
import { curveFault, curveOf, wattsAt } from './curves.ts';

const unknown = { idleW: null, maxW: null };

describe('curves', () => {
  it("are Teads' as Impact Framework computes it: TDP 100 W, 2 of 8 CPUs, 360 s", () => {
    const kwh = (percent: number) => (wattsAt(curveOf('teads', 100), percent / 100) * 0.25 * 360) / 3.6e6;
    expect([1, 10, 50, 100].map(kwh).map((value) => Number(value.toPrecision(12)))).toEqual([
      0.00035, 0.0008, 0.001875, 0.00255,
    ]);
  });

  it("are CodeCarbon's cubic: .1 + .9 u³ of TDP", () => {
    for (const u of [0, 0.13, 0.5, 0.77, 1])
      expect(wattsAt(curveOf('codecarbon', 100), u)).toBeCloseTo(100 * (0.1 + 0.9 * u ** 3), 0);
  });

  it.each([
    ['one point', [[0, 10]]],
    [
      'falling watts',
      [
        [0, 20],
        [1, 10],
      ],
    ],
    [
      'a load twice',
      [
        [0.5, 10],
        [0.5, 20],
      ],
    ],
    [
      'a load beyond 1',
      [
        [0, 10],
        [40, 20],
      ],
    ],
    [
      'no power',
      [
        [0, 0],
        [1, 10],
      ],
    ],
  ] as const)('are refused: %s', (_, curve) => {
    expect(curveFault(curve)).toEqual(expect.any(String));
  });
});

/** The lines of /proc/cpuinfo that tell. */
const cpuinfo = (vendor: string, family: number, model: number, stepping: number, name: string) =>
  `processor\t: 0\nvendor_id\t: ${vendor}\ncpu family\t: ${family}\nmodel\t\t: ${model}\nmodel name\t: ${name}\nstepping\t: ${stepping}\n`;

describe('the kind of processor', () => {
  it.each([
    [
      'Intel Xeon Platinum 8259CL (Cascade Lake)',
      cpuinfo('GenuineIntel', 6, 85, 7, 'Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz'),
      0.64,
      3.97,
    ],
    [
      'Intel Xeon Platinum 8175M (Skylake)',
      cpuinfo('GenuineIntel', 6, 85, 4, 'Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz'),
      0.65,
      4.26,
    ],
    [
      'Intel Xeon E5-2686 v4 (Broadwell)',
      cpuinfo('GenuineIntel', 6, 79, 1, 'Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz'),
      0.71,
      3.69,
    ],
    [
      'Intel Xeon E5-2666 v3 (Haswell)',
      cpuinfo('GenuineIntel', 6, 63, 2, 'Intel(R) Xeon(R) CPU E5-2666 v3 @ 2.90GHz'),
      1,
      4.74,
    ],
    ['AMD EPYC 7571 (1st generation)', cpuinfo('AuthenticAMD', 23, 1, 2, 'AMD EPYC 7571'), 0.82, 2.55],
    ['AMD EPYC 7R32 (2nd generation)', cpuinfo('AuthenticAMD', 23, 49, 0, 'AMD EPYC 7R32'), 0.47, 1.69],
    [
      'Graviton2',
      'processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n',
      0.47,
      1.69,
    ],
  ])('%s', (_, text, idleW, maxW) => {
    expect(architectureOf(text)).toMatchObject({ idleW, maxW });
  });

  it('is not guessed', () => {
    expect(architectureOf(cpuinfo('AuthenticAMD', 99, 1, 0, 'AMD EPYC'))).toBeNull();
    expect(architectureOf('')).toBeNull();
    expect(processorName(cpuinfo('AuthenticAMD', 23, 49, 0, 'AMD EPYC'))).toBe('AMD EPYC');
  });

  it('gives watts with those of memory, assumed, and narrower than without', () => {
    const architecture = architectureOf(cpuinfo('AuthenticAMD', 23, 49, 0, 'AMD EPYC'));
    const watts = hostWatts(unknown, { cpuCount: 2, memoryBytes: 24e9, architecture });
    expect(watts).toMatchObject({ assumed: true });
    expect(watts.idleW).toBeCloseTo(2 * 0.47 + 24 * 0.392, 12);
    expect(watts.maxW).toBeCloseTo(2 * 1.69 + 24 * 0.392, 12);
    const cpu = () => ({ busyS: 0 as never, count: 2 });
    const known = new CpuTimeMeter({ watts, cpu });
    const guessed = new CpuTimeMeter({ watts: hostWatts(unknown, 2), cpu });
    expect(known.description).toContain('EPYC 2nd generation and 24 GB of memory (−50 to +100 %)');
    expect(known.uncertainty).toBeGreaterThanOrEqual(0.5);
    expect(guessed.interval.high).toBeGreaterThan(known.interval.high);
  });
});

describe('the estimate', () => {
  it('follows a configured curve', () => {
    const watts = hostWatts(
      {
        ...unknown,
        curve: [
          [0, 10],
          [0.5, 40],
          [1, 50],
        ],
      },
      4,
    );
    expect(energyFromCpuTime(watts, 1, 4, 1)).toBe(25);
    expect(energyFromCpuTime(watts, 3, 4, 1)).toBe(45);
    expect(hostWatts({ ...unknown, curve: 'teads', tdpW: 100 }, 4)).toMatchObject({ idleW: 12, maxW: 102 });
  });

  it('shows its interval, even on both sides or not', () => {
    expect(showInterval({ low: 0.63, high: 1.37 })).toBe('±37 %');
    expect(showInterval({ low: 0.4, high: 2.5 })).toBe('−60 to +150 %');
  });
});
