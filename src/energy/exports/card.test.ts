import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runPython } from '../../../test/python.ts';
import type { CardSubject, ImpactCard } from './card.ts';
import { cardSpdx, decimal } from './card-spdx.ts';
import { cardMarkdown, emissionsOf } from './card-text.ts';
import { job, type Month, makeMonth, startMs } from './testing/month.ts';

const subject: CardSubject = {
  modelId: 'm1',
  model: 'acme/digits',
  owner: 'acme',
  version: 1,
  versionId: '3f0a1f0c-8f7e-4c6e-9d53-0c2b3a9ff001',
  sha256: 'ab'.repeat(32),
  createdAt: new Date(startMs).toISOString(),
  job,
  showsUse: true,
};

let month: Month;
let card: ImpactCard;
beforeAll(async () => {
  month = await makeMonth();
  card = await month.exports.card(subject);
});

const lines = (of: (entry: Month['booked'][number]['entries'][number]) => boolean) =>
  month.booked.flatMap(({ entries }) =>
    entries.filter(of).flatMap((entry) => entry.ids.map(() => entry.energyJ / 3600)),
  );

describe('an impact card', () => {
  it('says of the training what the lines of its job add up to', () => {
    const booked = lines(({ kind }) => kind === 'training');
    expect(booked).toHaveLength(2);
    expect(card.training?.used.energyWh).toBeCloseTo((booked[0] ?? 0) + (booked[1] ?? 0), 12);
    expect(card.training).toMatchObject({
      jobId: 'job1',
      quality: 'estimated',
      method: 'cpu-time',
      methodVersion: '2',
      zone: 'DEU',
      hardware: '4 CPUs, 8.00 GB of memory',
    });
  });

  it('has mean and percentiles of its single inferences, to 1 %', () => {
    const booked = lines(({ kind }) => kind === 'inference').sort((a, b) => a - b);
    const { inference } = card;
    expect(inference).toMatchObject({ requests: 528, rows: 1584, settled: true });
    expect(inference?.perRequest?.energyWh).toBeCloseTo(booked.reduce((a, b) => a + b, 0) / 528, 12);
    for (const [name, at] of [
      ['p50', 264],
      ['p90', 475],
      ['p99', 522],
    ] as const) {
      const near = (inference?.whPerRequest?.[name] ?? 0) / (booked[at] ?? Number.NaN);
      expect(Math.abs(near - 1)).toBeLessThan(0.02);
    }
    // What stands ready at night is reserved for it, too.
    expect(inference?.perRequestAllocated?.energyWh).toBeGreaterThan(inference?.perRequest?.energyWh ?? 0);
  });

  it('does not tell a guest how often it is used', async () => {
    const guest = await month.exports.card({ ...subject, showsUse: false });
    expect(guest.inference).toMatchObject({ requests: null, rows: null });
    expect(guest.inference?.perRequest).toEqual(card.inference?.perRequest);
    expect(guest.unknown).toHaveProperty(['inference.requests']);
    expect(cardMarkdown(guest)).not.toContain('528');
  });

  it('says why nothing is known of an imported model that nobody has used', async () => {
    const fresh = await month.exports.card({ ...subject, modelId: 'other', job: null });
    expect(fresh).toMatchObject({ training: null, inference: null });
    expect(fresh.unknown.training).toContain('imported');
    expect(fresh.unknown.inference).toContain('no request');
    expect(cardMarkdown(fresh)).not.toContain('co2_eq_emissions');
    expect(JSON.stringify(cardSpdx(fresh))).not.toContain('ai_energyConsumption');
  });

  it('is a model card of Hugging Face, in grams', () => {
    const [, front = ''] = cardMarkdown(card).split('---\n');
    const { co2_eq_emissions } = parse(front);
    expect(co2_eq_emissions).toEqual(emissionsOf(card));
    expect(co2_eq_emissions.emissions).toBe(card.training?.used.carbonGCo2e);
    expect(Object.keys(co2_eq_emissions)).toEqual([
      'emissions',
      'source',
      'training_type',
      'geographical_location',
      'hardware_used',
    ]);
  });

  it('keeps names from being Markdown', () => {
    const text = cardMarkdown({ ...card, model: 'a/<script>|[x](y)' });
    expect(text).toContain('a/\\<script\\>\\|\\[x\\](y)');
  });
});

describe('an SPDX document', () => {
  it('is valid by the published model of SPDX 3.0.1, and says the same energy', () => {
    const script = `
import json, sys
from spdx_python_model import v3_0_1 as spdx
objects = spdx.SHACLObjectSet()
spdx.JSONLDDeserializer().deserialize_data(json.load(sys.stdin), objects)
missing = objects.link()
assert not missing, missing
# Writing checks what is required of each object.
spdx.JSONLDSerializer().serialize_data(objects)
package, = objects.foreach_type(spdx.ai_AIPackage)
document, = objects.foreach_type(spdx.SpdxDocument)
energy = package.ai_energyConsumption
def said(parts):
    part, = parts
    return [part.ai_energyQuantity, part.ai_energyUnit.rsplit("/", 1)[1]]
print(json.dumps({
  "name": package.name, "version": package.software_packageVersion, "owner": package.suppliedBy.name,
  "root": document.rootElement[0]._id == package._id,
  "training": said(energy.ai_trainingEnergyConsumption), "inference": said(energy.ai_inferenceEnergyConsumption),
}))`;
    const read = JSON.parse(runPython(script, [], JSON.stringify(cardSpdx(card))));
    expect(read).toMatchObject({ name: 'acme/digits', version: '1', owner: 'acme', root: true });
    const kwh = [card.training?.used.energyWh, card.inference?.perRequest?.energyWh].map(
      (wh) => (wh ?? 0) / 1000,
    );
    expect(read.training).toEqual([kwh[0], 'kilowattHour']);
    expect(read.inference).toEqual([kwh[1], 'kilowattHour']);
  });

  it('would not be valid without what SPDX requires: the check can fail', () => {
    const broken = cardSpdx(card);
    const script = `
import json, sys
from spdx_python_model import v3_0_1 as spdx
data = json.load(sys.stdin)
energy = next(o for o in data["@graph"] if o["type"] == "ai_AIPackage")["ai_energyConsumption"]
energy["ai_trainingEnergyConsumption"][0]["ai_energyUnit"] = "calorie"
try:
    spdx.JSONLDDeserializer().deserialize_data(data, spdx.SHACLObjectSet())
    print("valid")
except Exception as e:
    print("refused")`;
    expect(runPython(script, [], JSON.stringify(broken)).trim()).toBe('refused');
  });

  it('has decimals without exponents, to the last bit', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = decimal(value);
        expect(text).toMatch(/^-?\d+(\.\d+)?$/);
        expect(Number(text)).toBe(value === 0 ? Number(text) : value);
      }),
    );
  });
});
