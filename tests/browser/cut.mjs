// A hard limit: the broker reads a real coturn and ends its sessions. No connection is reported, so the ledger has only coturn's
// figures. A revocation, an expiry and a spent budget each stop the bytes of a browser that continues to send.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { coturnEgress, coturnHasClosed, rows } from './counts.mjs';
import { BROKER, TOLERANCE, atRest, coturnSecret, directory, operatorToken, runTest, startBroker, startCoturn, status, sum } from './harness.mjs';
import { COTURN_REALM, coturnReports, launchBrowser, serveSite, until } from './processes.mjs';

const RUN_SECONDS_MAX = 300;
const CLI_PORT = 5766;
const TTL_SECONDS = 300;
/** Long enough to connect on a busy machine. */
const SHORT_TTL_SECONDS = 10;
const MEASURED_BYTES_EACH_WAY = 20_000_000;
const MEASURED_MBPS = 16;
const CALL_MBPS = 8;
const OTHER_MBPS = 2;
/** No grant relays more, even with framing and resent packets. */
const LIABILITY_MBPS = 24;
/** Well above the usage of all calls, so that the bound is below it and could be violated. */
const LIMIT_GB = 1;
/** What is claimed for two sessions while they live: up to 2,047 packets of each. */
const CLAIMED_BYTES = 2 * 2_047 * 1_250;
/** The largest difference between the ledger and coturn's log apart from that. */
const LEDGER_TOLERANCE = 0.01;
const HEADROOM_BYTES = 10_000_000;
/** The time after a cut in which nothing may arrive. The slowest call has a message every 66 ms. */
const QUIET_SECONDS = 2;
const RETURNS = 2;

const [cliPassword, statsPassword] = [0, 1].map(() => randomBytes(24).toString('hex'));
const reports = coturnReports(statsPassword);
/** TURN usernames by call. @type {Record<string, string[]>} */
const users = {};
/** Bytes that both ends of each call have received, as last read. @type {Record<string, number>} */
const received = {};
let coturn;
let page;
let bounds;

const begun = Date.now();
const say = (what) => console.log(`  ${((Date.now() - begun) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
const mb = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1_000); });

async function run() {
  const site = await serveSite(5173, 'cut-page.js');
  coturn = await startCoturn([`cli-password=${cliPassword}`, 'cli-ip=127.0.0.1', `cli-port=${CLI_PORT}`, reports.line]);
  const broker = await startBroker(site, {
    COTURN_CLI: `127.0.0.1:${CLI_PORT}`,
    COTURN_CLI_PASSWORD: cliPassword,
    ...reports.settings,
    STATE_DIR: `${directory}/state`,
    TURN_TTL_SECONDS: String(TTL_SECONDS),
    BANDWIDTH_LIMIT_GB: String(LIMIT_GB),
    LIABILITY_MBPS_PER_GRANT: String(LIABILITY_MBPS),
    RATE_LIMIT_REQUESTS: '100',
  });
  bounds = watchTheBounds();
  const browser = await launchBrowser(directory);
  page = await browser.newPage();
  page.on('pageerror', (error) => console.log(`page: ${error.message}`));
  await page.goto(site);

  await theLedgerAgreesWithCoturn();
  await twoGrantsEndSeparately();
  await aSpentBudgetEndsAllCalls();

  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
  const secrets = [coturnSecret, operatorToken, cliPassword, statsPassword];
  assert.ok(!secrets.some((secret) => broker.log.includes(secret)), 'the log of the broker has no secret');
}

/** Compares browser, coturn's log and ledger while the sessions live and after they have ended. */
async function theLedgerAgreesWithCoturn() {
  await call('measured', MEASURED_MBPS, { bytes: MEASURED_BYTES_EACH_WAY });
  await until('all to arrive', async () => (await look('measured')).every(({ arrived }) => arrived >= MEASURED_BYTES_EACH_WAY));
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
  assert.ok(log >= browser && log <= browser * (1 + TOLERANCE), 'browser and coturn agree');
  const most = log * LEDGER_TOLERANCE;
  assert.ok(Math.abs(open - log) <= CLAIMED_BYTES + most, 'the ledger agrees while the sessions live');
  assert.ok(Math.abs(closed - log) <= most, 'and when they have ended');
}

/** Three calls: one grant is revoked, and one expires, which coturn itself would ignore. */
async function twoGrantsEndSeparately() {
  await call('stays', CALL_MBPS);
  await call('revoked', OTHER_MBPS);
  const [, { expiresAt }] = await call('expires', OTHER_MBPS, { ttl: SHORT_TTL_SECONDS });
  await flows('stays', 'revoked', 'expires');

  const [{ grant }] = await page.evaluate(() => calls.minted.revoked);
  const revokedAt = Date.now();
  const { provider } = await operatorPost(`/api/credentials/${grant}/revoke`, {});
  assert.equal(provider, 'cut');
  await ended([users.revoked[0]]);
  const last = await isSilent('revoked', [users.revoked[0]]);
  say(`revoked: the last byte came ${seconds(last - revokedAt)} s after the revocation`);
  assert.ok(!coturnHasClosed(coturn.log, [users.revoked[1]]), 'the other grant keeps its session');
  await flows('stays');
  await page.evaluate(() => calls.close('revoked'));

  await ended(users.expires);
  const lastOfExpired = await isSilent('expires', users.expires);
  const late = lastOfExpired - Date.parse(expiresAt);
  say(`expired: the last byte came ${seconds(late)} s after the expiry`);
  assert.ok(late > -1_000, 'not before the expiry');
  await flows('stays');
  await page.evaluate(() => calls.close('expires'));
}

/** Sets the limit to just above the usage during a call. */
async function aSpentBudgetEndsAllCalls() {
  await look('stays');
  const before = received.stays;
  const limit = (await status()).usedBytes + HEADROOM_BYTES;
  const changed = await operatorPost('/api/budget/limit', { limitGB: limit / 1e9 });
  bounds.restart();
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
  console.log(`           coturn's log past the limit: ${mb(egress() - limit)}; the published bound was ${changed.overshootBoundGB} GB`);

  const refused = await page.evaluate(async (url) => {
    const answer = await fetch(url);
    return { status: answer.status, code: (await answer.json()).code };
  }, `${BROKER}/api/turn-credentials`);
  assert.deepEqual(refused, { status: 429, code: 'BUDGET_EXHAUSTED' });

  for (let n = 1; n <= RETURNS; n += 1) await theOldCredentialIsCutAgain(`return ${n}`);
  await bounds.end(egress());
}

