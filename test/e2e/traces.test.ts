/** Traces of the real program, received by a real collector: through doors and server, over HTTP and gRPC. */
import http2 from 'node:http2';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type CollectedSpan, Collector } from '../telemetry/collector.ts';
import { inferOnce } from './grpc-call.ts';
import { type ExampleServer, startExampleServer } from './server.ts';

let collector: Collector;
let server: ExampleServer;
beforeAll(async () => {
  collector = await Collector.open();
  server = await startExampleServer({ env: { ...otel('http/json'), COMMONWATT_GATEWAYS: '2' } });
});
afterAll(async () => {
  await server?.stop({ keep: false });
  collector?.close();
});

const otel = (protocol: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=secret',
  OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
  OTEL_BSP_SCHEDULE_DELAY: '200',
  OTEL_METRIC_EXPORT_INTERVAL: '500',
});

let count = 0;
/** A trace of the caller's own. */
function newTrace() {
  count += 1;
  const traceId = `4bf92f3577b34da6a3ce929d0e0e${count.toString(16).padStart(4, '0')}`;
  return { traceId, parent: '00f067aa0ba902b7', traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
}

async function infer(headers: Record<string, string>, data = numbers()) {
  const response = await fetch(`${server.baseUrl}/v2/models/acme--digits/infer`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.example.owner.apiKey}`, ...headers },
    body: JSON.stringify({ inputs: [{ name: 'input', shape: [1, 100], datatype: 'FP32', data }] }),
  });
  await response.arrayBuffer();
  return response;
}

const numbers = () => Array.from({ length: 100 }, () => Math.random());
const named = (spans: CollectedSpan[], name: string) => spans.filter((span) => span.name === name);
const only = (spans: CollectedSpan[], name: string) => {
  const found = named(spans, name);
  expect(found.map((span) => span.name)).toEqual([name]);
  return found[0] as CollectedSpan;
};
const ofTrace = (traceId: string, complete: string) =>
  collector
    .until((all) => all.some((span) => span.traceId === traceId && span.name === complete))
    .then((all) => all.filter((span) => span.traceId === traceId));

/** Every span but the first lies in its parent, to a millisecond of clocks, and all have one root. */
function checkTree(spans: CollectedSpan[], parent: string): void {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  expect(byId.size).toBe(spans.length);
  const roots = spans.filter((span) => !byId.has(span.parentSpanId));
  expect(roots.map((span) => span.parentSpanId)).toEqual([parent]);
  for (const span of spans) {
    expect(span.endMs).toBeGreaterThanOrEqual(span.startMs);
    const whole = byId.get(span.parentSpanId);
    if (!whole) continue;
    expect(span.startMs).toBeGreaterThan(whole.startMs - 5);
    expect(span.endMs).toBeLessThan(whole.endMs + 5);
  }
}

const quick = 'POST /v2/models/:model/infer';

describe('a trace', () => {
  it('joins what the door and the server do, down to the runner and the ledger', async () => {
    // Only what a door knows of already goes the quick way.
    let doorOf: string | undefined;
    for (let tries = 0; tries < 40 && !doorOf; tries++) {
      const { traceId, parent, traceparent } = newTrace();
      const response = await infer({ traceparent, 'x-request-id': 'theirs-1', 'cache-control': 'no-store' });
      expect(response.headers.get('x-request-id')).toBe('theirs-1');
      const spans = await ofTrace(traceId, quick);
      const root = named(spans, quick).find((span) => span.parentSpanId === parent);
      if (root?.resource['commonwatt.role'] !== 'door') continue;
      doorOf = root.resource['process.pid'] as string;
      const all = await ofTrace(traceId, 'infer');
      checkTree(all, parent);
      expect(root.kind).toBe(2);
      const requestId = response.headers.get('x-commonwatt-request-id');
      expect(root.attributes).toMatchObject({
        'http.request.method': 'POST',
        'http.route': '/v2/models/:model/infer',
        'url.path': '/v2/models/acme--digits/infer',
        'http.response.status_code': 200,
        'http.request.header.x-request-id': ['theirs-1'],
        'commonwatt.request_id': requestId,
      });
      const call = only(all, 'infer');
      expect(call.resource['commonwatt.role']).toBe('server');
      expect(call.attributes).toMatchObject({
        'commonwatt.request_id': requestId,
        'commonwatt.model': 'acme/digits',
        'commonwatt.model.version': 1,
        'commonwatt.organisation': 'acme',
        'commonwatt.source': 'computed',
      });
      const energy = Number(response.headers.get('x-commonwatt-energy-wh'));
      expect(call.attributes['commonwatt.energy_wh']).toBe(energy);
      expect(energy).toBeGreaterThan(0);
      const joules = call.attributes['gen_ai.infrastructure.energy'] as number;
      expect(Math.abs(joules / (energy * 3600) - 1)).toBeLessThan(1e-12);
      expect(call.attributes['gen_ai.infrastructure.power']).toBeGreaterThan(0);
      expect(call.attributes['gen_ai.infrastructure.idle_ratio']).toBeGreaterThanOrEqual(0);
      expect(call.attributes).not.toHaveProperty('gen_ai.infrastructure.energy.per_token');
      const batch = only(all, 'batch');
      expect(batch.links).toEqual([{ traceId, spanId: call.spanId }]);
      expect(batch.attributes['commonwatt.batch.rows']).toBe(1);
      expect(only(all, 'computed').links).toEqual([{ traceId, spanId: batch.spanId }]);
      const runner = only(all, 'runner');
      expect(runner.parentSpanId).toBe(batch.spanId);
      expect(only(all, 'compute').parentSpanId).toBe(runner.spanId);
      expect(only(all, 'append to ledger').parentSpanId).toBe(batch.spanId);
      expect(only(all, 'queue').parentSpanId).toBe(call.spanId);
    }
    expect(doorOf).toBeDefined();
  });

  it('links a batch to every request in it, and each request to its batch', async () => {
    const together = Array.from({ length: 32 }, newTrace);
    await Promise.all(together.map(({ traceparent }) => infer({ traceparent, 'cache-control': 'no-store' })));
    const ids = new Set(together.map(({ traceId }) => traceId));
    const all = await collector
      .until((spans) => named(spans, 'infer').filter(({ traceId }) => ids.has(traceId)).length === 32)
      .then((spans) => spans.filter(({ traceId }) => ids.has(traceId)));
    const batches = named(all, 'batch');
    const calls = new Set(named(all, 'infer').map(({ spanId }) => spanId));
    expect(batches.length).toBeLessThan(32);
    for (const { links, attributes } of batches) {
      expect(links.length).toBe(attributes['commonwatt.batch.requests']);
      expect(links.length).toBe(attributes['commonwatt.batch.rows']);
    }
    const linked = batches.flatMap(({ links }) => links.map(({ spanId }) => spanId));
    expect(linked.length).toBe(32);
    expect(new Set(linked)).toEqual(calls);
    for (const { traceId, links } of named(all, 'computed')) {
      const batch = batches.find(({ spanId }) => spanId === links[0]?.spanId);
      expect(batch?.links.some((link) => link.traceId === traceId)).toBe(true);
    }
  });

  it('says what was used again', async () => {
    const same = numbers();
    for (let times = 0; times < 3; times++) await infer({}, same);
    const { traceId, traceparent } = newTrace();
    await infer({ traceparent }, same);
    const spans = await ofTrace(traceId, 'infer');
    expect(only(spans, 'cache lookup').attributes['commonwatt.cache']).toBe('hit');
    expect(only(spans, 'infer').attributes['commonwatt.source']).toBe('cached');
    expect(named(spans, 'batch')).toEqual([]);
  });

  it('tells refusals, and names no route that callers made up', async () => {
    const wrong = newTrace();
    const refused = await infer({ traceparent: wrong.traceparent }, [1]);
    expect(refused.status).toBe(400);
    const spans = await ofTrace(wrong.traceId, quick);
    const status = spans.map((span) => span.attributes['http.response.status_code']).filter(Boolean);
    expect(status[0]).toBe(400);
    const lost = newTrace();
    await fetch(`${server.baseUrl}/no/such/${'x'.repeat(20)}`, {
      headers: { traceparent: lost.traceparent },
    });
    const nowhere = await ofTrace(lost.traceId, 'GET unknown');
    expect(nowhere[0]?.attributes['http.response.status_code']).toBe(404);
  });

  it('is not made for who does not want to be sampled', async () => {
    const { traceId, traceparent } = newTrace();
    for (let times = 0; times < 4; times++)
      await infer({ traceparent: traceparent.replace(/01$/, '00'), 'cache-control': 'no-store' });
    const after = newTrace();
    await infer({ traceparent: after.traceparent });
    await ofTrace(after.traceId, 'infer');
    expect(collector.spans().filter((span) => span.traceId === traceId)).toEqual([]);
  });

  it('goes through gRPC by its metadata', async () => {
    const { traceId, parent, traceparent } = newTrace();
    const requestId = await inferByGrpc(traceparent);
    const method = 'inference.GRPCInferenceService/ModelInfer';
    const spans = await ofTrace(traceId, method);
    checkTree(spans, parent);
    const root = only(spans, method);
    expect(root.attributes).toMatchObject({
      'rpc.system.name': 'grpc',
      'rpc.method': method,
      'rpc.response.status_code': 'OK',
      'commonwatt.request_id': requestId,
      'rpc.request.metadata.x-request-id': ['theirs-2'],
    });
    expect(only(spans, 'infer').parentSpanId).toBe(root.spanId);
    expect(only(spans, 'compute').resource['service.name']).toBe('commonwatt');
  });
});

it('every request goes to the collector as the environment says', () => {
  expect(collector.received.length).toBeGreaterThan(0);
  for (const { path, headers } of collector.received) {
    expect(path).toMatch(/^\/v1\/(traces|metrics)$/);
    expect(headers['content-type']).toBe('application/json');
    expect(headers['x-collector-key']).toBe('secret');
  }
  const resources = collector.spans().map(({ resource }) => resource['deployment.environment.name']);
  expect(new Set(resources)).toEqual(new Set(['test']));
});

it('sends energy, carbon and use as metrics, as Prometheus has them', async () => {
  await vi.waitFor(
    () => expect(collector.metrics().map(({ name }) => name)).toContain('gen_ai.infrastructure.power'),
    { timeout: 20_000, interval: 200 },
  );
  const points = collector.metrics();
  const unitOf = new Map(points.map(({ name, unit, isCounter }) => [name, [unit, isCounter]]));
  expect(Object.fromEntries(unitOf)).toEqual({
    'commonwatt.energy': ['J', true],
    'commonwatt.carbon': ['g', true],
    'commonwatt.requests': ['{request}', true],
    'commonwatt.rur': ['1', false],
    'gen_ai.infrastructure.energy': ['J', true],
    'gen_ai.infrastructure.power': ['W', false],
    'gen_ai.infrastructure.idle_ratio': ['1', false],
  });
  const all = (name: string) => points.filter((point) => point.name === name);
  for (const { value } of all('gen_ai.infrastructure.idle_ratio')) {
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThanOrEqual(1);
  }
  const totals = all('gen_ai.infrastructure.energy').map(({ value }) => value);
  expect(totals).toEqual([...totals].sort((a, b) => a - b));
  const kinds = new Set(all('commonwatt.energy').map(({ attributes }) => attributes.kind));
  expect([...kinds]).toEqual(expect.arrayContaining(['training', 'inference', 'idle', 'overhead']));
  expect(points[0]?.resource['deployment.environment.name']).toBe('test');
});

it('speaks protobuf, from the server alone, and sends what is left when it stops', async () => {
  await server.stop({ keep: true });
  collector.close();
  collector = await Collector.open();
  const env = { ...otel('http/protobuf'), OTEL_SERVICE_NAME: 'ours', OTEL_BSP_SCHEDULE_DELAY: '60000' };
  server = await startExampleServer({ dataFolder: server.dataFolder, env });
  const { traceId, parent, traceparent } = newTrace();
  await infer({ traceparent, 'cache-control': 'no-store' });
  expect(await server.stop({ keep: false })).toBe(0);
  const spans = collector.spans().filter((span) => span.traceId === traceId);
  checkTree(spans, parent);
  expect(only(spans, quick).resource['service.name']).toBe('ours');
  expect(only(spans, 'compute').endMs).toBeGreaterThan(Date.now() - 60_000);
  expect(collector.received[0]?.headers['content-type']).toBe('application/x-protobuf');
  // Sent when it stops, with what was booked last.
  expect(
    collector.metrics().find(({ name }) => name === 'gen_ai.infrastructure.energy')?.value,
  ).toBeGreaterThan(0);
});

/** The request's id from its answer. */
async function inferByGrpc(traceparent: string): Promise<string> {
  const session = http2.connect(`http://${server.example.grpcAddress}`);
  const authorization = `Bearer ${server.example.owner.apiKey}`;
  const own = { traceparent, 'x-request-id': 'theirs-2' };
  const { requestId, ...told } = await inferOnce(session, { authorization, ...own });
  expect(told).toMatchObject({ status: '0', model: 'acme/digits', echoed: 'theirs-2' });
  // Of a refusal, too.
  const refused = await inferOnce(session, {
    authorization: 'Bearer cw_wrong',
    'x-request-id': 'theirs-2',
  });
  expect(refused).toMatchObject({ status: '16', echoed: 'theirs-2' });
  session.close();
  return requestId;
}
