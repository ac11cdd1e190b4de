// The pages in a real browser: the dashboard on a broker with traffic, the relay check over a real coturn, and what the broker
// says of its API against what it does. Nothing may be refused by their own policy, nothing may be written to the console, and axe
// finds nothing. Pictures stay in PICTURES.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BROKER, coturnSecret, directory, operator, operatorToken, runTest, start, startBroker, startCoturn, status } from './harness.mjs';
import { theDocumentIsValidAndTrue, thePageShowsTheWholeDocument, thePageWorksUnderAPrefix } from './docs-page.mjs';
import { differences, month } from './month.mjs';
import { Process, brokerProcess, launchBrowser, until } from './processes.mjs';
import { DESKTOP, PHONE, axeFindsNothing, isNotTooWide, isShown, nothingWentWrong, openPage, part, picture, text } from './watched-page.mjs';

const RUN_SECONDS_MAX = 150;
const PAGE_BYTES_MAX = 150_000;
const REPORTER_TOKEN = 'reporter-of-the-pages-test';

async function run() {
  const browser = await launchBrowser(directory);
  // They wait for seconds, each for its own.
  await Promise.all([dashboard(browser), relayChecks(browser), docs(browser)]);
  await browser.close();
}

async function dashboard(browser) {
  await start(fakeCloudflare());
  const broker = await startDashboardBroker();
  await part(traffic);
  await part(aWrongTokenIsNotTaken, browser);
  const page = await part(theDashboardShowsTheTraffic, browser);
  await part(anOrderWantsASecondClick, page);
  await part(aRevocationIsOneRow, page);
  await part(aHiddenPageAsksForNothing, page);
  await part(theDashboardSurvivesTheBrokersAbsence, page, broker);
  await page.close();
  await part(pictures, browser);
}

async function docs(browser) {
  const settings = { ICE_SOURCES: 'coturn,stun', COTURN_SECRET: coturnSecret, COTURN_URLS: 'turn:127.0.0.1:3478', REPORTER_TOKEN, DOORS: 'turn,matrix,ice', PORT: '3004' };
  const broker = await start(checkBroker('docs', settings));
  for (const does of [thePageShowsTheWholeDocument, thePageWorksUnderAPrefix]) await part(does, browser, 'http://127.0.0.1:3004');
  await part(theDocumentIsValidAndTrue, 'http://127.0.0.1:3004');
  await broker.stop();
}

async function relayChecks(browser) {
  await startCoturn();
  await Promise.all([
    part(theRelayCheckTellsADeadServerFromAGoodOne, browser),
    part(theRelayCheckNamesRefusedCredentials, browser),
  ]);
}

function fakeCloudflare() {
  const args = ['--perfect', '--latency-ms', '20', '--relay-mb', '30'];
  return new Process('cloudflare', directory, process.env.FAKE_CLOUDFLARE_BIN, args, {}, ({ log }) => log.includes('8787'));
}

const startDashboardBroker = () => startBroker('http://app.test', {
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
  RATE_LIMIT_REQUESTS: '8',
  HEARTBEAT_SECONDS: '300', // what was reported stays open as long as this runs
  STATE_DIR: join(directory, 'state'),
});

/** Some credentials, two of them used, one connection of an app server, a foreign page and one request too many. */
async function traffic() {
  const mint = (headers) => fetch(`${BROKER}/api/turn-credentials`, { headers });
  const grants = [];
  for (let n = 0; n < 7; n += 1) grants.push((await (await mint({})).json()).grant);
  assert.equal((await mint({ Origin: 'http://elsewhere.test' })).status, 403);
  await mint({});
  assert.equal((await mint({})).status, 429);
  for (const [index, grant] of grants.slice(0, 2).entries()) await report(grant, `call-${index}`, 150_000 * (index + 1));
  await report(REPORTER_TOKEN, 'room-9.<b>alice</b>', 90_000);
}

