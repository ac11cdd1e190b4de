// Two users, from their sign-in to the operator who blocks one. Ann and Bob each call over the relay in the broker. Ann passes
// USER_LIMIT_GB: her page says so, her running call goes on until its credentials expire, and Bob notices nothing. At 95 % of the
// budget an alert is sent. Its link leads the operator to Ann.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { endedAllocations, rows } from './counts.mjs';
import { signIn } from './dashboard-page.mjs';
import { BROKER, directory, operator, operatorToken, runTest, startBroker, status, sum, theyAgree } from './harness.mjs';
import { alertPage, fromAnAlertToABlockedUser } from './on-call.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';
import { DESKTOP, PHONE, nothingWentWrong, openPage, picture, text } from './watched-page.mjs';

const RUN_SECONDS_MAX = 300;
/** The client looks every 5 s at most whether its credentials are due, so it renews them in the last quarter of this. */
const TTL_SECONDS = 20;
const USER_LIMIT_BYTES = 2_000_000;
const LIMIT_GB = 1;
/** Messages of 1,000 bytes each way: Ann reaches her limit in some seconds, Bob in none of many minutes. */
const MESSAGES_PER_SECOND = { ann: 200, bob: 2 };
/** The time after the end of a call in which nothing may arrive. */
const SILENCE_SECONDS = 3;
/** Above the threshold of the alert, with room for Bob's call until the limit is raised again. */
const ALERT_AT = 0.955;
const ALERTS = 'http://127.0.0.1:5175/';
const LIMIT_MESSAGE = `Your monthly bandwidth limit of ${USER_LIMIT_BYTES / 1e9} GB has been reached. Please wait until next month.`;
const jwtSecret = randomBytes(32).toString('hex');
/** The pages of the calls, by user. */
const calls = {};
const begun = Date.now();
const say = (what) => console.log(`  ${((Date.now() - begun) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
let browser;
let broker;

async function run() {
  const site = await serveSite(5173, 'client-page.mjs');
  const example = await serveSite(5174, '../../src/web/turn-client/examples/plain.html');
  const alerts = await receiveAlerts();
  broker = await startBroker(`${site},${example}`, {
    ICE_SOURCES: 'relay', COTURN_URLS: '', COTURN_SECRET: '', STATE_DIR: `${directory}/state`, TURN_TTL_SECONDS: String(TTL_SECONDS),
    AUTH_JWT_SECRET: jwtSecret, AUTH_REQUIRED: 'true', USER_LIMIT_GB: String(USER_LIMIT_BYTES / 1e9), BANDWIDTH_LIMIT_GB: String(LIMIT_GB),
    LIABILITY_MBPS_PER_GRANT: '20', ALERT_WEBHOOK_URL: ALERTS, ALERT_WEBHOOK_SECRET: randomBytes(24).toString('hex'), PUBLIC_URL: BROKER,
  });
  browser = await launchBrowser(directory);
  assert.deepEqual(await mint(null), [401, 'UNAUTHORIZED'], 'nobody calls without a sign-in');
  for (const user of ['ann', 'bob']) await theUserCalls(site, user);

  await until('Ann to pass her limit', async () => (await spender('ann')).bytes > USER_LIMIT_BYTES);
  say('Ann has passed her limit');
  await theRunningCallEndsWithItsCredentials();
  await theNextCallIsRefused(example);
  await theFiguresAgree();
  const alert = await anAlertIsSent(alerts);
  for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) await theOperatorBlocksAnn(name, viewport);
  await theNextCallIsBlocked(example);
  await theOtherUserNoticedNothing();
  await aCutCallIsTold();

  assert.equal(alert.spenders[0].key, 'ann');
  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
  assert.ok(![jwtSecret, operatorToken, signed('ann')].some((secret) => broker.log.includes(secret)), 'the log has no secret');
}

/** Each end of the call signs in, fetches its own credentials, and sends until the end of the test. */
async function theUserCalls(site, user) {
  calls[user] = await openPage(browser);
  await calls[user].goto(site);
  await calls[user].waitForFunction(() => globalThis.call);
  await calls[user].evaluate((token, label) => call.connect({ token, label }), signed(user), `room-of-${user}`);
  await calls[user].evaluate((perSecond) => call.startSending(perSecond), MESSAGES_PER_SECOND[user]);
  await until('both ends to be relayed', async () => (await look(user)).every(({ relayed }) => relayed));
  say(`${user} calls over the relay`);
}

/** The example of turn-client.js shows the message of the broker. */
async function theNextCallIsRefused(example) {
  assert.deepEqual(await mint('bob'), [200, undefined]);
  const notice = await noticeOf(example, 'ann', 'refused');
  assert.match(notice, /^Your monthly limit is used up or reserved\./);
  say(`Ann's page: ${notice}`);
}

