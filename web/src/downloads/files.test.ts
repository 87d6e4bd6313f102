import { expect, it } from 'vitest';
import { cardFile, ledgerFile, manifestFile, statementFile, windowOf } from './files.ts';

const window = windowOf(7, Date.UTC(2026, 10, 26, 12));

it('names the time that is asked for, and the file after it', () => {
  expect(window).toEqual({ from: '2026-11-19T12:00:00.000Z', to: '2026-11-26T12:00:00.000Z' });
  const { path, name } = ledgerFile('parquet', window);
  const asked = new URL(path, 'http://localhost/api/v1/');
  expect(asked.pathname).toBe('/api/v1/ledger');
  expect(Object.fromEntries(asked.searchParams)).toEqual({ ...window, format: 'parquet' });
  expect(name).toBe('ledger-2026-11-19-2026-11-26.parquet');
  expect(manifestFile('day', window).path).toContain('step=day');
});

it('names statements by organisation and month, cards by model', () => {
  expect(statementFile('acme', '2026-11', 'html')).toEqual({
    path: 'statements/acme/2026-11?format=html',
    name: 'statement-acme-2026-11.html',
  });
  expect(cardFile('acme--digits', 'spdx')).toEqual({
    path: 'models/acme--digits/card?format=spdx',
    name: 'acme--digits-card.spdx.json',
  });
});
