// `npm test`: sets up whatever is missing, builds, runs every test, and ends with `N passed, N failed`.
// Arguments go to Vitest (`npm test -- src/energy`); --set-up only sets up.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkNode, installPackages, root } from './setup.mjs';

checkNode();
await installPackages({ dev: true });
const { build } = await import('./build.mjs');
await build();
const { pythonEnvironment, systemTools } = await import('./test-environment.mjs');
const chromium = await systemTools();
const python = await pythonEnvironment();
const args = process.argv.slice(2);
if (!args.includes('--set-up')) process.exitCode = await runTests();

async function runTests() {
  const folder = mkdtempSync(join(tmpdir(), 'commonwatt-test-'));
  const report = join(folder, 'report.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const code = await new Promise((resolve) => {
    spawn(process.execPath, [vitest, 'run', ...reporters, ...args], {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, COMMONWATT_TEST_PYTHON: python, COMMONWATT_CHROMIUM: chromium },
    }).on('close', (status) => resolve(status ?? 1));
  });
  const { passed, failed } = existsSync(report)
    ? count(JSON.parse(readFileSync(report, 'utf8')))
    : { passed: 0, failed: 0 };
  rmSync(folder, { recursive: true, force: true });
  const ok = code === 0 && failed === 0 && passed > 0;
  // An error outside any test counts as one failure, so that the line never looks better than the run.
  console.log(`${passed} passed, ${ok ? 0 : Math.max(1, failed)} failed`);
  return ok ? 0 : 1;
}

function count({ numPassedTests, numFailedTests, testResults }) {
  const broken = testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  return { passed: numPassedTests, failed: numFailedTests + broken.length };
}
