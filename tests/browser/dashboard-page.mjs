// The dashboard with a month that a short test cannot produce, from made-up responses in the format of the real broker: its
// look, its tables, and the way of an operator on call from an alert to a blocked user, with the clicks counted.
import assert from 'node:assert/strict';
import { BROKER, operator, operatorToken } from './harness.mjs';
import { Spenders } from './made-up-spenders.mjs';
import { differences, month, usage } from './month.mjs';
import { alertPage, fromAnAlertToABlockedUser } from './on-call.mjs';
import { until } from './processes.mjs';
import { DESKTOP, PHONE, axeFindsNothing, isNotTooWide, isShown, nothingWentWrong, openPage, picture, text } from './watched-page.mjs';

const ALERT = alertPage('turn-broker: 95 % of the bandwidth limit is used.', `${BROKER}/dashboard#spenders`);
const SMALL_PHONE = { ...PHONE, height: 667 };

/** @param {string} [token] */
export async function signIn(page, token = operatorToken) {
  await page.goto(`${BROKER}/dashboard`);
  await page.type('#token', token);
  await page.click('#sign-in-form button');
}

/** Answers the page's requests with the month. `isEmpty`: nobody has spent anything. */
async function answerWith(page, answers, { isEmpty = false } = {}) {
  const spenders = new Spenders(answers['api/overview'].bytes.used);
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const { pathname, searchParams, search } = new URL(request.url());
    const path = pathname.slice(1);
    if (path === 'alert') return request.respond({ contentType: 'text/html', body: ALERT });
    if (!path.startsWith('api/')) return request.continue();
    const respond = (status, body) => request.respond({ status, contentType: 'application/json', body: JSON.stringify(body) });
    if (!/^api\/(spenders|grants|users|credentials)/.test(path)) return respond(200, search ? usage(Date.parse(searchParams.get('from')), searchParams.get('step') * 1000) : answers[path]);
    const [status, body] = spenders.answer(request.method(), path, searchParams);
    return respond(status, isEmpty && body.spenders ? { ...body, spenders: [] } : body);
  });
  return spenders;
}

/** The dashboard with these responses. */
async function aMonth(browser, answers, { viewport = DESKTOP, scheme = 'light', ...more } = {}) {
  const page = await openPage(browser, viewport);
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await answerWith(page, answers, more);
  await signIn(page);
  await until('the plots', () => page.$eval('#rate-plot', (plot) => plot.querySelector('canvas')?.width > 100));
  return page;
}

/** The month in each state, on each screen, in light and dark. */
export async function theDashboardOfAMonth(browser) {
  const reserved = await aMonth(browser, month('reserved'));
  assert.match(await text(reserved, 'minting'), /reserved in full/);
  await picture(reserved, 'dashboard-reserved-light-desktop');
  await reserved.close();
  // docs/dashboard.png is a copy of this one.
  const first = await aMonth(browser, month('calm'), { viewport: { ...DESKTOP, height: 1690 } });
  await picture(first, 'dashboard', { fullPage: false });
  await first.close();
  for (const mood of ['calm', 'alarm', 'trouble']) {
    const answers = month(mood);
    await theFormatIsThatOfTheBroker(browser, answers);
    for (const scheme of ['light', 'dark']) {
      for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
        const page = await aMonth(browser, answers, { viewport, scheme });
        await axeFindsNothing(page, `dashboard, ${mood}, ${scheme}, ${name}`);
        await isNotTooWide(page, name);
        await picture(page, `dashboard-${mood}-${scheme}-${name}`);
        nothingWentWrong(page);
        await page.close();
      }
    }
  }
}

async function theFormatIsThatOfTheBroker(browser, answers) {
  for (const path of ['api/overview', 'api/connections', 'api/usage', 'api/alerts']) {
    assert.deepEqual(differences(await (await operator(`/${path}`)).json(), answers[path], path), []);
  }
  const member = await aMember(browser, 'room-1');
  assert.deepEqual(differences(await (await operator('/api/calls-live')).json(), answers['api/calls-live'], 'api/calls-live'), []);
  await member.close();
  const spenders = new Spenders(1);
  for (const [path, query] of [['api/spenders', 'by=user'], ['api/grants', '']]) {
    const real = await (await operator(`/${path}?${query}`)).json();
    // The row of bytes without a user has fewer fields.
    if (real.spenders) real.spenders = real.spenders.filter(({ key }) => key !== null);
    assert.ok((real.spenders ?? real.grants).length > 0, `${path} has rows to compare`);
    assert.deepEqual(differences(real, spenders.answer('GET', path, new URLSearchParams(query))[1], path), []);
  }
}

/** A page that is a member of a room of the broker's signaling until it is closed. */
async function aMember(browser, roomId) {
  const page = await openPage(browser);
  await page.goto(`${BROKER}/dashboard`);
  await page.evaluate((register) => new Promise((resolve) => {
    const socket = new WebSocket('signaling');
    socket.onopen = () => socket.send(JSON.stringify(register));
    socket.onmessage = resolve;
  }), { type: 'register', roomId });
  return page;
}

