/** The published and worked figures, to the digits printed, through the registry that the command line uses. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findFormula, formulas } from './calc.ts';

/** The result of a formula; `path` names a field of it. */
function calc(id: string, input: unknown): Record<string, never> {
  const found = findFormula(id);
  if (!found) throw new Error(`there is no formula ${id}`);
  return found.calculate(input).result as Record<string, never>;
}

const closeTo = (value: unknown, expected: number, digits: number) =>
  expect(Number(value)).toBeCloseTo(expected, digits);

describe('every formula', () => {
  it.each(formulas.map((formula) => [formula.id, formula] as const))(
    '%s computes its example and says how',
    (_id, formula) => {
      const calculation = formula.calculate(formula.example);
      expect(calculation).toMatchObject({
        id: formula.id,
        formula: formula.formula,
        units: formula.units,
        source: formula.source,
        methodVersion: formula.version,
      });
      expect(Object.keys(calculation.result).length).toBeGreaterThan(0);
      for (const text of [formula.title, formula.formula, formula.source]) expect(text).not.toBe('');
      // Whoever has the printed result can repeat it.
      expect(JSON.parse(JSON.stringify(calculation)).result).toEqual(
        JSON.parse(JSON.stringify(calculation.result)),
      );
    },
  );

  it('has a name of its own in the words of the command line', () => {
    const names = formulas.map(({ id }) => id);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z][a-z0-9-]*$/);
  });

  it.each(formulas.map((formula) => [formula.id, formula] as const))(
    '%s names a field that is wrong',
    (_id, formula) => {
      expect(() => formula.calculate({ nonsense: 1 })).toThrow(
        expect.objectContaining({
          code: 'INVALID_REQUEST',
          where: expect.any(String),
          hint: expect.stringContaining(JSON.stringify(formula.example)),
        }),
      );
    },
  );
});

describe('measuring', () => {
  it('follows a counter around its range', () => {
    const wrapped = {
      beforeUj: 262_143_000_000,
      nowUj: 99_000_000,
      rangeUj: 262_144_000_000,
      seconds: 1,
      maxW: 1000,
    };
    expect(calc('rapl-delta', wrapped)).toEqual({ energyJ: 100, watts: 100, wrapped: true, unknown: {} });
  });

  it('takes a reset and an unknown range for missing, never for 0', () => {
    expect(calc('rapl-delta', { beforeUj: 5e9, nowUj: 1e9, seconds: 1 })).toMatchObject({
      energyJ: null,
      unknown: { energyJ: expect.stringContaining('range') },
    });
    const reset = { beforeUj: 0, nowUj: 400e6, rangeUj: 262_144e6, seconds: 1, maxW: 250 };
    expect(calc('rapl-delta', reset)).toMatchObject({ energyJ: null });
  });

  it('wraps after 1,311 s on Intel and 328 s on AMD at 200 W', () => {
    closeTo(calc('rapl-wrap', { rangeJ: 262_144, powerW: 200 }).seconds, 1311, 0);
    closeTo(calc('rapl-wrap', { rangeJ: 65_536, powerW: 200 }).seconds, 328, 0);
  });

  it('is 30 J for 2 busy CPU·s of 4 CPUs in 1 s between 10 and 50 W', () => {
    expect(calc('linear-power', { idleW: 10, maxW: 50, cpus: 4, busyCpuS: 2, seconds: 1 }).energyJ).toBe(30);
  });

  it('is .74 to 3.5 W a vCPU at AWS, with PUE 1.135 (Cloud Carbon Footprint)', () => {
    const input = { processor: 'aws', vcpus: 1, hours: 1, pue: 1.135 };
    closeTo(calc('ccf', { ...input, utilisation: 0 }).energyKwh, (0.74 * 1.135) / 1000, 12);
    closeTo(calc('ccf', { ...input, utilisation: 1 }).energyKwh, (3.5 * 1.135) / 1000, 12);
    closeTo(calc('ccf', { processor: 'a100', vcpus: 1, hours: 1, utilisation: 1 }).energyKwh, 0.407, 12);
    closeTo(calc('ccf-other', { hours: 1, memoryGb: 1 }).energyKwh, 0.000392, 12);
  });

  it.each([
    [0.01, 0.00035],
    [0.1, 0.0008],
    [0.5, 0.001875],
    [1, 0.00255],
  ])('Teads in the Impact Framework: 100 W, 2 of 8 vCPUs, 360 s, u = %s → %s kWh', (utilisation, kwh) => {
    const input = { tdpW: 100, utilisation, seconds: 360, vcpusUsed: 2, vcpus: 8 };
    closeTo(calc('teads', input).energyKwh, kwh, 12);
  });

  it('is TDP (.1 + .9 u³) in CodeCarbon: 21.25 W of 100 at a half', () => {
    const { watts, energyKwh } = calc('codecarbon-cubic', { tdpW: 100, utilisation: 0.5, seconds: 3600 });
    closeTo(watts, 21.25, 12);
    closeTo(energyKwh, 0.02125, 12);
  });

  it('lies on straight lines between measured points, which must not fall', () => {
    const points = [
      { utilisation: 0.2, watts: 10 },
      { utilisation: 0.6, watts: 30 },
    ];
    const watts = (utilisation: number) => calc('calibrated-power', { points, utilisation }).watts;
    expect([0, 0.2, 0.4, 0.6, 1].map(watts)).toEqual([10, 10, 20, 30, 30]);
    expect(() => calc('calibrated-power', { points: [...points].reverse(), utilisation: 0.5 })).toThrow(
      /points/,
    );
  });
});