async function report(token, connectionId, bytesReceived) {
  const post = (path, body) => fetch(`${BROKER}/api/connections${path}`, { method: 'POST', headers: { Authorization: `Bearer ${token}` }, body: JSON.stringify(body) });
  await post('', { connectionId, relayed: true });
  const heard = await post(`/${encodeURIComponent(connectionId)}/heartbeat`, { bytesReceived, bytesSent: 40_000, relayed: true });
  assert.ok(heard.ok, `heartbeat: ${heard.status}`);
}

async function signIn(page, token = operatorToken) {
  await page.goto(`${BROKER}/dashboard`);
  await page.type('#token', token);
  await page.click('#sign-in-form button');
}

async function aWrongTokenIsNotTaken(browser) {
  const page = await openPage(browser);
  await signIn(page, 'not-the-token-of-this-broker');
  await until('the refusal', async () => (await text(page, 'sign-in-fault')).includes('does not take'));
  assert.equal(await isShown(page, 'board'), false);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'it is not kept');
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
  assert.deepEqual([...origins], [BROKER], 'nothing comes from elsewhere');
  const files = answers.filter((answer) => !answer.url().includes('/api/') && answer.url().startsWith(BROKER));
  const bytes = (await Promise.all(files.map((answer) => answer.buffer()))).reduce((sum, { length }) => sum + length, 0);
  assert.ok(bytes < PAGE_BYTES_MAX, `the page weighs ${bytes} bytes`);
  console.log(`dashboard: ${bytes} bytes in ${files.length} files`);

  assert.equal(await text(page, 'used'), (await status()).bandwidthUsedGB);
  assert.equal(await text(page, 'limit'), '1000');
  const rows = await page.$$eval('#connections tr', (all) => all.map((row) => row.cells[0].textContent));
  assert.deepEqual(rows.sort(), ['call-0', 'call-1', 'room-9.<b>alice</b>'], 'names are text');
  await until('the reading', async () => (await text(page, 'belief')) === 'Yes: measured', 30);
  const callers = await text(page, 'callers');
  assert.match(callers, /first source8.*degraded0.*rate limited1foreign origin1/s);
  await report(REPORTER_TOKEN, 'room-9.<b>alice</b>', 3_500_000);
  await until('the next report to show', async () => (await text(page, 'connections')).includes('3.5 MB'));
  await axeFindsNothing(page, 'dashboard');
  await picture(page, 'dashboard-live');
  nothingWentWrong(page);
  return page;
}

async function anOrderWantsASecondClick(page) {
  const order = async (open, answer) => {
    await page.click(open);
    await page.waitForSelector('#confirm[open]');
    if (open.includes('limit')) await axeFindsNothing(page, 'confirmation');
    await page.click(answer);
    await page.waitForSelector('#confirm:not([open])');
  };
  await page.type('#limit-input', '0,5');
  await page.click('#limit-form button[type=submit]');
  await until('the word about the comma', async () => (await text(page, 'action-result')).includes('without commas'));
  assert.equal(await page.$('#confirm[open]'), null);
  await page.$eval('#limit-input', (input) => { input.value = ''; });
  assert.equal(await text(page, 'limit-note'), 'In force: 1000 GB, as configured.');
  await page.type('#limit-input', '750.5');
  await order('#limit-form button[type=submit]', '#confirm-no');
  assert.equal((await status()).bandwidthLimitGB, 1000, 'nothing happens without it');
  await order('#limit-form button[type=submit]', '#confirm-yes');
  await until('the limit', async () => (await text(page, 'limit')) === '750.5');
  assert.equal(await text(page, 'action-result'), 'The limit is 750.5 GB now.');
  await order('#freeze', '#confirm-yes');
  await until('the freeze', async () => (await text(page, 'minting')) === 'Minting is stopped by order');
  assert.equal((await status()).frozen, true);
  assert.match(await text(page, 'freeze-note'), /STUN only now/);
  await order('#freeze', '#confirm-yes');
  await until('the thaw', async () => (await text(page, 'minting')) === 'Minting');
  nothingWentWrong(page);
}

