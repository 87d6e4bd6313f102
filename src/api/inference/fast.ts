/**
 * The quick way of the commonest request, below the framework: `POST /v2/models/…/infer` by a caller whom the gate
 * remembers. In: node's own request and response. Out: the same answer, byte for byte, as the ordinary door gives, in
 * one write; every other request goes to the ordinary door untouched. Promise: whatever decides or words anything is
 * shared with that door, and a test sends the same bytes to both.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { formsHeader } from '../../energy/forms/forms.ts';
import { receiptHeader } from '../../energy/receipts/claims.ts';
import { Remembered } from '../../gate/remembered.ts';
import type { ModelRef } from '../../models/models.ts';
import { traces } from '../../telemetry/traces.ts';
import { bearerKey } from '../guard.ts';
import type { ErrorLog } from '../problem.ts';
import { requestIds } from '../request-ids.ts';
import { traceHttp } from '../traced.ts';
import { modelRef } from './answer.ts';
import { Budget, bodiesBytesAtMost } from './budget.ts';
import { Exchange, type Visit } from './fast-exchange.ts';
import { variantHeader } from './parameters.ts';
import { QuickRequest } from './quick-request.ts';

/** Who answers the quick requests: the server itself, or a door process that asks it. */
export interface Desk {
  /** Undefined: not known at once; the ordinary door finds out, or refuses. */
  visit(apiKey: string, route: InferRoute): Visit | undefined;
}

/** What the URL of an inference names. */
export interface InferRoute {
  url: string;
  /** As it was sent, decoded: the answer repeats it. */
  model: string;
  ref: ModelRef;
  /** Its names as parameters, for traces. */
  pattern: string;
}

export interface FastDoorOptions {
  desk: Desk;
  ordinary: RequestListener;
  log: ErrorLog;
  maxBodyBytes: number;
  /** For bodies that are being received; one of its own when none is given. */
  budget?: Budget;
  /** The server is ending: whoever is under way still goes the quick way, whoever comes the ordinary one. */
  draining: { readonly begun: boolean };
  /** Every answer carries a receipt: all go the ordinary way. */
  receipts?: boolean;
}

const maxRoutes = 10_000;

/** Headers that ask for something only the ordinary door does. */
const asksForMore = [
  'content-encoding',
  'transfer-encoding',
  'expect',
  'x-commonwatt-timeout-ms',
  formsHeader,
  receiptHeader,
  variantHeader,
] as const;

export function fastDoor({
  desk,
  ordinary,
  log,
  maxBodyBytes,
  draining,
  receipts = false,
  budget = new Budget(bodiesBytesAtMost(maxBodyBytes)),
}: FastDoorOptions): RequestListener {
  const routes = new Remembered<InferRoute>(maxRoutes);
  const newRequestId = requestIds();

  function routeOf({ method, url }: IncomingMessage): InferRoute | undefined {
    if (method !== 'POST' || url === undefined || !url.endsWith('/infer')) return undefined;
    const known = routes.get(url);
    if (known) return known;
    const route = parseRoute(url);
    if (route) routes.set(url, route);
    return route;
  }

  function take(request: IncomingMessage, response: ServerResponse): boolean {
    if (draining.begun || receipts) return false;
    const route = routeOf(request);
    if (!route || !(request instanceof QuickRequest)) return false;
    const { headers } = request;
    const length = bodyLength(headers['content-length']);
    if (length === undefined || length > maxBodyBytes) return false;
    for (const name of asksForMore) if (headers[name] !== undefined) return false;
    const apiKey = bearerKey(headers.authorization);
    if (!apiKey) return false;
    const visit = desk.visit(apiKey, route);
    if (!visit) return false;
    const requestId = newRequestId();
    if (traces.active) traceHttp(request, response, requestId, route.pattern);
    new Exchange({ request, response, requestId, log, draining, budget }).begin(visit);
    return true;
  }

  return (request, response) => {
    if (!take(request, response)) ordinary(request, response);
  };
}

const path = /^\/v2\/models\/([\w.:@%-]{1,200})(?:\/([\w.%-]{1,200}))?(?:\/versions\/(\d{1,9}))?\/infer$/;

/** Undefined for whatever is no plain inference URL: the ordinary door says what is wrong with it. */
function parseRoute(url: string): InferRoute | undefined {
  const [, first, second, version] = path.exec(url) ?? [];
  if (first === undefined) return undefined;
  try {
    const model = decodeURIComponent(second === undefined ? first : `${first}/${second}`);
    const pattern = `/v2/models/${second === undefined ? ':model' : ':organisation/:name'}${version === undefined ? '' : '/versions/:version'}/infer`;
    return { url, model, ref: modelRef(model, version), pattern };
  } catch {
    return undefined;
  }
}

/** Only a length written plainly; the empty body is for the ordinary door to refuse. */
function bodyLength(header: string | undefined): number | undefined {
  return header !== undefined && /^[1-9]\d{0,9}$/.test(header) ? Number(header) : undefined;
}