/** The relay knows no limit of a user. The renewal is refused, so the call ends when its credentials expire. */
async function theRunningCallEndsWithItsCredentials() {
  await flows('ann', 'bob');
  assert.deepEqual(await mint('ann'), [429, 'USER_LIMIT_REACHED']);
  const refused = () => look('ann').then((ends) => ends.every(({ faults }) => faults.includes(`USER_LIMIT_REACHED: ${LIMIT_MESSAGE}`)));
  await until('the renewals to be refused', refused);
  say('her renewals are refused');
  await flows('ann', 'bob');
  // An end that met refused credentials before has left an allocation behind.
  const expired = async () => (await allocationsOf('ann')).filter(({ why }) => why === 'expired');
  await until('the end of both allocations', async () => (await expired()).length === 2);
  say('the relay has ended her call: its credentials have expired');
  const atTheEnd = await look('ann');
  await new Promise((resolve) => { setTimeout(resolve, SILENCE_SECONDS * 1_000); });
  assert.deepEqual((await look('ann')).map(({ arrived }) => arrived), atTheEnd.map(({ arrived }) => arrived), 'nothing more arrives');
  await until('Bob to renew', async () => (await look('bob')).every(({ renewals }) => renewals.length > 0));
  await flows('bob');
}

/** What the relay sends to a client is billed: the egress. The ledger has the same figure for the user, to the byte. */
async function theFiguresAgree() {
  const relayed = await allocationsOf('ann');
  const browserBytes = await calls.ann.evaluate(() => call.received());
  const { bytes, measuredBytes, evidence } = await spender('ann');
  const counts = { browser: browserBytes, relay: sum(relayed.map(({ sent }) => sent)), ledger: measuredBytes };
  console.log(rows('egress to the two ends of Ann', [
    ['browser', 'getStats, transport.bytesReceived', counts.browser],
    ['relay', 'log, bytes sent to the clients', counts.relay],
    ['ledger', '/api/spenders, measuredBytes', counts.ledger],
    ['relay', 'log, bytes received: not billed', sum(relayed.map(({ received }) => received))],
  ]));
  theyAgree(counts);
  assert.deepEqual({ bytes, evidence, ledger: counts.ledger }, { bytes: measuredBytes, evidence: 'measured', ledger: counts.relay });
  const page = await openPage(browser);
  await signIn(page);
  await until('the spenders', () => page.$('#spenders-panel tbody tr'));
  const row = await page.$eval('#spenders-panel tbody tr', ({ cells }) => [cells[0], ...cells[1].children].slice(0, 3).map(({ textContent }) => textContent));
  const [name, amount, word] = row;
  assert.deepEqual([name, word], ['ann', 'measured']);
  const shown = Number.parseFloat(amount) * (amount.endsWith('GB') ? 1e9 : 1e6);
  theyAgree({ shown, browser: counts.browser });
  console.log(`  the dashboard shows: ${row.join(', ')}`);
  await picture(page, 'users-who-spends');
  nothingWentWrong(page);
  await page.close();
}

/** The operator lowers the limit until 95 % of it is used, and raises it again. */
async function anAlertIsSent(alerts) {
  const { usedBytes } = await status();
  await setLimit(usedBytes / ALERT_AT / 1e9);
  const isThat = ({ event }) => event === 'budget.used_95';
  await until('the alert', () => alerts.some(isThat));
  await setLimit(LIMIT_GB);
  const alert = alerts.find(isThat);
  const { event, link } = alert;
  assert.equal(link, `${BROKER}/dashboard#by-user=ann`);
  say(`alert ${event}: ${link}`);
  return alert;
}

