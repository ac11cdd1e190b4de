// Helpers for a page of the broker: its errors, the findings of axe, its texts and screenshots.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const axe = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
export const DESKTOP = { width: 1280, height: 900, deviceScaleFactor: 1 };
export const PHONE = { width: 375, height: 812, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** Runs one part of a test and logs the time it took. */
export async function part(does, ...over) {
  const begun = Date.now();
  const result = await does(...over);
  console.log(`${does.name}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  return result;
}

/** Collects errors of the page in `page.faults`. Tests remove expected ones. */
export async function watch(page) {
  page.faults = [];
  page.on('console', (message) => message.type() === 'error' && page.faults.push(`console: ${message.text()}`));
  page.on('pageerror', ({ message }) => page.faults.push(`script: ${message}`));
  await page.exposeFunction('refusedByPolicy', (what) => page.faults.push(`policy: ${what}`));
  await page.evaluateOnNewDocument(() => addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => refusedByPolicy(`${violatedDirective} ${blockedURI}`)));
}

/** A page in its own browser context. */
export async function openPage(browser, viewport = DESKTOP) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport(viewport);
  await watch(page);
  return page;
}

/** Removes what a browser logs of requests while no broker runs: refused, or ended in the middle. */
export function forgetLostRequests(page) {
  page.faults = page.faults.filter((fault) => !/ERR_(CONNECTION_(REFUSED|RESET|CLOSED|ABORTED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)/.test(fault));
}

export function nothingWentWrong({ faults }) {
  assert.deepEqual(faults, []);
}

export const text = (page, id) => page.$eval(`#${id}`, ({ textContent }) => textContent);
export const isShown = (page, id) => page.$eval(`#${id}`, (element) => element.checkVisibility());

export async function axeFindsNothing(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  const findings = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`);
  assert.deepEqual(findings, [], what);
}

/** A page must not scroll sideways. */
export async function isNotTooWide(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${what}: ${wide} px too wide`);
}

/** Saves a screenshot in PICTURES. */
export async function picture(page, name, { fullPage = true } = {}) {
  await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage });
}
