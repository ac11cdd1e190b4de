// The dashboard with a month that a short test cannot produce, from made-up responses: its look, its tables and its sign-in. What it says
// of each state is tested in tests/web, the way from an alert to a blocked user in users.mjs.
import assert from 'node:assert/strict';
import { BROKER, operatorToken } from './harness.mjs';
import { grants, spenders, spendersNow } from './made-up-spenders.mjs';
import { month, usage } from './month.mjs';
import { until } from './processes.mjs';
import { DESKTOP, PHONE, axeFindsNothing, isNotTooWide, isShown, nothingWentWrong, openPage, picture, text } from './watched-page.mjs';

/** @param {string} [token] */
export async function signIn(page, token = operatorToken) {
  await page.goto(`${BROKER}/dashboard`);
  await page.type('#token', token);
  await page.click('#sign-in-form button');
}

/** The dashboard, whose requests are answered with the month. */
async function aMonth(browser, mood, viewport, scheme) {
  const page = await openPage(browser, viewport);
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  const answers = month(mood);
  const { used } = answers['api/overview'].bytes;
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const { pathname, searchParams } = new URL(request.url());
    const path = pathname.slice(1);
    if (!path.startsWith('api/')) return request.continue();
    const made = {
      ...answers,
      'api/spenders': searchParams.has('since') ? spendersNow() : spenders(used),
      'api/grants': grants(searchParams.get('user')),
      ...(path === 'api/usage' && searchParams.has('from') && { 'api/usage': usage(Date.parse(searchParams.get('from')), searchParams.get('step') * 1000) }),
    };
    return request.respond({ contentType: 'application/json', body: JSON.stringify(made[path]) });
  });
  await signIn(page);
  await until('the plots', () => page.$eval('#rate-plot', (plot) => plot.querySelector('canvas')?.width > 100));
  return page;
}

export async function theDashboardOfAMonth(browser) {
  // docs/dashboard.png is a copy of the first picture.
  const page = await aMonth(browser, 'calm', { ...DESKTOP, height: 1690 }, 'light');
  await picture(page, 'dashboard', { fullPage: false });
  await axeFindsNothing(page, 'dashboard, calm');
  await theChartIsReadWithKeysAndAsATable(page);
  await theTableSortsAndOpens(page);
  await theTablesFitOnEveryScreen(page);
  assert.equal(await isShown(page, 'ending'), false);
  nothingWentWrong(page);
  await page.close();
  const phone = await aMonth(browser, 'trouble', PHONE, 'dark');
  assert.match(await text(phone, 'ending'), /are being revoked \(AT_LIMIT\), 28 left, 20 done/);
  assert.ok(await isShown(phone, 'ending'));
  assert.equal(await text(phone, 'provider-state'), 'Cloudflare does not mint');
  await axeFindsNothing(phone, 'dashboard, trouble, dark, phone');
  await isNotTooWide(phone, 'phone');
  await picture(phone, 'dashboard-trouble-dark-phone');
  nothingWentWrong(phone);
  await phone.close();
}

/** The cursor and the table have the same values of the same step. */
async function theChartIsReadWithKeysAndAsATable(page) {
  await page.focus('#rate-plot');
  await page.keyboard.press('End');
  await page.keyboard.press('PageUp');
  await page.keyboard.press('ArrowLeft');
  const values = await page.$eval('#rate-plot', ({ ariaValueText }) => ariaValueText);
  assert.match(values, /^UTC 20 Nov 13:14, average rate [\d.]+ Mbps, live credentials \d+$/);
  await page.click('#rate-rows ::-p-xpath(ancestor::details/summary)');
  await page.$$eval('#rate-rows .pager button', ([, next]) => next.click());
  const cells = await page.$$eval('#rate-rows tbody tr', (all) => all.map((row) => [...row.cells].map(({ textContent }) => textContent)));
  const [, mbps, live] = cells.find(([at]) => at === '2026-11-20 13:14');
  const numbers = (text) => text.match(/[\d.]+(?= Mbps)|(?<=credentials )\d+/g);
  assert.deepEqual([mbps, live], numbers(values));
  await axeFindsNothing(page, 'the chart as a table');
  await page.click('#rate-rows ::-p-xpath(ancestor::details/summary)');
}

