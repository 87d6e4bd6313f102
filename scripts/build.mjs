// Builds what runs: the TypeScript client, the server and the command line (dist), the page (dist/web).
// Does nothing when the sources are those of the last build. Types are checked by `npm run typecheck`, not here,
// so that building needs no package of the tests.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, runQuietly, say, seconds } from './setup.mjs';

const dist = join(root, 'dist');
const stamp = join(dist, '.stamp');
const sources = [
  'src',
  'clients/typescript/src',
  'clients/typescript/tsconfig.json',
  'web',
  'tsconfig.json',
  'tsconfig.energy.json',
  'package-lock.json',
  'scripts/build.mjs',
];

export async function build({ force = false } = {}) {
  const hash = hashOf(sources.flatMap((name) => filesOf(join(root, name))));
  if (!force && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  const started = Date.now();
  say('building the server and the page');
  rmSync(stamp, { force: true });
  // Made beside what is there and moved in at the end, so that a failed build leaves the old one whole; in a folder of
  // its own, so that two builds at once do not write into each other's.
  mkdirSync(dist, { recursive: true });
  const next = mkdtempSync(join(dist, '.next-'));
  try {
    await buildInto(next);
    for (const name of readdirSync(dist))
      if (!name.startsWith('.next-')) rmSync(join(dist, name), { recursive: true });
    for (const name of readdirSync(next)) renameSync(join(next, name), join(dist, name));
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
  writeFileSync(stamp, hash);
  say(`built in ${seconds(started)}`);
}

async function buildInto(next) {
  await compile('clients/typescript');
  await compile('.', '--outDir', next);
  // Types for those who import `commonwatt/energy`.
  await compile('tsconfig.energy.json', '--outDir', next);
  copyOtherFiles(join(root, 'src'), next);
  if (existsSync(join(root, 'web/index.html')))
    await runQuietly(
      process.execPath,
      [
        join(root, 'node_modules/vite/bin/vite.js'),
        'build',
        '--logLevel',
        'warn',
        '--outDir',
        join(next, 'web'),
        '--emptyOutDir',
      ],
      { cwd: join(root, 'web') },
    );
}

function compile(project, ...more) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  return runQuietly(process.execPath, [tsc, '-p', join(root, project), '--noCheck', '--types', '', ...more]);
}

/** Files that are no TypeScript but belong to the program (generated modules, SQL, texts). */
function copyOtherFiles(from, to) {
  for (const file of filesOf(from)) {
    if (/\.tsx?$/.test(file)) continue;
    const target = join(to, relative(from, file));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(file, target);
  }
}

function filesOf(path) {
  if (!existsSync(path)) return [];
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter(({ name }) => name !== 'node_modules' && name !== 'dist' && !/\.test\.tsx?$/.test(name))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap((entry) => filesOf(join(path, entry.name)));
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path];
    throw error;
  }
}

function hashOf(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = readFileSync(file);
    hash.update(`${relative(root, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await build({ force: process.argv.includes('--force') });
