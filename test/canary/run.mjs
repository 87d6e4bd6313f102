// The long form of the canary: `node test/canary/run.mjs --answers 1000000`, half of them with one gateway, half with
// two; `--minutes 10` ends each half then, however far it has come.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { answers: { type: 'string', default: '1000000' }, minutes: { type: 'string' } },
});
const root = fileURLToPath(new URL('../..', import.meta.url));
spawn(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'test/canary'], {
  cwd: root,
  stdio: 'inherit',
  env: {
    ...process.env,
    COMMONWATT_CANARY_ANSWERS: values.answers,
    ...(values.minutes === undefined ? {} : { COMMONWATT_CANARY_MINUTES: values.minutes }),
  },
}).on('close', (code) => {
  process.exitCode = code ?? 1;
});
