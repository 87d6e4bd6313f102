import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runPython } from '../test/python.ts';
import { CommonwattError } from './errors.ts';
import { readZip, writeZip } from './zip.ts';

const limits = { maxEntries: 10, maxBytes: 1_000_000 };
const texts = (archive: Uint8Array) =>
  new Map([...readZip(archive, limits)].map(([name, file]) => [name, Buffer.from(file.read()).toString()]));
const files: [string, Buffer][] = [
  ['model.onnx', Buffer.from('model '.repeat(500))],
  ['a/ü.json', Buffer.from('{}')],
  ['empty', Buffer.alloc(0)],
];

/** Python's own writer: deflated, stored, with folders and a comment. */
function pythonZip(script: string): Buffer {
  const path = join(mkdtempSync(join(tmpdir(), 'zip-')), 'a.zip');
  runPython(
    `import sys, zipfile, stat\nz = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)\n${script}\nz.close()`,
    [path],
  );
  return readFileSync(path);
}

describe('zip archives', () => {
  it('written here are read here and by Python', () => {
    const archive = writeZip(files);
    expect(texts(archive)).toEqual(new Map(files.map(([name, content]) => [name, content.toString()])));
    const read = runPython(
      'import sys, io, zipfile\nz = zipfile.ZipFile(io.BytesIO(bytes.fromhex(sys.stdin.read())))\nassert z.testzip() is None\nprint({n: z.read(n).decode() for n in z.namelist()}["a/ü.json"])',
      [],
      archive.toString('hex'),
    );
    expect(read.trim()).toBe('{}');
  });

  it('of other writers are read: deflated, with folders, with a comment', () => {
    const archive = pythonZip(
      "z.mkdir('f') if hasattr(z, 'mkdir') else None\nz.writestr('f/a.txt', 'x' * 5000)\nz.writestr('b.txt', 'y', zipfile.ZIP_STORED)\nz.comment = b'hello'",
    );
    expect(texts(archive)).toEqual(
      new Map([
        ['f/a.txt', 'x'.repeat(5000)],
        ['b.txt', 'y'],
      ]),
    );
  });

  it.each([
    ['a path upwards', "z.writestr('../a', 'x')", 'UNSAFE_MODEL', /leaves the archive/],
    ['an absolute path', "z.writestr(zipfile.ZipInfo('/etc/a'), 'x')", 'UNSAFE_MODEL', /leaves the archive/],
    ['a drive', "z.writestr('c:a', 'x')", 'UNSAFE_MODEL', /leaves the archive/],
    [
      'a link',
      "i = zipfile.ZipInfo('a'); i.create_system = 3; i.external_attr = (stat.S_IFLNK | 0o777) << 16; z.writestr(i, '/etc/passwd')",
      'UNSAFE_MODEL',
      /symbolic link/,
    ],
    ['too many entries', "[z.writestr(str(i), 'x') for i in range(11)]", 'UNSAFE_MODEL', /11 entries/],
    ['a bomb', "z.writestr('a', b'0' * 5_000_000)", 'UNSAFE_MODEL', /inflates to more/],
    ['the same name twice', "z.writestr('a', 'x'); z.writestr('a', 'y')", 'CORRUPT_MODEL', /two entries/],
    ['another method', "z.writestr('a', 'x' * 99, zipfile.ZIP_LZMA)", 'CORRUPT_MODEL', /method 14/],
  ])('with %s are refused', (_, script, code, message) => {
    const archive = pythonZip(`import warnings\nwarnings.simplefilter('ignore')\n${script}`);
    const read = () => [...readZip(archive, limits).values()].map((file) => file.read());
    expect(read).toThrow(CommonwattError);
    expect(read).toThrow(message);
    expect(codeOf(read)).toBe(code);
  });

  it('that announce less than they inflate to are refused', () => {
    const archive = pythonZip("z.writestr('a', b'0' * 500_000)");
    const directory = archive.indexOf(Buffer.from('PK\x01\x02', 'latin1'));
    archive.writeUInt32LE(10, directory + 24);
    expect(() => readZip(archive, limits).get('a')?.read()).toThrow(/cannot be inflated to the 10 bytes/);
  });

  it('with changed content are refused', () => {
    const archive = writeZip(files);
    archive.writeUInt8(0, archive.indexOf('model model'));
    expect(() => readZip(archive, limits).get('model.onnx')?.read()).toThrow(/announced content/);
  });

  it('damaged in any way are read or refused, never worse', () => {
    const good = [writeZip(files), pythonZip("z.writestr('a', 'x' * 5000)\nz.writestr('b', 'y')")];
    const damage = fc.tuple(
      fc.constantFrom(...good),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 8 }),
      fc.nat(),
    );
    fc.assert(
      fc.property(damage, ([archive, changes, cut]) => {
        const bytes = Buffer.from(archive);
        for (const [at, byte] of changes) bytes.writeUInt8(byte, at % bytes.length);
        try {
          for (const file of readZip(bytes.subarray(0, bytes.length - (cut % 40)), limits).values())
            file.read();
        } catch (error) {
          if (!(error instanceof CommonwattError)) throw error;
        }
      }),
      { numRuns: 5000, seed: 9 },
    );
  });
});

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof CommonwattError) return error.code;
  }
  return 'none';
}
