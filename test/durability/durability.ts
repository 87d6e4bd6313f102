/**
 * Durability, proven from outside: a writer process says what was acknowledged, is stopped in the worst moment, and
 * what is there afterwards is compared with what it said. `COMMONWATT_LONG=1` runs the long form.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

export const long = process.env.COMMONWATT_LONG === '1';
const writer = fileURLToPath(new URL('writer.mjs', import.meta.url));

/** What is tested: the build of this repository, or a copy of it. */
export const dist = process.env.COMMONWATT_TEST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
if (!existsSync(join(dist, 'models/registry.js')))
  throw new Error(`${dist} holds no build: run npm test (it builds), or npm run build`);

const said = z.union([
  z.object({ done: z.literal('key'), id: z.string(), apiKey: z.string() }),
  z.object({
    done: z.literal('import'),
    model: z.string(),
    sha256: z.string(),
    number: z.number(),
  }),
  z.object({ done: z.literal('alias'), model: z.string(), alias: z.string(), number: z.number() }),
  z.object({ done: z.enum(['grant', 'key-end', 'grant-end']), id: z.string() }),
  z.object({ begin: z.literal('alias'), model: z.string(), alias: z.string(), number: z.number() }),
  z.object({ begin: z.enum(['key-end', 'grant-end']), id: z.string() }),
  z.object({ begin: z.literal('import') }),
]);
export type Said = z.infer<typeof said>;

const stateSchema = z.object({
  problems: z.array(z.string()),
  versions: z.array(z.object({ model: z.string(), number: z.number(), sha256: z.string() })),
  keys: z.array(z.object({ id: z.string(), hash: z.string(), revoked_at: z.string().nullable() })),
  grants: z.array(z.object({ id: z.string(), revoked_at: z.string().nullable() })),
  aliases: z.array(z.object({ model: z.string(), alias: z.string(), number: z.number() })),
});
export type State = z.infer<typeof stateSchema>;

export interface Running {
  process: ChildProcess;
  /** Whole lines so far; a line cut by the kill was acknowledged to nobody. */
  said(): Said[];
  /** Everything on stderr. */
  complaints(): string;
  /** Resolves when the process has ended and its output was read. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** Starts the writer, optionally under another command (strace, eatmydata) and with flags for Node. */
export function startWriter(
  mode: 'forever' | 'once',
  folder: string,
  {
    under = [],
    nodeFlags = [],
    env = {},
  }: { under?: string[]; nodeFlags?: string[]; env?: Record<string, string> } = {},
): Running {
  const [command = process.execPath, ...args] = [
    ...under,
    process.execPath,
    ...nodeFlags,
    writer,
    mode,
    folder,
  ];
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, COMMONWATT_TEST_DIST: dist, ...env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  return {
    process: child,
    said: () =>
      out
        .split('\n')
        .slice(0, -1)
        .map((line) => said.parse(JSON.parse(line))),
    complaints: () => err,
    ended: new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve({ code, signal }));
    }),
  };
}

/** Starts again on the folder, as the server does, and reads all there is. Throws when it does not start. */
export function stateOf(folder: string): State {
  const result = spawnSync(process.execPath, [writer, 'state', folder], {
    encoding: 'utf8',
    env: { ...process.env, COMMONWATT_TEST_DIST: dist },
    maxBuffer: 1 << 28,
  });
  if (result.status !== 0) throw new Error(`it does not start again: ${result.stderr}`);
  return stateSchema.parse(JSON.parse(result.stdout));
}

/** What was acknowledged and is not there, and what is there and broken; empty when every promise was kept. */
export function broken(state: State, all: readonly Said[]): string[] {
  const problems = [...state.problems];
  const acknowledged = all.flatMap((line) => ('done' in line ? [line] : []));
  const begunEnds = new Set(all.flatMap((line) => ('begin' in line && 'id' in line ? [line.id] : [])));
  const ends = new Set(
    acknowledged.flatMap((line) => (line.done === 'key-end' || line.done === 'grant-end' ? [line.id] : [])),
  );
  for (const line of acknowledged) {
    if (line.done === 'import') {
      const there = state.versions.some(
        ({ model, number, sha256 }) =>
          model === line.model && number === line.number && sha256 === line.sha256,
      );
      if (!there) problems.push(`lost: version ${line.model}:${line.number}`);
    } else if (line.done === 'key') {
      const hash = createHash('sha256').update(line.apiKey).digest('hex');
      if (!state.keys.some((key) => key.id === line.id && key.hash === hash))
        problems.push(`lost: key ${line.id}`);
    } else if (line.done === 'grant' && !state.grants.some(({ id }) => id === line.id)) {
      problems.push(`lost: grant ${line.id}`);
    }
  }
  for (const { id, revoked_at } of [...state.keys, ...state.grants]) {
    if (ends.has(id) && revoked_at === null) problems.push(`came back: ${id}, whose end was acknowledged`);
    if (!begunEnds.has(id) && revoked_at !== null) problems.push(`ended by nobody: ${id}`);
  }
  return [...problems, ...brokenAliases(state, all)];
}

/** An alias names the version it was last moved to, or one that was on its way when the process ended. */
function brokenAliases(state: State, all: readonly Said[]): string[] {
  const allowed = new Map<string, number[]>();
  const moved = new Set<string>();
  for (const line of all) {
    if (!('alias' in line)) continue;
    const name = `${line.model}@${line.alias}`;
    if ('done' in line) {
      allowed.set(name, [line.number]);
      moved.add(name);
    } else {
      allowed.set(name, [...(allowed.get(name) ?? []), line.number]);
    }
  }
  const problems: string[] = [];
  const there = new Map(state.aliases.map(({ model, alias, number }) => [`${model}@${alias}`, number]));
  for (const name of moved) if (!there.has(name)) problems.push(`lost: alias ${name}`);
  for (const [name, number] of there)
    if (!allowed.get(name)?.includes(number)) problems.push(`alias ${name} names ${number}`);
  return problems;
}
