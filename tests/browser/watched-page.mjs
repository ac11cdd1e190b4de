// A page of the broker's that is watched: what it should not have done, what axe finds, what it shows, and a picture of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const axe = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** From here on `page.faults` tells what it should not have done. They are emptied where something is meant to fail. */
export async function watch(page) {
  page.faults = [];
  page.on('console', (message) => message.type() === 'error' && page.faults.push(`console: ${message.text()}`));
  page.on('pageerror', ({ message }) => page.faults.push(`script: ${message}`));
  await page.exposeFunction('refusedByPolicy', (what) => page.faults.push(`policy: ${what}`));
  await page.evaluateOnNewDocument(() => addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => refusedByPolicy(`${violatedDirective} ${blockedURI}`)));
}

export const text = (page, id) => page.$eval(`#${id}`, ({ textContent }) => textContent);

export async function axeFindsNothing(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  const told = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`);
  assert.deepEqual(told, [], what);
}

/** Under that name in PICTURES. */
export async function picture(page, name) {
  await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage: true });
}