/** coturn does not know budgets, so it accepts the credential. The broker's next read cuts the new sessions. */
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

/** Mints for both ends, connects them and sends. */
async function call(name, mbps, { ttl = TTL_SECONDS, bytes = 1e12 } = {}) {
  const url = `${BROKER}/api/turn-credentials?ttl=${ttl}`;
  const minted = await page.evaluate((name, url) => calls.mint(name, url), name, url);
  bounds.restart();
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

/** Waits until more arrives at each end of these calls. */
async function flows(...names) {
  for (const name of names) {
    const before = await look(name);
    await until(`more of ${name}`, async () => (await look(name)).every(({ arrived }, end) => arrived > before[end].arrived));
  }
}

/**
 * Checks that nothing arrives while the ends continue to send, by the browser and by coturn's log of the cut users.
 * @returns {Promise<number>} The time of the last message (ms since 1970).
 */
async function isSilent(name, cutUsers) {
  await atRest(async () => (await look(name)).map(({ arrived, bytesReceived }) => [arrived, bytesReceived]));
  const before = await look(name);
  const logged = coturnEgress(coturn.log, cutUsers);
  await pause(QUIET_SECONDS);
  const after = await look(name);
  for (const [index, end] of after.entries()) {
    assert.equal(end.arrived, before[index].arrived, 'nothing more arrives');
    assert.equal(end.bytesReceived, before[index].bytesReceived, 'the transport receives nothing either');
    // A new allocation can be cut before its ends have connected. Such an end never sends.
    if (end.offered > 0) assert.ok(end.offered > before[index].offered, 'the page continues to send');
  }
  assert.equal(coturnEgress(coturn.log, cutUsers), logged, 'coturn sends nothing more');
  return Math.max(...after.map(({ lastAt }) => lastAt));
}

/** The status after three reads without a change. */
function settled() {
  let [bytes, looks, asOf] = [null, 0, null];
  return until('the ledger to settle', async () => {
    const now = await status();
    if (now.usedBytes !== bytes) [bytes, looks] = [now.usedBytes, 0];
    if (now.asOf !== asOf) [asOf, looks] = [now.asOf, looks + 1];
    return looks > 3 && now;
  });
}

/** Waits until coturn has closed all sessions of these users. */
async function ended(usernames) {
  await until('the sessions to be ended', () => coturnHasClosed(coturn.log, usernames));
}

const egress = () => coturnEgress(coturn.log, Object.values(users).flat());
const opened = (usernames) =>
  sum(usernames.map((username) => coturn.log.split(`new, realm=<${COTURN_REALM}>, username=<${username}>`).length - 1));
const seconds = (ms) => (ms / 1_000).toFixed(1);

async function operatorPost(path, body) {
  const headers = { Authorization: `Bearer ${operatorToken}`, 'Content-Type': 'application/json' };
  const answer = await fetch(BROKER + path, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, path);
  return answer.json();
}

/**
 * Reads the status all the time. Limit plus bound is the most that the live credentials may bring the usage to. Each new
 * credential and each change of the limit sets it again.
 */
function watchTheBounds() {
  let [bound, reads, isOver] = [Infinity, 0, false];
  const faults = [];
  const look = async () => {
    const before = bound;
    const { usedBytes, bandwidthLimitGB, overshootBoundGB, boundHolds, boundAssumes } = await status();
    const most = (bandwidthLimitGB + Number(overshootBoundGB)) * 1e9;
    if (usedBytes > most) faults.push(`${usedBytes} used, but the bound is ${most}`);
    if (usedBytes > before) faults.push(`${usedBytes} used, but the bound was ${before}`);
    if (!boundHolds) faults.push(`the bound does not hold: ${boundAssumes}`);
    if (bound === before) bound = Math.min(before, most);
    reads += 1;
  };
  const looking = (async () => {
    while (!isOver) {
      await look().catch((error) => faults.push(error.message));
      await pause(0.2);
    }
  })();
  return {
    restart() { bound = Infinity; },
    /** @param {number} truth The total bytes by an independent count. */
    async end(truth) {
      isOver = true;
      await looking;
      assert.deepEqual(faults, []);
      assert.ok(truth <= bound, `${truth} relayed, but the bound was ${bound}`);
      say(`${reads} reads of the status: the bound held in each`);
    },
  };
}

await runTest(run, RUN_SECONDS_MAX);
