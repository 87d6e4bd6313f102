/** Formulas of measuring: counters, and estimates from utilisation where there is no sensor. */
import { z } from 'zod';
import { energyFromCpuTime } from '../meters/cpu-time.ts';
import { namedCurves, wattsAt } from '../meters/curves.ts';
import { field, formula } from './formula.ts';

const joulesPerKwh = 3_600_000;
const kwhOf = (watts: number, seconds: number) => (watts * seconds) / joulesPerKwh;

export const raplDelta = formula({
  id: 'rapl-delta',
  title: 'Energy between two readings of a counter that wraps',
  formula: 'E = e1 − e0; when negative: (range − e0) + e1; a rate above 1.5 · maxW is a reset, not use',
  units: { beforeUj: 'µJ', nowUj: 'µJ', rangeUj: 'µJ', seconds: 's', maxW: 'W', energyJ: 'J', watts: 'W' },
  source: 'Linux powercap (RAPL): counters of energy_uj and max_energy_range_uj',
  input: z.strictObject({
    beforeUj: field.amount,
    nowUj: field.amount,
    rangeUj: field.positive.nullable().default(null).describe('max_energy_range_uj; null: not known'),
    seconds: field.positive,
    maxW: field.positive.nullable().default(null).describe('of the host at full load; null: not checked'),
  }),
  example: { beforeUj: 262_143_900_000, nowUj: 50_000_000, rangeUj: 262_144_000_000, seconds: 1, maxW: 250 },
  compute({ beforeUj, nowUj, rangeUj, seconds, maxW }) {
    const wrapped = nowUj < beforeUj;
    if (wrapped && rangeUj === null)
      return missing('the counter wrapped, and its range is not known', wrapped);
    const energyJ = (wrapped ? (rangeUj ?? 0) - beforeUj + nowUj : nowUj - beforeUj) / 1e6;
    const watts = energyJ / seconds;
    if (energyJ < 0) return missing('the counter was above its range', wrapped);
    if (maxW !== null && watts > 1.5 * maxW)
      return missing(`${watts} W is more than 1.5 · ${maxW} W: a reset`, wrapped);
    return { energyJ, watts, wrapped, unknown: {} };
  },
});

/** A sample that cannot be used is missing, never 0. */
function missing(reason: string, wrapped: boolean) {
  return { energyJ: null, watts: null, wrapped, unknown: { energyJ: reason, watts: reason } };
}

export const raplWrap = formula({
  id: 'rapl-wrap',
  title: 'How long until a counter wraps',
  formula: 't = range / P',
  units: { rangeJ: 'J', powerW: 'W', seconds: 's' },
  source: 'Linux powercap (RAPL); 2^32 units: Intel 262,144 J, AMD 65,536 J',
  input: z.strictObject({ rangeJ: field.positive, powerW: field.positive }),
  example: { rangeJ: 262_144, powerW: 200 },
  compute: ({ rangeJ, powerW }) => ({ seconds: rangeJ / powerW }),
});

export const linearPower = formula({
  id: 'linear-power',
  title: 'Energy of a host from its CPU time',
  formula: 'E = [P0 + (Pmax − P0) · u] · Δt, u = busy CPU·s / (CPUs · Δt)',
  units: { idleW: 'W', maxW: 'W', busyCpuS: 'CPU·s', seconds: 's', energyJ: 'J', watts: 'W' },
  source:
    "Cloud Carbon Footprint's estimator; two calibrated points err by 12 to 37 %, none by ±50 % and more",
  input: z
    .strictObject({
      idleW: field.amount,
      maxW: field.positive,
      cpus: z.int().min(1),
      busyCpuS: field.amount,
      seconds: field.positive,
    })
    .refine(({ idleW, maxW }) => maxW >= idleW, { path: ['maxW'], error: 'below idleW' }),
  example: { idleW: 10, maxW: 50, cpus: 4, busyCpuS: 2, seconds: 1 },
  compute({ idleW, maxW, cpus, busyCpuS, seconds }) {
    const energyJ = energyFromCpuTime({ idleW, maxW, assumed: false }, busyCpuS, cpus, seconds);
    return { energyJ, watts: energyJ / seconds };
  },
});