async function aRevocationIsOneRow(page) {
  await page.click('#connections button[aria-label$="call-1"]');
  await page.waitForSelector('#confirm[open]');
  await page.click('#confirm-yes');
  await until('what became of it', async () => (await text(page, 'action-result')).startsWith('The provider has revoked the credential.'));
  nothingWentWrong(page);
}

async function aHiddenPageAsksForNothing(page) {
  let asked = 0;
  const count = () => { asked += 1; };
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  await new Promise((resolve) => setTimeout(resolve, 6_000)); // what was under way may end; the loop turns once and stops
  page.on('request', count);
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  assert.equal(asked, 0, 'nobody looks');
  await hide(false);
  await until('it to ask again at once', () => asked > 0, 3);
  page.off('request', count);
}

async function theDashboardSurvivesTheBrokersAbsence(page, broker) {
  assert.equal(await broker.stop(), 'status 0');
  await until('the word that it is away', () => isShown(page, 'away'));
  assert.match(await text(page, 'away'), /^The broker is away: no answer\. What is shown is from \d\d:\d\d:\d\d UTC\./);
  await picture(page, 'dashboard-away');
  await startDashboardBroker();
  await until('it to be back', async () => !(await isShown(page, 'away')));
  assert.equal(await text(page, 'limit'), '750.5', 'the order outlived the restart');
  page.faults = page.faults.filter((fault) => !fault.includes('ERR_CONNECTION_REFUSED'));
  nothingWentWrong(page);
}

/** A month that a test cannot wait for, in the forms of the real broker. */
async function pictures(browser) {
  await theTableIsWholeOnEveryScreen(browser);
  const page = await aMonth(browser, month('promised'), DESKTOP, 'light');
  assert.match(await text(page, 'minting'), /promised in full/);
  await picture(page, 'dashboard-promised-light-desktop');
  await page.close();
  for (const mood of ['calm', 'trouble']) {
    const answers = month(mood);
    for (const path of ['api/overview', 'api/connections', 'api/usage', 'api/alerts']) {
      assert.deepEqual(differences(await (await operator(`/${path}`)).json(), answers[path], path), []);
    }
    for (const scheme of ['light', 'dark']) {
      for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
        const page = await aMonth(browser, answers, viewport, scheme);
        await axeFindsNothing(page, `dashboard, ${mood}, ${scheme}, ${name}`);
        await isNotTooWide(page, name);
        await picture(page, `dashboard-${mood}-${scheme}-${name}`);
        nothingWentWrong(page);
        await page.close();
      }
    }
  }
}

/** The dashboard on these answers. */
async function aMonth(browser, answers, viewport, scheme) {
  const page = await openPage(browser, viewport);
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const [, path, query] = /\/(api\/[a-z]+)(\?.*)?$/.exec(request.url()) ?? [];
    if (!path) return request.continue();
    return request.respond({ contentType: 'application/json', body: JSON.stringify(answers[query ? `${path}?` : path]) });
  });
  await signIn(page);
  await until('the plots', () => page.$eval('#rate-plot', (plot) => plot.querySelector('canvas')?.width > 100));
  return page;
}

/** A bar to scroll by is not seen on every machine: no column is out of sight, and least of all the button. */
async function theTableIsWholeOnEveryScreen(browser) {
  const page = await aMonth(browser, month('calm'), DESKTOP, 'light');
  for (const width of [360, 640, 641, 765, 900, 901, 1024, 1100, 1280]) {
    await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
    const out = await page.$eval('#connections-table', (table) => table.scrollWidth - table.parentElement.clientWidth);
    assert.ok(out <= 0, `at ${width} px the table is ${out} px too wide`);
    if (width === 765) await picture(page, 'dashboard-calm-light-tablet');
  }
  await page.close();
}

