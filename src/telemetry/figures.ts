/**
 * Energy, carbon and use as metrics of OpenTelemetry, sent over OTLP where the standard environment names an endpoint
 * (OTEL_EXPORTER_OTLP_ENDPOINT). The figures are those of the Prometheus page.
 *
 * Promise: without an endpoint nothing is loaded.
 */
import type { Registry } from 'prom-client';
import { type TraceLog, wantedEndpoint } from './traces.ts';

interface Options {
  version: string;
  log: TraceLog;
  registry: Registry;
}

/** What it returns sends what is left and ends that. */
export async function startFigures(env: NodeJS.ProcessEnv, options: Options): Promise<() => Promise<void>> {
  const endpoint = wantedEndpoint(env, 'METRICS');
  if (endpoint === undefined) return async () => {};
  const { openFigures } = await import('./otlp-figures.ts');
  const stop = await openFigures(env, options);
  if (!stop) return async () => {};
  options.log.info({ endpoint }, 'energy, carbon and use are sent over OTLP');
  return stop;
}
