/** The calculator as people have it: the real binary without a server, and the package's export with its types. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);
let folder: string;
beforeAll(() => {
  // A project of somebody else, in which the package is installed.
  folder = mkdtempSync(join(tmpdir(), 'calculator-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/commonwatt'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
});
afterAll(() => rmSync(folder, { recursive: true }));

const command = (args: string[], input: string) =>
  spawnSync(process.execPath, [join(root, 'bin/commonwatt.mjs'), 'calc', ...args], {
    cwd: folder,
    input,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder },
  });

describe('commonwatt calc', () => {
  it('reads standard input, needs no server, and exits 0', () => {
    const { status, stdout } = command(['sci-embodied', '--input', '-', '--json'], '{"seconds":3600}');
    expect(status).toBe(0);
    expect(JSON.parse(stdout).result).toEqual({ totalG: 1_000_000, embodiedG: 28.538812785388128 });
  });

  it('exits 2 and names the field that is wrong', () => {
    const { status, stdout, stderr } = command(
      ['carbon', '--input', '-', '--json'],
      '{"energyKwh":1,"gPerKwh":400,"pue":0.99}',
    );
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(JSON.parse(stderr).error).toMatchObject({
      code: 'WRONG_USE',
      message: expect.stringContaining('pue'),
    });
  });
});

describe("import … from 'commonwatt/energy'", () => {
  it('computes in a project of somebody else', async () => {
    writeFileSync(
      join(folder, 'sum.js'),
      "import { carbon, formulas } from 'commonwatt/energy';\n" +
        'console.log(carbon({ energyKwh: 1, pue: 1.2, gPerKwh: 400 }).result.carbonG, formulas.length > 30);',
    );
    const { stdout } = await run(process.execPath, [join(folder, 'sum.js')]);
    expect(stdout).toBe('480 true\n');
  });

  it('has types: a compiler refuses what is no number', async () => {
    const file = join(folder, 'typed.ts');
    const compile = (code: string) => {
      writeFileSync(file, `import { carbon } from 'commonwatt/energy';\n${code}`);
      const options =
        '--ignoreConfig --noEmit --strict --skipLibCheck --module nodenext --target es2023 --types';
      const tsc = join(root, 'node_modules/typescript/bin/tsc');
      return spawnSync(process.execPath, [tsc, ...options.split(' '), '', file], {
        cwd: folder,
        encoding: 'utf8',
      });
    };
    const good = compile(
      'export const grams: number = carbon({ energyKwh: 1, gPerKwh: 400 }).result.carbonG;',
    );
    expect(good.stdout).toBe('');
    const bad = compile("carbon({ energyKwh: '1', gPerKwh: 400 });");
    expect(bad.stdout).toMatch(/TS2322: Type 'string' is not assignable to type 'number'/);
  });
});
