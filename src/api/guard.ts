/** Stands before every route that is not public: who calls, and may this role be here at all? */
import type { FastifyRequest, onRequestHookHandler } from 'fastify';
import { CommonwattError } from '../errors.ts';
import type { Gate, Principal } from '../gate/gate.ts';
import { checkRouteAccess, type RouteAccess } from '../gate/routes.ts';
import { peerOf } from './peer.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may reach the route; every route declares it. */
    access?: RouteAccess;
  }
  interface FastifyRequest {
    principal: Principal | null;
  }
}

/**
 * An onRequest hook: it runs before the body is read, since a stranger's bytes are not worth a buffer. A key that
 * is remembered costs no promise: this stands on the way of every inference, too.
 */
export function guard(gate: Gate, access: RouteAccess): onRequestHookHandler {
  return (request, _reply, done) => {
    if (access === 'loopback' && isLoopback(peerOf(request.raw))) {
      done();
      return;
    }
    const admit = (principal: Principal) => {
      checkRouteAccess(access, principal);
      request.principal = principal;
    };
    try {
      const principal = gate.authenticate(bearerKey(request.headers.authorization));
      if (principal instanceof Promise) {
        principal.then(admit).then(() => done(), done);
        return;
      }
      admit(principal);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    done();
  };
}

export function principalOf(request: FastifyRequest): Principal {
  if (request.principal) return request.principal;
  throw new CommonwattError('UNAUTHENTICATED', 'this needs an API key');
}

/** The key of `Authorization: Bearer …`; the scheme's name is case-insensitive (RFC 9110). */
export function bearerKey(header: string | undefined): string | undefined {
  return header?.slice(0, 7).toLowerCase() === 'bearer ' ? header.slice(7).trim() : undefined;
}

function isLoopback(address: string | undefined): boolean {
  return address === '::1' || /^(?:::ffff:)?127\./.test(address ?? '');
}
