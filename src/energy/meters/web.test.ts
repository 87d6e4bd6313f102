import { mkdtempSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { digestAnswer } from './digest.ts';
import { plugSource } from './plug.ts';
import { certificate, certificateKey } from './testing/certificate.ts';
import { type Asked, soon, webSensor } from './testing/web.ts';
import { showUrl, Web } from './web.ts';

let close: (() => Promise<void>) | undefined;
afterEach(async () => {
  await close?.();
  close = undefined;
});

describe('sensors over HTTPS', () => {
  it('are believed when their certificate is, or when somebody says so', async () => {
    const server = createServer({ cert: certificate, key: certificateKey }, (_, response) =>
      response.end('42'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    close = () => new Promise((resolve) => server.close(() => resolve()));
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await expect(new Web({ url }).get('/', soon())).rejects.toThrow(/self-signed/);
    const ca = join(mkdtempSync(join(tmpdir(), 'ca-')), 'ca.pem');
    writeFileSync(ca, certificate);
    expect(await new Web({ url, ca }).get('/', soon())).toBe('42');
    expect(await new Web({ url, verifyTls: false }).get('/', soon())).toBe('42');
  });
});

describe('sign-in by digest', () => {
  /** RFC 7616, section 3.9.1. */
  const challenge = (algorithm: string) =>
    `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=${algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`;
  const call = { user: 'Mufasa', password: 'Circle of Life', method: 'GET', uri: '/dir/index.html' };
  const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';

  it("gives the answers of the standard's example", () => {
    expect(digestAnswer(challenge('MD5'), call, cnonce)).toContain(
      'response="8ca523f5e9506fed4657c9700eebdbec"',
    );
    expect(digestAnswer(challenge('SHA-256'), call, cnonce)).toContain(
      'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"',
    );
    for (const other of ['Basic realm="x"', challenge('SHA-512-256'), 'Digest nonce="x"'])
      expect(digestAnswer(other, call)).toBeNull();
  });

  it('lets a Shelly plug with a password be read, which is never sent', async () => {
    const sensor = await webSensor({
      '/rpc/Switch.GetStatus?id=0': (asked: Asked, response: ServerResponse) => {
        const told = String(asked.headers.authorization);
        if (told.startsWith('Digest username="admin", realm="shellyplugus-a8032ab11964"')) {
          response.end('{"id":0,"apower":8.9,"aenergy":{"total":6532.2}}');
          return;
        }
        const ask =
          'Digest qop="auth", realm="shellyplugus-a8032ab11964", nonce="60dc2c6a", algorithm=SHA-256';
        response.writeHead(401, { 'www-authenticate': ask }).end();
      },
    });
    close = sensor.close;
    const plug = { url: sensor.url, kind: 'shelly', channel: 0, everyS: 1, password: 'hush' } as const;
    expect(await plugSource(plug).ask(soon())).toMatchObject({ powerW: 8.9 });
    const sent = sensor.asked.map(({ headers }) => headers.authorization ?? 'nothing');
    expect(sent).toEqual(['nothing', expect.stringMatching(/^Digest /)]);
  });
});

describe('questions over HTTP', () => {
  it('end in time, and take no answer without end', async () => {
    const sensor = await webSensor({
      '/slow': () => undefined,
      '/endless': (_: unknown, response: ServerResponse) => {
        const more = () => response.write('x'.repeat(1 << 20));
        const timer = setInterval(more, 1);
        response.on('close', () => clearInterval(timer));
      },
    });
    close = sensor.close;
    const web = new Web({ url: sensor.url });
    await expect(web.get('/slow', AbortSignal.timeout(50))).rejects.toThrow();
    await expect(web.get('/endless', soon())).rejects.toThrow('more than 8388608 bytes');
    await expect(web.get('http://127.0.0.1:1/', soon())).rejects.toThrow('another host');
  });

  it('are shown without user, password and tokens', () => {
    expect(showUrl('http://me:hush@plug/cm?user=me&password=hush&cmnd=Status%208')).toBe(
      'http://plug/cm?user=***&password=***&cmnd=Status+8',
    );
  });
});
