import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ipmiDevice, ipmiSource, parseDcmi } from './ipmi.ts';
import { fakeFolder } from './testing/folder.ts';
import { soon } from './testing/web.ts';

/** As ipmitool 1.8 prints it. */
const recorded = `
    Instantaneous power reading:                   332 Watts
    Minimum during sampling period:                 68 Watts
    Maximum during sampling period:                504 Watts
    Average power reading over sample period:      348 Watts
    IPMI timestamp:                           Thu Feb 15 08:36:01 2024
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated

`;

const settings = { host: null, user: null, password: null, everyS: 5 };

/** A program that stands for ipmitool: what it prints, and how it ends. */
function tool(script: string): string {
  const { root } = fakeFolder({});
  const file = join(root, 'ipmitool');
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return file;
}

describe('a management controller over IPMI', () => {
  it('reads the power now, not its average, least or most', () => {
    expect(parseDcmi(recorded)).toBe(332);
  });

  it('says that a controller does not measure', () => {
    expect(() => parseDcmi(recorded.replace(/activated\n/, 'deactivated\n'))).toThrow('deactivated');
    expect(() => parseDcmi('DCMI request failed because: Invalid command (c1)')).toThrow('Invalid command');
    expect(() => parseDcmi('')).toThrow('told no power');
  });

  it('asks through ipmitool', async () => {
    const command = tool(`[ "$*" = "dcmi power reading" ] || exit 9\ncat <<'END'${recorded}END`);
    expect(await ipmiSource({ ...settings, command }).ask(soon())).toEqual({ powerW: 332 });
  });

  it('gives a password by the environment, where no list of processes shows it', async () => {
    const command = tool(
      `[ "$*" = "-I lanplus -H 10.0.0.9 -U admin -E dcmi power reading" ] && [ "$IPMI_PASSWORD" = "hush" ] || exit 9\ncat <<'END'${recorded}END`,
    );
    const remote = ipmiSource({ command, host: '10.0.0.9', user: 'admin', password: 'hush', everyS: 5 });
    expect(await remote.ask(soon())).toEqual({ powerW: 332 });
  });

  it('tells what ipmitool complains of, that it is not installed, and that there is no controller', async () => {
    const complaint =
      'Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: Permission denied';
    const denied = ipmiSource({ ...settings, command: tool(`echo '${complaint}' >&2; exit 1`) });
    await expect(denied.ask(soon())).rejects.toThrow('Permission denied');
    const absent = ipmiSource({ ...settings, command: '/nowhere/ipmitool' });
    await expect(absent.ask(soon())).rejects.toThrow('apt-get install ipmitool');
    expect(ipmiDevice(['/nowhere/ipmi0'])).toMatchObject({ help: expect.stringContaining('modprobe') });
  });

  it('gives up on a controller that does not answer', async () => {
    const source = ipmiSource({ ...settings, command: tool('exec sleep 20') });
    await expect(source.ask(AbortSignal.timeout(50))).rejects.toThrow();
  });
});
