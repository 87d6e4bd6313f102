/** The page for whoever answers for the carbon: the saving and its parts, budgets, what waits, and the books as files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt, type ConsolidationState } from '@commonwatt/client';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from './chromium.ts';
import { type ExampleServer, spawnProgram, startExampleServer } from './server.ts';
import { expectNoViolations, type Visit, visit } from './visiting.ts';

const folder = mkdtempSync(join(tmpdir(), 'page-accounting-'));
const hourMs = 3_600_000;
let server: ExampleServer;
let browser: Browser;
let cw: Commonwatt;

/** Dirty now, clean in three hours. */
function gridFile(): string {
  const from = Math.floor(Date.now() / hourMs) * hourMs;
  const lines = Array.from(
    { length: 48 },
    (_, hour) => `${new Date(from + hour * hourMs).toISOString()},${hour === 3 ? 100 : 600}`,
  );
  const file = join(folder, 'grid.csv');
  writeFileSync(file, ['time,gPerKwh', ...lines].join('\n'));
  return file;
}

beforeAll(async () => {
  server = await startExampleServer({ env: { COMMONWATT_GRID: `file:${gridFile()}, yearly` } });
  cw = new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const as = (
  who: 'owner' | 'consumer',
  use: (page: Page) => Promise<void>,
  expected: Pick<Visit, 'complains'> = {},
) => visit(browser, { baseUrl: server.baseUrl, apiKey: server.example[who].apiKey, ...expected }, use);

const section = (page: Page, id: string) => page.locator(`section[aria-labelledby="${id}-title"]`);

describe('the impact', () => {
  it('shows what the saving comes from, what costs included, as the report has it', async () => {
    await as('owner', async (page) => {
      const falls = page.getByRole('table', { name: 'What the saving comes from' });
      await falls.waitFor();
      const { sharing, unknown } = await cw.impact();
      const shown = await falls.locator('tbody tr td').allTextContents();
      const parts = Object.values(sharing.decomposition);
      expect(shown).toHaveLength(parts.length + 1);
      const signOf = (text: string) => (text.startsWith('−') ? -1 : 1);
      expect(shown.slice(0, -1).map(signOf)).toEqual(parts.map((part) => (part < 0 ? -1 : 1)));
      expect(signOf(shown.at(-1) ?? '')).toBe((sharing.savingGCo2e ?? 0) < 0 ? -1 : 1);

      const own = page.getByRole('table', { name: 'Shared, and as own instances' });
      expect(await own.getByRole('columnheader').last().textContent()).toMatch(/^2 own, predicted/);
      expect(await own.getByRole('row', { name: /^CPU time/ }).textContent()).toMatch(/ to .*s$/);
      expect(await page.getByTestId('rebound').textContent()).toMatch(/^Rebound: 0.% of the demand/);
      expect(unknown.sloSafe).toMatch(/latencyObjectiveMs/);
      await page.getByText(`not known: ${unknown.sloSafe}`).waitFor();
    });
  });

  it('marks the best use that keeps the latency, once a deployment has an objective', async () => {
    const [deployment] = await cw.deployments.list();
    await cw.deployments.change(deployment?.id ?? '', { latencyObjectiveMs: 5000 });
    const ask = (n: number) =>
      cw.predict('acme/digits', [Array.from({ length: 100 }, (_, at) => (at % n) / n)]);
    for (let n = 1; n <= 60; n++) await ask(n);
    await expect.poll(async () => (await cw.impact()).impact.sloSafe, { timeout: 30_000 }).not.toBeNull();
    await as('owner', async (page) => {
      await page.locator('.safe-point').waitFor();
      const { impact } = await cw.impact();
      const best = section(page, 'impact').locator('.on-curve > div').nth(1);
      expect(await best.textContent()).toMatch(
        /^Best that keeps the latency.* at [\d.]+.%: acme\/digits:1 answers 95 % within 5.s up to \d+.%/,
      );
      expect(impact.sloSafe?.objectiveMs).toBe(5000);
    });
  });

  it('groups by organisation and by key: one’s own keys by name, of others the organisation alone', async () => {
    const { apiKey } = await cw.keys.create({ name: 'night shift' });
    const row = Array.from({ length: 100 }, () => 0.5);
    await new Commonwatt({ baseUrl: server.baseUrl, apiKey }).predict('acme/digits', [row]);
    const { keyId } = await cw.whoami();
    await as('owner', async (page) => {
      await page.getByLabel('Organisation', { exact: true }).check();
      const tenants = page.getByRole('region', { name: 'Requests by Organisation' });
      await tenants.getByRole('rowheader', { name: 'globex' }).waitFor();
      await page.getByLabel('API key').check();
      const keys = page.getByRole('region', { name: 'Requests by API key' });
      await keys
        .getByRole('rowheader', { name: /^night shift \(cw_.*, ada\)$/ })
        .waitFor({ timeout: 20_000 });
      await keys.getByRole('rowheader', { name: 'globex' }).waitFor();
      expect(await keys.textContent()).not.toContain(keyId);
      expect(await keys.getByText(/^(settled|not settled yet|not known)$/).count()).toBeGreaterThan(1);
    });
  });
});

describe('budgets', () => {
  it('are set, refused with the reason, changed and removed, by keyboard', async () => {
    await as(
      'owner',
      async (page) => {
        const budgets = section(page, 'budgets');
        await budgets.getByText('No budget yet').waitFor();
        await budgets.getByRole('button', { name: 'Set a budget…' }).press('Enter');
        const dialog = page.getByRole('dialog', { name: 'Set a budget' });
        await dialog.getByLabel('Its name').fill('initech');
        await dialog.getByLabel('At most').fill('20');
        await dialog.getByLabel('At most').press('Enter');
        await dialog.getByRole('alert').getByText('organisation "initech" does not exist').waitFor();
        expect(await cw.budgets.list()).toEqual([]);
        await dialog.getByLabel('Its name').fill('acme');
        await dialog.getByLabel('Its name').press('Enter');
        await budgets.getByText('The budget is set.').waitFor();
        const row = budgets.getByRole('row', { name: /^organisation acme/ });
        expect(await row.textContent()).toMatch(/% used.*of 20.Wh each day.*hard.*warns at 80/);

        await row.getByRole('button', { name: 'Change the budget of the organisation acme' }).press('Enter');
        await page.getByLabel(/^At most/).fill('1e-9');
        await page.getByLabel('What it does').selectOption('soft');
        await page.getByRole('button', { name: 'Change it' }).press('Enter');
        await row.getByText(/^passed: /).waitFor();
        expect(await cw.budgets.list()).toMatchObject([{ amount: 1e-9, mode: 'soft', warnAt: 0.8 }]);

        await row.getByRole('button', { name: 'Remove the budget of the organisation acme' }).press('Enter');
        await page.getByRole('button', { name: 'Keep it' }).press('Enter');
        expect(await cw.budgets.list()).toHaveLength(1);
        await row.getByRole('button', { name: 'Remove the budget of the organisation acme' }).press('Enter');
        await page.getByRole('button', { name: 'Remove it' }).press('Enter');
        await budgets.getByText('No budget yet').waitFor();
        expect(await cw.budgets.list()).toEqual([]);
      },
      { complains: /404/ },
    );
  });

  it('of money have prices, and offer the keys that there are', async () => {
    const [key] = await cw.keys.list();
    const choose = async (page: Page) => {
      await page.getByRole('button', { name: 'Set a budget…' }).click();
      await page.getByRole('combobox', { name: 'Of', exact: true }).selectOption('key');
      await page.locator(`datalist option[value="${key?.id}"]`).waitFor({ state: 'attached' });
      await page.getByLabel('Its id').fill(key?.id ?? '');
      await page.getByLabel('At most').fill('5');
      await page.getByLabel('Unit').selectOption('money');
      await page.getByLabel('Price of a request').fill('0.001');
      await expectNoViolations(page);
      await page.getByRole('button', { name: 'Set the budget' }).click();
      await page.getByText('The budget is set.').waitFor();
    };
    // The list of organisations may still be on its way when keys are asked for.
    await as('owner', choose, { complains: /organisations: net::ERR_ABORTED/ });
    const [budget] = await cw.budgets.list();
    expect(budget).toMatchObject({
      unit: 'money',
      currency: 'EUR',
      prices: [{ perRequest: 0.001, perWh: 0 }],
    });
    await cw.budgets.remove(budget?.id ?? '');
  });

  it('are shown to whom they limit, who cannot change them', async () => {
    const [grant] = await cw.grants.list('acme/digits');
    const { id } = await cw.budgets.set({
      subject: { kind: 'grant', name: grant?.id ?? '' },
      unit: 'rows',
      amount: 500,
      period: 'month',
    });
    await as('consumer', async (page) => {
      const row = section(page, 'budgets').getByRole('row', { name: /of digits to globex/ });
      await row.getByText('set by acme/ada').waitFor();
      expect(await row.getByRole('button').count()).toBe(0);
      expect(await row.textContent()).toContain('of 500 rows each month');
    });
    await cw.members.create({ name: 'mel', role: 'member' });
    const { apiKey } = await cw.keys.create({ name: 'mel', member: 'mel' });
    await visit(browser, { baseUrl: server.baseUrl, apiKey }, async (page) => {
      await section(page, 'budgets').getByText('No budget yet').waitFor();
      expect(await page.getByRole('button', { name: 'Set a budget…' }).count()).toBe(0);
    });
    await cw.budgets.remove(id);
  });
});

describe('acting on it', () => {
  it('shows when a job runs, and by which forecast', async () => {
    const { id } = await cw.jobs.create({
      kind: 'batch',
      config: { model: 'acme/digits', dataset: 'digits', split: 'test' },
      schedule: { maxDelayS: 6 * 3600, expectedS: 3600 },
    });
    await as('owner', async (page) => {
      const row = page
        .getByRole('region', { name: 'Jobs that wait for cleaner hours' })
        .getByRole('row', { name: new RegExp(id.slice(0, 8)) });
      expect(await row.textContent()).toMatch(
        /queued.*waits for cleaner hours: .* to .*100.g\/kWh then, 600.g\/kWh at once \(forecast\)forecast: 83\.3.% less/,
      );
      expect(await page.getByText('Fewer, fuller runners').count()).toBe(0);
    });
    await cw.jobs.cancel(id);
  });
});

describe('downloads', () => {
  async function download(page: Page, button: string): Promise<{ name: string; bytes: Buffer }> {
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: button, exact: true }).click(),
    ]);
    await page.getByText(`${file.suggestedFilename()} is downloaded.`).waitFor();
    return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
  }

  it('are the files that the API has', async () => {
    await as('owner', async (page) => {
      const csv = await download(page, 'Ledger, CSV');
      expect(csv.name).toMatch(/^ledger-\d{4}-\d\d-\d\d-\d{4}-\d\d-\d\d\.csv$/);
      const [head, ...lines] = csv.bytes.toString().trim().split(/\r?\n/);
      expect(head).toMatch(/energyWh/);
      expect(lines.some((line) => line.includes('globex'))).toBe(true);
      const parquet = await download(page, 'Ledger, Parquet');
      expect(parquet.bytes.subarray(0, 4).toString()).toBe('PAR1');
      expect((await download(page, 'Manifest, YAML')).bytes.toString()).toMatch(/^name: /m);
      const statement = await download(page, 'Statement, JSON');
      expect(JSON.parse(statement.bytes.toString())).toMatchObject({ organisation: 'acme' });
      expect((await download(page, 'Statement, to print')).bytes.toString()).toMatch(/^<!doctype html>/i);
      const card = await download(page, 'Card, Markdown');
      expect(card.name).toBe('acme--digits-card.md');
      expect(card.bytes.toString()).toContain('co2_eq_emissions');
      expect(JSON.parse((await download(page, 'Card, SPDX')).bytes.toString())['@graph']).toBeDefined();
    });
  });
});

