// What only tests need: Python with Keras (an independent source of truth), a real browser, and tools that cut
// power and count syncs. Installed where this user may, otherwise named exactly.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fail, root, runQuietly, say, seconds } from './setup.mjs';

/** Debian package → one of the programs it brings. */
const tools = {
  chromium: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
  strace: ['strace'],
  nbdkit: ['nbdkit'],
  'libnbd-bin': ['nbdfuse'],
  fuse3: ['fusermount3'],
  e2fsprogs: ['mkfs.ext4'],
  eatmydata: ['eatmydata'],
};

/** Puts the system's tools there and returns where Chromium is. */
export async function systemTools() {
  const named = process.env.COMMONWATT_CHROMIUM;
  if (named && !existsSync(named)) fail(`COMMONWATT_CHROMIUM names ${named}, which does not exist`);
  const absent = () =>
    Object.entries(tools)
      .filter(([name, programs]) => !(name === 'chromium' && named) && !programs.some(findProgram))
      .map(([name]) => name);
  const missing = absent();
  if (missing.length > 0) {
    if (process.getuid?.() !== 0 || !findProgram('apt-get'))
      fail(
        `the tests need these Debian packages (or the same programs): ${missing.join(' ')}\n       as root: apt-get install -y ${missing.join(' ')}`,
      );
    await aptInstall(missing);
    const still = absent();
    if (still.length > 0) fail(`installed, but still not found: ${still.join(' ')}`);
  }
  return named ?? tools.chromium.map(findProgram).find(Boolean);
}

async function aptInstall(packages) {
  const started = Date.now();
  say(`installing ${packages.join(' ')} with apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await runQuietly('apt-get', ['update', '-qq'], { env });
  await runQuietly('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
  say(`installed in ${seconds(started)}`);
}

function findProgram(name) {
  // mkfs and its like live where the PATH of an ordinary user does not look.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Makes .test-env from the requirements in test/python, again when they changed. Returns its python. */
export async function pythonEnvironment() {
  if (process.env.COMMONWATT_TEST_PYTHON) return process.env.COMMONWATT_TEST_PYTHON;
  const requirements = join(root, 'test/python/requirements.txt');
  const bare = join(root, 'test/python/requirements-bare.txt');
  const folder = join(root, '.test-env');
  const stamp = join(folder, '.requirements');
  const python = join(folder, 'bin/python');
  const hash = createHash('sha256')
    .update(readFileSync(requirements))
    .update(readFileSync(bare))
    .digest('hex');
  if (existsSync(python) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return python;
  const started = Date.now();
  say('making the Python environment of the tests, .test-env (once; some minutes)');
  rmSync(folder, { recursive: true, force: true });
  const system = await systemPython();
  if (succeeds(system, ['-c', 'import ensurepip, venv'])) {
    await runQuietly(system, ['-m', 'venv', folder]);
    const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
    await runQuietly(python, [...install, '-r', requirements]);
    await runQuietly(python, [...install, '--no-deps', '-r', bare]);
  } else await withUv(system, folder, requirements, bare);
  writeFileSync(stamp, hash);
  say(`Python environment made in ${seconds(started)}`);
  return python;
}

/** Debian splits ensurepip off Python; uv makes environments without it. */
async function withUv(system, folder, requirements, bare) {
  const own = findProgram('uv');
  const temporary = own ? null : mkdtempSync(join(tmpdir(), 'commonwatt-uv-'));
  try {
    if (temporary) {
      if (!succeeds(system, ['-m', 'pip', '--version']))
        fail(
          'this Python has neither venv nor pip, and uv is not installed\n       install one of them: apt-get install -y python3-venv',
        );
      await runQuietly(system, ['-m', 'pip', 'install', '--quiet', '--target', temporary, 'uv']);
    }
    const uv = own ?? join(temporary, 'bin/uv');
    await runQuietly(uv, ['venv', '--quiet', '--python', system, folder]);
    const install = ['pip', 'install', '--quiet', '--python', join(folder, 'bin/python')];
    await runQuietly(uv, [...install, '-r', requirements]);
    await runQuietly(uv, [...install, '--no-deps', '-r', bare]);
  } finally {
    if (temporary) rmSync(temporary, { recursive: true, force: true });
  }
}

async function systemPython() {
  const found = () =>
    ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11']
      .map(findProgram)
      .find((path) => path && succeeds(path, ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))']));
  if (!found() && process.getuid?.() === 0 && findProgram('apt-get'))
    await aptInstall(['python3', 'python3-venv']);
  return (
    found() ??
    fail('the tests need Python 3.11 or newer with venv (Debian: apt-get install -y python3 python3-venv)')
  );
}

const succeeds = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