/** The list, and that a call of a protocol without sockets has no button. */
export async function theLiveCallsAreListed(browser) {
  const page = await aMonth(browser, month('calm'));
  const rows = await page.$$eval('#calls tbody tr', (all) => all.map(({ cells }) => [...cells].map(({ textContent }) => textContent)));
  assert.deepEqual(rows, [
    ['standup', 'rooms', '5: ann@example.com, ben@example.com', '24 min', '1.93 GB', '$0.03', 'End'],
    ['9f86d081884c7d659a2feaa0c55ad015', 'ayame', '2', '7 min', '0.38 GB', '$0.0067', 'End'],
    ['support/berlin', 'p2pcf', '2', '40 s', '–', '–', ''],
  ]);
  assert.equal(await text(page, 'calls-note'), '3 calls');
  nothingWentWrong(page);
  await page.close();
}

/** Some systems hide scroll bars, so each whole table must fit, with its buttons. */
export async function theTablesFitOnEveryScreen(browser) {
  const page = await aMonth(browser, month('calm'));
  await page.click('.row-toggle');
  await page.waitForSelector('.opened tbody tr');
  for (const width of [360, 640, 641, 765, 900, 901, 1024, 1100, 1280]) {
    await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
    const out = await page.$$eval('.scroll', (all) => all.map((one) => `${one.firstChild.ariaLabel}: ${one.scrollWidth - one.clientWidth}`));
    assert.deepEqual(out.filter((one) => !one.endsWith(': 0')), [], `at ${width} px`);
    if (width === 765) await picture(page, 'dashboard-calm-light-tablet');
  }
  await page.close();
}

/** On a small phone, with the most that the page can say above it. */
export async function mintingCanBeStoppedWithoutScrolling(browser) {
  const page = await aMonth(browser, month('trouble'), { viewport: SMALL_PHONE });
  const box = await (await page.$('#freeze')).boundingBox();
  assert.equal(await page.evaluate(() => scrollY), 0);
  assert.ok(box.y + box.height < SMALL_PHONE.height, `the button ends at ${box.y + box.height} px`);
  await picture(page, 'dashboard-trouble-first-screen-phone', { fullPage: false });
  await page.close();
}

const rowNames = (page) => page.$$eval('#spenders-panel .row-toggle', (all) => all.map(({ textContent }) => textContent));

export async function aTableSortsSearchesAndHasPages(browser) {
  const page = await aMonth(browser, month('calm'));
  assert.deepEqual((await rowNames(page)).slice(0, 2), ['mallory@example.com', 'user-1042']);
  const pager = (button) => page.$eval('#spenders-panel .pager', (one, at) => (at < 0 ? one.children[1].textContent : one.children[at].click()), button);
  assert.equal(await pager(-1), '1–10 of 12');
  await pager(2);
  assert.deepEqual([await pager(-1), await rowNames(page)], ['11–12 of 12', ['user-31', 'user-6']]);
  await page.click('#spenders-panel .sort');
  assert.equal((await rowNames(page))[0], 'ann@example.com');
  assert.equal(await page.$eval('#spenders-panel tbody tr', ({ cells }) => cells[0].innerHTML), '(no user)', 'this row has no button');
  assert.equal(await page.$eval('#spenders-panel th', (head) => head.ariaSort), 'ascending');
  await page.type('#spenders-tools input', 'EXAMPLE');
  assert.deepEqual(await rowNames(page), ['ann@example.com', 'ben@example.com', 'mallory@example.com']);
  await page.type('#spenders-tools input', '?');
  assert.match(await text(page, 'spenders-panel'), /No row has this text\./);
  await page.focus('#by-user');
  await page.keyboard.press('ArrowRight');
  await until('the labels', async () => (await rowNames(page)).includes('room-1'));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'by-label');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  await until('the calls', async () => (await rowNames(page)).includes('rooms/standup'));
  const row = await page.$$eval('#spenders-panel tbody tr', (all) => [...all.find(({ textContent }) => textContent.includes('standup')).cells].slice(1, 4).map(({ textContent }) => textContent));
  assert.deepEqual(row, ['192.97 GBmeasured', '50.0 %', '$3.40'], 'half of the usage is half of the cost');
  nothingWentWrong(page);
  await page.close();
}