async function theRelayCheckTellsADeadServerFromAGoodOne(browser) {
  const settings = {
    ICE_SOURCES: 'coturn', COTURN_SECRET: coturnSecret, PORT: '3002',
    COTURN_URLS: 'turn:127.0.0.1:3478?transport=udp,turn:127.0.0.1:3478?transport=tcp,turn:relay.invalid:3478?transport=udp,turn:127.0.0.1:3998?transport=udp',
  };
  await start(checkBroker('good', settings));
  const page = await openPage(browser);
  await page.goto('http://127.0.0.1:3002/relay-check');
  const minted = page.waitForResponse((answer) => answer.url().includes('/api/turn-credentials'));
  await page.click('#start');
  const { iceServers, grant } = await (await minted).json();
  const rows = await checked(page);
  assert.deepEqual(rows.map(([, word]) => word), ['works', 'works', 'name not found', 'no answer'], JSON.stringify(rows));
  assert.match(rows[0][2], /^relay\/udp \d+ ms$/);
  assert.match(rows[2][3], /^701 .*lookup.*after \d+ ms/);
  assert.match(rows[3][3], /^nothing within 15 s$/);
  const findings = await text(page, 'findings');
  assert.match(findings, /The relay works over UDP/);
  assert.match(findings, /One server is dead.*relay\.invalid/);
  assert.match(findings, /Not every port gets through.*127\.0\.0\.1:3998/);
  const answer = await text(page, 'answer');
  assert.match(answer, /sourcecoturn.*degradedfalse.*ttl300 s/s);
  const report = await page.$eval('#report', ({ value }) => value);
  assert.match(report, /turn:127\.0\.0\.1:3998\?transport=udp: no answer\n {4}error: nothing within 15 s/);
  const { username, credential } = iceServers.find(({ username }) => username);
  const whole = report + (await page.content());
  for (const secret of [username, credential, grant]) assert.ok(!whole.includes(secret), 'a credential is on the page');
  await axeFindsNothing(page, 'relay check');
  await picture(page, 'relay-check-light-desktop');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  const { width, height } = PHONE; // another kind of device would load the page anew
  await page.setViewport({ width, height, deviceScaleFactor: 1 });
  await axeFindsNothing(page, 'relay check, dark, phone');
  await picture(page, 'relay-check-dark-phone');
  nothingWentWrong(page);
  await page.close();
}

async function theRelayCheckNamesRefusedCredentials(browser) {
  const manual = [
    { urls: ['stun:127.0.0.1:3478'] },
    { urls: ['turn:127.0.0.1:3478?transport=udp'], username: '1:nobody', credential: 'not-what-coturn-computes' },
  ];
  await start(checkBroker('refused', { ICE_SOURCES: 'manual', MANUAL_ICE_SERVERS: JSON.stringify(manual), PORT: '3003', OPERATOR_TOKEN: '' }));
  const page = await openPage(browser);
  await page.goto('http://127.0.0.1:3003/relay-check');
  await page.click('#start');
  const rows = await checked(page);
  assert.equal(rows[1][1], 'refused', JSON.stringify(rows));
  assert.match(await text(page, 'findings'), /The relay refuses the credentials/);
  await picture(page, 'relay-check-refused');
  assert.ok(!(await page.content()).includes('not-what-coturn-computes'));
  nothingWentWrong(page);
  await page.close();
}

const checkBroker = (name, settings) => brokerProcess(directory, {
  HOST: '127.0.0.1', CLIENT_URL: 'http://app.test', OPERATOR_TOKEN: operatorToken, RUST_LOG: 'debug', ...settings,
}, `broker-${name}`);

/** The rows of the table once the check is done: server, outcome, candidates, errors. */
async function checked(page) {
  await until('the check', async () => (await text(page, 'progress')) === 'done', 30);
  return page.$$eval('#servers tr', (rows) => rows.map((row) => [...row.cells].map(({ innerText }) => innerText.trim())));
}

await runTest(run, RUN_SECONDS_MAX);
