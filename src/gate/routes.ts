/** What a route asks of its caller. A route that declares nothing does not start: deny by default. */
import { CommonwattError } from '../errors.ts';
import type { Principal } from './gate.ts';
import { keyMissing } from './keys.ts';
import { forbidden, isAdmin } from './policy.ts';

/**
 * public: anyone; loopback: this host, elsewhere the operator; key: any valid API key (the handler asks the gate
 * about the resource); admin: admin or operator of an organisation; operator: who runs the platform.
 */
const routeAccess = ['public', 'loopback', 'key', 'admin', 'operator'] as const;
export type RouteAccess = (typeof routeAccess)[number];

export interface DeclaredRoute {
  method: string;
  path: string;
  access: RouteAccess;
}

/** Every route of a server and who may reach it; filled when the routes are made. */
export class RouteRules {
  readonly #routes: DeclaredRoute[] = [];

  /** Throws when a route says nothing, or something unknown, about who may reach it. */
  declare(methods: string | readonly string[], path: string, access: unknown): RouteAccess {
    const known = routeAccess.find((candidate) => candidate === access);
    for (const method of typeof methods === 'string' ? [methods] : methods) {
      if (!known) {
        throw new CommonwattError('INTERNAL', `route ${method} ${path} does not declare who may reach it`, {
          where: path,
          hint: `give it config.access, one of ${routeAccess.join(', ')}`,
        });
      }
      this.#routes.push({ method, path, access: known });
    }
    if (!known) throw new CommonwattError('INTERNAL', `route ${path} has no method`, { where: path });
    return known;
  }

  list(): readonly DeclaredRoute[] {
    return this.#routes;
  }
}

/** Throws UNAUTHENTICATED (nobody) or FORBIDDEN (not this role). */
export function checkRouteAccess(access: RouteAccess, principal: Principal | null): void {
  if (access === 'public') return;
  if (!principal) throw keyMissing();
  if (access === 'admin' && !isAdmin(principal)) throw forbidden(principal, 'do this');
  if ((access === 'operator' || access === 'loopback') && principal.role !== 'operator') {
    throw new CommonwattError('FORBIDDEN', 'only the operator of the platform may do this', {
      hint: 'use the key of the operator, printed when the server started for the first time',
    });
  }
}
