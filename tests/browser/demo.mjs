// `turn-broker demo` as somebody meets it: the command with nothing but PATH in its environment, the address that it prints,
// the buttons of its page. The call is relayed, the ledger has the bytes that the browser has, the budget ends both the
// call and the minting, and more budget brings them back. Pictures stay in PICTURES.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { directory, runTest, start } from './harness.mjs';
import { Process, launchBrowser, until } from './processes.mjs';
import { axeFindsNothing, picture, text, watch } from './watched-page.mjs';

const RUN_SECONDS_MAX = 240;
/** The relay's bytes hold 4 of framing for each packet and the handshakes, the browser's do not. */
const TOLERANCE = 0.02;
/** What both ends are to have received before the counts are held against each other. */
const BYTES_MIN = 20e6;
const DESKTOP = { width: 1280, height: 1000, deviceScaleFactor: 1 };
const PHONE = { width: 375, height: 812 };

async function run() {
  const inTheWay = await takePort(3001);
  const demo = await start(demoProcess());
  inTheWay.close();
  const address = addressIn(demo.log);
  assert.notEqual(address.port, '3001');
  assert.match(demo.log, /port 3001 is taken/);

  const browser = await launchBrowser(directory);
  const page = await openPage(browser);
  await page.goto(address.href);
  await until('the figures', async () => (await text(page, 'used')) === '0.0');
  assert.equal(new URL(page.url()).hash, '', 'the token does not stay in the address');
  await axeFindsNothing(page, 'before a call');
  await picture(page, 'demo-idle-light-desktop');

  const operator = await operatorOf(page, address.origin);
  await aCallIsRelayedAndCounted(page, operator);
  await otherScreens(page);
  await theBudgetEndsIt(page, operator);
  await moreBudgetBringsItBack(page);
  await aRevocationEndsIt(page);
  await aFreezeIsSeen(page);
  await aReloadBeginsTheComparisonAnew(page);
  assert.deepEqual(page.faults, []);
  await theDemoGoesAway(page, demo);
  await browser.close();
  const token = new URLSearchParams(address.hash.slice(1)).get('token');
  assert.equal(demo.log.split(token).length, 2, 'the token is told once');
}

/** With nothing but PATH in its environment. */
function demoProcess() {
  const isReady = ({ log }) => log.includes('Ctrl-C');
  return new Process('demo', directory, process.env.TURN_BROKER_BIN, ['demo'], {}, isReady);
}

const takePort = (port) => new Promise((resolve) => {
  const server = createServer().listen(port, '127.0.0.1', () => resolve(server));
});

