// The pages in a real browser: the dashboard of a broker with traffic, and the relay check with a real coturn.
// No page may violate its own policy, log an error, or have findings of axe. Pictures go to PICTURES.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { anOperatorStaysSignedIn, signIn, theDashboardOfAMonth } from './dashboard-page.mjs';
import { BROKER, coturnSecret, directory, operator, operatorToken, runTest, start, startBroker, startCoturn, status } from './harness.mjs';
import { Process, brokerProcess, launchBrowser, until } from './processes.mjs';
import { theFiguresAreTheSame } from './same-figures.mjs';
import { PHONE, axeFindsNothing, forgetLostRequests, isShown, nothingWentWrong, openPage, part, picture, text } from './watched-page.mjs';

const RUN_SECONDS_MAX = 120;
const REPORTER_TOKEN = 'reporter-of-the-pages-test-0123456789';
const SERVER_KEY = 'server-key-of-the-pages-test-with-32-characters';
/** A day, so that no allowance refills while a slow machine asks for more than it. */
const RATE_LIMIT_WINDOW_SECONDS = '86400';

async function run() {
  const browser = await launchBrowser(directory);
  // They run at the same time, because each of them mostly waits.
  await Promise.all([dashboard(browser), relayCheck(browser)]);
  await browser.close();
}

async function dashboard(browser) {
  const cloudflare = await start(fakeCloudflare());
  const broker = await startDashboardBroker();
  await part(theFiguresOfAnIdleBroker, browser);
  await part(traffic);
  await part(aWrongTokenIsRejected, browser);
  const page = await part(theDashboardShowsTheTraffic, browser);
  await part(anActionNeedsASecondClick, page);
  await part(theAddressInAnAlertIsEndedWithThreeClicks, page);
  await part(whatStopsMintingHasOneNameEverywhere, page, broker, cloudflare);
  await part(aHiddenPageSendsNoRequests, page);
  await part(theDashboardSurvivesARestartOfTheBroker, page, broker);
  await page.close();
  await part(theDashboardOfAMonth, browser);
  await part(anOperatorStaysSignedIn, browser);
}

async function relayCheck(browser) {
  await startCoturn();
  await part(theRelayCheckFindsABrokenServer, browser);
}

function fakeCloudflare() {
  const args = ['--latency-ms', '20', '--relay-mb', '30'];
  return new Process('cloudflare', directory, process.env.FAKE_CLOUDFLARE_BIN, args, {}, ({ log }) => log.includes('8787'));
}

const startDashboardBroker = () => startBroker(`http://app.test,${BROKER}`, {
  ICE_SOURCES: 'cloudflare,stun',
  COTURN_URLS: '',
  COTURN_SECRET: '',
  CLOUDFLARE_API_BASE: 'http://127.0.0.1:8787',
  CLOUDFLARE_TURN_KEY_ID: 'demo',
  CLOUDFLARE_TURN_API_TOKEN: 'demo-token',
  CLOUDFLARE_ANALYTICS_BASE: 'http://127.0.0.1:8787',
  CLOUDFLARE_ACCOUNT_ID: 'demo-account',
  CLOUDFLARE_ANALYTICS_TOKEN: 'demo-analytics-token',
  REPORTER_TOKEN,
  SERVER_KEYS: `app=${SERVER_KEY}`,
  RATE_LIMIT_REQUESTS: '8',
  RATE_LIMIT_WINDOW_SECONDS,
  SIGNALING: 'ayame',
  HEARTBEAT_SECONDS: '300', // reported connections stay open for the whole test
  STATE_DIR: join(directory, 'state'),
});

async function theFiguresOfAnIdleBroker(browser) {
  const page = await openPage(browser);
  await signIn(page);
  await until('the figures', async () => (await text(page, 'freshness')).startsWith('live'));
  await theFiguresAreTheSame(page, 'idle');
  nothingWentWrong(page);
  await page.close();
}

/** Some credentials, two of them reported, one connection of an app server, one foreign page and one request above the rate. */
async function traffic() {
  const mint = (headers) => fetch(`${BROKER}/api/turn-credentials`, { headers });
  const grants = [];
  for (let n = 0; n < 7; n += 1) grants.push((await (await mint({})).json()).grant);
  assert.equal((await mint({ Origin: 'http://elsewhere.test' })).status, 403);
  await mint({});
  assert.equal((await mint({})).status, 429);
  for (const [index, grant] of grants.slice(0, 2).entries()) await report(grant, `call-${index}`, 150_000 * (index + 1));
  await report(REPORTER_TOKEN, 'room-9.<b>alice</b>', 90_000, { user: 'alice', label: 'room-9' });
}

