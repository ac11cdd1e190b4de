// Video calls over the broker's signaling with Ayame's SDK from npm, unmodified: what they mean for the budget. A room's bytes are counted,
// and a member that leaves is cut although its page goes on sending: over the relay in the broker, and over a coturn that the broker reads
// and cuts. Over the relay also: a standalone call is not cut, a spent budget ends calls until the limit is raised, and a call outlives its
// credentials. At coturn, cut.mjs and renewal.mjs show the last two.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { coturnEgress, coturnHasClosed, endedAllocations, metric, rows } from './counts.mjs';
import { BROKER, coturnSecret, directory, operator, operatorToken, runTest, startBroker, startCoturn, status, sum, theyAgree } from './harness.mjs';
import { coturnReports, launchBrowser, serveSite, until } from './processes.mjs';
import { openPage, part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 1_200;
const MODULES = ['node_modules/@open-ayame/ayame-web-sdk/dist/ayame.mjs', 'picture.mjs'];
const SIGNALING = `${BROKER.replace('http', 'ws')}/signaling`;
const CLI_PORT = 5766;
const LIMIT_GB = 1;
/** No grant relays more, even with framing and resent packets. */
const LIABILITY_MBPS = 24;
/** coturn does not report the last 2,047 packets of a session at most: 1.2 MB, which is 6 % of this. */
const COTURN_BYTES_EACH_WAY = 20_000_000;
const COTURN_MBPS = 16;
const RELAY_BYTES_EACH_WAY = 4_000_000;
const RELAY_MBPS = 4;
/** The time after a cut in which nothing may arrive. Before, a packet came every few milliseconds. */
const SILENCE_SECONDS = 2;
/** How long a call must go on after its standalone ends have left. */
const ALONE_SECONDS = 3;
/** The life of a credential, in which two pages connect also on a busy machine. */
const LIFE_SECONDS = 10;
/** How long a call must go on after its credentials have expired. The relay and the broker at coturn end what has expired within 2 s. */
const BEYOND_SECONDS = 5;

const [cliPassword, statsPassword] = [0, 1].map(() => randomBytes(24).toString('hex'));
const reports = coturnReports(statsPassword);
let browser;
let broker;
let site;
/** What differs between the two sources of credentials. */
let source;

async function run() {
  site = await serveSite(5173, 'ayame-relay-page.mjs', MODULES);
  browser = await launchBrowser(directory);
  await theCallsOver(await theRelay());
  await theCallsOver(await theCoturn());
  await browser.close();
  assert.ok(![operatorToken, coturnSecret, cliPassword, statsPassword].some((secret) => broker.log.includes(secret)), 'the log has no secret');
}

async function theRelay() {
  const sent = (ids) => endedAllocations(broker.log).filter(({ grant }) => ids.includes(grant));
  return {
    name: 'relay', settings: { ICE_SOURCES: 'relay', COTURN_URLS: '', COTURN_SECRET: '' }, bytes: RELAY_BYTES_EACH_WAY, mbps: RELAY_MBPS,
    rest: () => pause(1),
    hasEnded: (ids) => ids.every((id) => sent([id]).length > 0),
    egress: (ids) => sum(sent(ids).map((allocation) => allocation.sent)),
    reasons: (ids) => sent(ids).map(({ why }) => why),
  };
}

async function theCoturn() {
  const coturn = await startCoturn([`cli-password=${cliPassword}`, 'cli-ip=127.0.0.1', `cli-port=${CLI_PORT}`, reports.line]);
  /** The broker's user names end with the grant. */
  const names = (ids) => [...new Set([...coturn.log.matchAll(/username=<([^>]+)>/g)].map(([, name]) => name))].filter((name) => ids.some((id) => name.endsWith(id)));
  return {
    name: 'coturn', settings: { COTURN_CLI: `127.0.0.1:${CLI_PORT}`, COTURN_CLI_PASSWORD: cliPassword, ...reports.settings }, bytes: COTURN_BYTES_EACH_WAY, mbps: COTURN_MBPS,
    rest: settledSpender,
    hasEnded: (ids) => names(ids).length === ids.length && coturnHasClosed(coturn.log, names(ids)),
    egress: (ids) => coturnEgress(coturn.log, names(ids)),
  };
}

async function theCallsOver(over) {
  source = over;
  console.log(`over ${source.name}:`);
  const settings = {
    ...source.settings, SIGNALING: 'ayame', STATE_DIR: `${directory}/state-${source.name}`, RATE_LIMIT_REQUESTS: '100',
    BANDWIDTH_LIMIT_GB: String(LIMIT_GB), LIABILITY_MBPS_PER_GRANT: String(LIABILITY_MBPS),
  };
  broker = await startBroker(site, settings);
  await part(theBytesOfARoomAreCounted);
  await part(aMemberThatLeavesIsCut);
  if (source.name === 'coturn') return assert.equal(await broker.stop(), 'status 0');
  await part(aStandaloneCallIsNotCut);
  await part(aSpentBudgetEndsCallsUntilTheLimitIsRaised);
  assert.equal(await broker.stop(), 'status 0');
  broker = await startBroker(site, { ...settings, SIGNALING_TTL_SECONDS: String(LIFE_SECONDS) });
  await part(aCallOutlivesItsCredentials);
  assert.equal(await broker.stop(), 'status 0');
}

async function theBytesOfARoomAreCounted() {
  const pair = await thePairIsRelayed('counted');
  await Promise.all(pair.map((page) => page.evaluate((bytes, mbps) => call.send(bytes, mbps), source.bytes, source.mbps)));
  await until('all to arrive', async () => (await looks(pair)).every(({ arrived }) => arrived >= source.bytes));
  const ids = await grantsOf('counted');
  for (const page of pair) await page.evaluate(() => call.stopSending());
  await source.rest('counted');
  const browserBytes = sum((await looks(pair)).map(({ bytesReceived }) => bytesReceived));
  await end(pair);
  await until('the allocations to end', () => source.hasEnded(ids));
  const { bytes, evidence, grants } = await settledSpender('counted');
  const counts = { browser: browserBytes, source: source.egress(ids), ledger: bytes };
  console.log(rows('egress to the two members of the room', [
    ['browser', 'getStats, transport.bytesReceived', counts.browser],
    [source.name, 'log, bytes sent to the clients', counts.source],
    ['ledger', '/api/spenders?by=call', counts.ledger],
  ]));
  assert.deepEqual({ evidence, grants }, { evidence: 'measured', grants: 2 });
  theyAgree(counts);
}

/** Neither page closes its media, like a page that was changed to go on. */
async function aMemberThatLeavesIsCut() {
  const pair = await thePairIsRelayed('left');
  const ids = await grantsOf('left');
  for (const page of pair) await page.evaluate(() => call.keepMedia());
  const [leaver, survivor] = pair;
  const leftAt = await leaver.evaluate(() => call.leave());
  const atLeaving = await looks(pair);
  await until('bye', async () => (await look(survivor)).events.includes('bye'));
  await until('both allocations to end', () => source.hasEnded(ids));
  const endedAt = Date.now();
  const ends = await theyAreSilent(pair);
  for (const [index, { packetsSent }] of ends.entries()) assert.ok(packetsSent > atLeaving[index].packetsSent, 'the page went on sending');
  const last = Math.max(...ends.map(({ lastAt }) => lastAt));
  console.log(`  the last packet came ${seconds(last - leftAt)} s after a member had left, both allocations had ended after ${seconds(endedAt - leftAt)} s`);
  await theyEndedBecause('revoked', ids);
  await closeAll(pair);
}

async function aStandaloneCallIsNotCut() {
  const pair = await thePairIsRelayed('alone', { standalone: true });
  const ids = await grantsOf('alone');
  await until('both sockets to close', async () => (await looks(pair)).every(({ isSocketClosed }) => isSocketClosed));
  assert.deepEqual((await json('/api/calls-live')).calls, []);
  const before = await looks(pair);
  await pause(ALONE_SECONDS);
  await itFlows(pair);
  const [mbps] = (await looks(pair)).map(({ bytesReceived }, index) => ((bytesReceived - before[index].bytesReceived) * 8) / ALONE_SECONDS / 1e6);
  console.log(`  ${mbps.toFixed(2)} Mbps for ${ALONE_SECONDS} s after both sockets had closed`);
  assert.ok((await looks(pair)).every(({ events }) => events.join() === 'connect'), 'no bye and no disconnect');
  assert.ok((await json('/api/grants?limit=1000')).grants.filter(({ id }) => ids.includes(id)).every(({ revokedAt }) => revokedAt === null));
  await end(pair);
}

async function aSpentBudgetEndsCallsUntilTheLimitIsRaised() {
  const running = await thePairIsRelayed('running');
  const ids = await grantsOf('running');
  for (const page of running) await page.evaluate(() => call.keepMedia());
  const spentAt = Date.now();
  await setLimit((await status()).usedBytes / 1e9);
  assert.equal((await status()).status, 'LIMIT_EXCEEDED');
  await until('both allocations to end', () => source.hasEnded(ids));
  const ends = await theyAreSilent(running);
  const last = Math.max(...ends.map(({ lastAt }) => lastAt));
  console.log(`  the last packet of a call came ${seconds(Math.max(0, last - spentAt))} s after the budget had been spent`);
  await theyEndedBecause('spent', ids);
  await closeAll(running);

  const refused = await openCall();
  assert.equal(await connect(refused, 'refused'), 'connected', 'nobody is refused for want of a relay');
  const { turnServers } = await look(refused);
  assert.equal(turnServers, 0, 'STUN only');
  assert.deepEqual(await grantsOf('refused'), []);
  await closeAll([refused]);

  await setLimit(LIMIT_GB);
  await end(await thePairIsRelayed('raised'));
}

/** The SDK takes no other credentials: the broker renews the grants while both members hold their sockets. */
async function aCallOutlivesItsCredentials() {
  const pair = await thePairIsRelayed('held');
  const { grants } = await json('/api/grants?limit=1000');
  const expiries = grants.filter(({ call }) => call === 'ayame/held').map(({ expiresAt }) => Date.parse(expiresAt));
  const held = Math.max(...expiries) + BEYOND_SECONDS * 1_000;
  await until('the credentials to have expired', () => Date.now() > held);
  await itFlows(pair);
  assert.ok((await grantsOf('held')).length >= 4, 'both were renewed');
  assert.ok((await looks(pair)).every(({ events, isRelayed }) => isRelayed && events.join() === 'connect'));
  await end(pair);
}

/** The relay says why, and has no allocation left. A busy browser sometimes makes a second one with its credential, and closes it itself. */
async function theyEndedBecause(reason, ids) {
  if (!source.reasons) return;
  const byTheBroker = source.reasons(ids).filter((why) => why !== 'closed');
  assert.ok(byTheBroker.length >= 2 && byTheBroker.every((why) => why === reason), byTheBroker.join());
  assert.equal(metric(await (await operator('/metrics')).text(), 'turn_broker_relay_allocations'), 0);
}

/** Two pages with video each way over the relay. */
async function thePairIsRelayed(room, options = {}) {
  const pair = [await openCall(), await openCall()];
  for (const page of pair) assert.equal(await connect(page, room, options), 'connected');
  for (const { turnServers } of await looks(pair)) assert.ok(turnServers > 0, 'accept has a TURN server');
  await until('both ends to be relayed', async () => (await looks(pair)).every(({ isRelayed }) => isRelayed));
  await until('the data channel', async () => (await Promise.all(pair.map((page) => page.evaluate(() => call.channel?.readyState)))).every((state) => state === 'open'));
  await itFlows(pair);
  return pair;
}

/** Waits until more video arrives at each end. */
async function itFlows(pair) {
  const before = await looks(pair);
  await until('more video', async () => (await looks(pair)).every(({ lastAt }, index) => lastAt > before[index].lastAt));
}

/** Checks that nothing arrives at either end for some time. */
async function theyAreSilent(pair) {
  const before = await looks(pair);
  await pause(SILENCE_SECONDS);
  const after = await looks(pair);
  for (const [index, { bytesReceived }] of after.entries()) assert.equal(bytesReceived, before[index].bytesReceived, 'nothing more arrives');
  return after;
}

async function openCall() {
  const page = await openPage(browser);
  await page.goto(site);
  await page.waitForFunction(() => globalThis.call);
  return page;
}

/** Ends a call as its pages do, and waits until nothing of it is relayed. */
async function end(pages) {
  await Promise.all(pages.map((page) => page.evaluate(() => call.hangUp())));
  await closeAll(pages);
}

const closeAll = (pages) => Promise.all(pages.map((page) => page.close()));
const connect = (page, room, options = {}) => page.evaluate((given) => call.connect(given), { url: SIGNALING, room, ...options });
const look = (page) => page.evaluate(() => call.look());
const looks = (pages) => Promise.all(pages.map(look));
const json = async (path) => (await operator(path)).json();
const pause = (count) => new Promise((resolve) => { setTimeout(resolve, count * 1_000); });
const seconds = (ms) => (ms / 1_000).toFixed(2);

/** The grants that were minted for a room. */
async function grantsOf(room) {
  const { grants } = await json('/api/grants?limit=1000');
  return grants.filter(({ call }) => call === `ayame/${room}`).map(({ id }) => id);
}

/** What a room has spent, once the ledger has read its source without a change. */
function settledSpender(room) {
  let [bytes, looks, asOf] = [null, 0, null];
  return until('the ledger to settle', async () => {
    const { asOf: read } = await status();
    const spender = (await json('/api/spenders?by=call')).spenders.find(({ key }) => key === `ayame/${room}`);
    if (spender?.bytes !== bytes) [bytes, looks] = [spender?.bytes, 0];
    if (read !== asOf) [asOf, looks] = [read, looks + 1];
    return looks > 3 && spender;
  });
}

async function setLimit(limitGB) {
  assert.equal((await operator('/api/budget/limit', 'POST', { limitGB })).status, 200);
}

await runTest(run, RUN_SECONDS_MAX);
