import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ImpactReport, Model } from '@commonwatt/client';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkNode } from './doctor.ts';
import { readExample, writeExample } from './example-file.ts';
import { heatMap } from './heat-map.ts';
import { betterLines, useLines } from './impact-details.ts';
import { impactLines } from './impact-report.ts';
import { parseInstances } from './instances.ts';
import { showCarbon, showEnergy } from './quantities.ts';
import { pickVersion, reference } from './references.ts';
import { readTrainingFile } from './training.ts';

describe('quantities', () => {
  it.each([
    [0, '0 J'],
    [1 / 3600, '1 J'],
    [1e-6, '3.6 mJ'],
    [0.05, '180 J'],
    [2, '2 Wh'],
    [2500, '2.5 kWh'],
    [-0.001, '−3.6 J'],
  ])('%d Wh is %s', (wh, text) => expect(showEnergy(wh)).toBe(text));

  it('are within half a percent of what they show', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 1e6, noNaN: true }), (grams) => {
        const [, digits, prefix = ''] = /^([\d.]+) ([pnµmkM]?)gCO2e$/.exec(showCarbon(grams)) ?? [];
        const factor = { p: 1e-12, n: 1e-9, µ: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6 }[prefix] ?? Number.NaN;
        expect(Math.abs(Number(digits) * factor - grams)).toBeLessThanOrEqual(grams * 0.005 + 1e-24);
      }),
    );
  });
});

describe('references', () => {
  it.each([
    ['acme/digits', { model: 'acme/digits', version: undefined, alias: undefined }],
    ['acme--digits:12', { model: 'acme--digits', version: 12, alias: undefined }],
    ['acme/digits@production', { model: 'acme/digits', version: undefined, alias: 'production' }],
  ])('%s', (text, expected) => expect(reference(text)).toEqual(expected));

  it.each(['digits', 'acme/digits:0', 'acme/digits:x', 'acme/a/b', ''])('%j is refused', (text) =>
    expect(() => reference(text)).toThrow('acme/digits:1'),
  );

  it('without a version: production, else the newest served, else the newest', () => {
    const model: Pick<Model, 'ref' | 'versions' | 'aliases' | 'deployments'> = {
      ref: 'acme/digits',
      versions: [],
      aliases: [{ alias: 'production', version: 1 }],
      deployments: [{ id: 'd', version: 2, state: 'ready' }],
    };
    expect(pickVersion(model, undefined)).toBe(1);
    expect(pickVersion({ ...model, aliases: [] }, undefined)).toBe(2);
    expect(() => pickVersion(model, 'canary')).toThrow('has no alias');
  });
});

describe('inputs', () => {
  it.each([
    ['[1, 2]', [[1, 2]]],
    [
      '[[1, 2], [3, 4]]',
      [
        [1, 2],
        [3, 4],
      ],
    ],
    ['{"instances": [[1]]}', [[1]]],
  ])('%s', (text, rows) => expect(parseInstances(text, 'input')).toEqual(rows));
  it.each(['', '[]', '[["a"]]', '{"inputs": 3}', 'null'])('%j is refused', (text) =>
    expect(() => parseInstances(text, 'input')).toThrow('input is not'),
  );
});

describe('the training file', () => {
  it('keeps the network for the server, and what the command line does for itself', () => {
    const file = readTrainingFile('examples/digits/train.yaml');
    expect(file.config).toMatchObject({ dataset: 'digits', optimizer: 'adam', epochs: 10 });
    expect(file.config).not.toHaveProperty('data');
    expect(file.data).toMatch(/examples\/digits\/digits\.csv$/);
  });

  it('says where it is wrong', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'commonwatt-')), 'train.yaml');
    writeFileSync(file, 'epochs: 3\n');
    expect(() => readTrainingFile(file)).toThrow('dataset');
    writeFileSync(file, 'a: [');
    expect(() => readTrainingFile(file)).toThrow(file);
  });
});

