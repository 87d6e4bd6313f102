// What `npm start`, `npm test` and .ci/run need before they can run: a Node that is new enough and the packages
// of the lockfile. Uses nothing but Node, since nothing is installed yet.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Stops with a clear line where Node is too old; tells when its support has ended. */
export function checkNode(version = process.versions.node, today = new Date()) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(
      `Node.js ${version} is too old: Commonwatt needs 20.19 or newer (24 is the current long-term release).`,
    );
  }
  const ends = { 20: '2026-04-30', 22: '2027-04-30', 24: '2028-04-30' }[major];
  if (ends && today > new Date(`${ends}T23:59:59Z`))
    say(`Node.js ${major} has had no security updates since ${ends}; it works, but prefer 24.`);
  else if (major % 2 === 1) say(`Node.js ${major} is not a long-term release; it may work, but prefer 24.`);
}

export function say(line) {
  console.log(`· ${line}`);
}

export function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

/**
 * Installs from the lockfile when a package of it is missing or another version is there. Compares with npm's own
 * record of what it installed, which npm writes last, so an interrupted installation is noticed.
 */
export async function installPackages({ dev }) {
  const missing = missingPackages({ dev });
  if (missing > 0) await install(missing, dev);
  linkOwnCommand();
}

async function install(missing, dev) {
  const what = `${missing} package${missing === 1 ? '' : 's'}`;
  say(`installing ${what} from the lockfile (once; about a minute)`);
  const started = Date.now();
  const args = ['ci', '--loglevel=error', '--no-fund', '--no-audit', '--no-progress'];
  // What only the tests need is left out, unless it is there already: nobody's installation is cut down.
  if (!dev && !hasDevPackages()) args.push('--omit=dev');
  await runQuietly(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, { env: npmEnvironment() });
  say(`packages installed in ${seconds(started)}`);
}

/** npm links the commands of packages, not of the repository itself; `npx commonwatt` shall work here too. */
function linkOwnCommand() {
  const link = join(root, 'node_modules/.bin/commonwatt');
  if (existsSync(link)) return;
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync('../../bin/commonwatt.mjs', link);
}

function missingPackages({ dev }) {
  const wanted = packagesOf('package-lock.json');
  const installed = packagesOf('node_modules/.package-lock.json');
  let count = 0;
  for (const [path, entry] of Object.entries(wanted)) {
    if (!path.startsWith('node_modules/') || entry.link) continue;
    if (entry.optional || entry.devOptional || (entry.dev && !dev)) continue;
    if (installed[path]?.version !== entry.version) count++;
  }
  return count;
}

function hasDevPackages() {
  return Object.values(packagesOf('node_modules/.package-lock.json')).some((entry) => entry.dev);
}

function packagesOf(file) {
  const path = join(root, file);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')).packages ?? {}) : {};
}

/** npm keeps a cache in the home folder; where that cannot be written it gets one in the temporary folder. */
function npmEnvironment() {
  try {
    accessSync(homedir(), constants.W_OK);
    return process.env;
  } catch {
    return { ...process.env, npm_config_cache: join(tmpdir(), `commonwatt-npm-${userInfo().uid}`) };
  }
}

/** Runs a command without its output; shows all of it when it fails, and stops. */
export function runQuietly(command, args, { env = process.env, cwd = root } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    child.on('error', (error) => fail(`${command} cannot be run: ${error.message}`));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve();
      process.stderr.write(Buffer.concat(output));
      fail(`\`${[command, ...args].join(' ')}\` failed (${signal ?? `exit ${code}`})`);
    });
  });
}

export function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}
