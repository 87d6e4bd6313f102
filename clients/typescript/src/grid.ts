/** How dirty the electricity is. */
import type { GridState } from './shapes.ts';
import type { CallOptions, Transport } from './transport.ts';

export type GridResource = ReturnType<typeof gridResource>;

export function gridResource(transport: Transport) {
  return {
    /** Intensity now and as forecast for so many hours (48). */
    get({ hours, ...options }: CallOptions & { hours?: number } = {}): Promise<GridState> {
      const query = hours === undefined ? '' : `?hours=${hours}`;
      return transport.json('GET', `/api/v1/grid${query}`, options);
    },
  };
}
