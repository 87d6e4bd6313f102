/** Each service against answers as documented, served on the loopback. */
import { afterEach, describe, expect, it } from 'vitest';
import { gPerKwhOf } from '../units.ts';
import { carbonIntensityUk } from './carbonintensity-uk.ts';
import { electricityMaps } from './electricity-maps.ts';
import { retryAfter } from './http.ts';
import { ordered } from './series.ts';
import type { GridSource } from './source.ts';
import { type Answer, type Asked, gridService, type Service } from './testing/service.ts';
import { watttime } from './watttime.ts';

const nowMs = Date.parse('2026-11-20T12:10:00Z');
const signal = new AbortController().signal;
const services: Service[] = [];
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.close()));
});

async function serve(answer: (asked: Asked, count: number) => Answer): Promise<Service> {
  const service = await gridService(answer);
  services.push(service);
  return service;
}

/** The shape of https://portal.electricitymaps.com/docs/api, as it was in 2026. */
const emValue = (datetime: string, carbonIntensity: number | null, isEstimated = false) => ({
  zone: 'DE',
  carbonIntensity,
  datetime,
  updatedAt: '2026-11-20T12:05:11.000Z',
  createdAt: '2026-11-17T12:02:05.000Z',
  emissionFactorType: 'lifecycle',
  isEstimated,
  estimationMethod: isEstimated ? 'TIME_SLICER_AVERAGE' : null,
  temporalGranularity: 'hourly',
});

function electricityMapsAnswers({ path }: Asked): Answer {
  if (path.endsWith('/history'))
    return {
      body: {
        zone: 'DE',
        history: [
          emValue('2026-11-20T10:00:00.000Z', 410),
          emValue('2026-11-20T11:00:00.000Z', 405),
          emValue('2026-11-20T12:00:00.000Z', null),
        ],
      },
    };
  if (path.endsWith('/latest')) return { body: emValue('2026-11-20T12:00:00.000Z', 398, true) };
  return {
    body: {
      zone: 'DE',
      forecast: [
        { carbonIntensity: 390, datetime: '2026-11-20T13:00:00.000Z' },
        { carbonIntensity: 350, datetime: '2026-11-20T14:00:00.000Z' },
      ],
      updatedAt: '2026-11-20T12:00:00.000Z',
    },
  };
}

/** The shape of https://docs.watttime.org. */
function watttimeAnswers({ path }: Asked): Answer {
  if (path === '/login') return { body: { token: 'the-token' } };
  const meta = {
    data_point_period_seconds: 300,
    region: 'CAISO_NORTH',
    warnings: [],
    signal_type: 'co2_moer',
    model: { date: '2023-03-01' },
    units: 'lbs_co2_per_mwh',
    generated_at_period_seconds: 300,
    generated_at: '2026-11-20T12:10:00+00:00',
  };
  const data =
    path === '/v3/historical'
      ? [
          { point_time: '2026-11-20T12:00:00+00:00', value: 1000, last_updated: '2026-11-20T12:04:00+00:00' },
          { point_time: '2026-11-20T12:05:00+00:00', value: 900, last_updated: '2026-11-20T12:09:00+00:00' },
        ]
      : [
          { point_time: '2026-11-20T12:10:00+00:00', value: 800 },
          { point_time: '2026-11-20T12:15:00+00:00', value: 0 },
        ];
  return { body: { data, meta } };
}

/** The shape of https://carbon-intensity.github.io/api-definitions. */
function ukAnswers({ path }: Asked): Answer {
  const slot = (from: string, to: string, forecast: number | null, actual?: number | null) => ({
    from,
    to,
    intensity: { forecast, ...(actual === undefined ? {} : { actual }), index: 'moderate' },
  });
  const past = path.includes('/pt24h');
  const regional = path.startsWith('/regional/');
  const slots = past
    ? [
        slot('2026-11-20T11:00Z', '2026-11-20T11:30Z', 200, regional ? undefined : 190),
        slot('2026-11-20T11:30Z', '2026-11-20T12:00Z', 205, regional ? undefined : null),
      ]
    : [
        slot('2026-11-20T12:00Z', '2026-11-20T12:30Z', 210, regional ? undefined : null),
        slot('2026-11-20T12:30Z', '2026-11-20T13:00Z', null, regional ? undefined : null),
        slot('2026-11-20T13:00Z', '2026-11-20T13:30Z', 150, regional ? undefined : null),
      ];
  if (!regional) return { body: { data: slots } };
  return { body: { data: { regionid: 13, dnoregion: 'UKPN London', shortname: 'London', data: slots } } };
}

const opened: Record<string, (url: string, timeoutMs?: number) => GridSource> = {
  'Electricity Maps': (baseUrl, timeoutMs = 2000) =>
    electricityMaps({ zone: 'DE', scope: 'life-cycle', token: 'a-secret', timeoutMs, baseUrl }),
  WattTime: (baseUrl, timeoutMs = 2000) =>
    watttime({
      region: 'CAISO_NORTH',
      username: 'me',
      password: 'a-secret',
      timeoutMs,
      baseUrl,
      now: () => nowMs,
    }),
  'carbonintensity.org.uk': (baseUrl, timeoutMs = 2000) =>
    carbonIntensityUk({ region: null, timeoutMs, baseUrl, now: () => nowMs }),
};
const answers = {
  'Electricity Maps': electricityMapsAnswers,
  WattTime: watttimeAnswers,
  'carbonintensity.org.uk': ukAnswers,
};