/** Watts of one vCPU (or GPU) at idle and at full load: the code of Cloud Carbon Footprint (its pages differ). */
const ccfWatts = {
  aws: [0.74, 3.5],
  azure: [0.74, 3.54],
  gcp: [0.68, 4.11],
  'cascade-lake': [0.64, 3.97],
  skylake: [0.65, 4.26],
  broadwell: [0.71, 3.69],
  haswell: [1, 4.74],
  'epyc-1': [0.82, 2.55],
  'epyc-2': [0.47, 1.69],
  graviton2: [0.47, 1.69],
  // Of one GPU.
  a100: [46, 407],
  v100: [35, 306],
  t4: [8, 71],
  a10g: [18, 153],
} as const;

type CcfName = keyof typeof ccfWatts;

export const ccf = formula({
  id: 'ccf',
  title: 'Energy of rented CPUs or GPUs (Cloud Carbon Footprint)',
  formula: 'W = min + u · (max − min); kWh = W · vCPUs · h · PUE · replication / 1000',
  units: { minW: 'W per vCPU or GPU', maxW: 'W per vCPU or GPU', hours: 'h', watts: 'W', energyKwh: 'kWh' },
  source: 'Cloud Carbon Footprint, estimator and constants',
  input: z
    .strictObject({
      processor: z.enum(Object.keys(ccfWatts) as [CcfName, ...CcfName[]]).optional(),
      minW: field.amount.optional(),
      maxW: field.positive.optional(),
      vcpus: field.positive.describe('or GPUs'),
      hours: field.amount,
      utilisation: field.utilisation,
      pue: field.pue,
      replication: z.number().min(1).default(1),
    })
    .refine(
      ({ processor, minW, maxW }) => processor !== undefined || (minW !== undefined && maxW !== undefined),
      {
        path: ['processor'],
        error: 'name a processor, or give minW and maxW',
      },
    ),
  example: { processor: 'aws', vcpus: 4, hours: 1, utilisation: 0.5, pue: 1.135 },
  compute({ processor, vcpus, hours, utilisation, pue, replication, ...own }) {
    const [min, max] = processor ? ccfWatts[processor] : [0, 0];
    const minW = own.minW ?? min;
    const watts = (minW + utilisation * ((own.maxW ?? max) - minW)) * vcpus;
    return { watts, energyKwh: (watts * hours * pue * replication) / 1000 };
  },
});

export const ccfOther = formula({
  id: 'ccf-other',
  title: 'Energy of memory, disks and network (Cloud Carbon Footprint)',
  formula: '.000392 kWh/GB·h memory, 1.2 Wh/TB·h SSD, .65 Wh/TB·h HDD, .001 kWh/GB network, each · PUE',
  units: { hours: 'h', memoryGb: 'GB', ssdTb: 'TB', hddTb: 'TB', networkGb: 'GB', energyKwh: 'kWh' },
  source: 'Cloud Carbon Footprint, constants',
  input: z.strictObject({
    hours: field.amount,
    memoryGb: field.amount.default(0),
    ssdTb: field.amount.default(0),
    hddTb: field.amount.default(0),
    networkGb: field.amount.default(0),
    pue: field.pue,
  }),
  example: { hours: 24, memoryGb: 16, ssdTb: 1, networkGb: 10 },
  compute({ hours, memoryGb, ssdTb, hddTb, networkGb, pue }) {
    const memoryKwh = 0.000392 * memoryGb * hours * pue;
    const storageKwh = ((1.2 * ssdTb + 0.65 * hddTb) / 1000) * hours * pue;
    const networkKwh = 0.001 * networkGb * pue;
    return { memoryKwh, storageKwh, networkKwh, energyKwh: memoryKwh + storageKwh + networkKwh };
  },
});

