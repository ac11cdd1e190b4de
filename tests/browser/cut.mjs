// A cap that is hard: the broker reads a real coturn and ends what is over. Nobody reports a connection; what the ledger knows
// it has from coturn alone. A revoked grant, an expired one and a spent budget each stop bytes that a browser goes on sending.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { coturnEgress, coturnHasClosed, rows } from './counts.mjs';
import { BROKER, coturnSecret, directory, operatorToken, runTest, startBroker, startCoturn, status, sum } from './harness.mjs';
import { COTURN_REALM, launchBrowser, serveSite, until } from './processes.mjs';

const RUN_SECONDS_MAX = 300;
const CLI_PORT = 5766;
const TTL_SECONDS = 300;
const SHORT_TTL_SECONDS = 60;
/** What the broker promises about expiry, revocation and budget: it allows for looks that fail for a while. */
const CUT_TAIL_SECONDS = 30;
/** coturn hides up to 2,047 packets of a session, 1.2 MB of what it sent: 1.5 % of this. */
const MEASURED_BYTES_EACH_WAY = 80_000_000;
const MEASURED_MBPS = 16;
const CALL_MBPS = 8;
const OTHER_MBPS = 2;
/** No grant relays more, framing and resent packets included. */
const LIABILITY_MBPS = 24;
/** Well above what all calls use, so that the promise about the rest is one that could be broken. */
const LIMIT_GB = 1;
/** Most by which the ledger may differ from coturn's log. */
const TOLERANCE = 0.02;
/** Most that coturn may have sent beyond what the browser counts: 4 bytes of framing per packet, and what a busy machine drops. */
const LOSS_TOLERANCE = 0.03;
const HEADROOM_BYTES = 10_000_000;
/** Nothing is to arrive for so long after a cut; a call at the slowest pace brings a message in each 66 ms. */
const QUIET_SECONDS = 4;
const RETURNS = 2;

const cliPassword = randomBytes(24).toString('hex');
/** User names of the relay by call. @type {Record<string, string[]>} */
const users = {};
/** What the ends of each call have received, as last seen. @type {Record<string, number>} */
const received = {};
let coturn;
let page;
let promises;

