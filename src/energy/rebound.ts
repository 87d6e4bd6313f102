/**
 * Demand that sharing itself caused: requests that nobody would have computed alone. It saves nothing. No meter sees it;
 * it is what the operator declares, 0 unless said otherwise, for everyone or for single organisations.
 */
import { z } from 'zod';

const part = z.number().min(0).max(1);

/** `0.1`, or `{ everyone: 0.1, organisations: { acme: 0.5 } }`. */
export const reboundSettings = z
  .union([
    part.transform((everyone) => ({ everyone, organisations: {} as Record<string, number> })),
    z.strictObject({ everyone: part.default(0), organisations: z.record(z.string(), part).default({}) }),
  ])
  .prefault(0);
export type Rebound = z.infer<typeof reboundSettings>;

export function inducedPart({ everyone, organisations }: Rebound, organisation: string | null): number {
  // An organisation may have the name of something that every object has, e.g. `constructor`.
  if (organisation === null || !Object.hasOwn(organisations, organisation)) return everyone;
  return organisations[organisation] ?? everyone;
}
