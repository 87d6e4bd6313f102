/**
 * Electricity Maps, API v3: hourly values of a zone for the past day, the present one, and the forecast where the
 * plan includes it. https://portal.electricitymaps.com/docs/api
 */
import { z } from 'zod';
import type { CommonwattError } from '../../errors.ts';
import type { Intensity } from '../grid.ts';
import { ask } from './http.ts';
import { type GridPoint, steps } from './series.ts';
import type { GridSource } from './source.ts';
import { instantSchema } from './time.ts';

const electricityMapsUrl = 'https://api.electricitymaps.com/v3/';
export const electricityMapsToken = 'COMMONWATT_ELECTRICITY_MAPS_TOKEN';

const service = 'Electricity Maps';
const hourMs = 3_600_000;

const valueSchema = z.object({
  carbonIntensity: z.number().nullable(),
  datetime: instantSchema,
  isEstimated: z.boolean().nullish(),
  emissionFactorType: z.string().nullish(),
});
const latestSchema = valueSchema.extend({ zone: z.string() });
const historySchema = z.object({ zone: z.string(), history: z.array(valueSchema) });
const forecastSchema = z.object({ zone: z.string(), forecast: z.array(valueSchema) });

export interface ElectricityMapsOptions {
  zone: string;
  scope: Intensity['scope'];
  token: string;
  timeoutMs: number;
  baseUrl?: string | undefined;
}

export function electricityMaps(options: ElectricityMapsOptions): GridSource {
  const { zone, scope, token, timeoutMs, baseUrl = electricityMapsUrl } = options;
  const factors = scope === 'life-cycle' ? 'lifecycle' : 'direct';
  let mayForecast = true;
  const question = <T>(path: string, signal: AbortSignal, answer: z.ZodType<T>) => {
    const url = new URL(`carbon-intensity/${path}`, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`);
    url.searchParams.set('zone', zone);
    url.searchParams.set('emissionFactorType', factors);
    const headers = { 'auth-token': token };
    return ask({ service, url, headers, timeoutMs, signal, answer, credentials: electricityMapsToken });
  };
  return {
    name: `electricity-maps ${zone}`,
    zone,
    kind: 'average',
    scope,
    origin: baseUrl,
    description: `Electricity Maps, zone ${zone}`,
    everyMs: hourMs / 4,
    local: false,
    async read(signal) {
      const { history } = await question('history', signal, historySchema);
      const latest = await question('latest', signal, latestSchema);
      const forecast = mayForecast
        ? await question('forecast', signal, forecastSchema).then(
            (answer) => answer.forecast,
            (error: CommonwattError) => {
              // Most plans have no forecast; they are asked once.
              if (error.code !== 'UNAUTHENTICATED') throw error;
              mayForecast = false;
              return [];
            },
          )
        : [];
      const future = forecast.map((value) => ({ ...value, isEstimated: true }));
      return points([...future, ...history, latest], factors);
    },
  };
}

/** Of one time the later value counts: the forecast comes first, the latest last. */
function points(values: readonly z.infer<typeof valueSchema>[], factors: string): GridPoint[] {
  return steps(
    values.flatMap(({ carbonIntensity, datetime, isEstimated, emissionFactorType }) =>
      // Factors of the other scope would be another figure under the same name.
      carbonIntensity === null || (emissionFactorType && emissionFactorType !== factors)
        ? []
        : [{ startMs: datetime, gPerKwh: carbonIntensity, estimated: isEstimated ?? false }],
    ),
    hourMs,
  );
}
