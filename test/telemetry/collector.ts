/** A collector of traces and metrics: takes OTLP over HTTP, as JSON or as protobuf, and reads it by the published schema. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { runPython } from '../python.ts';

export interface CollectedSpan {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId: string;
  kind: number;
  startMs: number;
  endMs: number;
  attributes: Record<string, unknown>;
  links: { traceId: string; spanId: string }[];
  isError: boolean;
  resource: Record<string, unknown>;
}

export interface CollectedPoint {
  name: string;
  unit: string;
  value: number;
  attributes: Record<string, unknown>;
  /** A sum that only grows. */
  isCounter: boolean;
  resource: Record<string, unknown>;
}

interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export class Collector {
  readonly received: Received[] = [];
  readonly #server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.received.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) });
    const type = request.headers['content-type'] ?? '';
    response.writeHead(200, { 'content-type': type }).end(type === 'application/json' ? '{}' : '');
  });

  static async open(): Promise<Collector> {
    const collector = new Collector();
    collector.#server.listen(0, '127.0.0.1');
    await once(collector.#server, 'listening');
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  spans(): CollectedSpan[] {
    return this.#read<ExportRequest>('/v1/traces').flatMap(spansOf);
  }

  metrics(): CollectedPoint[] {
    return this.#read<MetricsRequest>('/v1/metrics').flatMap(pointsOf);
  }

  #read<T>(wanted: '/v1/traces' | '/v1/metrics'): T[] {
    return this.received
      .filter(({ path }) => path === wanted)
      .map(({ path, headers, body }) =>
        headers['content-type'] === 'application/json'
          ? JSON.parse(body.toString())
          : decoded(body, path === '/v1/traces' ? 'trace' : 'metrics'),
      );
  }

  /** All spans, once there are such as are looked for. */
  async until(reached: (spans: CollectedSpan[]) => boolean): Promise<CollectedSpan[]> {
    for (let tries = 0; tries < 150; tries++) {
      const spans = this.spans();
      if (reached(spans)) return spans;
      await sleep(200);
    }
    throw new Error(`not within 30 s; there are ${JSON.stringify(this.spans().map(({ name }) => name))}`);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** By the schema that OpenTelemetry publishes for Python; ids are base64 there, as in all of protobuf's JSON. */
function decoded(body: Buffer, signal: 'trace' | 'metrics'): unknown {
  const type = signal === 'trace' ? 'ExportTraceServiceRequest' : 'ExportMetricsServiceRequest';
  const script = `
import base64, json, sys
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.${signal}.v1.${signal}_service_pb2 import ${type}
message = ${type}.FromString(base64.b64decode(sys.stdin.read()))
def hexed(value):
    if isinstance(value, dict):
        return {k: base64.b64decode(v).hex() if k in ("traceId", "spanId", "parentSpanId") else hexed(v) for k, v in value.items()}
    return [hexed(v) for v in value] if isinstance(value, list) else value
print(json.dumps(hexed(MessageToDict(message, use_integers_for_enums=True))))
`;
  return JSON.parse(runPython(script, [], body.toString('base64')));
}

interface Pair {
  key: string;
  value: Record<string, unknown>;
}

interface ExportRequest {
  resourceSpans: {
    resource: { attributes: Pair[] };
    scopeSpans: {
      spans: {
        name: string;
        traceId: string;
        spanId: string;
        parentSpanId?: string;
        kind: number;
        startTimeUnixNano: string;
        endTimeUnixNano: string;
        attributes?: Pair[];
        links?: { traceId: string; spanId: string }[];
        status?: { code?: number };
      }[];
    }[];
  }[];
}

function spansOf({ resourceSpans }: ExportRequest): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        name: span.name,
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? '',
        kind: span.kind,
        startMs: Number(span.startTimeUnixNano) / 1e6,
        endMs: Number(span.endTimeUnixNano) / 1e6,
        attributes: valuesOf(span.attributes),
        links: (span.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId })),
        isError: span.status?.code === 2,
        resource: valuesOf(resource.attributes),
      })),
    ),
  );
}

interface MetricsRequest {
  resourceMetrics: {
    resource: { attributes: Pair[] };
    scopeMetrics: {
      metrics: { name: string; unit: string; sum?: Points & { isMonotonic?: boolean }; gauge?: Points }[];
    }[];
  }[];
}

interface Points {
  dataPoints: { asDouble?: number; asInt?: number | string; attributes?: Pair[] }[];
}

function pointsOf({ resourceMetrics }: MetricsRequest): CollectedPoint[] {
  return resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ name, unit, sum, gauge }) =>
        (sum ?? gauge ?? { dataPoints: [] }).dataPoints.map(({ asDouble, asInt, attributes }) => ({
          name,
          unit,
          value: Number(asDouble ?? asInt ?? 0),
          attributes: valuesOf(attributes),
          isCounter: sum?.isMonotonic === true,
          resource: valuesOf(resource.attributes),
        })),
      ),
    ),
  );
}

function valuesOf(pairs: readonly Pair[] = []): Record<string, unknown> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, plainValue(value)]));
}

function plainValue(value: Record<string, unknown>): unknown {
  const [[kind, inner] = ['', undefined]] = Object.entries(value);
  if (kind === 'intValue') return Number(inner);
  if (kind !== 'arrayValue') return inner;
  return (inner as { values: Record<string, unknown>[] }).values.map(plainValue);
}