describe('giving energy to work', () => {
  it('is 10 J idle and 20 J dynamic of 30 J at 10 W idle in 1 s', () => {
    expect(calc('idle-dynamic', { energyJ: 30, idleW: 10, seconds: 1 })).toEqual({ idleJ: 10, dynamicJ: 20 });
  });

  it('gives all of it, in proportion to CPU time and to what is reserved', () => {
    const { parts, energyJ } = calc('attribute', {
      energyJ: 30,
      idleW: 10,
      seconds: 1,
      cpus: 4,
      otherCpuS: 0.5,
      work: [
        { name: 'a', cpuS: 0.35, reserved: 0.2 },
        { name: 'b', cpuS: 1.15, reserved: 0.5 },
      ],
      pue: 1.2,
      gPerKwh: 400,
    }) as unknown as { energyJ: number; parts: { name: string; energyJ: number; carbonG: number }[] };
    const of = (name: string) => parts.find((part) => part.name === name);
    // 20 J dynamic over 2 CPU·s, 10 J idle: 3.5 + 2, 11.5 + 5, 5, and 3 J that nobody reserved.
    closeTo(of('a')?.energyJ, 5.5, 9);
    closeTo(of('b')?.energyJ, 16.5, 9);
    closeTo(of('other processes')?.energyJ, 5, 9);
    closeTo(of('platform idle')?.energyJ, 3, 9);
    closeTo(of('a')?.carbonG, (5.5 / 3.6e6) * 1.2 * 400, 12);
    const partsJ = parts.map((part) => part.energyJ);
    expect(calc('conservation', { meterJ: energyJ, partsJ }).conserved).toBe(true);
  });

  it('gives all of it for any work', () => {
    // Counters tell nanoseconds; what is less is nothing.
    const amount = fc.double({ min: 0, max: 1e6, noNaN: true }).map((value) => (value < 1e-9 ? 0 : value));
    const work = fc.array(
      fc.record({
        name: fc.constant('w'),
        cpuS: amount,
        reserved: fc.double({ min: 0, max: 0.1, noNaN: true }),
      }),
      {
        maxLength: 10,
      },
    );
    fc.assert(
      fc.property(
        fc.double({ min: 1e-6, max: 1e9, noNaN: true }),
        amount,
        amount,
        work,
        (energyJ, idleW, otherCpuS, all) => {
          const { parts } = calc('attribute', {
            energyJ,
            idleW,
            seconds: 2,
            otherCpuS,
            work: all,
          }) as unknown as {
            parts: { energyJ: number; allocatedJ: number }[];
          };
          for (const basis of ['energyJ', 'allocatedJ'] as const) {
            const partsJ = parts.map((part) => part[basis]);
            expect(calc('conservation', { meterJ: energyJ, partsJ }).conserved).toBe(true);
          }
        },
      ),
    );
  });

  it('sees when parts do not sum to their meter', () => {
    expect(calc('conservation', { meterJ: 30, partsJ: [10, 19.9] }).conserved).toBe(false);
  });
});

