/**
 * A disk whose power can be cut: ext4 on a loop device on a file that nbdkit serves with a write-back cache. What was
 * not flushed to the disk when nbdkit is killed is gone, as in a power cut; the page cache of this machine is no help.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { accessSync, closeSync, ftruncateSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const tools = {
  nbdkit: 'nbdkit',
  nbdfuse: 'libnbd-bin',
  fusermount3: 'fuse3',
  'mkfs.ext4': 'e2fsprogs',
  losetup: 'mount',
  eatmydata: 'eatmydata',
};

/** Why this machine cannot have such a disk, or undefined. Throws when only packages are missing and root runs this. */
export function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount a disk of its own';
  try {
    accessSync('/dev/fuse');
    accessSync('/dev/loop-control');
  } catch {
    return 'this machine has no /dev/fuse or no loop devices';
  }
  if (spawnSync('losetup', ['-f']).status !== 0) return 'no loop device may be used here';
  const missing = Object.entries(tools).filter(([tool]) => spawnSync('which', [tool]).status !== 0);
  if (missing.length > 0)
    throw new Error(`run npm test as root, or apt-get install ${missing.map(([, name]) => name).join(' ')}`);
  return undefined;
}

export interface Disk {
  /** Where it is mounted. */
  path: string;
  /** Kills the power: what was not flushed is lost. The processes that use the disk must end for it to come free. */
  cut(): Promise<void>;
  /** Unmounts it as one should. */
  eject(): Promise<void>;
}

/** Makes an empty disk in `folder`. */
export function formatDisk(folder: string, bytes = 512 * 1024 * 1024): void {
  mkdirSync(folder, { recursive: true });
  const image = join(folder, 'image');
  rmSync(image, { force: true });
  const file = openSync(image, 'w');
  ftruncateSync(file, bytes);
  closeSync(file);
  execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
}

/** Mounts the disk of `folder`, recovering its journal as a machine does when it starts again. */
export async function insertDisk(folder: string): Promise<Disk> {
  const at = (name: string) => join(folder, name);
  for (const name of ['socket', 'device']) rmSync(at(name), { force: true });
  mkdirSync(at('mounted'), { recursive: true });
  closeSync(openSync(at('device'), 'w'));
  const power = start('nbdkit', [
    '-f',
    '-U',
    at('socket'),
    '--filter=cache',
    'file',
    at('image'),
    'cache=writeback',
  ]);
  await until(() => statSync(at('socket'), { throwIfNoEntry: false }) !== undefined, 'nbdkit');
  const fuse = start('nbdfuse', [at('device'), '--unix', at('socket')]);
  await until(() => statSync(at('device')).size > 0, 'nbdfuse');
  const loop = execFileSync('losetup', ['-f', '--show', at('device')], { encoding: 'utf8' }).trim();
  execFileSync('mount', ['-t', 'ext4', loop, at('mounted')]);

  const end = async (child: ChildProcess, signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  };
  const takeOut = async () => {
    spawnSync('umount', ['-l', at('mounted')]);
    spawnSync('losetup', ['-d', loop]);
    spawnSync('fusermount3', ['-u', '-z', at('device')]);
    await end(fuse, 'SIGKILL');
  };
  return {
    path: at('mounted'),
    async cut() {
      await end(power, 'SIGKILL');
      await takeOut();
    },
    async eject() {
      execFileSync('umount', [at('mounted')]);
      await takeOut();
      await end(power, 'SIGTERM');
    },
  };
}

function start(command: string, args: string[]): ChildProcess {
  return spawn(command, args, { stdio: 'ignore' });
}

async function until(ready: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (ready()) return;
    await sleep(10);
  }
  throw new Error(`${what} did not start`);
}
