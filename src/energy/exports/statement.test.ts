import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { roundedToSum } from './printing.ts';
import { type Statement, statement } from './statement.ts';
import { statementPage } from './statement-page.ts';
import { acme, globex, type Month, makeMonth } from './testing/month.ts';

let month: Month;
let made: Statement;
beforeAll(async () => {
  month = await makeMonth();
  made = await month.exports.statement({ ...acme, month: '2030-01' });
});

const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

describe('a statement', () => {
  it('has rows and days that add up to the total, on both bases', () => {
    expect(made.residualRatio).toBeLessThan(1e-12);
    for (const parts of [made.rows, made.days]) {
      expect(sum(parts.map(({ energyWh }) => energyWh))).toBeCloseTo(made.total.energyWh, 9);
      expect(sum(parts.map(({ requests }) => requests))).toBe(made.total.requests);
      expect(sum(parts.map(({ allocated }) => allocated?.energyWh ?? Number.NaN))).toBeCloseTo(
        made.total.allocated?.energyWh ?? 0,
        9,
      );
      expect(sum(parts.map(({ waste }) => waste?.carbonGCo2e ?? Number.NaN))).toBeCloseTo(
        made.total.waste?.carbonGCo2e ?? 0,
        9,
      );
    }
  });

  it('keeps apart what was used, what stood ready and what others used, as the lines have it', () => {
    const wh = (of: (head: { consumer: { organisation: string } } | null, kind: string) => boolean) =>
      sum(
        month.booked.flatMap(({ entries }) =>
          entries
            .filter(({ head, kind }) => of(head, kind))
            .map(({ ids, energyJ }) => (ids.length * energyJ) / 3600),
        ),
      );
    const part = (name: string) =>
      sum(made.rows.filter((row) => row.part === name).map(({ energyWh }) => energyWh));
    expect(part('own')).toBeCloseTo(
      wh((head) => head?.consumer.organisation === 'acme'),
      9,
    );
    expect(part('others')).toBeCloseTo(
      wh((head) => head?.consumer.organisation === 'globex'),
      9,
    );
    expect(part('ready')).toBeGreaterThan(0);
    expect(made.rows.map(({ part: own, tenant, model, kind }) => [own, tenant, model, kind])).toEqual([
      ['own', 'acme', 'acme/digits', 'inference'],
      ['own', 'acme', null, 'training'],
      ['ready', null, 'acme/digits', 'idle'],
      ['others', 'globex', 'acme/digits', 'inference'],
    ]);
  });

  it('tells a guest of its own use alone', async () => {
    const guest = await month.exports.statement({ ...globex, month: '2030-01' });
    expect(guest.rows.map(({ part, tenant }) => [part, tenant])).toEqual([['own', 'globex']]);
    expect(JSON.stringify(guest.rows)).not.toContain('job');
  });

  it('refuses what is no month, and a month to come', async () => {
    for (const [text, why] of [
      ['2030-13', 'is no month'],
      ['<b>', 'is no month'],
      ['2030-03', 'has not begun'],
    ] as const)
      await expect(month.exports.statement({ ...acme, month: text })).rejects.toThrow(why);
  });

  it('of the running month ends now and says so', async () => {
    const now = new Date(Date.UTC(2030, 0, 31));
    const early = await (await makeMonth(undefined, now)).exports.statement({ ...acme, month: '2030-01' });
    expect(early).toMatchObject({ complete: false, to: now.toISOString() });
    expect(early.days.map(({ day }) => day)).toEqual(['2030-01-30']);
    expect(early.total.energyWh).toBeCloseTo(made.days[0]?.energyWh ?? 0, 9);
    expect(statementPage(early)).toContain('The month is not over');
    expect(statementPage(made)).not.toContain('The month is not over');
  });
});

describe('the page of a statement', () => {
  it('prints numbers that add up as they are printed', () => {
    const [, days = '', uses = ''] = statementPage(made).split('<table>');
    for (const table of [days, uses]) {
      const rows = [...table.matchAll(/<tr><th scope="row">(.*?)<\/th>(.*?)<\/tr>/g)].map(
        ([, name, cells = '']) => ({
          name,
          cells: [...cells.matchAll(/<td>(.*?)<\/td>/g)].map(([, cell]) => Number(cell)),
        }),
      );
      const total = rows.pop();
      expect(total?.name).toBe('Total');
      for (const [column, printed] of (total?.cells ?? []).entries()) {
        expect(sum(rows.map(({ cells }) => cells[column] ?? Number.NaN))).toBeCloseTo(printed, 9);
      }
    }
  });

  it('loads nothing, runs nothing, and shows names as text', () => {
    const page = statementPage({
      ...made,
      organisation: '<script>alert(1)</script>',
      rows: made.rows.map((row) => ({ ...row, tenant: '"><img src=x onerror=y>', model: "'&<i>" })),
      notes: ['<b>'],
    });
    expect(page).not.toMatch(
      /<(script|img|i|b|link|iframe|object|a)\b|<[^>]*\s(src|href|on\w+)=|url\(|@import/i,
    );
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page).toContain('&quot;&gt;&lt;img');
  });

  it('has a bar for each day, as high as its energy', () => {
    const bars = [
      ...statementPage(made).matchAll(
        /<rect x="([\d.]+)" width="[\d.]+" y="[\d.]+" height="([\d.]+)" fill="#(?:2f6b4f|c9d8cf)"\/>/g,
      ),
    ];
    const heights = new Map<string, number>();
    for (const [, x = '', height] of bars) heights.set(x, (heights.get(x) ?? 0) + Number(height));
    const wh = made.days.map(({ allocated }) => allocated?.energyWh ?? 0);
    const [first = 0, second = 0] = heights.values();
    expect(heights.size).toBe(2);
    expect(first / second).toBeCloseTo((wh[0] ?? 0) / (wh[1] ?? 1), 2);
  });
});

describe('printed numbers', () => {
  it('add up, and none is off by more than one in its last digit', () => {
    const parts = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(parts, (values) => {
        const total = sum(values);
        const printed = roundedToSum(values, total);
        const decimals = printed.total.split('.')[1]?.length ?? 0;
        const unit = 10 ** -decimals;
        const units = printed.parts.map((part) => Math.round(Number(part) / unit));
        expect(sum(units)).toBe(Math.round(Number(printed.total) / unit));
        for (const [index, value] of values.entries())
          expect(Math.abs(Number(printed.parts[index]) - value)).toBeLessThanOrEqual(unit * 1.000001);
      }),
    );
    expect(roundedToSum([1 / 3, 1 / 3, 1 / 3], 1, 3)).toEqual({
      parts: ['0.34', '0.33', '0.33'],
      total: '1.00',
    });
    expect(roundedToSum([1, null], null)).toEqual({ parts: ['1.000', 'not known'], total: 'not known' });
  });
});

it('asks for one month of one organisation', async () => {
  const asked: unknown[] = [];
  const report = async (query: unknown) => {
    asked.push(query);
    throw new Error('enough');
  };
  await expect(statement(report, { ...acme, month: '2030-02' }, new Date(Date.UTC(2031, 0)))).rejects.toThrow(
    'enough',
  );
  expect(asked).toEqual([
    {
      from: new Date(Date.UTC(2030, 1)),
      to: new Date(Date.UTC(2030, 2)),
      scope: { organisationId: 'o1' },
      groupBy: ['tenant', 'model', 'kind'],
    },
  ]);
});