describe('carbon, water and hardware', () => {
  it('is 480 g for 1 kWh at PUE 1.2 and 400 g/kWh', () => {
    closeTo(calc('carbon', { energyKwh: 1, pue: 1.2, gPerKwh: 400 }).carbonG, 480, 9);
  });

  it('integrates on the timestamps of the signal: half an hour at 100 and half at 300 g/kWh', () => {
    const example = findFormula('carbon-over-time')?.example as { energy: object[]; signal: object[] };
    closeTo(calc('carbon-over-time', example).carbonG, 400, 9);
    const beyond = [{ start: '2026-03-29T00:30:00Z', end: '2026-03-29T02:30:00Z', energyKwh: 2 }];
    expect(calc('carbon-over-time', { ...example, energy: beyond })).toMatchObject({
      carbonG: null,
      unknown: { carbonG: expect.stringContaining('cover') },
    });
  });

  it('is 5.4 L/kWh of water from 1.8 on site, PUE 1.2 and 3 off site; an unknown part is named', () => {
    closeTo(calc('water', { energyKwh: 1, pue: 1.2, wueOnSite: 1.8, wueOffSite: 3 }).waterL, 5.4, 12);
    expect(calc('water', { energyKwh: 1 })).toMatchObject({ waterL: null });
    expect(calc('water', { energyKwh: 1, wueOffSite: 3 }).unknown).toMatchObject({
      waterPart: expect.stringContaining('not included'),
    });
  });

  it('is 28.538812785388128 g for 1,000 kg over 4 years and 1 h (SCI, Impact Framework)', () => {
    expect(calc('sci-embodied', { seconds: 3600 }).embodiedG).toBeCloseTo(28.538812785388128, 12);
    closeTo(calc('embodied', { totalKg: 1000, lifeYears: 4, seconds: 3600 }).embodiedG, 28.54, 2);
  });

  it('is 7,012 kg for 8 GPUs and 266.82 g an hour (EcoLogits)', () => {
    const { totalKg, embodiedG } = calc('embodied-server', { gpus: 8, seconds: 3600 });
    expect(totalKg).toBe(7012);
    closeTo(embodiedG, 266.82, 2);
  });

  it('is (E · I + M) / R (SCI)', () => {
    closeTo(
      calc('sci', { energyKwh: 1, gPerKwh: 400, embodiedG: 28.54, functionalUnits: 2 }).sciG,
      214.27,
      9,
    );
  });

  it('is 731.59 g/kWh for the mix in the manual of CodeCarbon', () => {
    closeTo(calc('grid-mix', { coal: 0.25, oil: 0.35, gas: 0.26, nuclear: 0.14 }).gPerKwh, 731.59, 9);
    expect(() => calc('grid-mix', { coal: 0.5 })).toThrow(/sum to 1/);
  });

  it('is .45359 g/kWh for 1 lb/MWh', () => {
    closeTo(calc('lbs-per-mwh', { lbsPerMwh: 1 }).gPerKwh, 0.45359, 5);
    expect(calc('watt-hours', { energyJ: 3600 })).toEqual({ energyWh: 1, energyKwh: 0.001 });
  });
});

describe('a request to a language model (EcoLogits ≤ 0.9.3)', () => {
  it('is 1.536243521642994e-5 kWh for 7.3 B, 200 tokens, 5 s', () => {
    const result = calc('ecologits-llm', {
      activeBillion: 7.3,
      tokens: 200,
      latencyS: 5,
      gPerKwh: 590.478,
      pue: 1.26,
    });
    closeTo(result.energyKwh, 1.536243521642994e-5, 19);
    closeTo(Number(result.usageG) / 1000, 9.07118e-6, 11);
    closeTo(Number(result.embodiedG) / 1000, 7.237925e-7, 13);
  });

  it('is 3.994122499298407e-5 kWh for Mixtral, 200 tokens, 10 s', () => {
    const mixtral = {
      activeBillion: 12.9,
      totalBillion: 46.7,
      tokens: 200,
      latencyS: 10,
      gPerKwh: 590.478,
      pue: 1.26,
    };
    const result = calc('ecologits-llm', mixtral);
    closeTo(result.energyKwh, 3.994122499298407e-5, 19);
    expect(result.gpus).toBe(2);
    closeTo(Number(result.highKwh) / Number(result.lowKwh), 9, 9);
  });
});

