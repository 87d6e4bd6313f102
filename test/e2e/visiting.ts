/** Visits the page in a fresh tab of real Chromium, and looks at it as WCAG asks. */
import axe from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { expect } from 'vitest';
import { complaintsOf } from './chromium.ts';

export interface Visit {
  baseUrl: string;
  apiKey: string;
  /** Before the page is opened. */
  prepare?: (page: Page) => Promise<unknown>;
  /** What the page is to complain of; otherwise nothing. */
  complains?: RegExp;
}

/** As whoever has the key; `use` ends before the page's complaints are counted. */
export async function visit(
  browser: Browser,
  { baseUrl, apiKey, prepare, complains }: Visit,
  use: (page: Page) => Promise<void>,
  options: BrowserContextOptions = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = complaintsOf(page);
  await prepare?.(page);
  await page.goto(`${baseUrl}/#key=${encodeURIComponent(apiKey)}`);
  await use(page);
  expect(complaints.filter((complaint) => !complains?.test(complaint))).toEqual([]);
  await context.close();
}

export async function expectNoViolations(page: Page): Promise<void> {
  await page.evaluate(axe.source);
  const violations = await page.evaluate(
    `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })
       .then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' ')))`,
  );
  expect(violations).toEqual([]);
}
