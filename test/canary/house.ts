/** The real program with three organisations, their keys and grants, and the models of `models.ts`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Commonwatt } from '@commonwatt/client';
import { type KindName, kinds } from './models.ts';

/** The build of this repository, or a copy of it. */
const dist = process.env.COMMONWATT_TEST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));

/** A model that an organisation may use. */
export interface Usable {
  model: string;
  kind: KindName;
  /** Its grant is taken away and given back all the time. */
  wavering?: boolean;
  limited?: boolean;
}

export interface Organisation {
  name: string;
  keys: string[];
  usable: Usable[];
  /** Models that exist and that it may not use. */
  forbidden: string[];
}

export interface House {
  baseUrl: string;
  grpcAddress: string;
  process: ChildProcess;
  dataFolder: string;
  organisations: Organisation[];
  owner: Commonwatt;
  operator: Commonwatt;
  /** deployment ids of the owner's models, by kind. */
  deployments: Record<KindName, string[]>;
  /** The grant of `beta` at acme/words, as it was last given. */
  wavering: { id: string };
  limit: { grantId: string; requests: number };
  output(): string;
  stop(): Promise<number | null>;
  remove(): void;
}

export interface HouseOptions {
  gateways: number;
  /** Requests that the limited grant allows. */
  limit: number;
  env?: Record<string, string>;
}

export async function openHouse({ gateways, limit, env = {} }: HouseOptions): Promise<House> {
  const dataFolder = mkdtempSync(join(tmpdir(), 'commonwatt-canary-'));
  const child = spawn(process.execPath, [join(dist, 'main.js'), 'up', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      COMMONWATT_DATA: dataFolder,
      COMMONWATT_PORT: '0',
      COMMONWATT_GRPC_PORT: '0',
      COMMONWATT_GATEWAYS: String(gateways),
      COMMONWATT_RUNNERS: '2',
      COMMONWATT_RUNNER_THREADS: '1',
      ...env,
    },
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  let out = '';
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
    output += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  while (!out.includes('\n}\n')) {
    if (child.exitCode !== null) throw new Error(`it ended: ${output}`);
    await sleep(20);
  }
  const { baseUrl, grpcAddress, operatorKey } = JSON.parse(out.slice(0, out.indexOf('\n}\n') + 3)) as {
    baseUrl: string;
    grpcAddress: string;
    operatorKey: string;
  };
  const clientOf = (apiKey: string) => new Commonwatt({ baseUrl, apiKey });
  const operator = clientOf(operatorKey);
  const organisations: Organisation[] = [];
  for (const name of ['acme', 'beta', 'gamma']) {
    const { admin } = await operator.organisations.create({ name, admin: 'ada' });
    const { apiKey } = await clientOf(admin.apiKey).keys.create({ name: 'second' });
    organisations.push({ name, keys: [admin.apiKey, apiKey], usable: [], forbidden: [] });
  }
  const [acme, beta, gamma] = organisations as [Organisation, Organisation, Organisation];
  const owner = clientOf(acme.keys[0] ?? '');
  const deployments = {} as House['deployments'];
  for (const kind of Object.keys(kinds) as KindName[]) deployments[kind] = await deploy(owner, 'acme', kind);
  await deploy(clientOf(gamma.keys[0] ?? ''), 'gamma', 'words');
  await owner.models.setAlias('acme/line', 'best', 1);
  acme.usable = Object.keys(kinds).map((kind) => ({ model: `acme/${kind}`, kind: kind as KindName }));
  acme.forbidden = ['gamma/words'];
  beta.usable = [
    { model: 'acme/words', kind: 'words', wavering: true },
    { model: 'acme/weighed', kind: 'weighed' },
    { model: 'acme/line', kind: 'line' },
    { model: 'acme/running', kind: 'running' },
    { model: 'acme/single', kind: 'single', limited: true },
  ];
  beta.forbidden = ['gamma/words'];
  gamma.usable = [
    { model: 'gamma/words', kind: 'words' },
    { model: 'acme/weighed', kind: 'weighed' },
    { model: 'acme/line', kind: 'line' },
    { model: 'acme/running', kind: 'running' },
  ];
  gamma.forbidden = ['acme/words', 'acme/single'];
  const grant = (model: string, organisation: string, requests?: number) =>
    owner.grants.create(model, {
      organisation,
      permissions: ['infer'],
      ...(requests === undefined ? {} : { limit: { requests, period: 'month' } }),
    });
  const wavering = await grant('acme/words', 'beta');
  for (const organisation of ['beta', 'gamma'])
    for (const model of ['acme/weighed', 'acme/line', 'acme/running']) await grant(model, organisation);
  const limited = await grant('acme/single', 'beta', limit);
  return {
    baseUrl,
    grpcAddress,
    process: child,
    dataFolder,
    organisations,
    owner,
    operator,
    deployments,
    wavering: { id: wavering.id },
    limit: { grantId: limited.id, requests: limit },
    output: () => output,
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
    remove: () => {
      if (child.exitCode === null) child.kill('SIGKILL');
      rmSync(dataFolder, { recursive: true, force: true });
    },
  };
}

async function deploy(owner: Commonwatt, organisation: string, kind: KindName): Promise<string[]> {
  const ids: string[] = [];
  const model = `${organisation}/${kind}`;
  for (const artifact of kinds[kind].artifacts) {
    const { number } = await owner.versions.import(model, new Uint8Array(artifact));
    const { id } = await owner.deployments.create({ model: `${model}:${number}` });
    ids.push(id);
  }
  return ids;
}

/** Children of the server that compute. */
export function runnerPids({ process: { pid: parent } }: Pick<House, 'process'>): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        if (state === 'Z' || Number(ppid) !== parent) return false;
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('serve/runner/main.js');
      } catch {
        return false;
      }
    });
}

/** MiB of the server itself. */
export function residentMib({ process: { pid } }: Pick<House, 'process'>): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}
