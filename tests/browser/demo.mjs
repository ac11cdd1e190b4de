// `turn-broker demo` as a new user sees it: the command with an environment of PATH only, the address that it prints, and the
// buttons of its page. Two browsers find each other through the broker's signaling. The call is relayed, the ledger matches the
// browsers' counts, and the dashboard shows the call with its cost and ends it. A spent budget ends a call and stops minting; a
// higher limit allows both again. Pictures go to PICTURES.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { TOLERANCE, atRest, directory, runTest, start, theyAgree } from './harness.mjs';
import { Process, launchBrowser, until } from './processes.mjs';
import { axeFindsNothing, isNotTooWide, openPage as openInContext, part, picture, text, watch } from './watched-page.mjs';

const RUN_SECONDS_MAX = 180;
/** Bytes that both ends must receive before the counts are compared. */
const BYTES_MIN = 4e6;
const DESKTOP = { width: 1280, height: 800, deviceScaleFactor: 1 };
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
  assert.match(new URL(page.url()).hash, /^#room=[0-9a-f]{32}$/, 'the page removes the token from the address');
  await axeFindsNothing(page, 'before a call');
  await picture(page, 'demo-idle-light-desktop');

  const operator = await operatorOf(page, address.origin);
  const guest = await part(twoBrowsersFindEachOther, browser, page);
  await part(theCallIsRelayedAndCounted, page, operator);
  await part(otherScreens, page, guest);
  await part(theDashboardShowsTheCallAndEndsIt, page, guest, operator);
  await part(aSpentBudgetCutsTheCall, page, guest, operator);
  await part(aHigherLimitAllowsACall, page);
  assert.deepEqual(guest.faults, []);
  await guest.close();
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

/** The second one opens the address of the first one's page. The call starts when both are there. */
async function twoBrowsersFindEachOther(browser, page) {
  const guest = await openPage(browser);
  const requests = [];
  guest.on('request', (request) => requests.push(new URL(request.url()).pathname));
  await guest.goto(await page.$eval('#link', ({ href }) => href));
  for (const one of [page, guest]) {
    await until('the call', () => isPhase(one, 'in call, relayed')).catch(async (error) => {
      throw new Error(`${error.message}; ${await text(one, 'phase')}: ${await text(page, 'events')}; ${one.faults}`);
    });
  }
  assert.equal(await guest.evaluate(() => sessionStorage.length), 0, 'the second window has no token');
  assert.deepEqual(requests.filter((path) => path.startsWith('/api/')), [], 'and asks for no figures');
  assert.deepEqual(await Promise.all(['used', 'raise', 'plot'].map((id) => guest.$eval(`#${id}`, (one) => one.checkVisibility()))), [false, false, false]);
  for (const one of [page, guest]) {
    await until('the picture to move', () => one.evaluate(async () => {
      const frames = () => document.getElementById('theirs').getVideoPlaybackQuality().totalVideoFrames;
      const before = frames();
      await new Promise((resolve) => setTimeout(resolve, 500));
      return frames() > before;
    }));
  }
  return guest;
}

async function theCallIsRelayedAndCounted(page, operator) {
  const points = async () => Number(await plotted(page));
  const before = await points();
  await until('the chart to move', async () => (await points()) > before + 1);

  await until(`${BYTES_MIN} bytes`, async () => (await operator('/api/overview')).bytes.used > BYTES_MIN);
  await picture(page, 'demo-call-light-desktop');
  await theMainThingsAreVisible(page);
  // The two counts are taken up to some seconds apart, which matters less with each MB.
  const shown = await until('counts that agree', async () => {
    const line = await text(page, 'page-count');
    const [, percent] = /^[\d.]+ MB sent and received by this window since it was loaded, by the browser’s own statistics\. The ledger differs by [+−](\d+\.\d)\s%$/.exec(line);
    return Number(percent) <= TOLERANCE * 100 && line;
  });
  console.log(`in call: ${shown}`);
  await until('a reading of now', async () => /^measured at the relay, \d s ago$/.test(await text(page, 'known')));
  const { reservedGB } = await operator('/api/bandwidth-status');
  assert.ok(Number(reservedGB) > 0, 'live credentials have a reservation');
}

/** Without scrolling: the videos, the chart with its legend, and the four figures. The others show on demand. */
async function theMainThingsAreVisible(page) {
  const isVisible = (id) => page.$eval(`#${id}`, (one) => one.checkVisibility() && one.getBoundingClientRect().bottom <= innerHeight);
  const ids = ['mine', 'theirs', 'used', 'worst', 'limit', 'rate', 'plot', 'revoke'];
  assert.deepEqual(await Promise.all(ids.map(isVisible)), ids.map(() => true), ids.join());
  const shown = await page.$$eval('.facts dd', (all) => all.filter((one) => one.checkVisibility()).map(({ id }) => id));
  assert.deepEqual(shown, ['worst', 'rate']);
  await page.click('#more summary');
  assert.equal(await page.$eval('#page-count', (one) => one.checkVisibility()), true);
}

/** What a window says that it has received and sent, in MB. */
async function movedBy(page) {
  const path = await text(page, 'path');
  const [, received, sent] = /^relay\/udp, received ([\d.]+) MB, sent ([\d.]+) MB$/.exec(path) ?? assert.fail(path);
  return { received: Number(received), sent: Number(sent) };
}

async function otherScreens(page, guest) {
  await axeFindsNothing(page, 'in call');
  await axeFindsNothing(guest, 'second window');
  await guest.setViewport({ ...PHONE, deviceScaleFactor: 1 });
  await isNotTooWide(guest, 'second window, phone');
  await picture(guest, 'demo-second-light-phone');
  await guest.setViewport(DESKTOP);
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await until('the legend in the new colours', () => page.evaluate(() => {
    const colorOf = (label) => getComputedStyle([...document.querySelectorAll('#plot .u-series')].find((row) => row.textContent.startsWith(label)).querySelector('.u-marker')).borderTopColor;
    return colorOf('limit') === getComputedStyle(document.body).color && colorOf('past the limit') === getComputedStyle(document.getElementById('revoke')).color;
  }));
  await picture(page, 'demo-call-dark-desktop');
  await page.setViewport({ ...PHONE, deviceScaleFactor: 1 });
  await axeFindsNothing(page, 'in call, dark, phone');
  await isNotTooWide(page, 'first window, phone');
  await picture(page, 'demo-call-dark-phone');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  await page.setViewport(DESKTOP);
}

/** The link of the page opens it with the operator's token. */
async function theDashboardShowsTheCallAndEndsIt(page, guest, operator) {
  const opened = page.browser().waitForTarget((target) => target.url().endsWith('/dashboard'), { timeout: 0 }); // the test has a limit of its own
  await page.click('footer a[href="dashboard"]');
  const dashboard = await (await opened).page();
  await watch(dashboard);
  await dashboard.setViewport(DESKTOP);
  const room = new URLSearchParams(new URL(page.url()).hash.slice(1)).get('room');
  const row = () => dashboard.$eval('#calls tbody tr', ({ cells }) => [...cells].map(({ textContent }) => textContent)).catch(() => []);
  await until('the call', async () => (await row())[0] === room);
  // A poll of the dashboard is five seconds old or more, and the cost has two digits.
  const [, protocol, members, , bytes, cost, button] = await until('its bytes and its cost', async () => {
    const [cells, ledger] = [await row(), (await operator('/api/overview')).bytes.used];
    const [shown, paid] = [amount(cells[4] ?? ''), (Number((cells[5] ?? '').slice(1)) / 0.05) * 1e9];
    return [shown, paid].every((figure) => Math.abs(figure / ledger - 1) < 0.25) && cells;
  });
  console.log(`the dashboard shows: ${protocol}, ${members} members, ${bytes}, ${cost}`);
  assert.deepEqual([protocol, members, button], ['ayame', '2', 'End']);
  await dashboard.click('#by-call');
  await until('the room among the spenders', async () => (await text(dashboard, 'spenders-panel')).includes(`ayame/${room}`));
  await axeFindsNothing(dashboard, 'dashboard with a call');
  await picture(dashboard, 'demo-dashboard-light-desktop');

  await dashboard.click(`#calls button[aria-label="End ${room}"]`);
  await dashboard.waitForSelector('#confirm[open]');
  await dashboard.click('#confirm-yes');
  await until('the result', async () => (await text(dashboard, 'action-result')) === `${room} has ended: 2 members disconnected, 2 credentials revoked.`);
  await until('the end in the first window', () => isPhase(page, 'the room has ended'));
  await until('the second window to wait', () => isPhase(guest, 'waiting'));
  await until('the list to show one member', async () => (await row())[2] === '1');
  const used = async () => (await operator('/api/overview')).bytes.used;
  const endedAt = Date.now();
  await until('a reading after the end', async () => Date.parse((await operator('/api/bandwidth-status')).asOf) > endedAt);
  await atRest(used);
  const [first, second] = await Promise.all([movedBy(page), movedBy(guest)]);
  console.log(`the first window received ${first.received} MB and sent ${first.sent}, the second one received ${second.received} and sent ${second.sent}`);
  const both = (first.received + second.received) * 1e6;
  theyAgree({ browsers: both, ledger: await used() });
  agrees((first.received + first.sent) * 1e6, await used());
  assert.deepEqual(dashboard.faults, []);
  await dashboard.close();
  await page.bringToFront();
  await page.click('#start');
  await until('the next call', () => isPhase(page, 'in call, relayed'));
}

const amount = (shown) => Number.parseFloat(shown) * (shown.endsWith('GB') ? 1e9 : 1e6);

async function aSpentBudgetCutsTheCall(page, guest, operator) {
  await page.click('#leave');
  await until('the cut', () => isPhase(page, 'cut by the relay'));
  await until('the rejection', async () => (await text(page, 'story')).includes('(BUDGET_EXHAUSTED)'));
  expectRejections(page, 429);
  await until('the second window to say so', () => isPhase(guest, 'no relay'));
  const { bytes, status } = await operator('/api/overview');
  assert.equal(status.status, 'LIMIT_EXCEEDED');
  assert.ok(bytes.used >= bytes.limit && bytes.used < bytes.limit + 1_500, `at most one packet past the limit: ${bytes.used} of ${bytes.limit}`);
  const mine = Number(/[\d.]+/.exec(await text(page, 'page-count'))[0]) * 1e6;
  console.log(`at the cut: browser ${mine}, ledger ${bytes.used}, ratio ${(bytes.used / mine).toFixed(4)}`);
  agrees(mine, bytes.used);
  await until('the figures to say so', async () => (await text(page, 'minting')) === 'rejected: the limit is reached');
  assert.deepEqual([await text(page, 'bound-of'), await text(page, 'bound')], ['Past the limit', '0.0 MB'], 'the relay stops at the packet');
  await axeFindsNothing(page, 'cut');
  await picture(page, 'demo-cut-light-desktop');
  await page.click('#start');
  await until('the rejection of the second call', () => isPhase(page, 'rejected'));
  assert.match(await text(page, 'events'), /No call: the budget is spent\./);
  assert.equal(await looksLive(page), false, 'the picture of an ended call is gray');
  expectRejections(page, 429);
}

/** What one window has received and sent. A busy machine loses packets on the way to the relay, which are sent and not counted. */
function agrees(moved, ledger) {
  assert.ok(ledger <= moved * (1 + TOLERANCE) && ledger >= moved * (1 - 3 * TOLERANCE), `ledger ${ledger}, window ${moved}`);
}

const looksLive = (page) => page.$eval('#theirs', (video) => getComputedStyle(video).filter === 'none');

async function aHigherLimitAllowsACall(page) {
  const limit = Number(await text(page, 'limit'));
  await page.click('#raise');
  await until('the limit', async () => Math.abs(Number(await text(page, 'limit')) - limit - 250) < 0.2);
  await until('the message', async () => (await text(page, 'story')) === 'Minting works again. Start again.');
  assert.equal(await text(page, 'phase'), 'no call');
  await picture(page, 'demo-raised-light-desktop');
  await page.click('[data-mbps="1"]');
  await page.click('#start');
  await until('the call', () => isPhase(page, 'in call, relayed'));
  assert.equal(await looksLive(page), true);
}

async function thePageShowsThatTheDemoStopped(page, demo) {
  assert.equal(await demo.stop('SIGINT'), 'status 0');
  await until('the message', () => page.$eval('#unavailable', (note) => note.checkVisibility()));
  assert.match(await text(page, 'unavailable'), /^The demo does not answer/);
}

/** A page in a browser of its own, which fails if it sends a request to another machine. */
async function openPage(browser) {
  const page = await openInContext(browser, DESKTOP);
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
