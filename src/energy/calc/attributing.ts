/** Formulas of giving energy to work: the ledger's own attribution, on plain numbers. */
import { z } from 'zod';
import { attribute as attributeInterval, type IntervalFacts } from '../attribution.ts';
import { field, formula } from './formula.ts';

export const idleDynamic = formula({
  id: 'idle-dynamic',
  title: 'Idle and dynamic part of the energy of a time',
  formula: 'E_idle = min(E, P0 · Δt), E_dyn = E − E_idle',
  units: { energyJ: 'J', idleW: 'W', seconds: 's', idleJ: 'J', dynamicJ: 'J' },
  source:
    'docs/accounting.md §2; P0 is measured idle power, not (1 − u) · P, which vanishes at full load (Kepler #2465)',
  input: z.strictObject({ energyJ: field.amount, idleW: field.amount, seconds: field.positive }),
  example: { energyJ: 30, idleW: 10, seconds: 1 },
  compute({ energyJ, idleW, seconds }) {
    const idleJ = Math.min(energyJ, idleW * seconds);
    return { idleJ, dynamicJ: energyJ - idleJ };
  },
});

export const attribute = formula({
  id: 'attribute',
  title: 'Energy of a time given to what ran in it',
  formula: 'E_k = E_dyn · w_k / Σw + E_idle · r_k / R; what nobody reserved is platform idle',
  units: {
    energyJ: 'J',
    idleW: 'W',
    seconds: 's',
    gPerKwh: 'gCO2e/kWh',
    embodiedG: 'gCO2e of the time',
    'work.cpuS': 'CPU·s',
    'work.reserved': 'part of the capacity',
    'parts.energyJ': 'J',
    'parts.allocatedJ': 'J, basis allocation: with what was reserved for it',
    'parts.carbonG': 'gCO2e',
  },
  source: 'the ledger of Commonwatt (docs/accounting.md §2)',
  input: z
    .strictObject({
      energyJ: field.amount,
      idleW: field.amount,
      seconds: field.positive,
      cpus: z.int().min(1).default(1),
      otherCpuS: field.amount.default(0).describe('of processes that are no work'),
      work: z.array(
        z.strictObject({ name: z.string().min(1), cpuS: field.amount, reserved: field.share.default(0) }),
      ),
      pue: field.pue,
      gPerKwh: field.gPerKwh.default(0),
      embodiedG: field.amount.default(0),
    })
    .refine(({ work }) => work.reduce((sum, { reserved }) => sum + reserved, 0) <= 1 + 1e-9, {
      path: ['work'],
      error: 'more is reserved than there is: the parts sum to more than 1',
    }),
  example: {
    energyJ: 30,
    idleW: 10,
    seconds: 1,
    cpus: 4,
    otherCpuS: 0.5,
    work: [
      { name: 'request', cpuS: 0.35, reserved: 0.0667 },
      { name: 'training', cpuS: 1.15, reserved: 0.5 },
    ],
  },
  compute(input) {
    const { entries, total } = attributeInterval(factsOf(input));
    const names = new Map(input.work.map(({ name }, index) => [`work-${index}`, name]));
    return {
      energyJ: total.energyJ,
      idleJ: total.idleShareJ,
      parts: entries.map(({ ids, note, cpuS, energyJ, idleShareJ, carbonG, embodiedG, allocated }) => ({
        name: names.get(ids[0] ?? '') ?? (note === 'platform' ? 'platform idle' : (note ?? 'other')),
        cpuS,
        energyJ,
        idleShareJ,
        carbonG,
        embodiedG,
        allocatedJ: allocated.energyJ,
      })),
    };
  },
});

interface Input {
  energyJ: number;
  idleW: number;
  seconds: number;
  cpus: number;
  otherCpuS: number;
  work: readonly { name: string; cpuS: number; reserved: number }[];
  pue: number;
  gPerKwh: number;
  embodiedG: number;
}

/** Work as jobs: each has its own CPU time and its own part of the memory. */
function factsOf({ work, ...input }: Input): IntervalFacts {
  const head = {
    kind: 'inference',
    consumer: { organisationId: '', organisation: '' },
    keyId: null,
    memberId: null,
    grantId: null,
    jobId: null,
    use: null,
  } as const;
  return {
    id: 'calculation',
    startMs: 0,
    endMs: input.seconds * 1000,
    durationS: input.seconds,
    energyJ: input.energyJ,
    idleW: input.idleW,
    cpuCount: input.cpus,
    memoryBytes: 1,
    hostBusyS: input.otherCpuS + work.reduce((sum, { cpuS }) => sum + cpuS, 0),
    gatewayCpuS: 0,
    housekeepingS: 0,
    runners: [],
    lines: [],
    jobs: work.map(({ cpuS, reserved }, index) => ({
      id: `work-${index}`,
      head,
      cpuS,
      memoryBytes: reserved,
    })),
    reservations: [],
    rates: { pue: input.pue, gPerKwh: input.gPerKwh, litresPerKwh: null, embodiedG: input.embodiedG },
  };
}

export const conservation = formula({
  id: 'conservation',
  title: 'Whether parts sum to their meter',
  formula: 'residual = (meter − Σ parts) / meter; conserved when it is not above 1e-9',
  units: { meterJ: 'J', partsJ: 'J', residualJ: 'J' },
  source: 'docs/accounting.md §2: Σ requests + jobs + idle + overhead = meter',
  input: z.strictObject({ meterJ: field.positive, partsJ: z.array(z.number()).min(1) }),
  example: { meterJ: 30, partsJ: [4.167, 16.5, 5, 4.333] },
  compute({ meterJ, partsJ }) {
    const residualJ = meterJ - partsJ.reduce((sum, part) => sum + part, 0);
    return {
      residualJ,
      residualRatio: residualJ / meterJ,
      conserved: Math.abs(residualJ) <= 1e-9 * meterJ,
    };
  },
});
