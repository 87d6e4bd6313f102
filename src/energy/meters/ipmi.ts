/**
 * The power that a server's management controller reads (DCMI), through the tool `ipmitool`: of this host by
 * /dev/ipmi0, or of a controller in the network. The password goes by the environment, never as an argument.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Unavailable } from './meter.ts';
import type { Source } from './polled.ts';

export interface IpmiSettings {
  command: string;
  host: string | null;
  user: string | null;
  password: string | null;
  everyS: number;
}

const devices = ['/dev/ipmi0', '/dev/ipmi/0', '/dev/ipmidev/0'];

/** Whether asking makes sense: starting a tool that must fail takes time at every start of the server. */
export function ipmiDevice(paths: readonly string[] = devices): Unavailable | null {
  if (paths.some((path) => existsSync(path))) return null;
  return {
    unavailable: `no management controller at ${paths[0]}`,
    help: 'on a server with one: sudo apt-get install ipmitool; sudo modprobe -a ipmi_si ipmi_devintf',
  };
}

export function ipmiSource({ command, host, user, password, everyS }: IpmiSettings): Source {
  const remote = host === null ? [] : ['-I', 'lanplus', '-H', host, ...(user ? ['-U', user] : []), '-E'];
  return {
    name: 'ipmi',
    methodVersion: '1',
    covers: 'machine',
    // Whole watts, seconds late.
    interval: { low: 0.9, high: 1.1 },
    told: `the management controller${host === null ? '' : ` ${host}`} (IPMI DCMI power reading)`,
    everyS,
    ask: async (signal) => ({
      powerW: parseDcmi(await runTool(command, [...remote, 'dcmi', 'power', 'reading'], password, signal)),
    }),
  };
}

/**
 * Watts of `ipmitool dcmi power reading`. Throws an Error with what the controller said instead.
 * Example line: `    Instantaneous power reading:                   332 Watts`.
 */
export function parseDcmi(output: string): number {
  if (/power reading state is:\s+(deactivated|not active)/i.test(output))
    throw new Error(
      'the management controller does not measure power now (its power reading is deactivated)',
    );
  const watts = /instantaneous power reading:\s+(\d+(?:\.\d+)?)\s+watts/i.exec(output)?.[1];
  if (watts === undefined) {
    const said = output.trim().split('\n')[0] ?? '';
    throw new Error(`ipmitool told no power${said ? `: ${said.slice(0, 160)}` : ''}`);
  }
  return Number(watts);
}

function runTool(
  command: string,
  args: string[],
  password: string | null,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      {
        signal,
        maxBuffer: 65_536,
        env: { ...process.env, LC_ALL: 'C', ...(password === null ? {} : { IPMI_PASSWORD: password }) },
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        if (signal.aborted) return reject(signal.reason);
        if ('code' in error && error.code === 'ENOENT')
          return reject(new Error(`${command} is not installed (sudo apt-get install ipmitool)`));
        const said = stderr.trim().split('\n')[0] ?? '';
        reject(new Error(`ipmitool failed: ${said.slice(0, 160) || error.message}`));
      },
    );
  });
}