/** The row stays open, and the focus stays on its button. */
async function theTableSortsAndOpens(page) {
  const rowNames = () => page.$$eval('#spenders-panel .row-toggle', (all) => all.map(({ textContent }) => textContent));
  assert.deepEqual((await rowNames()).slice(0, 2), ['mallory@example.com', 'user-1042']);
  const bars = await page.$$eval('#spenders-panel .meter', (all) => all.slice(0, 2).map(({ style }) => Math.round(parseFloat(style.width))));
  assert.deepEqual(bars, [50, 25], 'each bar is a share of the whole');
  await page.click('#spenders-panel .sort');
  assert.equal((await rowNames())[0], 'ann@example.com');
  await page.type('#spenders-tools input', 'EXAMPLE');
  assert.deepEqual(await rowNames(), ['ann@example.com', 'ben@example.com', 'mallory@example.com']);
  await page.focus('.row-toggle');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.opened tbody tr');
  assert.deepEqual(await page.evaluate(() => [document.activeElement.className, document.activeElement.ariaExpanded]), ['row-toggle code', 'true']);
  await axeFindsNothing(page, 'an open row');
  // From those without a name, one click shows whom to block.
  await page.$eval('#spenders-tools input', (field) => { field.value = ''; field.dispatchEvent(new Event('input')); });
  await page.click('#spenders-panel button[aria-label="Who? (no user)"]');
  await page.waitForSelector('#by-address[aria-selected=true]');
  await page.click('#by-user');
  await page.waitForSelector('#spenders-panel button[aria-label="Who? (no user)"]');
}

/** Some systems hide scroll bars, so each whole table must fit, with its buttons. */
async function theTablesFitOnEveryScreen(page) {
  for (const width of [360, 640, 641, 765, 900, 901, 1024, 1280]) {
    await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
    const out = await page.$$eval('.scroll', (all) => all.map((one) => `${one.firstChild.ariaLabel}: ${one.scrollWidth - one.clientWidth}`));
    assert.deepEqual(out.filter((one) => !one.endsWith(': 0')), [], `at ${width} px`);
  }
}

/**
 * The field has the focus, also on the page that an alert links to. A password manager can fill it in, and the token is in no address.
 * With the box, another tab and a later day need no token.
 */
export async function anOperatorStaysSignedIn(browser) {
  const page = await openPage(browser);
  await page.goto(`${BROKER}/dashboard#by-address=127%2e0%2e0%2e1`);
  await until('the focus', () => page.evaluate(() => document.readyState === 'complete' && document.activeElement?.id === 'token'));
  const fields = await page.$$eval('#sign-in-form input', (all) => all.map(({ autocomplete, type }) => `${autocomplete} ${type}`));
  assert.deepEqual(fields, ['username text', 'current-password password', ' checkbox']);
  assert.equal(await page.$eval('#sign-in-form', ({ method }) => method), 'post', 'a form that is sent by mistake has no token in its address');
  await axeFindsNothing(page, 'sign-in');
  await picture(page, 'dashboard-sign-in');
  await page.keyboard.type(operatorToken);
  await page.click('#stay');
  await page.keyboard.press('Enter');
  await until('the figures', async () => (await text(page, 'freshness')).startsWith('live'));
  await until('the list that the link names', () => page.$('#by-address[aria-selected=true]'));
  assert.equal(await page.$eval('#spenders-tools input', ({ value }) => value), '127.0.0.1', 'and the row');
  assert.ok(!page.url().includes(operatorToken));
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.reload();
  await until('the figures without a token', async () => (await text(page, 'freshness')).startsWith('live'));
  await page.click('#sign-out');
  await until('the sign-in', () => isShown(page, 'sign-in'));
  assert.equal(await page.evaluate(() => localStorage.length), 0, 'signing out forgets it');
  await page.close();
}
