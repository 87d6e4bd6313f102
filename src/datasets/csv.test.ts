import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseCsv } from './csv.ts';

const parse = (text: string) => parseCsv(Buffer.from(text), 'y');

describe('a table of numbers', () => {
  test('keeps the order of columns and rows, wherever the label stands', async () => {
    const table = await parse('a,y,b\n1,0,2\n3,1,4.5e-1\n');
    expect(table.features).toEqual(['a', 'b']);
    expect([...table.x]).toEqual([1, 2, 3, Math.fround(0.45)]);
    expect([...table.y]).toEqual([0, 1]);
  });

  test('may have a byte order mark, Windows line ends, quotes and empty lines', async () => {
    const table = await parse('\ufeff"a","y"\r\n"1","0"\r\n\r\n2,1\r\n');
    expect([...table.x]).toEqual([1, 2]);
  });

  test('has NaN where a value is missing', async () => {
    const table = await parse('a,b,y\n,NA,0\nnull,1,\n');
    expect([...table.x]).toEqual([NaN, NaN, NaN, 1]);
    expect([...table.y]).toEqual([0, NaN]);
  });

  test('comes back as it was written', async () => {
    const row = fc.tuple(
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(0, 1),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 50 }), async (rows) => {
        const table = await parse(`a,b,y\n${rows.map((cells) => cells.join(',')).join('\n')}\n`);
        expect([...table.x]).toEqual(rows.flatMap(([a, b]) => [a + 0, b + 0]));
        expect([...table.y]).toEqual(rows.map(([, , y]) => y));
      }),
      { numRuns: 50 },
    );
  });
});

describe('what is wrong is said with line and column', () => {
  test.each([
    ['an empty file', '', 'line 1', /empty/],
    ['only blank lines', '\n\n', 'line 1', /empty/],
    ['a header without rows', 'a,y\n', 'line 2', /no rows/],
    ['a short row', 'a,b,y\n1,2,0\n1,0\n', 'line 3', /line 3 has 2 fields, the header has 3/],
    ['a long row', 'a,y\n1,0,7\n', 'line 2', /line 2 has 3 fields/],
    ['text for a number', 'a,y\n1,0\nblue,1\n', 'line 3, column a', /"blue" is not a 32-bit number/],
    ['an infinite number', 'a,y\n1e39,0\n', 'line 2, column a', /not a 32-bit number/],
    ['a hexadecimal number', 'a,y\n0x10,0\n', 'line 2, column a', /not a 32-bit number/],
    ['a label of three classes', 'a,y\n1,0\n1,2\n', 'line 3, column y', /neither 0 nor 1/],
    ['no label column', 'a,b\n1,0\n', 'line 1', /no column "y"/],
    ['no feature', 'y\n1\n', 'line 1', /0 features/],
    ['a name used twice', 'a,a,y\n1,2,0\n', 'line 1, column 2', /columns 1 and 2 are both named "a"/],
    ['a column without a name', 'a,,y\n1,2,0\n', 'line 1, column 2', /column 2 has no name/],
    ['a quote that never ends', 'a,y\n"1,0\n', /line/, /not valid CSV/],
  ])('%s', async (_, text, where, message) => {
    await expect(parse(text)).rejects.toMatchObject({
      code: 'INVALID_DATASET',
      status: 400,
      where: typeof where === 'string' ? where : expect.stringMatching(where),
      message: expect.stringMatching(message),
      hint: expect.any(String),
    });
  });

  test('a file without a header', async () => {
    await expect(parse('1,2,0\n3,4,1\n')).rejects.toMatchObject({
      hint: expect.stringContaining('add a header line'),
    });
  });

  test('more cells than fit', async () => {
    await expect(
      parseCsv(Buffer.from('a,y\n1,0\n2,1\n3,0\n'), 'y', { maxFeatures: 10, maxCells: 2 }),
    ).rejects.toMatchObject({ where: 'line 4', message: expect.stringContaining('more than 2 cells') });
  });
});