describe('example.json', () => {
  const example = {
    baseUrl: 'http://127.0.0.1:8080',
    grpcAddress: null,
    model: 'acme--digits',
    owner: { organisation: 'acme', apiKey: 'a' },
    consumer: { organisation: 'globex', apiKey: 'b' },
  };
  it('comes back as it was written; half a file counts as none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'commonwatt-'));
    expect(readExample(folder)).toBeNull();
    await writeExample(folder, example);
    expect(readExample(folder)).toEqual(example);
    writeFileSync(join(folder, 'example.json'), '{"baseUrl"');
    expect(readExample(folder)).toBeNull();
  });
});

describe('Node', () => {
  const today = new Date('2026-11-24');
  it.each([
    ['20.18.1', 'problem'],
    ['20.19.0', 'note'],
    ['22.12.0', 'ok'],
    ['23.1.0', 'note'],
    ['24.0.0', 'ok'],
  ])('%s: %s', (version, state) => expect(checkNode(version, today).state).toBe(state));
});

it('the heat map has a row of cells for each ten inputs, and nothing is dark', () => {
  const lines = heatMap([...Array(99).fill(0), -1], 10);
  expect(lines).toHaveLength(11);
  expect(lines[0]?.split('\x1b[48;2;24;24;24m')).toHaveLength(11);
  expect(lines[9]).toContain('\x1b[48;2;60;140;255m');
});

it('the report shows a loss as a loss, names its baseline, and gives the reason of what is unknown', () => {
  const decomposition = {
    utilisationGCo2e: -1.5,
    batchingGCo2e: 0,
    pueGCo2e: 0,
    gridGCo2e: 0,
    embodiedGCo2e: 0,
  };
  const utilisation = { usedOverSupplied: 0.1, usedOverReserved: null, reservedOverSupplied: null };
  const report: ImpactReport = {
    from: '2026-11-24T00:00:00Z',
    to: '2026-11-24T01:00:00Z',
    quality: 'estimated',
    method: 'cpu-time',
    methodVersion: '1',
    zone: 'WORLD',
    intensityGPerKwh: { value: 480, source: 'Ember', kind: 'average' },
    pue: { value: 1, assumed: true },
    consumption: {
      energyWh: 4,
      carbonGCo2e: 2,
      waterL: null,
      embodiedGCo2e: 1,
      requests: 3,
      finished: 3,
      jobs: 1,
      allocated: { energyWh: 4, carbonGCo2e: 2, embodiedGCo2e: 1 },
      waste: { energyWh: 3, carbonGCo2e: 1.5, embodiedGCo2e: 0.5 },
      whPerRequest: { p50: 0.1, p90: 0.2, p99: 0.2 },
    },
    avoided: { requests: 2, energyWh: 0.25, carbonGCo2e: 0.125, quality: 'estimated' },
    supply: { cpuSeconds: 7200, memoryGbSeconds: 100, energyWh: 4 },
    split: {
      requestsWh: 0.5,
      jobsWh: 0.5,
      idleWh: 3,
      overheadWh: 0,
      unattributedWh: 0,
      meterWh: 4,
      residualRatio: 0,
    },
    rur: {
      headline: 0.1,
      cpu: utilisation,
      memory: utilisation,
      accelerator: null,
      weights: { cpu: 0.9, memory: 0.1 },
      goodput: { usedOverSupplied: 0.1, partOfUsed: 1 },
      nodes: [],
      models: [],
      tenants: [],
    },
    impact: {
      totalGCo2e: 2,
      perRequestGCo2e: 0.6,
      perRequestWh: 1.3,
      function: { kind: 'straight line', formula: 'a + b/u' },
      best: null,
      sloSafe: null,
      atFullUtilisationGCo2e: 0.1,
      curve: [],
      operatingPoint: { utilisation: 0.1, gCo2ePerRequest: 0.8, gCo2ePerHour: 1 },
    },
    sharing: {
      headlineBaseline: 'B3',
      savingGCo2e: -1.5,
      savingPercent: -300,
      low: -400,
      high: -200,
      distinguishable: true,
      decomposition,
      shared: { carbonGCo2e: 2, energyWh: 4, cpuSeconds: 10, memoryBytes: null },
      own: {
        instances: 2,
        cpuSeconds: { value: 20, low: 10, high: 40 },
        energyWh: { value: 8, low: 4, high: 16 },
        memoryBytes: null,
      },
      rebound: { assumedPart: 0, breakEvenPart: null },
      baselines: [
        {
          id: 'B3',
          name: 'right-sized',
          description: '',
          carbonGCo2e: 0.5,
          energyWh: 1,
          savingGCo2e: -1.5,
          savingPercent: -300,
          low: -400,
          high: -200,
          distinguishable: true,
          decomposition,
        },
      ],
      tenants: 2,
      assumptions: [],
    },
    groups: [],
    unknown: { waterL: 'no WUE is configured' },
    notes: [],
  };
  const text = impactLines(report).join('\n');
  expect(text).toContain('costs 1.5 gCO2e (-300.0 %; 5–95 %: -400.0 % … -200.0 %) against B3, right-sized');
  expect(text).toContain('idle          3 Wh');
  expect(text).toContain('avoided by using answers again (estimated): 900 J, 125 mgCO2e, 2 requests');
  expect(text).toContain('reserved 4 Wh, 2 gCO2e; of it neither requests nor jobs used 3 Wh, 1.5 gCO2e');
  expect(text).toContain('unknown: waterL: no WUE is configured');
  expect(text).toContain('PUE 1 (assumed)');
  expect(text).toContain('costs 800 mgCO2e at 10.0 % use of its CPUs, and would cost 100 mgCO2e at full use');
  expect(text).toContain(
    '2 instances of their own would use (5–95 %) 20 CPU s (10 CPU s … 40 CPU s), 8 Wh (4 Wh … 16 Wh)',
  );
  expect(text).toContain('demand that sharing caused: 0 % assumed');
});

