/**
 * The HTTP door: one Fastify instance on which every protocol is registered.
 *
 * In: requests. Out: answers with our request id, errors in the protocol's own shape. Promise: a route that does
 * not declare who may reach it does not start, and every route that is not public is guarded.
 */
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import swagger from '@fastify/swagger';
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { Config } from '../config.ts';
import { CommonwattError } from '../errors.ts';
import type { Gate } from '../gate/gate.ts';
import { RouteRules } from '../gate/routes.ts';
import { traces } from '../telemetry/traces.ts';
import { connectionRules, drainLimitMs } from './connection-rules.ts';
import { Draining } from './draining.ts';
import { guard } from './guard.ts';
import { healthRoutes, type MetricsSource } from './health.ts';
import { openApiTransform } from './openapi.ts';
import { pageRoutes } from './page.ts';
import { sendError } from './problem.ts';
import { referenceRoutes } from './reference.ts';
import { echoedRequestId, requestIds } from './request-ids.ts';
import { traceHttp } from './traced.ts';

export interface HttpOptions {
  config: Pick<Config, 'host'>;
  log: FastifyBaseLogger;
  gate: Gate;
  /** The Prometheus registry. */
  metrics: MetricsSource;
  /** Can the server answer what it should? */
  ready(): boolean;
  /** Version of the product, for the reference. */
  version: string;
  /** Folder of the built page; served when it exists. */
  webRoot?: string | undefined;
  /** Told when work begins that answers no inference; gives what to call when it has ended. */
  beginOtherWork?: (() => () => void) | undefined;
  /** Stands before the framework: takes what it can answer quickly, and passes everything else on. */
  before?: ((ordinary: RequestListener, draining: Draining) => RequestListener) | undefined;
}

/** The instance and what every route of it asks; further doors are registered on it before it listens. */
export interface Http {
  app: FastifyInstance;
  rules: RouteRules;
  /** The framework's own handler, for whoever has a request from elsewhere. */
  ordinary: RequestListener;
  /** Answers what is under way, and ends. */
  drain(): Promise<void>;
}

const jsonBodyBytes = 1024 * 1024;
/** A name of two parts, percent-encoded at worst. */
const maxParamLength = 400;

export async function createHttp(options: HttpOptions): Promise<Http> {
  const rules = new RouteRules();
  const draining = new Draining();
  let ordinary: RequestListener = () => {};
  const app: FastifyInstance = fastify({
    loggerInstance: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    // A logger for each request would cost more than most of what it logs; errors name the request themselves.
    childLoggerFactory: (logger) => logger,
    genReqId: requestIds(),
    requestIdHeader: false,
    trustProxy: false,
    bodyLimit: jsonBodyBytes,
    forceCloseConnections: 'idle',
    // A request that came before its connection was told to close is answered.
    return503OnClosing: false,
    serverFactory: (handler) => {
      ordinary = draining.listener(handler);
      const server = createServer(connectionRules, options.before?.(ordinary, draining) ?? ordinary);
      draining.watch(server);
      return server;
    },
    routerOptions: { maxParamLength },
    frameworkErrors: (error, request, reply) => {
      sendError(error, request, reply);
    },
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  // JSON only; upload routes bring their own parser.
  app.removeContentTypeParser('text/plain');
  app.decorateRequest('principal', null);

  app.addHook('onRoute', (route) => {
    const access = rules.declare(route.method, route.url, route.config?.access);
    if (access === 'public') return;
    route.onRequest = [guard(options.gate, access), ...asList(route.onRequest)];
  });
  app.addHook('onRequest', (request, reply, done) => {
    if (traces.active) traceHttp(request.raw, reply.raw, request.id, request.routeOptions.url ?? 'unknown');
    reply.header('x-commonwatt-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    const theirs = echoedRequestId(request.headers['x-request-id']);
    if (theirs !== undefined) reply.header('x-request-id', theirs);
    // Some clients name a type on every request, though there is nothing of it.
    if (request.method === 'DELETE' && isBodiless(request)) delete request.headers['content-type'];
    done();
  });
  const { beginOtherWork } = options;
  if (beginOtherWork) {
    app.addHook('onRequest', (request, reply, done) => {
      if (isOtherWork(request)) reply.raw.once('close', beginOtherWork());
      done();
    });
  }
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendError(
      new CommonwattError('NOT_FOUND', `${request.method} ${path(request.url)} does not exist`, {
        hint: 'the reference at /docs lists every route',
      }),
      request,
      reply,
    ),
  );

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Commonwatt',
        version: options.version,
        description:
          'Model-as-a-Service that accounts for every watt. Energy is in Wh, carbon in gCO2e, water in L.',
      },
      components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } } },
      security: [{ apiKey: [] }],
    },
    transform: openApiTransform,
  });
  await app.register(referenceRoutes);
  await app.register(healthRoutes, { metrics: options.metrics, ready: options.ready });
  if (options.webRoot !== undefined) await app.register(pageRoutes, { root: options.webRoot });
  const drain = () => draining.drain(app.server, () => app.close(), drainLimitMs);
  return { app, rules, ordinary, drain };
}

/** Whoever follows events waits, and costs next to nothing. */
function isOtherWork({ url, routeOptions }: FastifyRequest): boolean {
  return !url.startsWith('/v2/models/') && routeOptions.url !== '/api/v1/events';
}

function asList<T>(value: T | T[] | undefined): T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** The path as it was sent, without its query, short enough for a message. */
function path(url: string): string {
  return (url.split('?', 1)[0] ?? '').slice(0, 200);
}

function isBodiless({ headers }: { headers: IncomingHttpHeaders }): boolean {
  return headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
}