describe('for the operator of a server without anything', () => {
  const proposed: ConsolidationState = {
    mode: 'propose',
    windowS: 3600,
    steps: [{ kind: 'replicas', id: 'd1', name: 'acme/digits:1', from: 2, to: 1, why: 'one is enough' }],
    before: { runners: 2, copies: 2, reservedBytes: 4e6, rur: 0.1 },
    after: { runners: 1, copies: 1, reservedBytes: 2e6, rur: 0.2 },
    performed: {
      id: 'c1',
      at: '2026-11-26T12:00:00Z',
      by: 'commonwatt/operator',
      steps: [],
      skipped: [],
      undoneAt: '2026-11-26T12:10:00Z',
      before: { gCo2ePerHour: 5, energyWhPerHour: 10, rur: 0.1, requestsPerS: 0.5 },
      after: null,
      afterUnknown: 'too little time has passed',
    },
  };

  it('says why figures are missing, shows no budget as 0, and what could be consolidated', async () => {
    const dataFolder = join(folder, 'empty');
    const child = spawnProgram(['up', '--json'], { COMMONWATT_DATA: dataFolder });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    while (!out.includes('\n}\n')) {
      if (child.exitCode !== null) throw new Error(`it ended: ${out}`);
      await sleep(20);
    }
    const { baseUrl, operatorKey } = JSON.parse(out.slice(0, out.indexOf('\n}\n') + 3));
    for (const colorScheme of ['light', 'dark'] as const)
      await visit(
        browser,
        {
          baseUrl,
          apiKey: operatorKey,
          // A proposal needs minutes of watching: only its answer is set here; performing it asks the server.
          prepare: (page) =>
            page.route('**/api/v1/consolidation', (route) => route.fulfill({ json: proposed })),
        },
        async (page) => {
          const change = page.getByRole('region', { name: 'What consolidation would change' });
          await change.waitFor();
          const changed = page.getByRole('region', { name: 'What consolidation changed' });
          expect(await change.getByRole('row', { name: /^RUR of processes/ }).textContent()).toMatch(
            /10.%20.%\+10.points$/,
          );
          expect(await changed.getByRole('row', { name: /^CO₂e in an hour/ }).textContent()).toMatch(
            /5.g–not known$/,
          );
          await page.getByText('After it: too little time has passed.').waitFor();
          await page.getByText('not known: no request was computed in this window').first().waitFor();
          await expectNoViolations(page);
          expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
          await page.getByRole('button', { name: 'Do it' }).click();
          await page.getByText('Done. No request failed for it.').waitFor();
        },
        { colorScheme, viewport: { width: 360, height: 800 } },
      );
    const exit = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGTERM');
    await exit;
  });
});
