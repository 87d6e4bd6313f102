/** Ledger lines and metered intervals on the wire; what each figure means is in docs/accounting.md. */
import { z } from 'zod';
import { whyUnknown } from '../../energy/ledger-lines.ts';

const figure = z.number().nullable();
const text = z.string().nullable();
const quality = z.enum(['measured', 'estimated', 'assumed']);
const grid = {
  zone: text,
  signal: text.describe('average or marginal'),
  scope: text.describe('life-cycle or direct'),
  intensityGPerKwh: figure,
};

export const lineSchema = z.object({
  id: z.string(),
  at: z.string(),
  interval: z.string(),
  kind: z.string(),
  note: text.describe('what kind of idle or overhead'),
  outcome: z.string(),
  attributionMethod: z.string(),
  consumerId: text,
  consumer: text,
  ownerId: text,
  owner: text,
  modelId: text,
  model: text,
  version: z.int().nullable(),
  keyId: text.describe('of your own organisation only, as person and job'),
  memberId: text,
  grantId: text,
  jobId: text,
  runnerPid: z.int().nullable(),
  node: text,
  rows: z.int(),
  cpuSeconds: figure,
  energyWh: figure,
  idleShareWh: figure,
  carbonGCo2e: figure,
  embodiedGCo2e: figure,
  waterL: figure.describe(`null: ${whyUnknown.waterL}`),
  avoidedWh: figure.describe('spared by using an answer again; estimated, in no sum of what was used'),
  avoidedGCo2e: figure,
  allocatedWh: figure.describe(`what was reserved for it; null: ${whyUnknown.allocatedWh}`),
  allocatedGCo2e: figure,
  allocatedEmbodiedGCo2e: figure,
  quality,
  method: z.string(),
  methodVersion: z.string(),
  ...grid,
});

export const pageSchema = z.object({
  lines: z.array(lineSchema),
  cursor: text.describe('gives the next page; null: there is nothing more'),
});

export const intervalSchema = z.object({
  id: z.string(),
  start: z.string(),
  end: z.string(),
  node: text,
  energyWh: figure,
  acceleratorWh: figure.describe('the part of it that accelerators drew; null: not known'),
  acceleratorSecondsSupplied: figure.describe('device seconds; null: no meter tells'),
  acceleratorSecondsReserved: figure,
  acceleratorSecondsUsed: figure,
  carbonGCo2e: figure,
  embodiedGCo2e: figure,
  waterL: figure.describe('null: the reason is in `basis`'),
  quality,
  method: z.string(),
  methodVersion: z.string(),
  ...grid,
  basis: z.unknown().describe('grid value and its source, PUE, water, watts, reasons of what is null'),
  cpuSecondsSupplied: figure,
  cpuSecondsUsed: figure,
  cpuSecondsOther: figure,
  memoryGbSecondsSupplied: figure,
  memoryGbSecondsReserved: figure,
  memoryGbSecondsUsed: figure,
});
