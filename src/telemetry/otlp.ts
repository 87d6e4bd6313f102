/** Spans by OpenTelemetry's SDK. Loaded only when traces are wanted: everything of OpenTelemetry comes in through here. */
import { hostname } from 'node:os';
import {
  type Context,
  type DiagLogger,
  DiagLogLevel,
  defaultTextMapGetter,
  diag,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { arrivalOf } from './arrivals.ts';
import type { Arrival, Attributes, Span, SpanOptions, TraceLog, Traces } from './traces.ts';

interface Options {
  role: string;
  version: string;
  log: TraceLog;
}

const propagator = new W3CTraceContextPropagator();
/** A collector that does not answer keeps nobody from ending. */
const stopAtMostMs = 3_000;

/** Undefined: the protocol that the environment names is not spoken. */
export async function openOtlp(env: NodeJS.ProcessEnv, options: Options): Promise<Traces | undefined> {
  const protocol =
    env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/protobuf';
  const exporter = await exporterFor(protocol);
  if (!exporter) {
    options.log.warn(
      { protocol },
      'no traces: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json',
    );
    return undefined;
  }
  diag.setLogger(quietly(options.log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const provider = new BasicTracerProvider({
    resource: resourceOf(options),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer('commonwatt', options.version);
  return {
    arrived: (arrival) => recorded(begun(tracer, arrival)),
    continued(traceparent) {
      const carrier = { traceparent };
      const parent = propagator.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter);
      const context = trace.getSpanContext(parent);
      return context && (context.traceFlags & 1) === 1
        ? new SentSpan(tracer, trace.wrapSpanContext(context))
        : undefined;
    },
    async stop() {
      const late = new Promise<void>((resolve) => setTimeout(resolve, stopAtMostMs).unref());
      await Promise.race([provider.shutdown().catch(() => {}), late]);
      diag.disable();
    },
  };
}

async function exporterFor(protocol: string): Promise<SpanExporter | undefined> {
  if (protocol === 'http/protobuf')
    return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter();
  if (protocol === 'http/json')
    return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter();
  return undefined;
}

/** What the environment names (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) comes last: it counts. */
export function resourceOf({ role, version }: Pick<Options, 'role' | 'version'>) {
  return defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': 'commonwatt',
        'service.version': version,
        'service.instance.id': `${hostname()}-${process.pid}`,
        'host.name': hostname(),
        'process.pid': process.pid,
        'commonwatt.role': role,
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }));
}

function begun(tracer: Tracer, arrival: Arrival): SentSpan {
  const parent = propagator.extract(ROOT_CONTEXT, arrival.headers, defaultTextMapGetter);
  const { name, attributes } = arrivalOf(arrival);
  return new SentSpan(tracer, tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent));
}

function recorded(span: SentSpan): Span | undefined {
  return span.isRecording ? span : undefined;
}

class SentSpan implements Span {
  readonly #tracer: Tracer;
  readonly #span: SdkSpan;
  readonly #context: Context;

  constructor(tracer: Tracer, span: SdkSpan) {
    this.#tracer = tracer;
    this.#span = span;
    this.#context = trace.setSpan(ROOT_CONTEXT, span);
  }

  get isRecording(): boolean {
    return this.#span.isRecording();
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  }

  child(name: string, { startMs, attributes, links = [] }: SpanOptions = {}): Span {
    const span = this.#tracer.startSpan(
      name,
      {
        kind: SpanKind.INTERNAL,
        ...(startMs === undefined ? {} : { startTime: startMs }),
        attributes: { ...attributes } as Record<string, string>,
        links: links.map((link) => ({ context: (link as SentSpan).#span.spanContext() })),
      },
      this.#context,
    );
    return new SentSpan(this.#tracer, span);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes({ ...attributes } as Record<string, string>);
  }

  end(endMs?: number): void {
    if (this.#span.isRecording()) this.#span.end(endMs);
  }

  fail(type: string, message?: string): void {
    if (!this.#span.isRecording()) return;
    this.#span.setAttribute('error.type', type);
    this.#span.setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) });
    this.#span.end();
  }
}

/** How often the same complaint is repeated. */
const repeatMs = 60_000;

/** A collector that is away for a day fills no log. */
function quietly(log: TraceLog): DiagLogger {
  const saidAt = new Map<string, number>();
  const warn = (message: string, ...details: unknown[]) => {
    const text = [message, ...details].map(String).join(' ').slice(0, 500);
    const key = text.slice(0, 60);
    const now = performance.now();
    if (now - (saidAt.get(key) ?? Number.NEGATIVE_INFINITY) < repeatMs) return;
    saidAt.set(key, now);
    log.warn({ why: text }, 'traces are not sent');
  };
  const nothing = () => {};
  return { error: warn, warn, info: nothing, debug: nothing, verbose: nothing };
}
