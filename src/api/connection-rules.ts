/** How connections are treated, whichever process holds them. */
import { QuickRequest } from './inference/quick-request.ts';
import { keepAliveMs } from './inference/wire.ts';

/** A connection that dawdles is closed: with its headers, with a request, or idle between two. */
export const connectionRules = {
  headersTimeout: 30_000,
  requestTimeout: 15 * 60_000,
  keepAliveTimeout: keepAliveMs,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16 * 1024,
  IncomingMessage: QuickRequest,
} as const;

/** Requests that take longer than this are cut when the server ends. */
export const drainLimitMs = 30_000;