const eightH100 = { idleW: 1160, maxW: 6800, pue: 1.2, gPerKwh: 400, embodiedGPerH: 266.82 };

describe('use', () => {
  it('is .2 = .4 · .5 for 2 used of 5 reserved of 10 supplied', () => {
    expect(calc('rur', { used: 2, reserved: 5, supplied: 10, failed: 0.5 })).toEqual({
      usedOverSupplied: 0.2,
      usedOverReserved: 0.4,
      reservedOverSupplied: 0.5,
      goodputOverSupplied: 0.15,
    });
  });

  it('weighs resources by their impact at full load: CPU .2 at 9, memory .8 at 1 → .26', () => {
    closeTo(calc('headline-rur', findFormula('headline-rur')?.example).headlineRur, 0.26, 12);
  });

  it.each([
    [0.05, 5.432],
    [0.2, 1.933],
    [0.6, 1.156],
  ])('8 × H100 at u = %s cost %s times as much a unit as at full use', (utilisation, ratio) => {
    const { a, b, relativeToFull } = calc('impact-per-unit', { ...eightH100, utilisation });
    closeTo(a, 2707.2, 9);
    closeTo(b, 823.62, 9);
    closeTo(relativeToFull, ratio, 3);
  });

  it.each([
    [0.2, 0.333],
    [0.5, 0.667],
  ])(
    'of Barroso and Hölzle: with P0 = Pmax/2, efficiency at u = %s is %s of full',
    (utilisation, efficiency) => {
      const { relativeToFull } = calc('impact-per-unit', {
        idleW: 100,
        maxW: 200,
        gPerKwh: 400,
        utilisation,
      });
      closeTo(1 / Number(relativeToFull), efficiency, 3);
    },
  );

  it('rises in total with use for a fixed supply, and falls for a fixed demand', () => {
    const total = (utilisation: number) =>
      Number(calc('fixed-supply', { ...eightH100, utilisation }).gPerHour);
    expect(total(0.6)).toBeGreaterThan(total(0.2));
    const { savingGPerHour } = calc('saving-by-consolidation', {
      ...eightH100,
      demandPerHour: 500,
      unitsPerHour: 1000,
      from: 0.05,
      to: 0.5,
    });
    closeTo(savingGPerHour, 0.5 * 823.62 * (20 - 2), 6);
  });

  it('finds the best point below full use, and the one that keeps the latency objective', () => {
    const result = calc('operating-point', findFormula('operating-point')?.example);
    expect(result).toMatchObject({ best: { utilisation: 0.7 }, withoutObjective: { utilisation: 0.7 } });
    const strict = { ...(findFormula('operating-point')?.example as object), latencyObjectiveMs: 25 };
    expect(calc('operating-point', strict)).toMatchObject({ best: { utilisation: 0.25 } });
    const never = { ...strict, latencyObjectiveMs: 5 };
    expect(calc('operating-point', never)).toMatchObject({
      best: null,
      unknown: { best: expect.any(String) },
    });
  });
});

