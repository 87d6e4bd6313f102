/**
 * The formulas against the real CodeCarbon and EcoLogits, on the same inputs.
 *
 * Where they differ, and why: CodeCarbon's intensity of a country is Ember's of 2023 with its own factors, ours Ember's
 * newest through @tgwf/co2. EcoLogits counts 273 kg for making a GPU since 0.11 (164 before, as the published figures
 * do) and 5,700 kg for the server in both; up to 0.9.3 it multiplied the PUE into water twice, which it no longer does.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { runPython } from '../../../test/python.ts';
import { gridIntensity } from '../grid.ts';
import {
  carbon,
  codecarbonConstant,
  codecarbonCubic,
  ecologitsLlm,
  embodiedServer,
  gridMix,
  water,
} from './calc.ts';

const relative = (value: number, expected: number) => Math.abs(value - expected) / Math.abs(expected);

const codecarbonScript = `
import json, os, sys
from codecarbon import OfflineEmissionsTracker
from codecarbon.external.hardware import CPU
from codecarbon.input import DataSource

def track(pue, wue):
    tracker = OfflineEmissionsTracker(country_iso_code="DEU", pue=pue, wue=wue, save_to_file=False, measure_power_secs=60,
        force_ram_power=200, gpu_ids=[], allow_multiple_runs=True, log_level="error", tracking_mode="machine")
    tracker.start()
    tracker.stop()
    data = tracker.final_emissions_data
    return {name: getattr(data, name) for name in
        ["energy_consumed", "emissions", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "water_consumed"]}

class Load:
    def __init__(self, percent): self._percent = percent
    def percent(self): return self._percent

def constant(tdp):
    return CPU(output_dir=".", mode="constant", model="given", tdp=tdp)._get_power_from_cpus().W

def power(tdp, percent):
    cpu = CPU(output_dir=".", mode="cpu_load", model="given", tdp=tdp, tracking_mode="machine")
    cpu._cpu_load_meter = Load(percent)
    return cpu._get_power_from_cpu_load().W

mix = DataSource().get_global_energy_mix_data()
print(json.dumps({
    "one": track(1, 0), "more": track(1.5, 2),
    "watts": {str(percent): power(150, percent) for percent in [0, 10, 35, 50, 99, 100]},
    "constant": {"150": constant(150), "85": CPU.from_utils(".", "constant")._get_power_from_cpus().W},
    "countries": {iso: mix[iso]["carbon_intensity"] for iso in ["DEU", "FRA", "USA", "GBR"]},
    "sources": DataSource().get_carbon_intensity_per_source_data(),
}))
`;

interface CodeCarbon {
  one: Record<string, number>;
  more: Record<string, number>;
  watts: Record<string, number>;
  constant: Record<string, number>;
  countries: Record<string, number>;
  sources: Record<string, number>;
}

describe('the real CodeCarbon', () => {
  let theirs: CodeCarbon;
  beforeAll(() => {
    theirs = JSON.parse(runPython(codecarbonScript).trim().split('\n').at(-1) ?? '') as CodeCarbon;
  });

  it.each(['one', 'more'] as const)(
    'gives the same carbon for the same energy and intensity (PUE: %s)',
    (run) => {
      const { energy_consumed: energyKwh = 0, emissions = 0 } = theirs[run];
      expect(energyKwh).toBeGreaterThan(0);
      // Its energy holds the PUE already.
      const gPerKwh = theirs.countries.DEU ?? 0;
      expect(relative(carbon({ energyKwh, pue: 1, gPerKwh }).result.carbonG, emissions * 1000)).toBeLessThan(
        1e-9,
      );
    },
  );

  it('counts the PUE once, on the power', () => {
    expect(theirs.more.ram_power).toBeCloseTo(200 * 1.5, 9);
    const { energy_consumed, cpu_energy = 0, gpu_energy = 0, ram_energy = 0 } = theirs.more;
    expect(relative(cpu_energy + gpu_energy + ram_energy, energy_consumed ?? 0)).toBeLessThan(1e-9);
  });

  it('has the same curve of a CPU', () => {
    for (const [percent, watts] of Object.entries(theirs.watts)) {
      const ours = codecarbonCubic({ tdpW: 150, utilisation: Number(percent) / 100, seconds: 3600 });
      expect(relative(ours.result.watts, watts)).toBeLessThan(1e-12);
    }
  });

  it('takes half of what is known of a CPU for its constant power, else half of 85 W', () => {
    expect(codecarbonConstant({ tdpW: 150, seconds: 1 }).result.watts).toBe(theirs.constant['150']);
    expect(codecarbonConstant({ seconds: 1 }).result.watts).toBe(theirs.constant['85']);
  });

  it('has the same factors of power stations', () => {
    const { coal = 0, petroleum = 0, natural_gas = 0, nuclear = 0, wind = 0 } = theirs.sources;
    expect(gridMix({ coal: 1 }).result.gPerKwh).toBe(coal);
    const mix = 0.5 * petroleum + 0.2 * natural_gas + 0.2 * nuclear + 0.1 * wind;
    expect(gridMix({ oil: 0.5, gas: 0.2, nuclear: 0.2, wind: 0.1 }).result.gPerKwh).toBeCloseTo(mix, 9);
  });

  it('has intensities of countries within a third of ours: other years of the same source', async () => {
    for (const [zone, gPerKwh] of Object.entries(theirs.countries)) {
      expect(relative((await gridIntensity(zone)).value, gPerKwh)).toBeLessThan(1 / 3);
    }
  });
});

const ecologitsScript = `
import json, sys
from ecologits.impacts.llm import compute_llm_impacts_dag
answers = []
for case in json.load(sys.stdin):
    result = compute_llm_impacts_dag(
        model_active_parameter_count=case["activeBillion"], model_total_parameter_count=case["totalBillion"],
        output_token_count=case["tokens"], request_latency=case["latencyS"], batch_size=case["batch"],
        model_quantization_bits=case["bits"], datacenter_pue=case["pue"], datacenter_wue=case["wueOnSite"],
        if_electricity_mix_adpe=0, if_electricity_mix_pe=0, if_electricity_mix_gwp=case["gPerKwh"] / 1000,
        if_electricity_mix_wue=case["wueOffSite"], gpu_embodied_gwp=case["gpuKg"])
    answers.append({name: result[name] for name in
        ["request_energy", "request_usage_gwp", "request_embodied_gwp", "gpu_required_count", "generation_latency",
         "request_it_energy", "request_usage_wcf", "server_gpu_embodied_gwp"]})
print(json.dumps(answers))
`;

describe('the real EcoLogits', () => {
  const common = { bits: 16, pue: 1.2, gPerKwh: 590.478, wueOnSite: 1.8, wueOffSite: 3.908, gpuKg: 164 };
  const cases = [
    { ...common, activeBillion: 7.3, totalBillion: 7.3, tokens: 200, latencyS: 5, batch: 64, pue: 1.26 },
    { ...common, activeBillion: 12.9, totalBillion: 46.7, tokens: 200, latencyS: 10, batch: 64 },
    { ...common, activeBillion: 70, totalBillion: 70, tokens: 1000, latencyS: 1e6, batch: 8 },
    {
      ...common,
      activeBillion: 405,
      totalBillion: 405,
      tokens: 17,
      latencyS: 1e6,
      batch: 256,
      bits: 8,
      gPerKwh: 44.18,
    },
    { ...common, activeBillion: 0.135, totalBillion: 0.135, tokens: 1, latencyS: 0.01, batch: 1, gpuKg: 273 },
  ];
  let theirs: Record<string, number>[];
  beforeAll(() => {
    theirs = JSON.parse(runPython(ecologitsScript, [], JSON.stringify(cases))) as Record<string, number>[];
  });

  it.each(cases.map((one, index) => [one.activeBillion, index] as const))(
    'gives the same energy, carbon and hardware for %s billion parameters',
    (_billion, index) => {
      const { wueOnSite: _on, wueOffSite: _off, gpuKg, ...input } = cases[index] ?? cases[0] ?? common;
      const { result } = ecologitsLlm({ ...input, gpuEmbodiedKg: gpuKg } as Parameters<
        typeof ecologitsLlm
      >[0]);
      const expected = theirs[index] ?? {};
      expect(result.gpus).toBe(expected.gpu_required_count);
      expect(relative(result.seconds, expected.generation_latency ?? 0)).toBeLessThan(1e-12);
      expect(relative(result.energyKwh, expected.request_energy ?? 0)).toBeLessThan(1e-12);
      expect(relative(result.usageG / 1000, expected.request_usage_gwp ?? 0)).toBeLessThan(1e-12);
      expect(relative(result.embodiedG / 1000, expected.request_embodied_gwp ?? 0)).toBeLessThan(1e-12);
    },
  );

  it('counts water as we do: on site, and PUE times off site, once', () => {
    for (const [index, { pue, wueOnSite, wueOffSite }] of cases.entries()) {
      const { request_it_energy: energyKwh = 0, request_usage_wcf: litres = 0 } = theirs[index] ?? {};
      const ours = water({ energyKwh, pue, wueOnSite, wueOffSite }).result.waterL ?? 0;
      expect(relative(ours, litres)).toBeLessThan(1e-12);
    }
  });

  it('has the same server', () => {
    // 0.135 billion parameters need one GPU of eight.
    const { server_gpu_embodied_gwp: oneKg = 0 } = theirs[4] ?? {};
    expect(embodiedServer({ gpus: 8, gpuEmbodiedKg: 273 }).result.totalKg).toBeCloseTo(oneKg * 8, 9);
  });
});