const begun = Date.now();
const say = (what) => console.log(`  ${((Date.now() - begun) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
const mb = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1_000); });

async function run() {
  const site = await serveSite(5173, 'cut-page.js');
  coturn = await startCoturn([`cli-password=${cliPassword}`, 'cli-ip=127.0.0.1', `cli-port=${CLI_PORT}`]);
  const broker = await startBroker(site, {
    COTURN_CLI: `127.0.0.1:${CLI_PORT}`,
    COTURN_CLI_PASSWORD: cliPassword,
    STATE_DIR: `${directory}/state`,
    TURN_TTL_SECONDS: String(TTL_SECONDS),
    BANDWIDTH_LIMIT_GB: String(LIMIT_GB),
    LIABILITY_MBPS_PER_GRANT: String(LIABILITY_MBPS),
    RATE_LIMIT_REQUESTS: '100',
  });
  promises = watchThePromises();
  const browser = await launchBrowser(directory);
  page = await browser.newPage();
  page.on('pageerror', (error) => console.log(`page: ${error.message}`));
  await page.goto(site);

  await theLedgerKnowsIt();
  await twoGrantsEndAlone();
  await aSpentBudgetEndsAll();

  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
  const secrets = [coturnSecret, operatorToken, cliPassword];
  assert.ok(!secrets.some((secret) => broker.log.includes(secret)), 'a secret is in the log of the broker');
}

/** The same bytes by the browser, by coturn's log and by the ledger: while the sessions live, and after they have ended. */
async function theLedgerKnowsIt() {
  await call('measured', MEASURED_MBPS, { bytes: MEASURED_BYTES_EACH_WAY });
  await until('all to arrive', async () => (await look('measured')).every(({ arrived }) => arrived >= MEASURED_BYTES_EACH_WAY), 150);
  say('all has arrived');
  const open = (await settled()).usedBytes;
  const ends = await look('measured');
  assert.ok(ends.every(({ relayed }) => relayed));
  await page.evaluate(() => calls.close('measured'));
  await until('coturn to close the sessions', () => coturnHasClosed(coturn.log, users.measured));
  const { usedBytes: closed, source, activeConnections } = await settled();
  const browser = received.measured;
  const log = egress();
  console.log(rows('egress to the two clients', [
    ['browser', 'getStats, transport.bytesReceived', browser],
    ['coturn', 'log, bytes sent on the client legs', log],
    ['broker', 'usedBytes, sessions at rest', open],
    ['broker', 'usedBytes, sessions ended', closed],
  ]));
  assert.deepEqual({ source, activeConnections }, { source: 'measured+estimate', activeConnections: 0 });
  assert.ok(log >= browser && log <= browser * (1 + LOSS_TOLERANCE), 'browser and coturn agree');
  assert.ok(Math.abs(open - log) <= log * TOLERANCE, 'the ledger agrees while the sessions live');
  assert.ok(closed >= open && closed <= log * (1 + TOLERANCE), 'and when they have ended');
}

/** Three calls; one loses a grant to the operator, one comes to its expiry, which coturn itself would let pass. */
async function twoGrantsEndAlone() {
  await call('stays', CALL_MBPS);
  await call('revoked', OTHER_MBPS);
  const [, { expiresAt }] = await call('expires', OTHER_MBPS, { ttl: SHORT_TTL_SECONDS });
  await flows('stays', 'revoked', 'expires');

  const [{ grant }] = await page.evaluate(() => calls.minted.revoked);
  const revokedAt = Date.now();
  const { provider } = await order(`/api/credentials/${grant}/revoke`, {});
  assert.equal(provider, 'cut');
  await ended([users.revoked[0]]);
  const last = await isSilent('revoked', [users.revoked[0]]);
  say(`revoked: the last byte came ${seconds(last - revokedAt)} s after the order`);
  assert.ok(!coturnHasClosed(coturn.log, [users.revoked[1]]), 'the other grant keeps its session');
  await flows('stays', 'expires');
  await page.evaluate(() => calls.close('revoked'));

  await ended(users.expires, SHORT_TTL_SECONDS + CUT_TAIL_SECONDS);
  const lastOfExpired = await isSilent('expires', users.expires);
  const late = lastOfExpired - Date.parse(expiresAt);
  say(`expired: the last byte came ${seconds(late)} s after the expiry`);
  assert.ok(late > -1_000, 'not before its time');
  assert.ok(late <= CUT_TAIL_SECONDS * 1_000, 'within the tail that the bound allows for');
  await flows('stays');
  await page.evaluate(() => calls.close('expires'));
}

/** The limit is set to just above what is used, in the middle of a call. */
async function aSpentBudgetEndsAll() {
  await look('stays');
  const before = received.stays;
  const limit = (await status()).usedBytes + HEADROOM_BYTES;
  const ordered = await order('/api/budget/limit', { limitGB: limit / 1e9 });
  promises.beginAnew();
  const spent = await until('the ledger to reach the limit', async () => {
    const now = await status();
    return now.status === 'LIMIT_EXCEEDED' && now;
  });
  const spentAt = Date.now();
  await ended(users.stays);
  const last = await isSilent('stays', users.stays);
  const after = await settled();
  say(`budget: the last byte came ${seconds(Math.max(0, last - spentAt))} s after the ledger was seen at its limit`);
  console.log(`           of ${mb(HEADROOM_BYTES)} left, the browser received ${mb(received.stays - before)}`);
  console.log(`           ledger past the limit: ${mb(spent.usedBytes - limit)} when it was reached, ${mb(after.usedBytes - limit)} at last`);
  console.log(`           coturn's log past the limit: ${mb(egress() - limit)}; published were ${ordered.overshootBoundGB} GB at most`);
  assert.ok(received.stays - before < HEADROOM_BYTES + CUT_TAIL_SECONDS * bytesPerSecond(2 * CALL_MBPS), 'the cut came in time');

  const refused = await page.evaluate(async (url) => {
    const answer = await fetch(url);
    return { status: answer.status, code: (await answer.json()).code };
  }, `${BROKER}/api/turn-credentials`);
  assert.deepEqual(refused, { status: 429, code: 'BUDGET_EXHAUSTED' });

  for (let n = 1; n <= RETURNS; n += 1) await theOldCredentialIsCutAgain(`return ${n}`);
  await promises.end(egress());
}

/** coturn knows nothing of budgets: it takes the credential, and the next look ends what came of it. */
async function theOldCredentialIsCutAgain(name) {
  const before = opened(users.stays);
  await page.evaluate((name) => calls.begin(name, 'stays'), name);
  await page.evaluate((name, mbps) => calls.send(name, mbps), name, CALL_MBPS);
  await until('new allocations', () => opened(users.stays) >= before + 2);
  const openedAt = Date.now();
  await ended(users.stays);
  const lasted = seconds(Date.now() - openedAt);
  await isSilent(name, users.stays);
  say(`two new allocations with the old credentials: ended after ${lasted} s, ${mb(received[name])} arrived`);
  await page.evaluate((name) => calls.close(name), name);
}

