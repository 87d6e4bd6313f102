import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { startFigures } from './figures.ts';

const endpoint = 'http://user:secret@127.0.0.1:9/otlp?key=secret';

it.each([
  [{}, []],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: 'true' }, []],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_METRICS_EXPORTER: 'none' }, []],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    ['no metrics: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json'],
  ],
])('with %o no metrics are sent', async (env, expected) => {
  const said: string[] = [];
  const log = {
    info: (_: object, message: string) => void said.push(message),
    warn: (_: object, message: string) => void said.push(message),
  };
  const stop = await startFigures(env, { version: '1', log, registry: new Registry() });
  await stop();
  expect(said).toEqual(expected);
});