async function theOperatorBlocksAnn(name, viewport) {
  if ((await spender('ann')).blocked) await operator('/api/users/ann/block', 'DELETE');
  assert.equal((await spender('ann')).blocked, false);
  const page = await openPage(browser, viewport);
  await fromAnAlertToABlockedUser(page, ALERTS, 'ann', `users-on-call-${name}`);
  assert.equal((await spender('ann')).blocked, true);
  await page.reload();
  await until('the row to say so after a reload', () => page.$$eval('#spenders-panel tbody tr', ([row]) => /^ann.*blocked.*Allow again/.test(row?.textContent ?? '')));
  await page.close();
}

async function theNextCallIsBlocked(example) {
  assert.deepEqual(await mint('ann'), [403, 'USER_BLOCKED']);
  assert.match(await noticeOf(example, 'ann', 'blocked'), /^The operator has blocked you\./);
}

async function theOtherUserNoticedNothing() {
  const before = (await spender('bob')).bytes;
  await flows('bob');
  await until('more bytes of Bob', async () => (await spender('bob')).bytes > before);
  const ends = await look('bob');
  assert.deepEqual(ends.map(({ faults, disorder }) => [...faults, disorder]), [[0], [0]], 'no error, and no message is lost');
  say(`Bob received ${sum(ends.map(({ arrived }) => arrived))} messages, the longest silence was ${Math.max(...ends.map(({ silence }) => silence))} ms`);
}

/** The operator lowers the limit below what is used. The relay cuts Bob's call, and his page says why within some heartbeats. */
async function aCutCallIsTold() {
  assert.equal((await operator('/api/budget/limit', 'POST', { limitGB: 0.0001 })).status, 200);
  const isTold = ({ status: { degraded }, faults }) => degraded && faults.some((fault) => fault.startsWith('BUDGET_EXHAUSTED'));
  await until('both ends of Bob to say so', async () => (await look('bob')).every(isTold));
  const [{ status: { message } }] = await look('bob');
  assert.match(message, /^The monthly limit of the relay is used up or reserved\./);
  say(`Bob's page: ${message}`);
}

/** What the example shows to this user. */
async function noticeOf(example, user, name) {
  const page = await openPage(browser);
  await page.goto(`${example}/?broker=${BROKER}&token=${signed(user)}`);
  await until('the notice', async () => (await text(page, 'notice')) !== '');
  await picture(page, `users-page-${name}`);
  const notice = await text(page, 'notice');
  await page.close();
  return notice;
}

/** Waits until more arrives at each end of these calls. */
async function flows(...users) {
  for (const user of users) {
    const before = await look(user);
    await until(`more of ${user}`, async () => (await look(user)).every(({ arrived }, end) => arrived > before[end].arrived));
  }
}

const look = (user) => calls[user].evaluate(() => call.look());
const json = async (path) => (await operator(path)).json();
const spender = async (user) => (await json('/api/spenders?by=user')).spenders.find(({ key }) => key === user) ?? { bytes: 0 };

async function allocationsOf(user) {
  const { grants } = await json(`/api/grants?user=${user}`);
  return endedAllocations(broker.log).filter(({ grant }) => grants.some(({ id }) => id === grant));
}

async function setLimit(limitGB) {
  assert.equal((await operator('/api/budget/limit', 'POST', { limitGB })).status, 200);
}

/** A token as docs/CLIENTS.md signs it. */
function signed(user) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, exp: Math.floor(begun / 1_000) + 3_600 })}`;
  return `${text}.${createHmac('sha256', jwtSecret).update(text).digest('base64url')}`;
}

/** Status and error code. */
async function mint(user) {
  const headers = user === null ? {} : { Authorization: `Bearer ${signed(user)}` };
  const answer = await fetch(`${BROKER}/api/turn-credentials`, { headers });
  return [answer.status, (await answer.json()).code];
}

/** Receives alerts, and shows the first as a chat does. */
async function receiveAlerts() {
  const alerts = [];
  const server = createServer(async (request, answer) => {
    if (request.method === 'POST') alerts.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
    const first = alerts.find(({ event }) => event === 'budget.used_95');
    answer.setHeader('Content-Type', 'text/html; charset=utf-8');
    answer.end(first ? alertPage(first.what, first.link) : '');
  });
  const { port, hostname } = new URL(ALERTS);
  await new Promise((resolve) => { server.listen(port, hostname, resolve); });
  return alerts;
}

await runTest(run, RUN_SECONDS_MAX);
