/**
 * carbonintensity.org.uk: half hours of Great Britain or of one of its regions, with a forecast of two days. It needs
 * no key. Figures are direct emissions of what is generated and imported; regional ones are always a forecast.
 * Source: National Energy System Operator, University of Oxford, WWF, CC BY 4.0. https://carbonintensity.org.uk
 */
import { z } from 'zod';
import { ask } from './http.ts';
import type { GridPoint } from './series.ts';
import type { GridSource } from './source.ts';
import { instantSchema, minuteText } from './time.ts';

const carbonIntensityUkUrl = 'https://api.carbonintensity.org.uk/';

const service = 'carbonintensity.org.uk';

const slotSchema = z.object({
  from: instantSchema,
  to: instantSchema,
  intensity: z.object({ forecast: z.number().nullable(), actual: z.number().nullish() }),
});
const nationalSchema = z.object({ data: z.array(slotSchema) });
const regionalSchema = z.object({ data: z.object({ data: z.array(slotSchema) }) });

export interface CarbonIntensityUkOptions {
  /** 1 to 17 (13: London), or the first half of a postcode; null: all of Great Britain. */
  region: string | null;
  timeoutMs: number;
  baseUrl?: string | undefined;
  now?: () => number;
}

export function carbonIntensityUk(options: CarbonIntensityUkOptions): GridSource {
  const { region, timeoutMs, baseUrl = carbonIntensityUkUrl, now = Date.now } = options;
  const base = baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`;
  const suffix = region === null ? '' : `/${/^\d+$/.test(region) ? 'regionid' : 'postcode'}/${region}`;

  async function slots(span: string, atMs: number, signal: AbortSignal) {
    const prefix = region === null ? '' : 'regional/';
    const url = new URL(`${prefix}intensity/${minuteText(atMs)}/${span}${suffix}`, base);
    if (region === null) return (await ask({ service, url, timeoutMs, signal, answer: nationalSchema })).data;
    return (await ask({ service, url, timeoutMs, signal, answer: regionalSchema })).data.data;
  }

  return {
    name: `carbonintensity-uk${region === null ? '' : ` ${region}`}`,
    zone: region === null ? 'GB' : `GB ${region}`,
    kind: 'average',
    scope: 'direct',
    origin: baseUrl,
    description: `carbonintensity.org.uk (NESO, CC BY 4.0), ${region === null ? 'Great Britain' : `region ${region}`}`,
    everyMs: 900_000,
    local: false,
    async read(signal) {
      const nowMs = now();
      const future = await slots('fw48h', nowMs, signal);
      const past = await slots('pt24h', nowMs, signal);
      return [...future, ...past].flatMap(({ from, to, intensity }): GridPoint[] => {
        const { actual, forecast } = intensity;
        const gPerKwh = actual ?? forecast;
        // What the service does not know it gives as null.
        if (gPerKwh === null || to <= from) return [];
        return [{ startMs: from, endMs: to, gPerKwh, estimated: actual === null || actual === undefined }];
      });
    },
  };
}
