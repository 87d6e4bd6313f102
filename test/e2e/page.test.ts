/** The first page in real Chromium, against the real server after its first example. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Commonwatt } from '@commonwatt/client';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from './chromium.ts';
import { startExampleServer } from './server.ts';
import { expectNoViolations, visit as visitPage } from './visiting.ts';

const results = fileURLToPath(new URL('../../test-results/', import.meta.url));

let server: Awaited<ReturnType<typeof startExampleServer>>;
let browser: Browser;

beforeAll(async () => {
  mkdirSync(results, { recursive: true });
  server = await startExampleServer();
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const visit = (apiKey: string, use: (page: Page) => Promise<void>, options = {}) =>
  visitPage(browser, { baseUrl: server.baseUrl, apiKey }, use, options);

async function cellMiddle(page: Page, cell: number): Promise<{ x: number; y: number }> {
  const box = await page.locator(`[data-cell="${cell}"]`).boundingBox();
  if (!box) throw new Error(`cell ${cell} is not on the page`);
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

/** Until what is still being loaded has moved the grid for the last time. */
async function settled(page: Page): Promise<void> {
  const places: string[] = [];
  while (places.length < 4 || new Set(places.slice(-4)).size > 1) {
    places.push(JSON.stringify(await cellMiddle(page, 0)));
    await page.waitForTimeout(150);
  }
}

/** A vertical line with the pointer: the digit one. */
async function drawOne(page: Page): Promise<void> {
  await page.locator('[data-cell="0"]').scrollIntoViewIfNeeded();
  await settled(page);
  const from = await cellMiddle(page, 15);
  const to = await cellMiddle(page, 84);
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(to.x, to.y, { steps: 8 });
  await page.mouse.up();
}

async function expectExplanation(page: Page): Promise<void> {
  await page.locator('.heat-map').waitFor();
  expect(await page.locator('.heat-cell').count()).toBe(100);
  const joules = await page.getByTestId('explanation-joules').textContent();
  expect(joules).toMatch(/^\d[\d.]*\s[nµmk]?J$/);
}

describe('the page, for a caller of another organisation', () => {
  it('draws, predicts and explains, and shows what each of them used', async () => {
    await visit(server.example.consumer.apiKey, async (page) => {
      await page.locator('.who').getByText(server.example.consumer.organisation, { exact: true }).waitFor();
      expect(page.url()).not.toContain('key');
      await drawOne(page);
      await page.getByRole('button', { name: 'Predict' }).click();
      const probability = Number(await page.getByTestId('probability').textContent());
      expect(probability).toBeGreaterThanOrEqual(0);
      expect(probability).toBeLessThan(0.5);
      expect(await page.locator('.verdict').textContent()).toBe('odd');
      const footprint = page.locator('.prediction .footprint');
      expect(await footprint.textContent()).toMatch(/Wh.*gCO₂e.*(measured|estimated|assumed).*provisional/);

      await page.getByRole('button', { name: 'Explain' }).click();
      await expectExplanation(page);
      await page.locator('.point').waitFor();
      const impact = page.locator('section[aria-labelledby="impact-title"]');
      await impact.getByRole('rowheader', { name: 'Reserved, not used' }).waitFor();
      expect(await impact.getByRole('region', { name: 'Requests by Model' }).textContent()).toMatch(
        /acme\/digits/,
      );
      expect(await page.getByTestId('grid').textContent()).toMatch(/^\d+\sgCO₂e\/kWh in .+life-cycle/);
      await page.screenshot({ path: `${results}page.png`, fullPage: true });
    });
  });

  it('can be used by keyboard alone', async () => {
    await visit(server.example.consumer.apiKey, async (page) => {
      await page.locator('[data-cell="0"]').waitFor();
      await page.locator('#playground-title').waitFor();
      for (let presses = 0; presses < 20; presses++) {
        await page.keyboard.press('Tab');
        if ((await page.locator('[data-cell="0"]:focus').count()) === 1) break;
      }
      for (const key of ['ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowRight'])
        await page.keyboard.press(key);
      for (let row = 0; row < 8; row++) {
        await page.keyboard.press('Space');
        await page.keyboard.press('ArrowDown');
      }
      expect(await page.locator('.drawing-cell[aria-pressed="true"]').count()).toBe(8);
      expect(await page.locator('[data-cell="14"]').getAttribute('aria-label')).toBe(
        'row 2, column 5: 95\u00a0% ink',
      );

      await page.getByRole('button', { name: 'Predict' }).focus();
      await page.keyboard.press('Enter');
      await page.getByTestId('probability').waitFor();
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await expectExplanation(page);
    });
  });

  it.each(['light', 'dark'] as const)('meets WCAG AA in %s colours', async (colorScheme) => {
    await visit(
      server.example.consumer.apiKey,
      async (page) => {
        await page.getByRole('button', { name: 'two', exact: true }).click();
        await page.getByRole('button', { name: 'Predict' }).click();
        await page.getByTestId('probability').waitFor();
        await page.getByRole('button', { name: 'Explain' }).click();
        await expectExplanation(page);
        await page.locator('.baselines').waitFor();
        await expectNoViolations(page);
      },
      { colorScheme },
    );
  });

  it.each(['consumer', 'owner'] as const)('fits a telephone (%s)', async (who) => {
    await visit(
      server.example[who].apiKey,
      async (page) => {
        await page.locator('.baselines').waitFor();
        await page.getByRole('rowheader', { name: 'acme/digits:1' }).waitFor();
        for (const settings of await page.getByText('Settings', { exact: true }).all())
          await settings.click();
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
        await page.screenshot({ path: `${results}page-narrow.png`, fullPage: true });
      },
      { viewport: { width: 360, height: 844 } },
    );
  });
});

