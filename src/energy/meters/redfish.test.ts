import { afterEach, describe, expect, it } from 'vitest';
import { redfishSource } from './redfish.ts';
import { type Answer, soon, webSensor } from './testing/web.ts';

/** Cut from DMTF's mock-up `public-rackmount1` (Redfish-Mockup-Server, BSD 3-clause). */
const rackmount: Record<string, Answer> = {
  '/redfish/v1/Chassis': { 'Members@odata.count': 1, Members: [{ '@odata.id': '/redfish/v1/Chassis/1U' }] },
  '/redfish/v1/Chassis/1U': {
    '@odata.type': '#Chassis.v1_22_0.Chassis',
    Id: '1U',
    ChassisType: 'RackMount',
    EnvironmentMetrics: { '@odata.id': '/redfish/v1/Chassis/1U/EnvironmentMetrics' },
    Power: { '@odata.id': '/redfish/v1/Chassis/1U/Power' },
    Links: { ComputerSystems: [{ '@odata.id': '/redfish/v1/Systems/437XR1138R2' }] },
  },
  '/redfish/v1/Chassis/1U/EnvironmentMetrics': {
    '@odata.type': '#EnvironmentMetrics.v1_3_0.EnvironmentMetrics',
    TemperatureCelsius: { Reading: 39, DataSourceUri: '/redfish/v1/Chassis/1U/Sensors/CPU1Temp' },
    PowerWatts: { Reading: 374, DataSourceUri: '/redfish/v1/Chassis/1U/Sensors/TotalPower' },
  },
  '/redfish/v1/Chassis/1U/Power': {
    '@odata.type': '#Power.v1_7_1.Power',
    PowerControl: [
      { MemberId: '0', Name: 'System Input Power', PowerConsumedWatts: 344, PowerCapacityWatts: 800 },
    ],
  },
};

const close: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of close.splice(0)) await step();
});

async function controller(answers: Record<string, Answer>, settings = {}) {
  const sensor = await webSensor({ ...answers });
  close.push(sensor.close);
  const source = redfishSource({
    url: sensor.url,
    user: 'admin',
    password: 'hush',
    auth: 'basic',
    everyS: 5,
    ...settings,
  });
  return { sensor, source };
}

const without = (path: string, ...names: string[]) => ({
  ...rackmount,
  [path]: Object.fromEntries(
    Object.entries(rackmount[path] as object).filter(([name]) => !names.includes(name)),
  ),
});

