// `turn-broker demo` as a new user sees it: the command with an environment of PATH only, the address that it prints, and the
// buttons of its page. The call is relayed, and the ledger matches the browser's count. A spent budget ends the call and
// stops minting; a higher limit allows both again. Pictures go to PICTURES.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { directory, runTest, start } from './harness.mjs';
import { Process, launchBrowser, until } from './processes.mjs';
import { axeFindsNothing, picture, text, watch } from './watched-page.mjs';

const RUN_SECONDS_MAX = 240;
/** The relay also counts handshakes and 4 bytes of framing per packet. The browser does not. */
const TOLERANCE = 0.02;
/** Bytes that both ends must receive before the counts are compared. */
const BYTES_MIN = 20e6;
const DESKTOP = { width: 1280, height: 1000, deviceScaleFactor: 1 };
const PHONE = { width: 375, height: 812 };

async function run() {
  const occupant = await takePort(3001);
  const demo = await start(demoProcess());
  occupant.close();
  const address = addressIn(demo.log);
  assert.notEqual(address.port, '3001');
  assert.match(demo.log, /port 3001 is in use/);

  const browser = await launchBrowser(directory);
  const page = await openPage(browser);
  await page.goto(address.href);
  await until('the figures', async () => (await text(page, 'used')) === '0.0');
  assert.equal(new URL(page.url()).hash, '', 'the page removes the token from the address');
  await axeFindsNothing(page, 'before a call');
  await picture(page, 'demo-idle-light-desktop');

  const operator = await operatorOf(page, address.origin);
  await aCallIsRelayedAndCounted(page, operator);
  await otherScreens(page);
  await aSpentBudgetCutsTheCall(page, operator);
  await aHigherLimitAllowsACall(page);
  await aRevocationCutsTheCall(page);
  await aFreezeStopsMinting(page);
  await aReloadRestartsTheComparison(page);
  expectRejections(page, 401); // reports with the revoked grant
  assert.deepEqual(page.faults, []);
  await thePageShowsThatTheDemoStopped(page, demo);
  await browser.close();
  const token = new URLSearchParams(address.hash.slice(1)).get('token');
  assert.equal(demo.log.split(token).length, 2, 'the output has the token once');
}

/** Its environment has PATH only. */
function demoProcess() {
  const isReady = ({ log }) => log.includes('Ctrl-C');
  return new Process('demo', directory, process.env.TURN_BROKER_BIN, ['demo'], {}, isReady);
}

const takePort = (port) => new Promise((resolve) => {
  const server = createServer().listen(port, '127.0.0.1', () => resolve(server));
});

const addressIn = (log) => new URL(/http:\S+#token=\S+/.exec(log)[0]);

/** Requests with the page's token. */
async function operatorOf(page, origin) {
  const token = await page.evaluate(() => sessionStorage.getItem('turn-broker.operator-token'));
  return async (path) => (await fetch(origin + path, { headers: { Authorization: `Bearer ${token}` } })).json();
}

async function aCallIsRelayedAndCounted(page, operator) {
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed')).catch(async (error) => {
    throw new Error(`${error.message}; ${await text(page, 'phase')}: ${await text(page, 'events')}; ${page.faults}`);
  });
  assert.equal(await text(page, 'path'), 'relay/udp ⇄ relay/udp');
  await until('both pictures to move', () => page.evaluate(async () => {
    const frames = () => [...document.querySelectorAll('video')].map((video) => video.getVideoPlaybackQuality().totalVideoFrames);
    const before = frames();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return frames().every((count, index) => count > before[index]);
  }));
  const points = async () => Number(await plotted(page));
  const before = await points();
  await until('the chart to move', async () => (await points()) > before + 1);

  await until(`${BYTES_MIN} bytes`, async () => (await operator('/api/overview')).bytes.used > BYTES_MIN, 90);
  await picture(page, 'demo-call-light-desktop');
  const shown = await text(page, 'page-count');
  console.log(`in call: ${shown}`);
  const [, percent] = /^[\d.]+ MB since this page was loaded, by the browser’s own statistics\. The ledger differs by [+−](\d\.\d)\s%$/.exec(shown);
  assert.ok(Number(percent) <= TOLERANCE * 100, shown);
  assert.match(await text(page, 'known'), /^measured at the relay, \d s ago$/);
  const { reservedGB } = await operator('/api/bandwidth-status');
  assert.ok(Number(reservedGB) > 0, 'live credentials have a reservation');
}