describe.each(Object.entries(answers))('%s', (name, answer) => {
  const open = (url: string, timeoutMs?: number) => {
    const source = opened[name]?.(url, timeoutMs);
    if (!source) throw new Error(name);
    return source;
  };

  it('gives points in g/kWh, past and future, with an end after their start', async () => {
    const points = ordered(await open((await serve(answer)).url).read(signal));
    expect(points.some(({ startMs }) => startMs < nowMs)).toBe(true);
    expect(points.some(({ startMs }) => startMs > nowMs)).toBe(true);
    for (const { startMs, endMs, gPerKwh } of points) {
      expect(endMs).toBeGreaterThan(startMs);
      expect(gPerKwh).toBeGreaterThanOrEqual(0);
      expect(gPerKwh).toBeLessThan(3000);
    }
  });

  it.each([
    ['refuses the key', { status: 401, body: { error: 'Invalid auth-token' } }, { code: 'UNAUTHENTICATED' }],
    [
      'is asked too often',
      { status: 429, headers: { 'retry-after': '120' }, body: '' },
      { code: 'LIMIT_EXCEEDED', retryAfterS: 120 },
    ],
    [
      'is down',
      { status: 503, headers: { 'retry-after': '60' }, body: '' },
      { code: 'NOT_READY', retryAfterS: 60 },
    ],
    [
      'answers with a page',
      { body: '<html>Bad gateway</html>' },
      { message: expect.stringMatching(/not JSON/) },
    ],
    ['answers in another form', { body: { data: 7 } }, { message: expect.stringMatching(/another form/) }],
    ['sends elsewhere', { status: 302, headers: { location: 'http://127.0.0.1:9/' } }, { code: 'NOT_READY' }],
  ] as const)('says so when it %s, without a credential', async (_what, wrong, expected) => {
    const { url } = await serve(() => wrong);
    const error = await open(url)
      .read(signal)
      .then(
        () => null,
        (thrown: Error) => thrown,
      );
    expect(error).toMatchObject(expected);
    expect(JSON.stringify({ ...error, message: error?.message })).not.toMatch(/a-secret|YS1zZWNyZXQ/);
  });

  it('is not waited for beyond its time', async () => {
    const { url } = await serve(() => ({ silent: true }));
    await expect(open(url, 50).read(signal)).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(/within 0.05 s/),
    });
  });

  it('that is not there is named with what was wrong', async () => {
    const { url, close } = await gridService(answer);
    await close();
    await expect(open(url).read(signal)).rejects.toMatchObject({
      message: expect.stringMatching(/ECONNREFUSED/),
    });
  });
});

describe('Electricity Maps', () => {
  it('is asked with its key in a header, for the zone and the kind of factors', async () => {
    const service = await serve(electricityMapsAnswers);
    await opened['Electricity Maps']?.(service.url).read(signal);
    expect(service.asked[0]).toMatchObject({
      path: '/carbon-intensity/history',
      query: { zone: 'DE', emissionFactorType: 'lifecycle' },
      headers: { 'auth-token': 'a-secret' },
    });
  });

  it('lets the latest value count over the history and the forecast, and skips what is null', async () => {
    const service = await serve(electricityMapsAnswers);
    const points = ordered((await opened['Electricity Maps']?.(service.url).read(signal)) ?? []);
    expect(points.map(({ startMs, gPerKwh, estimated }) => [startMs, gPerKwh, estimated])).toEqual([
      [Date.parse('2026-11-20T10:00Z'), 410, false],
      [Date.parse('2026-11-20T11:00Z'), 405, false],
      [Date.parse('2026-11-20T12:00Z'), 398, true],
      [Date.parse('2026-11-20T13:00Z'), 390, true],
      [Date.parse('2026-11-20T14:00Z'), 350, true],
    ]);
  });

  it('does without a forecast where the plan has none, and does not ask for it again', async () => {
    const service = await serve((asked) =>
      asked.path.endsWith('/forecast') ? { status: 403, body: {} } : electricityMapsAnswers(asked),
    );
    const source = opened['Electricity Maps']?.(service.url);
    expect((await source?.read(signal))?.length).toBe(3);
    await source?.read(signal);
    expect(service.asked.filter(({ path }) => path.endsWith('/forecast'))).toHaveLength(1);
  });

  it('never takes direct factors for life-cycle ones', async () => {
    const service = await serve((asked) =>
      asked.path.endsWith('/latest')
        ? { body: { ...emValue('2026-11-20T12:00:00.000Z', 300), emissionFactorType: 'direct' } }
        : electricityMapsAnswers(asked),
    );
    const points = (await opened['Electricity Maps']?.(service.url).read(signal)) ?? [];
    expect(points.some(({ gPerKwh }) => gPerKwh === 300)).toBe(false);
  });
});

