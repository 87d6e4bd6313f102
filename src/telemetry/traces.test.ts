import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Arrival, startTraces, traceEnvironment, traces } from './traces.ts';

const said: [object, string][] = [];
const log = {
  info: (fields: object, message: string) => said.push([fields, message]),
  warn: (fields: object, message: string) => said.push([fields, message]),
};
const options = { role: 'server', version: '1.2.3', log };
/** Nobody listens there. */
const endpoint = 'http://user:secret@127.0.0.1:9/otlp?key=secret';

let end = async () => {};
// The exporter reads where to send to by itself.
beforeEach(() => void vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', endpoint));
afterEach(async () => {
  await end();
  vi.unstubAllEnvs();
  said.length = 0;
});

const arrival = (traceparent?: string): Arrival => ({
  protocol: 'http',
  requestId: 'r-1',
  method: 'GET',
  route: '/health/live',
  path: '/health/live',
  headers: traceparent === undefined ? {} : { traceparent },
});

describe('traces', () => {
  it.each([
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: 'true' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_EXPORTER: 'none' },
  ])('are not made with %o', async (env) => {
    end = await startTraces(env, options);
    expect(traces.active).toBeUndefined();
    expect(said).toEqual([]);
  });

  it('say so when the protocol is not spoken, and the server starts all the same', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' };
    end = await startTraces(env, options);
    expect(traces.active).toBeUndefined();
    expect(said).toEqual([[{ protocol: 'grpc' }, expect.stringContaining('http/protobuf or http/json')]]);
  });

  it('go on with the trace of the caller, for those who are sampled, and start anew for nonsense', async () => {
    end = await startTraces({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, options);
    const id = '0af7651916cd43dd8448eb211c80319c';
    const parent = `00-${id}-b7ad6b7169203331`;
    expect(traces.active?.arrived(arrival(`${parent}-01`))?.traceparent).toMatch(
      new RegExp(`^00-${id}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`),
    );
    expect(traces.active?.arrived(arrival(`${parent}-00`))).toBeUndefined();
    expect(traces.active?.continued(`${parent}-01`)?.child('inner').traceparent).toContain(id);
    expect(traces.active?.continued(`${parent}-00`)).toBeUndefined();
    for (const nonsense of [undefined, '', 'x', `${parent}-zz`, `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
      const begun = traces.active?.arrived(arrival(nonsense))?.traceparent;
      expect(begun).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      expect(begun).not.toContain(id);
      if (nonsense !== undefined) expect(traces.active?.continued(nonsense)).toBeUndefined();
    }
  });

  it('do not tell the log what is secret in the endpoint, and end in time without a collector', async () => {
    const stop = await startTraces({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, options);
    expect(said).toEqual([[{ endpoint: 'http://127.0.0.1:9/otlp' }, 'traces are sent over OTLP']]);
    traces.active?.arrived(arrival())?.end();
    const began = performance.now();
    await stop();
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(traces.active).toBeUndefined();
  });

  it('give another process of ours what it needs, and nothing else of the environment', () => {
    const env = {
      OTEL_SERVICE_NAME: 'x',
      OTEL_EXPORTER_OTLP_HEADERS: 'a=b',
      COMMONWATT_API_KEY: 'k',
      PATH: '/',
    };
    expect(traceEnvironment(env)).toEqual({ OTEL_SERVICE_NAME: 'x', OTEL_EXPORTER_OTLP_HEADERS: 'a=b' });
  });
});
