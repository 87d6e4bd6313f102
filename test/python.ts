/** Runs Python code in the environment that the test set-up made; the independent source of many golden values. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

function pythonPath(): string {
  const python =
    process.env.COMMONWATT_TEST_PYTHON ?? fileURLToPath(new URL('../.test-env/bin/python', import.meta.url));
  if (!existsSync(python))
    throw new Error(`${python} does not exist: run npm test (it makes the Python environment)`);
  return python;
}

/** Runs a script given as text and returns what it printed. */
export function runPython(script: string, args: string[] = [], input?: string): string {
  return execFileSync(pythonPath(), ['-c', script, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, KERAS_BACKEND: 'jax', JAX_PLATFORMS: 'cpu' },
    ...(input === undefined ? {} : { input }),
  });
}

/** The same while this process goes on, for instance as the server that the script asks. */
export async function runPythonAside(script: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  const options = { maxBuffer: 1 << 28, env: { ...process.env, ...env } };
  const { stdout } = await promisify(execFile)(pythonPath(), ['-c', script, ...args], options);
  return stdout;
}