describe('sharing', () => {
  const tenants = Array.from({ length: 10 }, () => ({ utilisation: 0.05 }));
  const server = { idleW: 1160, maxW: 6800, embodiedGPerH: 266.82 };
  const input = { windowH: 1, server, tenants, pue: 1.2, gPerKwh: 400 };
  /** One server at u = .5. */
  const one = { idleWh: 1160, dynamicWh: 2820, embodiedG: 266.82 };
  const withSpare = { idleWh: 2320, dynamicWh: 2820, embodiedG: 533.64 };
  type Result = { sharedG: number; baselines: { id: string; carbonG: number; savingPercent: number }[] };
  const of = (shared: object) => calc('counterfactual', { ...input, shared }) as unknown as Result;

  it('is 3000.8 g/h for ten tenants with a warm spare, 9589.8 alone: 68.7 %, and 48.9 % against office hours', () => {
    closeTo(of(one).sharedG, 2177.2, 1);
    const { sharedG, baselines } = of(withSpare);
    closeTo(sharedG, 3000.8, 1);
    const [b0, b1] = baselines;
    closeTo(b0?.carbonG, 9589.8, 1);
    closeTo(b0?.savingPercent, 68.7, 1);
    closeTo(b1?.carbonG, 5877.8, 1);
    closeTo(b1?.savingPercent, 48.9, 1);
  });

  it('would look like 77.3 % if the spare were hidden', () => {
    closeTo(of(one).baselines[0]?.savingPercent, 77.3, 1);
  });

  it('has a band that says whether it can be told from nothing', () => {
    type Banded = {
      baselines: { id: string; lowPercent: number; highPercent: number; distinguishable: boolean }[];
    };
    const { baselines } = of(withSpare) as unknown as Banded;
    const [b0] = baselines;
    expect(b0?.lowPercent).toBeLessThan(68.7);
    expect(b0?.highPercent).toBeGreaterThan(68.7);
    expect(b0?.distinguishable).toBe(true);
    expect(baselines.find(({ id }) => id === 'B4')?.distinguishable).toBe(false);
  });

  it('needs as many servers as hold the models and carry the peak', () => {
    const alone = { memoryGb: 100, serverMemoryGb: 80, peakPerHour: 1500, capacityPerHour: 1000 };
    expect(calc('servers-needed', { ...alone, maxUtilisation: 0.6 })).toEqual({
      toHold: 2,
      toCarry: 3,
      servers: 3,
    });
    expect(calc('servers-needed', { ...alone, peakPerHour: 0 }).servers).toBe(2);
  });

  it('shows what is not saved: against nothing at all everything is additional', () => {
    const b5 = of(withSpare).baselines.find(({ id }) => id === 'B5');
    expect(b5).toMatchObject({ carbonG: 0, savingPercent: null });
  });
});

describe('wrong figures', () => {
  it.each([
    ['carbon', { energyKwh: 1, pue: 0.9, gPerKwh: 400 }, 'pue'],
    ['carbon', { energyKwh: 1, pue: 1.2, gPerKwh: -1 }, 'gPerKwh'],
    ['carbon', { energyKwh: 1, gPerKwh: 400_000 }, 'gPerKwh'],
    ['carbon', { energyKwh: '1', gPerKwh: 400 }, 'energyKwh'],
    ['teads', { tdpW: 100, utilisation: 50, seconds: 1 }, 'utilisation'],
    ['linear-power', { idleW: 60, maxW: 50, cpus: 4, busyCpuS: 1, seconds: 1 }, 'maxW'],
    [
      'attribute',
      {
        energyJ: 1,
        idleW: 1,
        seconds: 1,
        work: [
          { name: 'a', cpuS: 1, reserved: 0.7 },
          { name: 'b', cpuS: 1, reserved: 0.7 },
        ],
      },
      'work',
    ],
    [
      'counterfactual',
      {
        windowH: 1,
        server: { idleW: 2, maxW: 1, embodiedGPerH: 0 },
        tenants: [],
        shared: { idleWh: 0, dynamicWh: 0, embodiedG: 0 },
        gPerKwh: 1,
      },
      'server.maxW',
    ],
    ['carbon-aware-start', { gPerKwh: [1, 2], steps: 3 }, 'steps'],
    [
      'carbon-aware-elastic',
      { gPerKwh: [1], stepHours: 1, work: 5, replicas: [{ unitsPerHour: 1, watts: 1 }] },
      'work',
    ],
    ['impact-per-unit', { ...eightH100, utilisation: 0 }, 'utilisation'],
  ])('%s %j is refused by the name of the field', (id, input, where) => {
    expect(() => calc(id, input)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST', where }));
  });

  it('that overflow are refused, too, and never become Infinity', () => {
    expect(() => calc('carbon', { energyKwh: 1e308, gPerKwh: 3000 })).toThrow(/carbonG would be Infinity/);
    expect(() => calc('rapl-wrap', { rangeJ: 1e300, powerW: 1e-300 })).toThrow(/too large or too small/);
  });
});