describe('the page, for the owner', () => {
  it('loads a row of the test split into the drawing', async () => {
    await visit(server.example.owner.apiKey, async (page) => {
      await page.getByLabel('Test row').fill('7');
      await page.getByRole('button', { name: 'Load example row' }).click();
      await page.getByText(/^Row 7: its label is [01]\.$/).waitFor();
      expect(await page.locator('.drawing-cell[aria-pressed="true"]').count()).toBeGreaterThan(0);
    });
  });
});

describe('the page, for who looks after what is served', () => {
  const owner = () => new Commonwatt({ baseUrl: server.baseUrl, apiKey: server.example.owner.apiKey });
  const rowOf = (page: Page, version: string) =>
    page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: version, exact: true }) });

  it('pins, loads and stops what is deployed, and shows how it is served', async () => {
    const artifact = await owner().versions.artifact('acme/digits', 1, 'h5');
    const h5 = new Uint8Array(await new Response(artifact).arrayBuffer());
    await owner().versions.import('acme/spare', h5);
    const settings = { idleUnloadS: 1, maxBatchSize: 7 };
    await owner().deployments.create({ model: 'acme/spare:1', settings });
    await visit(server.example.owner.apiKey, async (page) => {
      const row = rowOf(page, 'acme/spare:1');
      await row.getByText('ready, loads on demand').waitFor({ timeout: 20_000 });
      await row.getByText('Settings').click();
      await row.getByText('up to 7 rows').waitFor();

      await row.getByRole('button', { name: 'Pin acme/spare:1' }).click();
      await page.getByText('acme/spare:1 stays in memory.').waitFor();
      await row.getByText('ready', { exact: true }).waitFor();
      expect(await row.textContent()).toMatch(/\d\s[kM]?B/);
      const [spare] = (await owner().deployments.list()).filter(({ model }) => model === 'acme/spare');
      expect(spare?.settings).toMatchObject({ pinned: true, maxBatchSize: 7 });

      await row.getByRole('button', { name: 'Unpin acme/spare:1' }).click();
      await page.getByText('acme/spare:1 may leave memory when nobody uses it.').waitFor();
      await row.getByRole('button', { name: 'Load acme/spare:1' }).click({ timeout: 20_000 });
      await page.getByText('acme/spare:1 is in memory.').waitFor();

      await row.getByRole('button', { name: 'Stop serving acme/spare:1' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Keep serving' }).click();
      expect(await row.count()).toBe(1);
      await row.getByRole('button', { name: 'Stop serving acme/spare:1' }).click();
      await expectNoViolations(page);
      await page.getByRole('dialog').getByRole('button', { name: 'Stop serving' }).click();
      await page.getByText('acme/spare:1 is no longer served.').waitFor();
      await row.waitFor({ state: 'detached' });
    });
    expect((await owner().deployments.list()).map(({ model }) => model)).toEqual(['acme/digits']);
  });

  it('says why a version is quarantined, and lets only administrators try again', async () => {
    const deployments = await owner().deployments.list();
    const quarantined = deployments.map((one) => ({
      ...one,
      state: 'quarantined',
      reason: 'it ended 3 runners in 5 min',
    }));
    const { member } = await memberKey();
    for (const [apiKey, buttons] of [
      [server.example.owner.apiKey, 1],
      [member, 0],
    ] as const)
      await visit(apiKey, async (page) => {
        // No model that may be imported can crash a runner at will: only the state is set here.
        await page.route('**/api/v1/deployments', (route) =>
          route.fulfill({ json: { deployments: quarantined } }),
        );
        const row = rowOf(page, 'acme/digits:1');
        await row.getByText('it ended 3 runners in 5 min').waitFor({ timeout: 15_000 });
        expect(await row.getByRole('button', { name: 'Try again' }).count()).toBe(buttons);
        await expectNoViolations(page);
      });
  });

  async function memberKey(): Promise<{ member: string }> {
    await owner().members.create({ name: 'mel', role: 'member' });
    const { apiKey } = await owner().keys.create({ name: 'mel', member: 'mel' });
    return { member: apiKey };
  }

  it('tells what was not computed twice', async () => {
    const row = Array.from({ length: 100 }, (_, index) => index / 100);
    for (let turn = 0; turn < 4; turn++) await owner().predict('acme/digits', [row]);
    await visit(server.example.owner.apiKey, async (page) => {
      expect(await page.getByTestId('avoided').textContent()).toMatch(
        /^\d+ requests? (was|were) answered .* spared about [\d.]+\s[nµm]?Wh and .*: estimated, and not subtracted/,
      );
      await rowOf(page, 'acme/digits:1')
        .getByText(/of them answers used again/)
        .waitFor();
    });
  });
});

describe('the page, for a stranger', () => {
  it('refuses an unknown key, says why, and forgets a key on signing out', async () => {
    const page = await browser.newPage();
    await page.goto(server.baseUrl);
    await page.getByLabel('API key').fill('cw_unknown');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel('API key').fill(server.example.consumer.apiKey);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.reload();
    await page.getByLabel('API key').waitFor();
    await page.close();
  });
});