const addressIn = (log) => new URL(/http:\S+#token=\S+/.exec(log)[0]);

/** With the page's own token. */
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
  const [, percent] = /^[\d.]+ MB since this page was loaded, by the browser’s own statistics: the ledger has [+−](\d\.\d)\s%$/.exec(shown);
  assert.ok(Number(percent) <= TOLERANCE * 100, shown);
  assert.match(await text(page, 'known'), /^measured at the relay, \d s ago$/);
  const { reservedGB } = await operator('/api/bandwidth-status');
  assert.ok(Number(reservedGB) > 0, 'credentials that are out are promised something');
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

async function theBudgetEndsIt(page, operator) {
  await page.click('#leave');
  await until('the cut', () => isPhase(page, 'cut by the relay'), 90);
  await until('the refusal', async () => (await text(page, 'story')).includes('(BUDGET_EXHAUSTED)'));
  expectRefusals(page);
  const { bytes, status } = await operator('/api/overview');
  assert.equal(status.status, 'LIMIT_EXCEEDED');
  assert.ok(bytes.used >= bytes.limit && bytes.used < bytes.limit + 1_500, `the rest of one packet at most: ${bytes.used} of ${bytes.limit}`);
  const mine = Number(/[\d.]+/.exec(await text(page, 'page-count'))[0]) * 1e6;
  console.log(`at the cut: browser ${mine}, ledger ${bytes.used}, ratio ${(bytes.used / mine).toFixed(4)}`);
  assert.ok(Math.abs(bytes.used / mine - 1) <= TOLERANCE, 'the ledger has what the browser has');
  assert.equal(await text(page, 'minting'), 'refused: the limit is reached');
  await axeFindsNothing(page, 'cut');
  await picture(page, 'demo-cut-light-desktop');
  await page.click('#start');
  await until('no second call', () => isPhase(page, 'refused'));
  assert.match(await text(page, 'events'), /No credential: the budget is spent\./);
  assert.equal(await looksLive(page), false, 'the last pictures of a call that is over are grey');
  expectRefusals(page);
}

const looksLive = (page) => page.$eval('#at-ann', (video) => getComputedStyle(video).filter === 'none');

async function moreBudgetBringsItBack(page) {
  const limit = Number(await text(page, 'limit'));
  await page.click('#raise');
  await until('the limit', async () => Math.abs(Number(await text(page, 'limit')) - limit - 250) < 0.2);
  await until('the word of it', async () => (await text(page, 'story')) === 'Minting again: start the call.');
  assert.equal(await text(page, 'phase'), 'no call');
  await picture(page, 'demo-raised-light-desktop');
  await page.click('[data-mbps="1"]');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  assert.match(await text(page, 'credentials'), /still count, until they expire/);
  assert.equal(await looksLive(page), true);
}

async function aRevocationEndsIt(page) {
  await until('the report of the connection', async () => {
    await page.click('#revoke');
    await page.waitForFunction(() => document.getElementById('events').textContent.includes('is revoked') || document.getElementById('order-fault').textContent !== '');
    return (await text(page, 'events')).includes('is revoked');
  });
  assert.equal((await text(page, 'events')).split('is revoked').length, 2, 'an order is given once');
  await until('the cut', () => isPhase(page, 'cut by the relay'), 30);
  assert.match(await text(page, 'story'), /revoked/);
  await picture(page, 'demo-revoked-light-desktop');
}

async function aFreezeIsSeen(page) {
  await page.click('#freeze');
  await until('the freeze', async () => (await text(page, 'minting')) === 'minting is stopped');
  await page.click('#start');
  await until('no call', () => isPhase(page, 'refused'));
  assert.match(await text(page, 'story'), /^Minting is stopped/);
  assert.match(await text(page, 'events'), /No credential: minting is stopped\./);
  await picture(page, 'demo-stopped-light-desktop');
  await page.click('#freeze');
  await until('the thaw', async () => (await text(page, 'minting')) === 'minting');
  await until('the word of it', async () => (await text(page, 'story')) === 'Minting again: start the call.');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  await page.click('#start');
  await until('the end', () => isPhase(page, 'hung up'));
  assert.equal(await looksLive(page), false);
}

/** The ledger remembers what came before, the page does not: what it compares begins with it. */
async function aReloadBeginsTheComparisonAnew(page) {
  await page.reload();
  await until('the figures', async () => Number(await text(page, 'used')) > 20);
  assert.match(await text(page, 'page-count'), /appears with the first call/);
  await page.click('[data-mbps="8"]');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  const shown = /^([\d.]+) MB since this page was loaded.*ledger has [+−]([\d.]+)\s%$/;
  await until('some MB of its own', async () => Number(shown.exec(await text(page, 'page-count'))?.[1]) > 8, 60);
  const told = await text(page, 'page-count');
  console.log(`after a reload: ${told}`);
  assert.ok(Number(shown.exec(told)[2]) < 5, told);
  await picture(page, 'demo-reloaded-light-desktop');
  await page.click('#start');
  await until('the end', () => isPhase(page, 'hung up'));
}

async function theDemoGoesAway(page, demo) {
  assert.equal(await demo.stop('SIGINT'), 'status 0');
  await until('the word that it is away', () => page.$eval('#away', (note) => note.checkVisibility()));
  assert.match(await text(page, 'away'), /^The demo does not answer/);
}

/** A page that may ask nobody but this machine. */
async function openPage(browser) {
  const page = await browser.newPage();
  await page.setViewport(DESKTOP);
  await watch(page);
  page.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== 'data:' && hostname !== '127.0.0.1') page.faults.push(`asked elsewhere: ${request.url()}`);
  });
  return page;
}

/** The browser itself writes every 429 to the console. */
function expectRefusals(page) {
  page.faults = page.faults.filter((fault) => !/^console: Failed to load resource.*429/.test(fault));
}

const isPhase = async (page, phase) => (await text(page, 'phase')) === phase;
/** The last value of the first curve, as the chart says it in words. */
const plotted = (page) => page.$eval('#plot', (plot) => /^([\d.]+) MB used/.exec(plot.getAttribute('aria-label'))?.[1] ?? 'NaN');

await runTest(run, RUN_SECONDS_MAX);