async function report(token, connectionId, bytesReceived, of = {}) {
  const post = (path, body) => fetch(`${BROKER}/api/connections${path}`, { method: 'POST', headers: { Authorization: `Bearer ${token}` }, body: JSON.stringify(body) });
  await post('', { connectionId, relayed: true, ...of });
  const heard = await post(`/${encodeURIComponent(connectionId)}/heartbeat`, { bytesReceived, bytesSent: 40_000, relayed: true });
  assert.ok(heard.ok, `heartbeat: ${heard.status}`);
}

async function aWrongTokenIsRejected(browser) {
  const page = await openPage(browser);
  await signIn(page, 'not-the-token-of-this-broker');
  await until('the rejection', async () => (await text(page, 'sign-in-fault')).includes('rejects'));
  assert.equal(await isShown(page, 'board'), false);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'the page forgets it');
  await page.close();
}

async function theDashboardShowsTheTraffic(browser) {
  const page = await openPage(browser);
  const answers = [];
  page.on('response', (answer) => answers.push(answer));
  await signIn(page);
  await until('the figures', async () => (await text(page, 'freshness')).startsWith('live'));
  await until('the plots', () => page.$eval('#usage-plot', (plot) => plot.querySelector('canvas')?.width > 300));

  const origins = new Set(answers.map((answer) => new URL(answer.url())).filter(({ protocol }) => protocol !== 'data:').map(({ origin }) => origin));
  assert.deepEqual([...origins], [BROKER], 'all files come from the broker');
  const files = answers.filter((answer) => !answer.url().includes('/api/') && answer.url().startsWith(BROKER));
  const bytes = (await Promise.all(files.map((answer) => answer.buffer()))).reduce((sum, { length }) => sum + length, 0);
  console.log(`dashboard: ${bytes} bytes in ${files.length} files`);

  assert.equal(await text(page, 'used'), (await status()).bandwidthUsedGB);
  assert.equal(await text(page, 'limit'), '1000');
  const named = await page.$$eval('#connections tbody tr', (all) => all.map((row) => row.cells[0].textContent + row.cells[1].textContent + row.cells[2].textContent));
  assert.ok(named.includes('room-9.<b>alice</b>aliceroom-9'), `${named}`);
  const rows = await page.$$eval('#connections tbody tr', (all) => all.map((row) => row.cells[0].textContent));
  assert.deepEqual(rows.sort(), ['call-0', 'call-1', 'room-9.<b>alice</b>'], 'names are shown as text');
  // The fake counts from 00:00 UTC on. In the first two hours, ten minutes are a large part of that.
  const reading = new Date().getUTCHours() < 2 ? /^(Yes: measured|Partly: .* are not counted yet)$/ : /^Yes: measured$/;
  await until('the reading', async () => reading.test(await text(page, 'reliability')));
  const callers = await text(page, 'callers');
  assert.match(callers, /first source8.*degraded0refused2ORIGIN_NOT_ALLOWED1RATE_LIMITED1/s);
  await report(REPORTER_TOKEN, 'room-9.<b>alice</b>', 3_500_000);
  await until('the next report to show', async () => (await text(page, 'connections')).includes('3.5 MB'));
  assert.doesNotMatch(await text(page, 'connections'), / kB/, 'a column has one unit');
  await theFiguresAreTheSame(page, 'with traffic');
  await axeFindsNothing(page, 'dashboard');
  await picture(page, 'dashboard-live');
  nothingWentWrong(page);
  return page;
}

