/**
 * The metrics of OpenTelemetry's SDK. Beside our own, the words of the draft `gen_ai.infrastructure.*` (energy in J, power in
 * W, idle ratio of the time since the last export); energy per token comes with models that have tokens.
 */
import type {
  MeterProvider,
  PeriodicExportingMetricReader,
  PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import type { Registry } from 'prom-client';
import { resourceOf } from './otlp.ts';
import type { TraceLog } from './traces.ts';

interface Options {
  version: string;
  log: TraceLog;
  registry: Registry;
}

/** A collector that does not answer keeps nobody from ending. */
const stopAtMostMs = 3_000;
const defaultEveryMs = 60_000;

/** Undefined: the protocol that the environment names is not spoken. */
export async function openFigures(
  env: NodeJS.ProcessEnv,
  { version, log, registry }: Options,
): Promise<(() => Promise<void>) | undefined> {
  const protocol =
    env.OTEL_EXPORTER_OTLP_METRICS_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/protobuf';
  const exporter = await exporterFor(protocol);
  if (!exporter) {
    log.warn({ protocol }, 'no metrics: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json');
    return undefined;
  }
  const sdk = await import('@opentelemetry/sdk-metrics');
  const reader: PeriodicExportingMetricReader = new sdk.PeriodicExportingMetricReader({
    exporter,
    ...timesOf(env),
  });
  const provider = new sdk.MeterProvider({
    resource: resourceOf({ role: 'server', version }),
    readers: [reader],
  });
  observe(provider, registry, version);
  return async () => {
    const late = new Promise<void>((resolve) => setTimeout(resolve, stopAtMostMs).unref());
    await Promise.race([provider.shutdown().catch(() => {}), late]);
  };
}

async function exporterFor(protocol: string): Promise<PushMetricExporter | undefined> {
  if (protocol === 'http/protobuf')
    return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter();
  if (protocol === 'http/json')
    return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter();
  return undefined;
}

/** The SDK of this version leaves these variables to its caller. */
function timesOf(env: NodeJS.ProcessEnv) {
  const everyMs = Number(env.OTEL_METRIC_EXPORT_INTERVAL);
  const exportIntervalMillis = everyMs > 0 ? everyMs : defaultEveryMs;
  const timeoutMs = Number(env.OTEL_METRIC_EXPORT_TIMEOUT);
  return {
    exportIntervalMillis,
    exportTimeoutMillis: Math.min(exportIntervalMillis, timeoutMs > 0 ? timeoutMs : 30_000),
  };
}

interface Sample {
  value: number;
  labels: Record<string, string | number>;
}

function observe(provider: MeterProvider, registry: Registry, version: string): void {
  const meter = provider.getMeter('commonwatt', version);
  const own = {
    energy: meter.createObservableCounter('commonwatt.energy', {
      unit: 'J',
      description: 'energy booked, by what it was booked to',
    }),
    carbon: meter.createObservableCounter('commonwatt.carbon', {
      unit: 'g',
      description: 'carbon of the energy booked, gCO2e',
    }),
    requests: meter.createObservableCounter('commonwatt.requests', {
      unit: '{request}',
      description: 'requests booked',
    }),
    rur: meter.createObservableGauge('commonwatt.rur', {
      unit: '1',
      description: 'resource utilization rate of the last minute',
    }),
  };
  const draft = {
    energy: meter.createObservableCounter('gen_ai.infrastructure.energy', {
      unit: 'J',
      description: 'energy of the platform',
    }),
    power: meter.createObservableGauge('gen_ai.infrastructure.power', {
      unit: 'W',
      description: 'mean power in the last interval',
    }),
    idleRatio: meter.createObservableGauge('gen_ai.infrastructure.idle_ratio', {
      unit: '1',
      description: 'part of the energy since the last export that nobody’s work caused',
    }),
  };
  let before = { totalJ: 0, idleJ: 0 };
  meter.addBatchObservableCallback(
    async (result) => {
      const energy = await samplesOf(registry, 'commonwatt_energy_joules_total');
      for (const { value, labels } of energy) result.observe(own.energy, value, labels);
      for (const { value, labels } of await samplesOf(registry, 'commonwatt_requests_total'))
        result.observe(own.requests, value, labels);
      for (const { value } of await samplesOf(registry, 'commonwatt_carbon_grams_total'))
        result.observe(own.carbon, value);
      // Nothing was metered yet: unknown, not 0.
      if (energy.length === 0) return;
      for (const { value } of await samplesOf(registry, 'commonwatt_rur')) result.observe(own.rur, value);
      for (const { value, labels } of await samplesOf(registry, 'commonwatt_power_watts'))
        result.observe(draft.power, value, labels);
      const now = {
        totalJ: sum(energy),
        idleJ: sum(energy.filter(({ labels }) => labels.kind === 'idle')),
      };
      result.observe(draft.energy, now.totalJ);
      if (now.totalJ > before.totalJ)
        result.observe(draft.idleRatio, (now.idleJ - before.idleJ) / (now.totalJ - before.totalJ));
      before = now;
    },
    [...Object.values(own), ...Object.values(draft)],
  );
}

async function samplesOf(registry: Registry, name: string): Promise<Sample[]> {
  const metric = await registry.getSingleMetric(name)?.get();
  return (metric?.values ?? []).map(({ value, labels }) => ({
    value,
    labels: { ...labels } as Sample['labels'],
  }));
}

function sum(samples: readonly Sample[]): number {
  return samples.reduce((total, { value }) => total + value, 0);
}
