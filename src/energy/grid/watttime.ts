/**
 * WattTime, API v3: the marginal operating emissions (`co2_moer`) of a region in steps of five minutes, in lbs CO2
 * per MWh. A sign-in gives a token that holds for half an hour. https://docs.watttime.org
 */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { gPerKwhOf } from '../units.ts';
import { ask } from './http.ts';
import { type GridPoint, steps } from './series.ts';
import type { GridSource } from './source.ts';
import { instantSchema, minuteText } from './time.ts';

const watttimeUrl = 'https://api.watttime.org/';
export const watttimeVariables = 'COMMONWATT_WATTTIME_USERNAME and COMMONWATT_WATTTIME_PASSWORD';

const service = 'WattTime';
const signalType = 'co2_moer';
const units = 'lbs_co2_per_mwh';
const stepMs = 300_000;
const hourMs = 3_600_000;
/** Five minutes less than it holds, so that it never ends between two questions. */
const tokenMs = 25 * 60_000;

const loginSchema = z.object({ token: z.string().min(1) });
const dataSchema = z.object({
  data: z.array(z.object({ point_time: instantSchema, value: z.number() })),
  meta: z.object({
    region: z.string(),
    signal_type: z.string(),
    units: z.string(),
    data_point_period_seconds: z.number().positive().optional(),
  }),
});

export interface WattTimeOptions {
  region: string;
  username: string;
  password: string;
  timeoutMs: number;
  baseUrl?: string | undefined;
  now?: () => number;
}

export function watttime(options: WattTimeOptions): GridSource {
  const { region, username, password, timeoutMs, baseUrl = watttimeUrl, now = Date.now } = options;
  let token: { text: string; untilMs: number } | undefined;
  const base = baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`;

  async function signIn(signal: AbortSignal): Promise<string> {
    if (token && token.untilMs > now()) return token.text;
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    const { token: text } = await ask({
      service,
      url: new URL('login', base),
      headers: { authorization: `Basic ${basic}` },
      timeoutMs,
      signal,
      answer: loginSchema,
      credentials: watttimeVariables,
    });
    token = { text, untilMs: now() + tokenMs };
    return text;
  }

  async function values(path: string, query: Record<string, string>, signal: AbortSignal, again = true) {
    const url = new URL(`v3/${path}`, base);
    for (const [name, value] of Object.entries({ region, signal_type: signalType, ...query }))
      url.searchParams.set(name, value);
    const known = token !== undefined;
    const headers = { authorization: `Bearer ${await signIn(signal)}` };
    try {
      const answer = await ask({
        service,
        url,
        headers,
        timeoutMs,
        signal,
        answer: dataSchema,
        credentials: watttimeVariables,
      });
      return pointsOf(answer, region);
    } catch (error) {
      const ended = error instanceof CommonwattError && error.code === 'UNAUTHENTICATED' && known && again;
      if (!ended) throw error;
      // The token may have ended early: sign in once more.
      token = undefined;
      return values(path, query, signal, false);
    }
  }

  return {
    name: `watttime ${region}`,
    zone: region,
    kind: 'marginal',
    scope: 'direct',
    origin: baseUrl,
    description: `WattTime, marginal operating emissions of ${region}`,
    everyMs: stepMs,
    local: false,
    async read(signal) {
      const nowMs = now();
      const future = await values('forecast', { horizon_hours: '48' }, signal);
      const start = minuteText(nowMs - 24 * hourMs);
      const past = await values('historical', { start, end: minuteText(nowMs) }, signal).catch(noHistory);
      return [...future.map((point) => ({ ...point, estimated: true })), ...past];
    },
  };
}

/** Not every plan has it; the forecast holds for the present, too. */
function noHistory(error: unknown): GridPoint[] {
  if (error instanceof CommonwattError && error.code === 'UNAUTHENTICATED') return [];
  throw error;
}

function pointsOf({ data, meta }: z.infer<typeof dataSchema>, region: string): GridPoint[] {
  const wrong =
    meta.units !== units
      ? `units ${JSON.stringify(meta.units)} instead of ${units}`
      : meta.signal_type !== signalType
        ? `the signal ${JSON.stringify(meta.signal_type)} instead of ${signalType}`
        : meta.region !== region
          ? `the region ${JSON.stringify(meta.region)} instead of ${region}`
          : null;
  if (wrong) throw new CommonwattError('NOT_READY', `${service} answered ${wrong}`, { where: 'meta' });
  const values = data.map(({ point_time, value }) => ({
    startMs: point_time,
    gPerKwh: gPerKwhOf(value),
    estimated: false,
  }));
  return steps(values, (meta.data_point_period_seconds ?? stepMs / 1000) * 1000);
}