async function anActionNeedsASecondClick(page) {
  const act = async (open, answer) => {
    await page.click(open);
    await page.waitForSelector('#confirm[open]');
    if (open.includes('limit')) await axeFindsNothing(page, 'confirmation');
    await page.click(answer);
    await page.waitForSelector('#confirm:not([open])');
  };
  await page.type('#limit-input', '0,5');
  await page.click('#limit-form button[type=submit]');
  await until('the message about commas', async () => (await text(page, 'action-result')).startsWith('Enter GB, for example 0.5 or 1500.'));
  assert.equal(await page.$('#confirm[open]'), null);
  await page.$eval('#limit-input', (input) => { input.value = ''; });
  assert.equal(await text(page, 'limit-note'), 'Now 1000 GB, as configured.');
  await page.type('#limit-input', '1000');
  await page.click('#limit-form button[type=submit]');
  await until('the message that nothing changes', async () => (await text(page, 'action-result')) === 'The limit is 1,000 GB already.');
  assert.equal(await page.$('#confirm[open]'), null);
  await page.$eval('#limit-input', (input) => { input.value = ''; });
  await page.type('#limit-input', '750.5');
  await act('#limit-form button[type=submit]', '#confirm-no');
  assert.equal((await status()).bandwidthLimitGB, 1000, 'one click changes nothing');
  await act('#limit-form button[type=submit]', '#confirm-yes');
  await until('the limit', async () => (await text(page, 'limit')) === '750.5');
  assert.equal(await text(page, 'action-result'), 'The limit is now 750.5 GB.');
  await act('#freeze', '#confirm-yes');
  await until('the freeze', async () => (await text(page, 'minting')) === 'Not minting: FROZEN');
  assert.equal((await status()).frozen, true);
  await theFiguresAreTheSame(page, 'frozen, under another limit');
  assert.match(await text(page, 'freeze-note'), /^New callers now get STUN only\./);
  assert.match(await text(page, 'minting-why'), /The operator has stopped it\./);
  assert.ok(await page.$eval('#minting-why', (why) => parseFloat(getComputedStyle(why).fontSize) >= 17), 'the reason is as large as the headline');
  const range = () => page.$eval('[data-range][aria-pressed=true]', ({ dataset }) => dataset.range);
  assert.equal(await range(), 'hour', 'while there is a fault');
  await act('#freeze', '#confirm-yes');
  await until('minting', async () => (await text(page, 'minting')) === 'Minting');
  await operator('/api/budget/limit', 'POST', { limitGB: 0.01 });
  await theFiguresAreTheSame(page, 'beyond the limit');
  assert.match(await text(page, 'limit-at-why'), /^(?:< )?[\d.]+ [kMG]B an hour (?:still flow|flowed up to [\d:]+, as counted), at \$[\d.]+ an hour\.$/);
  assert.equal(await range(), 'hour', 'at the limit, too');
  await picture(page, 'dashboard-at-the-limit');
  await operator('/api/budget/limit', 'POST', { limitGB: 750.5 });
  await theFiguresAreTheSame(page, 'below the limit again');
  nothingWentWrong(page);
}

/** The link of the alert, the button of the row, the answer. All its credentials have ended then, and it gets no others. */
async function theAddressInAnAlertIsEndedWithThreeClicks(page) {
  const begun = Date.now();
  const [list, block] = ['#by-address[aria-selected=true]', '#spenders-panel button[aria-label="Block 127.0.0.1"]'];
  await page.evaluate(() => { location.hash = '#by-address'; });
  await page.waitForSelector(list);
  await page.waitForSelector(block);
  await page.click(block);
  await page.waitForSelector('#confirm[open]');
  assert.match(await text(page, 'confirm-text'), /^\d usable credentials, now [\d.]+ [kMG]B an hour\. Clients with this address/);
  await page.click('#confirm-yes');
  await until('the end', async () => /^127\.0\.0\.1 .*Live credentials of 127\.0\.0\.1: \d, all revoked/s.test(await text(page, 'action-result')));
  const seconds = (Date.now() - begun) / 1000;
  assert.ok(seconds < 10, `${seconds} s`);
  const { spenders } = await (await operator('/api/spenders?by=address')).json();
  assert.equal(spenders.find(({ key }) => key === '127.0.0.1').usable, 0);
  await theFiguresAreTheSame(page, 'after a leak was ended');
  await operator('/api/addresses/127.0.0.1/block', 'DELETE');
  nothingWentWrong(page);
}

/** The provider is down, then no file may grow, as on a full disk. A wrong clock: `tests/it/bandwidth_status/clock.rs`. */
async function whatStopsMintingHasOneNameEverywhere(page, broker, cloudflare) {
  const says = (words) => until(`the dashboard to say ${words}`, async () => {
    // A server's mint is in no allowance of an address. It fails, or shows that minting works again.
    await fetch(`${BROKER}/api/turn-credentials`, { headers: { Authorization: `Bearer ${SERVER_KEY}` } });
    return (await text(page, 'minting')) === words;
  });
  await cloudflare.stop();
  await says('Not minting: PROVIDER_UNAVAILABLE');
  await theFiguresAreTheSame(page, 'while the provider is down');
  await start(fakeCloudflare());
  await says('Minting');
  const limitFiles = (bytes) => execFileSync('prlimit', [`--pid=${broker.child.pid}`, `--fsize=${bytes}:`]);
  limitFiles(1);
  await says('Not minting: LEDGER_UNAVAILABLE');
  await theFiguresAreTheSame(page, 'on a full disk');
  limitFiles('unlimited');
  await says('Minting');
  await theFiguresAreTheSame(page, 'after both');
  nothingWentWrong(page);
}

