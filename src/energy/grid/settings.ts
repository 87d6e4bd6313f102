/**
 * `energy.grid` of the configuration: where intensities come from, in the order in which they stand in for each other.
 * Credentials are never here: they are read from the environment, so that no file or page shows them.
 */
import { z } from 'zod';

const scope = z.enum(['life-cycle', 'direct']);
/** Another server that speaks the same protocol, e.g. a proxy of one's own. */
const baseUrl = z.url({ protocol: /^https?$/ }).optional();

const sourceSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('yearly') }),
  z.strictObject({
    type: z.literal('file'),
    path: z.string().min(1),
    /** Of which zone its values are; default: `energy.zone`. */
    zone: z.string().min(1).optional(),
    kind: z.enum(['average', 'marginal']).default('average'),
    scope: scope.default('life-cycle'),
  }),
  z.strictObject({
    type: z.literal('electricity-maps'),
    zone: z.string().min(1),
    scope: scope.default('life-cycle'),
    baseUrl,
  }),
  z.strictObject({ type: z.literal('watttime'), region: z.string().min(1), baseUrl }),
  z.strictObject({
    type: z.literal('carbonintensity-uk'),
    /** 1 to 17, or the first half of a postcode; without: Great Britain. */
    region: z
      .union([z.string(), z.number()])
      .transform(String)
      .refine((text) => /^([1-9]|1[0-7]|[A-Za-z]{1,2}\d[A-Za-z\d]?)$/.test(text), {
        error: 'a region of Great Britain is 1 to 17, or the first half of a postcode such as RG10',
      })
      .optional(),
    baseUrl,
  }),
]);

export type SourceSettings = z.infer<typeof sourceSchema>;

/** What stands after the colon of the short form, e.g. `electricity-maps:DE`. */
const argumentOf: Record<string, string> = {
  file: 'path',
  'electricity-maps': 'zone',
  watttime: 'region',
  'carbonintensity-uk': 'region',
};

function expanded(source: unknown): unknown {
  if (typeof source !== 'string') return source;
  const [type = '', ...rest] = source.trim().split(':');
  const name = argumentOf[type];
  return rest.length === 0 || name === undefined ? { type } : { type, [name]: rest.join(':') };
}

const settings = z.strictObject({
  sources: z
    .array(z.preprocess(expanded, sourceSchema))
    .min(1)
    .default([{ type: 'yearly' }]),
  /** A value that is carried on for longer than this after its step is labelled as stale, s. */
  staleAfterS: z.coerce.number().min(0).default(3600),
  /** … and used no longer than this: then the next source stands in, s. */
  maxAgeS: z.coerce.number().min(0).default(21_600),
  timeoutS: z.coerce.number().positive().max(300).default(10),
});

/** As an object, or in short: `carbonintensity-uk, yearly`. */
export const gridSettings = z.preprocess(
  (given) => (typeof given === 'string' ? { sources: given.split(',') } : given),
  settings,
);
