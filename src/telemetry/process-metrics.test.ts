import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { lintMetrics } from '../../test/telemetry/lint-metrics.ts';
import { processMetrics } from './process-metrics.ts';

it('counts CPU time that never falls, whatever processes come and go', async () => {
  const registry = new Registry();
  let processes: { kind: 'server' | 'door' | 'runner'; pid: number }[] = [
    { kind: 'server', pid: 1 },
    { kind: 'runner', pid: 2 },
    { kind: 'runner', pid: 3 },
  ];
  const uses: Record<number, { cpuS: number; memoryBytes: number; startedAt: string } | null> = {
    1: { cpuS: 10, memoryBytes: 100, startedAt: 'a' },
    2: { cpuS: 1, memoryBytes: 20, startedAt: 'b' },
    3: { cpuS: 2, memoryBytes: 30, startedAt: 'c' },
  };
  processMetrics(registry, { processes: () => processes, read: (pid) => uses[pid] ?? null });
  const value = async (line: string) => {
    const text = await registry.metrics();
    expect(lintMetrics(text)).toEqual([]);
    return Number(
      text
        .split('\n')
        .find((each) => each.startsWith(`${line} `))
        ?.slice(line.length),
    );
  };
  const cpu = 'commonwatt_process_cpu_seconds_total{process="runner"}';
  expect(await value(cpu)).toBe(3);
  expect(await value('commonwatt_process_resident_memory_bytes{process="runner"}')).toBe(50);
  // The third has ended, and its number belongs to another one now.
  uses[2] = { cpuS: 1.5, memoryBytes: 20, startedAt: 'b' };
  uses[3] = { cpuS: 0.25, memoryBytes: 5, startedAt: 'd' };
  expect(await value(cpu)).toBe(3.75);
  processes = [{ kind: 'server', pid: 1 }];
  expect(await value(cpu)).toBe(3.75);
  expect(await value('commonwatt_processes{process="runner"}')).toBe(0);
  expect(await value('commonwatt_processes{process="door"}')).toBe(0);
  expect(await value('commonwatt_process_resident_memory_bytes{process="server"}')).toBe(100);
});

it('the lint sees what is wrong', () => {
  const wrong = (text: string) => lintMetrics(text).join('; ');
  const gauge = '# HELP commonwatt_a What it is of.\n# TYPE commonwatt_a gauge\n';
  expect(wrong(`${gauge}commonwatt_a 1\n`)).toBe('');
  expect(wrong(`${gauge}commonwatt_a 1\ncommonwatt_a 2\n`)).toContain('a series comes twice');
  expect(wrong(`${gauge}commonwatt_a NaN\n`)).toContain('is NaN');
  expect(wrong(`${gauge}commonwatt_b 1\n`)).toContain('out of place');
  expect(wrong(gauge.replaceAll('_a', '_a_total'))).toContain('is a gauge');
  expect(wrong(gauge.replaceAll('_a', '_a_us'))).toContain('not a base unit');
  const histogram = '# HELP commonwatt_h What it is of.\n# TYPE commonwatt_h histogram\n';
  const buckets = (one: number, all: number) =>
    `${histogram}commonwatt_h_bucket{le="1"} ${one}\ncommonwatt_h_bucket{le="+Inf"} ${all}\ncommonwatt_h_sum 4\ncommonwatt_h_count 3\n`;
  expect(wrong(buckets(1, 3))).toBe('');
  expect(wrong(buckets(4, 3))).toContain('does not rise');
  expect(wrong(buckets(1, 2))).toContain('does not add up');
});