/** Mints for both ends, connects them, and sends. */
async function call(name, mbps, { ttl = TTL_SECONDS, bytes = 1e12 } = {}) {
  const url = `${BROKER}/api/turn-credentials?ttl=${ttl}`;
  const minted = await page.evaluate((name, url) => calls.mint(name, url), name, url);
  promises.beginAnew();
  for (const { source, degraded } of minted) assert.deepEqual({ source, degraded }, { source: 'coturn', degraded: false });
  users[name] = minted.map(({ iceServers }) => iceServers.find(({ username }) => username).username);
  await page.evaluate((name) => calls.begin(name), name);
  await page.evaluate((name) => calls.opened(name), name);
  await page.evaluate((name, mbps, bytes) => calls.send(name, mbps, bytes), name, mbps, bytes);
  return minted;
}

async function look(name) {
  const ends = await page.evaluate((name) => calls.look(name), name);
  received[name] = sum(ends.map(({ bytesReceived }) => bytesReceived));
  return ends;
}

/** More arrives at each end of each of these calls. */
async function flows(...names) {
  for (const name of names) {
    const before = await look(name);
    await until(`more of ${name}`, async () => (await look(name)).every(({ arrived }, end) => arrived > before[end].arrived));
  }
}

/**
 * The ends go on trying, and nothing comes through, by the browser and by what coturn logs of the users that were cut.
 * @returns {Promise<number>} When the last message had come (ms since 1970).
 */
async function isSilent(name, cutUsers) {
  const before = await look(name);
  const logged = coturnEgress(coturn.log, cutUsers);
  await pause(QUIET_SECONDS);
  const after = await look(name);
  for (const [index, end] of after.entries()) {
    assert.equal(end.arrived, before[index].arrived, 'nothing more arrives');
    assert.equal(end.bytesReceived, before[index].bytesReceived, 'not even below the messages');
    assert.ok(end.offered > before[index].offered, 'the page goes on');
  }
  assert.equal(coturnEgress(coturn.log, cutUsers), logged, 'coturn sends nothing more');
  return Math.max(...after.map(({ lastAt }) => lastAt));
}

/** The ledger once three looks have changed nothing. */
function settled() {
  let [bytes, looks, asOf] = [null, 0, null];
  return until('the ledger to settle', async () => {
    const now = await status();
    if (now.usedBytes !== bytes) [bytes, looks] = [now.usedBytes, 0];
    if (now.asOf !== asOf) [asOf, looks] = [now.asOf, looks + 1];
    return looks > 3 && now;
  }, 60);
}

/** coturn has closed all sessions of these users, because it was told to. */
async function ended(usernames, secondsMax = CUT_TAIL_SECONDS) {
  await until('the sessions to be ended', () => coturnHasClosed(coturn.log, usernames), secondsMax);
}

const egress = () => coturnEgress(coturn.log, Object.values(users).flat());
const opened = (usernames) =>
  sum(usernames.map((username) => coturn.log.split(`new, realm=<${COTURN_REALM}>, username=<${username}>`).length - 1));
const bytesPerSecond = (mbps) => mbps * 125_000;
const seconds = (ms) => (ms / 1_000).toFixed(1);

async function order(path, body) {
  const headers = { Authorization: `Bearer ${operatorToken}`, 'Content-Type': 'application/json' };
  const answer = await fetch(BROKER + path, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, path);
  return answer.json();
}

/**
 * Looks at the status all the time. Limit and bound together are a promise about all that is yet to come from the credentials
 * that are out. It is made anew with each credential and with each limit.
 */
function watchThePromises() {
  let [promise, looks, isOver] = [Infinity, 0, false];
  const faults = [];
  const look = async () => {
    const made = promise;
    const { usedBytes, bandwidthLimitGB, overshootBoundGB, boundHolds, boundAssumes } = await status();
    const most = (bandwidthLimitGB + Number(overshootBoundGB)) * 1e9;
    if (usedBytes > most) faults.push(`${usedBytes} used, but at most ${most} published`);
    if (usedBytes > made) faults.push(`${usedBytes} used, but ${made} promised before`);
    if (!boundHolds) faults.push(`the bound is not said to hold: ${boundAssumes}`);
    if (promise === made) promise = Math.min(made, most);
    looks += 1;
  };
  const looking = (async () => {
    while (!isOver) {
      await look().catch((error) => faults.push(error.message));
      await pause(0.2);
    }
  })();
  return {
    beginAnew() { promise = Infinity; },
    /** @param {number} truth Bytes that flowed in all, by somebody else's count. */
    async end(truth) {
      isOver = true;
      await looking;
      assert.deepEqual(faults, []);
      assert.ok(truth <= promise, `${truth} flowed, but ${promise} were promised`);
      say(`${looks} looks at the status: the bound held in each of them`);
    },
  };
}

await runTest(run, RUN_SECONDS_MAX);
