import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { Aedes } from 'aedes';
import { afterEach, describe, expect, it } from 'vitest';
import { mqttSource } from './mqtt.ts';
import { soon } from './testing/web.ts';

const close: (() => Promise<void> | void | undefined)[] = [];
afterEach(async () => {
  for (const step of close.splice(0).reverse()) await step();
});

/** A real broker on loopback. */
async function broker(options: { password?: string } = {}) {
  const aedes = await Aedes.createBroker({
    ...(options.password
      ? { authenticate: (_, __, password, done) => done(null, String(password) === options.password) }
      : {}),
  });
  const server = createServer(aedes.handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  close.push(() => new Promise<void>((resolve) => aedes.close(() => server.close(() => resolve()))));
  const subscribed = new Promise<void>((resolve) => aedes.once('subscribe', () => resolve()));
  const publish = (topic: string, payload: string, retain = false) =>
    new Promise<void>((resolve, reject) =>
      aedes.publish(
        { cmd: 'publish', qos: 0, dup: false, retain, topic, payload: Buffer.from(payload) },
        (error) => (error ? reject(error) : resolve()),
      ),
    );
  return { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, subscribed, publish };
}

function meter(url: string, settings = {}) {
  const source = mqttSource({
    url,
    topic: 'tele/plug/SENSOR',
    verifyTls: true,
    energyPath: 'ENERGY.Total',
    energyUnit: 'kWh',
    powerPath: 'ENERGY.Power',
    powerUnit: 'W',
    covers: 'wall',
    everyS: 1,
    ...settings,
  });
  close.push(() => source.close?.());
  return source;
}

const told = (Total: number, Power: number) =>
  JSON.stringify({ Time: '2026-01-01T00:00:00', ENERGY: { Total, Power } });

describe('a meter that publishes by MQTT', () => {
  it('reads what a plug publishes, and only what is new', async () => {
    const { url, subscribed, publish } = await broker();
    const source = meter(url);
    const first = source.ask(soon());
    await subscribed;
    await publish('tele/other/SENSOR', told(9, 9));
    await publish('tele/plug/SENSOR', told(6.404, 120));
    expect(await first).toMatchObject({ counterJ: 6.404 * 3.6e6, powerW: 120 });
    await expect(source.ask(AbortSignal.timeout(50))).rejects.toThrow('no message on tele/plug/SENSOR');
    await publish('tele/plug/SENSOR', told(6.405, 121));
    expect(await source.ask(soon())).toMatchObject({ powerW: 121, ageS: expect.any(Number) });
  });

  it('passes over what the broker kept from before', async () => {
    const { url, subscribed, publish } = await broker();
    await publish('tele/plug/SENSOR', told(1, 55), true);
    const source = meter(url);
    const first = source.ask(AbortSignal.timeout(300));
    await subscribed;
    await expect(first).rejects.toThrow('no message');
  });

  it('reads a bare number', async () => {
    const { url, subscribed, publish } = await broker();
    const source = meter(url, { topic: 'house/power', energyPath: undefined, powerPath: '' });
    const first = source.ask(soon());
    await subscribed;
    await publish('house/power', '87.5');
    expect(await first).toMatchObject({ powerW: 87.5 });
  });

  it('says that a message is garbage', async () => {
    const { url, subscribed, publish } = await broker();
    const source = meter(url);
    const first = source.ask(soon());
    await subscribed;
    await publish('tele/plug/SENSOR', '{"ENERGY"');
    await expect(first).rejects.toThrow('no JSON');
    await publish('tele/plug/SENSOR', '{"ENERGY":{"Total":"?"}}');
    await expect(source.ask(soon())).rejects.toThrow('no number at ENERGY.Total or ENERGY.Power');
  });

  it('says that the broker refuses it, or is not there, without its password', async () => {
    const { url } = await broker({ password: 'right' });
    const refused = meter(url, { user: 'me', password: 'hush' });
    const message = await refused.ask(AbortSignal.timeout(300)).catch((error: Error) => error.message);
    expect(message).toMatch(/refused|not authorized/i);
    expect(message).not.toContain('hush');
    const gone = meter('mqtt://127.0.0.1:1');
    await expect(gone.ask(AbortSignal.timeout(300))).rejects.toThrow('ECONNREFUSED');
  });
});