async function otherScreens(page) {
  await axeFindsNothing(page, 'in call');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await until('the legend in the new colours', () => page.evaluate(() => {
    const colorOf = (label) => getComputedStyle([...document.querySelectorAll('#plot .u-series')].find((row) => row.textContent.startsWith(label)).querySelector('.u-marker')).borderTopColor;
    return colorOf('limit') === getComputedStyle(document.body).color && colorOf('past the limit') === getComputedStyle(document.getElementById('revoke')).color;
  }));
  await picture(page, 'demo-call-dark-desktop');
  await page.setViewport({ ...PHONE, deviceScaleFactor: 1 });
  await axeFindsNothing(page, 'in call, dark, phone');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} px too wide for a phone`);
  await picture(page, 'demo-call-dark-phone');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  await page.setViewport(DESKTOP);
}

async function aSpentBudgetCutsTheCall(page, operator) {
  await page.click('#leave');
  await until('the cut', () => isPhase(page, 'cut by the relay'), 90);
  await until('the rejection', async () => (await text(page, 'story')).includes('(BUDGET_EXHAUSTED)'));
  expectRejections(page, 429);
  const { bytes, status } = await operator('/api/overview');
  assert.equal(status.status, 'LIMIT_EXCEEDED');
  assert.ok(bytes.used >= bytes.limit && bytes.used < bytes.limit + 1_500, `at most one packet past the limit: ${bytes.used} of ${bytes.limit}`);
  const mine = Number(/[\d.]+/.exec(await text(page, 'page-count'))[0]) * 1e6;
  console.log(`at the cut: browser ${mine}, ledger ${bytes.used}, ratio ${(bytes.used / mine).toFixed(4)}`);
  assert.ok(Math.abs(bytes.used / mine - 1) <= TOLERANCE, 'ledger and browser agree');
  assert.equal(await text(page, 'minting'), 'rejected: the limit is reached');
  await axeFindsNothing(page, 'cut');
  await picture(page, 'demo-cut-light-desktop');
  await page.click('#start');
  await until('the rejection of the second call', () => isPhase(page, 'rejected'));
  assert.match(await text(page, 'events'), /No credential: the budget is spent\./);
  assert.equal(await looksLive(page), false, 'the pictures of an ended call are gray');
  expectRejections(page, 429);
}

const looksLive = (page) => page.$eval('#at-ann', (video) => getComputedStyle(video).filter === 'none');

async function aHigherLimitAllowsACall(page) {
  const limit = Number(await text(page, 'limit'));
  await page.click('#raise');
  await until('the limit', async () => Math.abs(Number(await text(page, 'limit')) - limit - 250) < 0.2);
  await until('the message', async () => (await text(page, 'story')) === 'Minting works again. Start the call.');
  assert.equal(await text(page, 'phase'), 'no call');
  await picture(page, 'demo-raised-light-desktop');
  await page.click('[data-mbps="1"]');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  assert.match(await text(page, 'credentials'), /count until they expire/);
  assert.equal(await looksLive(page), true);
}

async function aRevocationCutsTheCall(page) {
  await until('the report of the connection', async () => {
    await page.click('#revoke');
    await page.waitForFunction(() => document.getElementById('events').textContent.includes('was revoked') || document.getElementById('action-fault').textContent !== '');
    return (await text(page, 'events')).includes('was revoked');
  });
  assert.equal((await text(page, 'events')).split('Ann’s credential was revoked').length, 2, 'the page revokes once');
  await until('the cut', () => isPhase(page, 'cut by the relay'), 30);
  assert.match(await text(page, 'story'), /revoked/);
  await picture(page, 'demo-revoked-light-desktop');
}

async function aFreezeStopsMinting(page) {
  await page.click('#freeze');
  await until('the freeze', async () => (await text(page, 'minting')) === 'minting is stopped');
  await page.click('#start');
  await until('the rejection', () => isPhase(page, 'rejected'));
  assert.match(await text(page, 'story'), /^Minting is stopped/);
  assert.match(await text(page, 'events'), /No credential: minting is stopped\./);
  await picture(page, 'demo-stopped-light-desktop');
  await page.click('#freeze');
  await until('minting', async () => (await text(page, 'minting')) === 'minting');
  await until('the message', async () => (await text(page, 'story')) === 'Minting works again. Start the call.');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  await page.click('#start');
  await until('the end', () => isPhase(page, 'hung up'));
  assert.equal(await looksLive(page), false);
}

/** The ledger remembers earlier bytes and the page does not, so the comparison starts at the reload. */
async function aReloadRestartsTheComparison(page) {
  await page.reload();
  await until('the figures', async () => Number(await text(page, 'used')) > 20);
  assert.match(await text(page, 'page-count'), /appears during the first call/);
  await page.click('[data-mbps="8"]');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  const shown = /^([\d.]+) MB since this page was loaded.*ledger differs by [+−]([\d.]+)\s%$/;
  await until('some MB of its own', async () => Number(shown.exec(await text(page, 'page-count'))?.[1]) > 8, 60);
  const comparison = await text(page, 'page-count');
  console.log(`after a reload: ${comparison}`);
  assert.ok(Number(shown.exec(comparison)[2]) < 5, comparison);
  await picture(page, 'demo-reloaded-light-desktop');
  await page.click('#start');
  await until('the end', () => isPhase(page, 'hung up'));
}

async function thePageShowsThatTheDemoStopped(page, demo) {
  assert.equal(await demo.stop('SIGINT'), 'status 0');
  await until('the message', () => page.$eval('#unavailable', (note) => note.checkVisibility()));
  assert.match(await text(page, 'unavailable'), /^The demo does not answer/);
}

/** A page that fails if it sends a request to another machine. */
async function openPage(browser) {
  const page = await browser.newPage();
  await page.setViewport(DESKTOP);
  await watch(page);
  page.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== 'data:' && hostname !== '127.0.0.1') page.faults.push(`foreign request: ${request.url()}`);
  });
  return page;
}

/** The browser logs a response with this status to the console. */
function expectRejections(page, status) {
  page.faults = page.faults.filter((fault) => !(fault.startsWith('console: Failed to load resource') && fault.includes(`status of ${status} `)));
}

const isPhase = async (page, phase) => (await text(page, 'phase')) === phase;
/** The last value of the first curve, from the label of the chart. */
const plotted = (page) => page.$eval('#plot', (plot) => /^([\d.]+) MB used/.exec(plot.getAttribute('aria-label'))?.[1] ?? 'NaN');

await runTest(run, RUN_SECONDS_MAX);
