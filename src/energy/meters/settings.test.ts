import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config.ts';
import { hideSecrets } from './settings.ts';

/** The configuration of an environment and a file. */
function load(env: NodeJS.ProcessEnv, yaml = '') {
  const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'commonwatt.yaml');
  writeFileSync(file, yaml);
  return loadConfig({ COMMONWATT_CONFIG: file, ...env }).energy;
}

describe('settings of meters', () => {
  it('take a plug from the environment alone', () => {
    const env = {
      COMMONWATT_METER: 'plug',
      COMMONWATT_METER_URL: 'http://10.0.0.5',
      COMMONWATT_METER_PASSWORD: 'hush',
    };
    expect(load(env)).toMatchObject({
      meter: 'plug',
      plug: { kind: 'tasmota', url: 'http://10.0.0.5', password: 'hush', everyS: 1 },
    });
  });

  it('keep passwords out of the file, and its other settings in it', () => {
    const yaml =
      'energy:\n  meter: redfish\n  redfish: { url: "https://bmc", user: reader, verifyTls: false }\n';
    expect(load({ COMMONWATT_METER_PASSWORD: 'hush' }, yaml).redfish).toMatchObject({
      url: 'https://bmc',
      user: 'reader',
      password: 'hush',
      verifyTls: false,
      auth: 'basic',
    });
  });

  it('reach a management controller in the network, and a DCGM exporter', () => {
    expect(load({ COMMONWATT_METER: 'ipmi', COMMONWATT_METER_URL: '10.0.0.9' }).ipmi.host).toBe('10.0.0.9');
    expect(load({ COMMONWATT_DCGM_URL: 'http://localhost:9400/metrics' }).dcgm?.url).toContain('9400');
  });

  it.each([
    ['COMMONWATT_METER_URL', { COMMONWATT_METER: 'plug', COMMONWATT_METER_URL: 'file:///etc/passwd' }, ''],
    ['COMMONWATT_METER_URL', { COMMONWATT_METER: 'plug', COMMONWATT_METER_URL: '10.0.0.5' }, ''],
    ['COMMONWATT_METER', { COMMONWATT_METER: 'sundial' }, ''],
    ['COMMONWATT_PLATFORM_FACTOR', { COMMONWATT_PLATFORM_FACTOR: '0.5' }, ''],
    ['COMMONWATT_MAX_W', { COMMONWATT_IDLE_W: '50', COMMONWATT_MAX_W: '20' }, ''],
    ['energy.maxW', {}, 'energy: { idleW: 50, maxW: 20 }'],
    ['energy.json', {}, 'energy: { json: { url: "http://a" } }'],
    ['energy.prometheus.unit', {}, 'energy: { prometheus: { url: "http://a", metric: x, unit: hours } }'],
    ['energy.plug', {}, 'energy: { plug: { url: "http://a", pasword: hush } }'],
    ['energy.curve', {}, 'energy: { curve: [[0, 20], [1, 10]] }'],
    ['energy.mqtt.url', {}, 'energy: { mqtt: { url: "http://a", topic: t, powerPath: "" } }'],
  ])('that are wrong are refused where they stand: %s', (where, env, yaml) => {
    expect(() => load(env, yaml)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', where }));
  });

  it('are those that the documentation shows', () => {
    const page = readFileSync(new URL('../../../docs/measuring.md', import.meta.url), 'utf8');
    const yaml = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    expect(load({}, yaml)).toMatchObject({
      redfish: { chassis: '1U' },
      mqtt: { everyS: 10 },
      platformFactor: 1.9,
    });
  });

  it('are shown without their secrets', () => {
    const shown = JSON.stringify(
      hideSecrets({
        plug: { url: 'http://me:hush@10.0.0.5/cm?user=me&password=hush', password: 'hush', everyS: 1 },
        json: { headers: { authorization: 'Bearer hush' }, url: 'http://a' },
        grid: { token: 'hush' },
        maxTokens: 12,
        idleW: null,
        list: ['mqtts://me:hush@broker'],
      }),
    );
    expect(shown).not.toContain('hush');
    expect(shown).toContain('"maxTokens":12');
    expect(shown).toContain('10.0.0.5');
  });
});