describe('WattTime', () => {
  it('converts pounds per megawatt-hour: 1,000 lbs/MWh are 453.59237 g/kWh', async () => {
    expect(gPerKwhOf(1000)).toBeCloseTo(453.59237, 10);
    const service = await serve(watttimeAnswers);
    const points = ordered((await opened.WattTime?.(service.url).read(signal)) ?? []);
    expect(points.map(({ gPerKwh }) => gPerKwh)).toEqual([453.59237, 408.233133, 362.873896, 0]);
    expect(points.map(({ estimated }) => estimated)).toEqual([false, false, true, true]);
  });

  it('signs in once with the password, then shows its token', async () => {
    const service = await serve(watttimeAnswers);
    const source = opened.WattTime?.(service.url);
    await source?.read(signal);
    await source?.read(signal);
    expect(service.asked.map(({ path }) => path)).toEqual([
      '/login',
      '/v3/forecast',
      '/v3/historical',
      '/v3/forecast',
      '/v3/historical',
    ]);
    expect(service.asked[0]?.headers.authorization).toBe(`Basic ${btoa('me:a-secret')}`);
    expect(service.asked[2]).toMatchObject({
      headers: { authorization: 'Bearer the-token' },
      query: {
        region: 'CAISO_NORTH',
        signal_type: 'co2_moer',
        start: '2026-11-19T12:10Z',
        end: '2026-11-20T12:10Z',
      },
    });
  });

  it('does without the past where the plan has none', async () => {
    const service = await serve((asked) =>
      asked.path === '/v3/historical' ? { status: 403, body: {} } : watttimeAnswers(asked),
    );
    expect(await opened.WattTime?.(service.url).read(signal)).toHaveLength(2);
  });

  it('signs in again when the token has ended', async () => {
    let ended = false;
    const service = await serve((asked) => {
      if (asked.path === '/login') return { body: { token: ended ? 'second' : 'first' } };
      if (ended && asked.headers.authorization === 'Bearer first') return { status: 401, body: {} };
      return watttimeAnswers(asked);
    });
    const source = opened.WattTime?.(service.url);
    await source?.read(signal);
    ended = true;
    expect(await source?.read(signal)).toHaveLength(4);
    expect(service.asked.filter(({ path }) => path === '/login')).toHaveLength(2);
  });

  it.each([
    ['units', { units: 'kg_co2_per_mwh' }],
    ['signal', { signal_type: 'co2_aoer' }],
    ['region', { region: 'CAISO_SOUTH' }],
  ])('refuses another %s than was asked for', async (_what, change) => {
    const service = await serve((asked) => {
      const { body } = watttimeAnswers(asked) as { body: { meta?: object } };
      return { body: asked.path === '/login' ? body : { ...body, meta: { ...body.meta, ...change } } };
    });
    await expect(opened.WattTime?.(service.url).read(signal)).rejects.toMatchObject({
      message: expect.stringMatching(/instead of/),
    });
  });
});

describe('carbonintensity.org.uk', () => {
  it('takes what was measured, where it is known, before what was forecast; null is no value', async () => {
    const service = await serve(ukAnswers);
    const points = ordered((await opened['carbonintensity.org.uk']?.(service.url).read(signal)) ?? []);
    expect(points.map(({ gPerKwh, estimated }) => [gPerKwh, estimated])).toEqual([
      [190, false],
      [205, true],
      [210, true],
      [150, true],
    ]);
    expect(service.asked.map(({ path }) => path)).toEqual([
      '/intensity/2026-11-20T12:10Z/fw48h',
      '/intensity/2026-11-20T12:10Z/pt24h',
    ]);
  });

  it.each([
    ['13', '/regional/intensity/2026-11-20T12:10Z/fw48h/regionid/13'],
    ['RG10', '/regional/intensity/2026-11-20T12:10Z/fw48h/postcode/RG10'],
  ])('asks for the region %s by its own path', async (region, path) => {
    const service = await serve(ukAnswers);
    const source = carbonIntensityUk({ region, timeoutMs: 2000, baseUrl: service.url, now: () => nowMs });
    expect((await source.read(signal)).every(({ estimated }) => estimated)).toBe(true);
    expect(service.asked[0]?.path).toBe(path);
  });
});

describe('patience', () => {
  it('is asked for in seconds or as a date, and is not longer than a day', () => {
    expect(retryAfter('120', nowMs)).toEqual({ retryAfterS: 120 });
    expect(retryAfter('Fri, 20 Nov 2026 12:15:00 GMT', nowMs)).toEqual({ retryAfterS: 300 });
    expect(retryAfter('Fri, 20 Nov 2026 11:00:00 GMT', nowMs)).toEqual({ retryAfterS: 0 });
    expect(retryAfter('999999999', nowMs)).toEqual({ retryAfterS: 86_400 });
    expect(retryAfter('soon', nowMs)).toEqual({});
    expect(retryAfter(null, nowMs)).toEqual({});
  });
});