export const teads = formula({
  id: 'teads',
  title: 'Energy of a share of a CPU from its thermal design power (Teads curve)',
  formula: 'kWh = TDP · interp(u: 0→.12, .1→.32, .5→.75, 1→1.02) · Δt/3600/1000 · vCPUs used / vCPUs',
  units: { tdpW: 'W', seconds: 's', watts: 'W', energyKwh: 'kWh' },
  source: 'Teads, as in the Impact Framework (teads-curve manifest)',
  input: z.strictObject({
    tdpW: field.positive,
    utilisation: field.utilisation,
    seconds: field.amount,
    vcpusUsed: field.positive.default(1),
    vcpus: field.positive.default(1),
  }),
  example: { tdpW: 100, utilisation: 0.5, seconds: 360, vcpusUsed: 2, vcpus: 8 },
  compute({ tdpW, utilisation, seconds, vcpusUsed, vcpus }) {
    const watts = (tdpW * wattsAt(namedCurves.teads, utilisation) * vcpusUsed) / vcpus;
    return { watts, energyKwh: kwhOf(watts, seconds) };
  },
});

export const codecarbonCubic = formula({
  id: 'codecarbon-cubic',
  title: 'Power of a CPU from its thermal design power (CodeCarbon, machine mode)',
  formula: 'P = TDP · (.1 + .9 · u³) + 5 W · memory modules',
  units: { tdpW: 'W', seconds: 's', watts: 'W', energyKwh: 'kWh' },
  source: 'CodeCarbon, mode cpu_load; its mean error on its own measured profiles is 20 to 54 %',
  input: z.strictObject({
    tdpW: field.positive,
    utilisation: field.utilisation,
    dimms: field.count.default(0),
    seconds: field.amount,
  }),
  example: { tdpW: 100, utilisation: 0.5, seconds: 3600 },
  compute({ tdpW, utilisation, dimms, seconds }) {
    const watts = tdpW * (0.1 + 0.9 * utilisation ** 3) + 5 * dimms;
    return { watts, energyKwh: kwhOf(watts, seconds) };
  },
});

export const codecarbonConstant = formula({
  id: 'codecarbon-constant',
  title: 'Power of a CPU of which only its kind is known (CodeCarbon, constant mode)',
  formula: 'P = .5 · TDP; TDP unknown: 4 W a thread; threads unknown: 85 W',
  units: { tdpW: 'W', seconds: 's', watts: 'W', energyKwh: 'kWh' },
  source: 'CodeCarbon, mode constant',
  input: z.strictObject({
    tdpW: field.positive.nullable().default(null).describe('null: not known'),
    threads: z.int().min(1).nullable().default(null).describe('null: not known'),
    seconds: field.amount,
  }),
  example: { threads: 8, seconds: 3600 },
  compute({ tdpW, threads, seconds }) {
    const watts = 0.5 * (tdpW ?? (threads === null ? 85 : 4 * threads));
    return { tdpKnown: tdpW !== null, watts, energyKwh: kwhOf(watts, seconds) };
  },
});

export const calibratedPower = formula({
  id: 'calibrated-power',
  title: 'Power from measured points',
  formula: 'P(u) on straight lines between measured points, level beyond the first and the last',
  units: { 'points.watts': 'W', watts: 'W' },
  source: 'monotone and piecewise linear, as `commonwatt calibrate` fits it',
  input: z.strictObject({
    points: z
      .array(z.strictObject({ utilisation: field.utilisation, watts: field.amount }))
      .min(1)
      .refine(
        (points) => isRising(points),
        'neither utilisation nor watts may fall from one point to the next',
      ),
    utilisation: field.utilisation,
  }),
  example: {
    points: [
      { utilisation: 0, watts: 10 },
      { utilisation: 0.5, watts: 40 },
      { utilisation: 1, watts: 50 },
    ],
    utilisation: 0.25,
  },
  compute: ({ points, utilisation }) => ({
    watts: wattsAt(
      points.map((point) => [point.utilisation, point.watts] as const),
      utilisation,
    ),
  }),
});

function isRising(points: readonly { utilisation: number; watts: number }[]): boolean {
  return points.slice(1).every((point, index) => {
    const before = points[index];
    return before !== undefined && point.utilisation > before.utilisation && point.watts >= before.watts;
  });
}
