/** Starts the real program with its first example, in a data folder and on ports of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ExampleFile, exampleSchema } from '../../src/cli/example-file.ts';

export interface ExampleServer {
  baseUrl: string;
  example: ExampleFile;
  dataFolder: string;
  process: ChildProcess;
  /** Milliseconds from the start of the program to its line `ready`. */
  readyMs: number;
  output(): string;
  /** Asks it to stop and returns its exit status; removes the data folder unless it was given or is kept. */
  stop(options?: { signal?: NodeJS.Signals; keep?: boolean }): Promise<number | null>;
}

const entry = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface StartOptions {
  /** An existing folder to go on with; a new one otherwise. */
  dataFolder?: string;
  env?: NodeJS.ProcessEnv;
  timeoutMs?: number;
}

export async function startExampleServer(options: StartOptions = {}): Promise<ExampleServer> {
  if (!existsSync(entry)) throw new Error(`${entry} does not exist: run npm test (it builds)`);
  const dataFolder = options.dataFolder ?? mkdtempSync(join(tmpdir(), 'commonwatt-e2e-'));
  const began = performance.now();
  const child = spawnProgram(['up', '--example'], { COMMONWATT_DATA: dataFolder, ...options.env });
  let output = '';
  const exit = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  const readyMs = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`not ready in time; it said:\n${output}`));
    }, options.timeoutMs ?? 110_000);
    const read = (chunk: Buffer) => {
      output += chunk;
      if (!/^ready /m.test(output)) return;
      clearTimeout(timer);
      resolve(performance.now() - began);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    void exit.then((code) => {
      clearTimeout(timer);
      reject(new Error(`ended with ${code} before it was ready; it said:\n${output}`));
    });
  });
  const example = exampleSchema.parse(JSON.parse(readFileSync(join(dataFolder, 'example.json'), 'utf8')));
  const live = await fetch(`${example.baseUrl}/health/ready`);
  if (!live.ok) throw new Error(`${example.baseUrl}/health/ready answered ${live.status}`);
  return {
    baseUrl: example.baseUrl,
    example,
    dataFolder,
    process: child,
    readyMs,
    output: () => output,
    async stop({ signal = 'SIGTERM', keep = options.dataFolder !== undefined } = {}) {
      child.kill(signal);
      const code = await exit;
      if (!keep) rmSync(dataFolder, { recursive: true, force: true });
      return code;
    },
  };
}

/** The program with piped output, on ports that are free, without what a developer's shell says to Commonwatt. */
export function spawnProgram(args: string[], env: NodeJS.ProcessEnv) {
  return spawn(process.execPath, [entry, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cleanEnvironment(), ...servers, ...env },
  });
}

const servers = { COMMONWATT_PORT: '0', COMMONWATT_GRPC_PORT: '0' };

/** The environment without what a developer's shell may say to Commonwatt. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('COMMONWATT_')));
}

export interface CommandResult {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the command line as a person does who set COMMONWATT_URL and COMMONWATT_API_KEY. */
export function runCommand(
  args: string[],
  { baseUrl, apiKey, input = '' }: { baseUrl: string; apiKey: string; input?: string },
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [entry, ...args], {
      env: { ...cleanEnvironment(), COMMONWATT_URL: baseUrl, COMMONWATT_API_KEY: apiKey },
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.end(input);
  });
}