async function aHiddenPageSendsNoRequests(page) {
  let [last, requests] = [Date.now(), 0];
  const count = () => { [last, requests] = [Date.now(), requests + 1]; };
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  page.on('request', count);
  await hide(true);
  await until('the silence of two polls', () => Date.now() - last > 11_000); // the loop polls once more and stops
  const before = requests;
  await hide(false);
  await until('a request', () => requests > before);
  page.off('request', count);
}

async function theDashboardSurvivesARestartOfTheBroker(page, broker) {
  assert.equal(await broker.stop(), 'status 0');
  // It may have said something else while the broker stopped.
  await until('the message', async () => /^The broker is unavailable: no answer\. These figures are from \d\d:\d\d:\d\d UTC\./.test(await text(page, 'unavailable')));
  assert.ok(await isShown(page, 'unavailable'));
  await picture(page, 'dashboard-unavailable');
  await startDashboardBroker();
  await until('the broker to be back', async () => !(await isShown(page, 'unavailable')));
  assert.equal(await text(page, 'limit'), '750.5', 'the override survived the restart');
  forgetLostRequests(page);
  nothingWentWrong(page);
}

async function theRelayCheckFindsABrokenServer(browser) {
  const settings = {
    HOST: '127.0.0.1', PORT: '3002', CLIENT_URL: 'http://app.test', OPERATOR_TOKEN: operatorToken, RUST_LOG: 'debug',
    ICE_SOURCES: 'coturn', COTURN_SECRET: coturnSecret, ICE_URLS: 'all',
    COTURN_URLS: 'turn:127.0.0.1:3478?transport=udp,turn:127.0.0.1:3478?transport=tcp,stun:relay.invalid:3478,turn:127.0.0.1:3998?transport=udp',
  };
  await start(brokerProcess(directory, settings, 'broker-check'));
  const page = await openPage(browser);
  await page.goto('http://127.0.0.1:3002/relay-check');
  const minted = page.waitForResponse((answer) => answer.url().includes('/api/turn-credentials'));
  await page.click('#start');
  const { iceServers, grant } = await (await minted).json();
  // The last server never answers, so its row is still gathering when the first ones have a result.
  const words = () => page.$$eval('#servers tr', (all) => all.map((row) => row.cells[1].innerText.trim()));
  await until('a row that gathers beside one that works', async () => {
    const [first, , , last] = await words();
    return first === 'works' && /^gathering, [1-9]\d* s$/.test(last);
  });
  assert.match(await text(page, 'progress'), /^[123] of 4 tested\. turn:.+: (works|name not found)$/);
  await axeFindsNothing(page, 'relay check, running');
  await picture(page, 'relay-check-running');
  const rows = await checked(page);
  assert.deepEqual(rows.map(([, word]) => word), ['works', 'works', 'name not found', 'no answer'], JSON.stringify(rows));
  assert.match(rows[0][2], /^relay\/udp \d+ ms$/);
  assert.match(rows[2][3], /^701 .*lookup.*after \d+ ms/);
  assert.match(rows[3][3], /^no answer within 15 s$/);
  const findings = await text(page, 'findings');
  assert.match(findings, /The relay works over UDP/);
  assert.match(findings, /The STUN server’s name is not found/);
  assert.match(findings, /Some ports do not work.*127\.0\.0\.1:3998/);
  const answer = await text(page, 'answer');
  assert.match(answer, /sourcecoturn.*degradedfalse.*ttl300 s/s);
  const report = await page.$eval('#report', ({ value }) => value);
  assert.match(report, /turn:127\.0\.0\.1:3998\?transport=udp: no answer\n {4}error: no answer within 15 s/);
  const { username, credential } = iceServers.find(({ username }) => username);
  const whole = report + (await page.content());
  for (const secret of [username, credential, grant]) assert.ok(!whole.includes(secret), 'the page shows no credential');
  await axeFindsNothing(page, 'relay check');
  await picture(page, 'relay-check-light-desktop');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  const { width, height } = PHONE; // emulating a mobile device would reload the page
  await page.setViewport({ width, height, deviceScaleFactor: 1 });
  await axeFindsNothing(page, 'relay check, dark, phone');
  await picture(page, 'relay-check-dark-phone');
  nothingWentWrong(page);
  await page.close();
}

/** The rows of the table after the check: server, outcome, candidates, errors. */
async function checked(page) {
  await until('the check', async () => (await text(page, 'progress')) === 'done');
  return page.$$eval('#servers tr', (rows) => rows.map((row) => [...row.cells].map(({ innerText }) => innerText.trim())));
}

await runTest(run, RUN_SECONDS_MAX);
