/**
 * A runner must not outlive its gateway, not even one that computes without an end and never sees its socket close.
 * On Linux the kernel sees to it (`setpriv --pdeathsig`, of util-linux); elsewhere a thread in the runner looks
 * whether its parent is still there, which costs some 9 MB of memory.
 */
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';

const setpriv = ['setpriv', '--pdeathsig', 'KILL'] as const;
/** The argument that asks the runner to look itself, and after whom. */
const watchParent = '--watch-parent=';

let works: boolean | undefined;

/** The command that starts a program so that it ends with this process, and what to tell the program. */
export function endingWithUs(program: string, args: readonly string[]): [string, string[]] {
  works ??=
    process.platform === 'linux' &&
    spawnSync(setpriv[0], [...setpriv.slice(1), 'true'], { stdio: 'ignore', timeout: 2000 }).status === 0;
  if (works) return [setpriv[0], [...setpriv.slice(1), program, ...args]];
  return [program, [...args, watchParent + process.pid]];
}

/** In the runner: ends this process when its parent is not the gateway that started it any more, if that was asked. */
export function endWithParent(args: readonly string[]): void {
  const parent = args.find((arg) => arg.startsWith(watchParent))?.slice(watchParent.length);
  if (parent === undefined) return;
  const look = `setInterval(() => {
    if (process.ppid !== ${Number(parent)}) process.kill(process.pid, 'SIGKILL');
  }, 1000);`;
  new Worker(look, {
    eval: true,
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 },
  }).unref();
}