it('an impact report for people: who used the supply, what would be better, by cause and by group', () => {
  const part = { usedOverSupplied: 0.2, usedOverReserved: 0.4, reservedOverSupplied: 0.5 };
  const point = { utilisation: 0.6, gCo2ePerRequest: 0.3, gCo2ePerHour: 5 };
  const text = [
    ...useLines({
      headline: 0.2,
      cpu: part,
      memory: part,
      accelerator: part,
      weights: { cpu: 1, memory: 0 },
      goodput: { usedOverSupplied: 0.15, partOfUsed: 0.75 },
      nodes: [],
      models: Array.from({ length: 12 }, (_, index) => ({
        model: `acme/m${index}`,
        cpu: part,
        memory: part,
        goodputOverSupplied: null,
      })),
      tenants: [{ tenant: 'globex', cpuOverSupplied: 0.1, goodputOverSupplied: 0.1, partOfUsed: 0.5 }],
    }),
    ...betterLines({
      function: { kind: 'curve', formula: 'by a curve' },
      best: point,
      sloSafe: {
        ...point,
        mostUtilisation: 0.7,
        model: 'acme/m0',
        objectiveMs: 40,
        p95Ms: 38,
        method: 'fitted',
        savingGCo2ePerHour: 2,
      },
    } as ImpactReport['impact']),
  ].join('\n');
  expect(text).toContain('accelerators 20.0 %: 40.0 % of what is reserved, 50.0 % reserved');
  expect(text).toContain('goodput 15.0 % of the supply, 75.0 % of what was used');
  expect(text).toMatch(/acme\/m0 +20\.0 % +50\.0 % +40\.0 % +unknown/);
  expect(text).toContain('and 2 more: --json');
  expect(text).toMatch(/globex +10\.0 % +50\.0 % +10\.0 %/);
  expect(text).toContain('least at 60.0 % use: 300 mgCO2e a request');
  expect(text).toContain('acme/m0 answers 95 % within 38 of 40 ms there (fitted); saves 2 gCO2e an hour');
});