/** The row stays open and says what happened; the focus stays on its button. */
export async function aRowOpensItsCredentials(browser) {
  const page = await aMonth(browser, month('alarm'));
  await page.focus('.row-toggle');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.opened tbody tr');
  assert.deepEqual(await page.evaluate(() => [document.activeElement.className, document.activeElement.ariaExpanded]), ['row-toggle code', 'true']);
  await axeFindsNothing(page, 'an open row');
  await picture(page, 'dashboard-alarm-open-row');
  const first = () => page.$eval('.opened tbody tr', (row) => row.textContent);
  assert.match(await first(), /live/);
  await page.click('.opened tbody button');
  await page.waitForSelector('#confirm[open]');
  await page.click('#confirm-yes');
  await until('the revocation', async () => /revoked 14:23/.test(await first()));
  assert.doesNotMatch(await first(), /Revoke/, 'it has no button any more');
  assert.match(await text(page, 'action-result'), /^The provider has revoked/);
  nothingWentWrong(page);
  await page.close();
}

/** The table has no row for this user, because the user has spent nothing in this period. */
export async function aBlockedUserWithoutBytesIsAllowedAgain(browser) {
  const page = await aMonth(browser, month('calm'));
  await until('the blocked user', async () => (await text(page, 'blocked')).startsWith('spent-nothing@example.com'));
  assert.equal(await text(page, 'blocked-note'), '1 user blocked.');
  await page.click('#blocked button');
  await page.waitForSelector('#confirm[open]');
  await page.click('#confirm-yes');
  await until('the list to be empty', async () => (await text(page, 'blocked-note')) === 'No user is blocked.');
  assert.equal(await text(page, 'action-result'), 'spent-nothing@example.com is not blocked. What was revoked stays revoked.');
  assert.equal(await text(page, 'blocked'), '');
  nothingWentWrong(page);
  await page.close();
}

export async function anEmptyListSaysWhatItMeans(browser) {
  const page = await aMonth(browser, { ...month('calm'), 'api/calls-live': { calls: [], total: 0 } }, { isEmpty: true });
  const empty = await text(page, 'spenders-panel');
  assert.match(empty, /No user has spent anything in this period\./);
  assert.doesNotMatch(empty, /AUTH_/, 'it does not ask for a setting that is set');
  assert.equal(await isShown(page, 'calls-card'), false, 'a broker without signaling has no list of calls');
  nothingWentWrong(page);
  await page.close();
}

/** A password manager needs a user name and a current password. The token is in no address. */
export async function aPasswordManagerCanSignIn(browser) {
  const page = await aMonth(browser, month('calm'));
  const fields = await page.$$eval('#sign-in-form input', (all) => all.map(({ autocomplete, type }) => `${autocomplete} ${type}`));
  assert.deepEqual(fields, ['username text', 'current-password password', ' checkbox']);
  assert.equal(await page.$eval('#sign-in-form', ({ method }) => method), 'post', 'a form that is sent by mistake has no token in its address');
  assert.ok(!page.url().includes(operatorToken));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'budget', 'the focus is in the page that appeared');
  await page.click('#sign-out');
  await until('the sign-in', () => page.evaluate(() => document.activeElement?.id === 'token'));
  await page.close();
}

/** The field has the focus, also on the page that an alert links to. With the box, another tab and a later day need no token. */
export async function anOperatorStaysSignedIn(browser) {
  const page = await openPage(browser);
  await page.goto(`${BROKER}/dashboard#spenders`);
  await until('the focus', () => page.evaluate(() => document.readyState === 'complete' && document.activeElement?.id === 'token'));
  await axeFindsNothing(page, 'sign-in');
  await picture(page, 'dashboard-sign-in');
  await page.keyboard.type(operatorToken);
  await page.click('#stay');
  await page.keyboard.press('Enter');
  await until('the figures', async () => (await text(page, 'freshness')).startsWith('live'));
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await until('the figures without a token', async () => (await text(page, 'freshness')).startsWith('live'));
  await page.click('#sign-out');
  await until('the sign-in', () => isShown(page, 'sign-in'));
  assert.equal(await page.evaluate(() => localStorage.length), 0, 'signing out forgets it');
  await page.close();
}

/** The last hour in minutes. */
export async function theChartShowsTheLastHour(browser) {
  const page = await aMonth(browser, month('alarm'));
  await page.click('[data-range="hour"]');
  await picture(page, 'dashboard-alarm-hour');
  assert.match(await text(page, 'limit-at'), /^in about \d+ (min|h)/);
  assert.equal(await text(page, 'rate'), '412 Mbps');
  assert.equal(await page.$eval('[data-range="hour"]', (button) => button.ariaPressed), 'true');
  nothingWentWrong(page);
  await page.close();
}

/** On each screen. The same with a real alert of a real broker: users.mjs. */
export async function anAlertLeadsToABlockedUser(browser) {
  for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
    const page = await openPage(browser, viewport);
    const spenders = await answerWith(page, month('alarm'));
    await fromAnAlertToABlockedUser(page, `${BROKER}/alert`, 'mallory@example.com', `on-call-${name}`);
    assert.ok(spenders.blocked.has('mallory@example.com') && spenders.revoked.size > 0, 'the broker was asked');
    await page.close();
  }
}
