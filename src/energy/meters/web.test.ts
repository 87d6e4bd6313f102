import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { certificate, certificateKey } from './testing/certificate.ts';
import { soon, webSensor } from './testing/web.ts';
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

describe('questions over HTTP', () => {
  it('end in time, and take no answer without end', async () => {
    const sensor = await webSensor({
      '/slow': () => undefined,
      '/endless': (_: unknown, response: import('node:http').ServerResponse) => {
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