describe('a management controller over Redfish', () => {
  it("reads DMTF's rack server: its environment metrics, and signs in", async () => {
    const { sensor, source } = await controller(rackmount);
    expect(await source.ask(soon())).toEqual({ powerW: 374 });
    expect(sensor.asked[0]?.headers.authorization).toBe(`Basic ${btoa('admin:hush')}`);
    expect(source.told).not.toContain('hush');
  });

  it('reads the older Power where there are no environment metrics', async () => {
    const { source } = await controller(without('/redfish/v1/Chassis/1U', 'EnvironmentMetrics'));
    expect(await source.ask(soon())).toEqual({ powerW: 344 });
  });

  it('prefers a counter: kWh', async () => {
    const { source } = await controller({
      ...rackmount,
      '/redfish/v1/Chassis/1U/EnvironmentMetrics': {
        PowerWatts: { Reading: 374 },
        EnergykWh: { Reading: 12.5 },
      },
    });
    expect(await source.ask(soon())).toEqual({ powerW: 374, counterJ: 45_000_000 });
  });

  it('takes the entry of the chassis, not that of its CPUs', async () => {
    const { source } = await controller({
      ...without('/redfish/v1/Chassis/1U', 'EnvironmentMetrics'),
      '/redfish/v1/Chassis/1U/Power': {
        PowerControl: [
          { PhysicalContext: 'CPU', PowerConsumedWatts: 120 },
          { PhysicalContext: 'Chassis', PowerConsumedWatts: 410 },
        ],
      },
    });
    expect(await source.ask(soon())).toEqual({ powerW: 410 });
  });

  it('never sums a chassis with those inside it, and asks which where it cannot know', async () => {
    const tray = {
      Id: 'HGX_GPU_0',
      EnvironmentMetrics: { '@odata.id': '/redfish/v1/Chassis/HGX_GPU_0/EnvironmentMetrics' },
    };
    const members = (...ids: string[]) => ({
      Members: ids.map((id) => ({ '@odata.id': `/redfish/v1/Chassis/${id}` })),
    });
    const inside = await controller({
      ...rackmount,
      '/redfish/v1/Chassis': members('1U', 'HGX_GPU_0'),
      '/redfish/v1/Chassis/HGX_GPU_0': {
        ...tray,
        Links: { ContainedBy: { '@odata.id': '/redfish/v1/Chassis/1U' } },
      },
    });
    expect(await inside.source.ask(soon())).toEqual({ powerW: 374 });
    const twoServers = {
      ...rackmount,
      '/redfish/v1/Chassis': members('1U', '2U'),
      '/redfish/v1/Chassis/2U': { ...(rackmount['/redfish/v1/Chassis/1U'] as object), Id: '2U' },
    };
    const unknown = await controller(twoServers);
    await expect(unknown.source.ask(soon())).rejects.toThrow(
      'energy.redfish.chassis; those with power: 1U, 2U',
    );
    const named = await controller(twoServers, { chassis: '1U' });
    expect(await named.source.ask(soon())).toEqual({ powerW: 374 });
    const wrong = await controller(twoServers, { chassis: '3U' });
    await expect(wrong.source.ask(soon())).rejects.toThrow('there is no chassis 3U');
  });

  it('signs in once with a session, again when it has ended, and out at the end', async () => {
    let sessions = 0;
    const valid = new Set<string>();
    const guarded = Object.fromEntries(
      Object.entries(rackmount).map(([path, answer]): [string, Answer] => [
        path,
        (asked: { headers: Record<string, unknown> }, response: import('node:http').ServerResponse) => {
          if (!valid.has(String(asked.headers['x-auth-token']))) response.writeHead(401).end();
          else response.end(JSON.stringify(answer));
        },
      ]),
    );
    const open: Answer = (asked: { body: string }, response: import('node:http').ServerResponse) => {
      expect(JSON.parse(asked.body)).toEqual({ UserName: 'admin', Password: 'hush' });
      const token = `token${sessions++}`;
      valid.add(token);
      response.writeHead(201, {
        'x-auth-token': token,
        location: `/redfish/v1/SessionService/Sessions/${token}`,
      });
      response.end('{}');
    };
    const { source, sensor } = await controller(
      { ...guarded, '/redfish/v1/SessionService/Sessions': open },
      { auth: 'session' },
    );
    await source.ask(soon());
    await source.ask(soon());
    expect(sessions).toBe(1);
    expect(sensor.asked.every(({ headers }) => headers.authorization === undefined)).toBe(true);
    valid.clear();
    expect(await source.ask(soon())).toEqual({ powerW: 374 });
    expect(sessions).toBe(2);
    await source.close?.();
    expect(sensor.asked.at(-1)).toMatchObject({
      method: 'DELETE',
      path: '/redfish/v1/SessionService/Sessions/token1',
    });
  });

  it.each([
    [
      'a wrong password',
      (_: unknown, response: import('node:http').ServerResponse) => response.writeHead(401).end(),
      'refuses this user or password',
    ],
    ['a page in place of JSON', '<html>login</html>', 'did not answer with JSON'],
    ['something else', { Members: 'many' }, 'not as Redfish has it'],
    [
      'another host',
      (_: unknown, response: import('node:http').ServerResponse) =>
        response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      'status 302',
    ],
  ])('says what is wrong: %s', async (_, answer: Answer, message) => {
    const { source } = await controller({ ...rackmount, '/redfish/v1/Chassis': answer });
    const failure = await source.ask(soon()).catch((error: Error) => error.message);
    expect(failure).toContain(message);
    expect(failure).not.toContain('hush');
  });

  it('does not tell power that the controller does not know', async () => {
    const { source } = await controller({
      ...rackmount,
      '/redfish/v1/Chassis/1U/EnvironmentMetrics': { PowerWatts: { Reading: null } },
      '/redfish/v1/Chassis/1U/Power': { PowerControl: [{ PowerConsumedWatts: null }] },
    });
    await expect(source.ask(soon())).rejects.toThrow('tells no power');
  });
});
