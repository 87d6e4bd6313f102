import { afterEach, describe, expect, it } from 'vitest';
import { jsonSource, parsePlug, plugSource } from './plug.ts';
import { numberAt } from './quantity.ts';
import { soon, webSensor } from './testing/web.ts';

/** As Tasmota's documentation has it (Status 8). */
const tasmota = {
  StatusSNS: {
    Time: '2018-11-15T08:54:18',
    ENERGY: {
      TotalStartTime: '2018-11-14T18:39:40',
      Total: 6.404,
      Yesterday: 5.34,
      Today: 1.064,
      Power: 2629,
      ApparentPower: 2645,
      Voltage: 226,
      Current: 11.677,
    },
  },
};
/** Switch.GetStatus of a Shelly Plus plug. */
const shelly = {
  id: 0,
  output: true,
  apower: 8.9,
  voltage: 237.5,
  current: 0.069,
  aenergy: { total: 6532.2, by_minute: [45.199, 47.141, 88.397], minute_ts: 1699012345 },
  temperature: { tC: 41.3, tF: 106.3 },
};
/** /meter/0 of a Shelly Plug S. */
const shelly1 = {
  power: 48.52,
  overpower: 0.0,
  is_valid: true,
  timestamp: 1606215925,
  counters: [48.663, 48.776, 46.173],
  total: 394,
};

let close: (() => Promise<void>) | undefined;
afterEach(async () => {
  await close?.();
  close = undefined;
});

async function sensor(answers: Record<string, unknown>) {
  const opened = await webSensor(answers);
  close = opened.close;
  return opened;
}

describe('plugs', () => {
  it('have their counters in kWh, Wh and watt-minutes', () => {
    expect(parsePlug('tasmota', tasmota)).toEqual({ counterJ: 6.404 * 3.6e6, powerW: 2629 });
    expect(parsePlug('shelly', shelly)).toEqual({ counterJ: 6532.2 * 3600, powerW: 8.9 });
    expect(parsePlug('shelly1', shelly1)).toEqual({ counterJ: 394 * 60, powerW: 48.52 });
  });

  it('are asked where their firmware answers', async () => {
    const opened = await sensor({
      '/cm?cmnd=Status%208': tasmota,
      '/cm?user=admin&password=h%26sh&cmnd=Status%208': tasmota,
      '/rpc/Switch.GetStatus?id=1': shelly,
      '/meter/0': shelly1,
    });
    const plug = (settings: object) =>
      plugSource({ url: opened.url, kind: 'tasmota', channel: 0, everyS: 1, ...settings });
    expect(await plug({}).ask(soon())).toMatchObject({ powerW: 2629 });
    expect(await plug({ password: 'h&sh' }).ask(soon())).toMatchObject({ powerW: 2629 });
    expect(await plug({ kind: 'shelly', channel: 1 }).ask(soon())).toMatchObject({ powerW: 8.9 });
    expect(await plug({ kind: 'shelly1' }).ask(soon())).toMatchObject({ powerW: 48.52 });
    await expect(plug({ kind: 'shelly1', channel: 3 }).ask(soon())).rejects.toThrow('status 404');
  });

  it('with several outlets tell each its own; a total of all of them is not that of one', () => {
    const strip = (ENERGY: object) => ({ StatusSNS: { ENERGY } });
    expect(parsePlug('tasmota', strip({ Total: 9, Power: [10, 20] }), 1)).toEqual({ powerW: 20 });
    expect(parsePlug('tasmota', strip({ Total: [1, 2], Power: [10, 20] }), 1)).toEqual({
      counterJ: 7.2e6,
      powerW: 20,
    });
    expect(() => parsePlug('tasmota', strip({ Power: [10, 20] }), 2)).toThrow('no outlet 2');
  });

  it('that do not meter, or are of another kind, are told so', () => {
    expect(() => parsePlug('tasmota', { StatusSNS: { Switch1: 'OFF' } })).toThrow(
      'no answer of a Tasmota plug',
    );
    expect(() => parsePlug('shelly', { id: 0, output: true })).toThrow('no answer of a Shelly plug');
    expect(() => parsePlug('shelly1', { ...shelly1, is_valid: false })).toThrow('not valid');
    expect(() => parsePlug('shelly1', null)).toThrow('generation 1');
  });

  it('do not show their password in messages', async () => {
    const opened = await sensor({});
    const source = plugSource({ url: opened.url, kind: 'tasmota', channel: 0, everyS: 1, password: 'hush' });
    const message = await source.ask(soon()).catch((error: Error) => error.message);
    expect(message).toContain('status 404');
    expect(message).not.toContain('hush');
    await opened.close();
    close = undefined;
    const unplugged = await source.ask(soon()).catch((error: Error) => error.message);
    expect(unplugged).toContain('ECONNREFUSED');
    expect(unplugged).not.toContain('hush');
  });
});

describe('any JSON', () => {
  const paths = { energyUnit: 'Wh', powerUnit: 'kW', covers: 'wall', everyS: 1 } as const;

  it('gives numbers at paths, in their units', async () => {
    const opened = await sensor({ '/rack': { outlets: [{ wh: 5 }, { wh: '7.5', 'kw:now': 0.2 }] } });
    const source = jsonSource({
      ...paths,
      url: `${opened.url}/rack`,
      headers: { 'x-api-key': 'k' },
      energyPath: 'outlets.1.wh',
      powerPath: 'outlets.1.kw:now',
    });
    expect(await source.ask(soon())).toEqual({ counterJ: 27_000, powerW: 200 });
    expect(opened.asked[0]?.headers['x-api-key']).toBe('k');
    const lost = jsonSource({ ...paths, url: `${opened.url}/rack`, energyPath: 'outlets.9.wh' });
    await expect(lost.ask(soon())).rejects.toThrow('no number at outlets.9.wh');
  });

  it('has keys with dots, and text that is no number is none', () => {
    expect(numberAt({ 'a.b': { c: 3 } }, 'a.b.c')).toBe(3);
    expect(numberAt({ a: { b: '3.5e2' } }, 'a.b')).toBe(350);
    for (const value of ['', 'many', null, true, Number.NaN, Infinity, {}, [1]])
      expect(numberAt({ a: value }, 'a')).toBeUndefined();
    expect(numberAt({}, 'constructor.length')).toBeUndefined();
  });
});
