import fc from 'fast-check';
import { Gauge, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { parseText, prometheusSource, sumOf } from './prometheus.ts';
import { soon, webSensor } from './testing/web.ts';

/** As Kepler 0.10 exposes it. */
const kepler = `# HELP kepler_node_cpu_joules_total Energy consumption of cpu at node level in joules
# TYPE kepler_node_cpu_joules_total counter
kepler_node_cpu_joules_total{node_name="n1",path="/sys/class/powercap/intel-rapl:0",zone="package"} 1234.5
kepler_node_cpu_joules_total{node_name="n1",path="/sys/class/powercap/intel-rapl:1",zone="package"} 765.5
kepler_node_cpu_joules_total{node_name="n1",path="/sys/class/powercap/intel-rapl:0:0",zone="core"} 800
`;
const scaphandre = `# HELP scaph_host_power_microwatts Power measurement on the whole host, in microwatts
# TYPE scaph_host_power_microwatts gauge
scaph_host_power_microwatts 52428800
`;

describe('energy in Prometheus form', () => {
  it("sums Kepler's packages, without their cores", () => {
    const asked = { metric: 'kepler_node_cpu_joules_total', labels: { zone: 'package' }, unit: 'J' } as const;
    expect(sumOf(parseText(kepler), asked)).toMatchObject({ counterJ: 2000 });
  });

  it("reads Scaphandre's power of the host", async () => {
    const sensor = await webSensor({ '/metrics': scaphandre });
    const source = prometheusSource({
      url: `${sensor.url}/metrics`,
      metric: 'scaph_host_power_microwatts',
      labels: {},
      unit: 'uW',
      covers: 'cpu',
      everyS: 1,
    });
    expect((await source.ask(soon())).powerW).toBeCloseTo(52.4288, 9);
    await sensor.close();
    await expect(source.ask(soon())).rejects.toThrow('ECONNREFUSED');
  });

  it('says what is missing, and takes no NaN for a number', () => {
    const asked = { metric: 'joules', labels: { zone: 'dram' }, unit: 'J' } as const;
    expect(() => sumOf(parseText(kepler), asked)).toThrow('there is no joules');
    expect(() => sumOf(parseText('joules{zone="core"} 1'), asked)).toThrow('no joules has the labels');
    expect(() => sumOf(parseText('joules{zone="dram"} NaN'), asked)).toThrow('joules is NaN');
    expect(parseText('<html>\n{"a": 1}\njoules\njoules one')).toEqual([
      { name: 'joules', labels: {}, value: Number.NaN },
    ]);
  });

  it('reads whatever prom-client writes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        async (text, value) => {
          const registry = new Registry();
          new Gauge({ name: 'watts', help: 'x', labelNames: ['where'], registers: [registry] }).set(
            { where: text },
            value,
          );
          const [series] = parseText(await registry.metrics());
          // A carriage return ends no line in this form, but some editors think so.
          if (/[\r\u2028\u2029]/.test(text)) return;
          expect(series).toEqual({ name: 'watts', labels: { where: text }, value: value === 0 ? 0 : value });
        },
      ),
      { numRuns: 100 },
    );
  });
});
