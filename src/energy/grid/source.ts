/**
 * The contract of a grid source: values of one zone, of one kind and scope. Siblings: `file.ts`,
 * `electricity-maps.ts`, `watttime.ts`, `carbonintensity-uk.ts`. To add one: implement this, add its settings to
 * `settings.ts` and a line to `open.ts`, and let it pass the contract test (docs/grid.md).
 */
import type { Intensity } from '../grid.ts';
import type { GridPoint } from './series.ts';

export interface GridSource {
  /** e.g. `electricity-maps DE`. */
  readonly name: string;
  readonly zone: string;
  readonly kind: Intensity['kind'];
  readonly scope: Intensity['scope'];
  /** Who is asked: what another server said is never taken for its own. */
  readonly origin: string;
  /** For people, with its licence where that must be named. */
  readonly description: string;
  /** How often it is worth asking, ms. */
  readonly everyMs: number;
  /** True: on this machine; read at the start, and wrong content is a wrong configuration. */
  readonly local: boolean;
  /**
   * What is known around now: the past day and the forecast, in any order. Throws CommonwattError (with
   * `retryAfterS` where the source asks for patience); its message never holds a credential.
   */
  read(signal: AbortSignal): Promise<GridPoint[]>;
}
