// The way of an operator on call: from the link of an alert to "this user is blocked", with the clicks and the time counted. The
// token is filled in by a password manager.
import assert from 'node:assert/strict';
import { operatorToken } from './harness.mjs';
import { until } from './processes.mjs';
import { axeFindsNothing, nothingWentWrong, picture, text } from './watched-page.mjs';

const CLICKS_MAX = 4;

/** The message of an alert, as a chat shows it. @param {string} what @param {string} link */
export const alertPage = (what, link) =>
  `<!doctype html><title>Alert</title><link rel="icon" href="data:,"><p>${what} <a href="${link}">Who spends</a></p>`;

/**
 * @param {import('puppeteer-core').Page} page Has shown nothing yet.
 * @param {string} alert The address of [`alertPage`].
 * @param {string} user The one in the first row.
 * @param {string} name Of the screenshots.
 */
export async function fromAnAlertToABlockedUser(page, alert, user, name) {
  let clicks = 0;
  await page.exposeFunction('clicked', () => { clicks += 1; });
  await page.evaluateOnNewDocument(() => addEventListener('click', ({ isTrusted, target }) => isTrusted && target instanceof HTMLElement && clicked(), true));
  const step = (what) => picture(page, `${name}-${what}`, { fullPage: false });
  const begun = Date.now();

  await page.goto(alert);
  await Promise.all([page.waitForNavigation(), page.click('a')]);
  await page.waitForSelector('#token', { visible: true });
  await page.$eval('#token', (field, token) => { field.value = token; }, operatorToken);
  await step('1-sign-in');
  await page.click('#sign-in-form button');
  await until('the spenders in view', () => page.evaluate(() => {
    const row = document.querySelector('#spenders-panel tbody tr')?.getBoundingClientRect();
    return row && row.top > 0 && row.bottom < innerHeight && ['spenders', 'by-user'].includes(document.activeElement.id);
  }));
  await step('2-who-spends');
  await page.click(`#spenders-panel tbody tr:first-child button[aria-label="Block ${user}"]`);
  await page.waitForSelector('#confirm[open]');
  await axeFindsNothing(page, 'the question');
  await step('3-question');
  await page.click('#confirm-yes');
  await until('the user to be blocked', async () => (await text(page, 'action-result')).startsWith(`${user} is blocked and gets no credentials.`));
  await until('the row to say so', () => page.$eval('#spenders-panel tbody tr', (row) => /blocked.*Allow again/.test(row.textContent)));
  const seconds = (Date.now() - begun) / 1000;
  await step('4-blocked');

  await until('the focus on the button of the row', () => page.evaluate((label) => document.activeElement.ariaLabel === label, `Allow again ${user}`));
  await axeFindsNothing(page, 'after the block');
  console.log(`${name}: ${clicks} clicks, ${seconds.toFixed(1)} s`);
  assert.ok(clicks > 0 && clicks <= CLICKS_MAX, `${clicks} clicks`);
  nothingWentWrong(page);
}
