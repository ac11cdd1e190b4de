// Media over the SFU proxy with the partytracks package from npm, unmodified, and an SFU on loopback that forwards it. Pages and SFU
// meet over the relay in the broker, later over a coturn. Pages that connect directly show that the SFU ends a pull, not the relay.
import assert from 'node:assert/strict';
import { endedAllocations, metric, rows } from './counts.mjs';
import { BROKER, directory, operator, operatorToken, runTest, startBroker, startCoturn, status, sum, theyAgree } from './harness.mjs';
import { LoopbackSfu } from './loopback-sfu.mjs';
import { serveNpmPage } from './npm-site.mjs';
import { launchBrowser, until } from './processes.mjs';
import { nothingWentWrong, openPage, part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 1_200;
const APP = { id: 'app-1', secret: 'app-secret-fixture' };
const PREFIX = '/partytracks';
const FLOW_SECONDS = 10;
/** Frames that show that a picture moves. */
const FRAMES = 20;
/** The relay also counts handshakes and 4 bytes of framing per packet. The browser does not. */
const TOLERANCE = 0.02;
const OUTAGE_SECONDS = 4;
/** Enough for each page of the test, and too few for each of their attempts. */
const MINTS_MAX = 20;
let site;
let sfu;
let broker;
let browser;

async function run() {
  site = await serveNpmPage(5173, 'partytracks-page.mjs', ['partytracks', 'rxjs', 'tslib'], {}, { [`${PREFIX}/`]: BROKER });
  sfu = await new LoopbackSfu(APP.id, APP.secret).start(5180);
  broker = await start({ ICE_SOURCES: 'relay', COTURN_URLS: '', COTURN_SECRET: '' });
  // Names of a local network cannot be resolved here, where there is no multicast.
  browser = await launchBrowser(directory, ['--disable-features=WebRtcHideLocalIpsWithMdns']);

  const pair = await part(aPageSeesWhatAnotherSends);
  await part(onlyTheBrowserThatBeganASessionUsesIt, pair);
  await part(anotherRoomIsRefused, pair);
  await part(aPageTakesASecondTrackAndGivesItBack, pair);
  await part(relayLedgerAndBrowserAgree, pair);
  await Promise.all([part(aRefusedSessionIsTriedAgain), part(aClosedPageIsNoLongerCharged)]);
  await part(aSpentBudgetEndsWhatPullsUntilTheLimitIsRaised);
  theSfuSawOnlyWhatItShould();
  assert.equal(await broker.stop(), 'status 0');

  await startCoturn();
  broker = await start();
  await part(mediaGoOnOverARestartOfTheBrokerAndPagesOpenNewSessions);
  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
  assert.ok(![operatorToken, APP.secret].some((secret) => broker.log.includes(secret)), 'the log has no secret');
}

function start(settings = {}) {
  return startBroker(site, {
    SIGNALING: 'sfu', CALLS_APP_ID: APP.id, CALLS_APP_SECRET: APP.secret, CALLS_API_URL: sfu.url, STATE_DIR: `${directory}/state`,
    RATE_LIMIT_REQUESTS: String(MINTS_MAX), ...settings,
  });
}

async function aPageSeesWhatAnotherSends() {
  const [ann, bob] = [await enter('room-1', true), await enter('room-1', true)];
  const sent = await push(ann);
  const { sessions: [session] } = await look(ann);
  assert.deepEqual(sent, { trackName: sent.trackName, sessionId: session, location: 'remote' }, 'without a mid');
  const pulled = await pull(bob, sent);
  await flows(bob, pulled);
  // The broker itself asks for the state of sessions.
  const ofBob = sfu.requests.filter(({ method, path }) => method !== 'GET' && path.includes(bob.session));
  const calls = ofBob.map(({ method, path }) => `${method} ${path.split('/').slice(6).join('/')}`);
  assert.deepEqual(calls, ['POST tracks/new?correlationId=room-1', 'PUT renegotiate?correlationId=room-1']);
  for (const page of [ann, bob]) {
    const { servers, path } = await look(page);
    const minted = answersOf(page, 'GET', '/generate-ice-servers');
    assert.deepEqual(minted.map(({ status }) => status), [200]);
    assert.deepEqual(servers, JSON.parse(minted[0].text).iceServers, 'the connection has what was minted');
    assert.equal(path, 'relay/udp');
  }
  return { ann, bob, sent, pulled };
}

async function onlyTheBrowserThatBeganASessionUsesIt({ ann, bob }) {
  const cookies = await ann.browserContext().cookies();
  assert.deepEqual(cookies.map(({ name }) => name).sort(), ['partytracks-ice-servers', `partytracks-session-${ann.session}`]);
  for (const { httpOnly, secure, sameSite, path } of cookies) {
    assert.deepEqual({ httpOnly, secure, sameSite, path }, { httpOnly: true, secure: true, sameSite: 'Strict', path: PREFIX });
  }
  assert.equal(await ann.evaluate(() => document.cookie), '');
  const state = (page) => ask(page, 'GET', `/sessions/${ann.session}`);
  assert.deepEqual((await state(ann)).body.tracks.map(({ location, status }) => [location, status]), [['local', 'active']]);
  assert.deepEqual(await errorOf(state(bob)), [401, 'session_locked']);
  bob.faults.splice(0); // the browser logs the 401
}

async function anotherRoomIsRefused({ sent }) {
  const eve = await enter('room-2', true);
  await pull(eve, sent);
  await isRefused(eve, 403, 'other_room');
  assert.ok(!sfu.requests.some(({ path }) => path.includes(`${eve.session}/`)), 'the SFU was not asked');
  await eve.close();
}

async function aPageTakesASecondTrackAndGivesItBack({ ann, bob, pulled }) {
  const second = await pull(bob, await push(ann));
  await flows(bob, second);
  await until('both to be charged', async () => (await charged()) === 2);
  await bob.evaluate((number) => room.drop(number), second);
  await until('its end at the SFU', () => closings(bob.session).length === 1);
  const [{ body: { tracks, force } }] = closings(bob.session);
  assert.deepEqual([tracks.length, force], [1, false]);
  await until('the charge to end', async () => (await charged()) === 1);
  await flows(bob, pulled);
}

async function relayLedgerAndBrowserAgree({ ann, bob, pulled }) {
  await seconds(FLOW_SECONDS);
  await flows(bob, pulled);
  for (const page of [ann, bob]) nothingWentWrong(page);
  const received = { ann: await ann.evaluate(() => room.leave()), bob: await bob.evaluate(() => room.leave()) };
  const minted = [ann, bob].map(grantOf);
  const allocations = () => endedAllocations(broker.log).filter(({ grant }) => minted.includes(grant));
  await until('the relay to end both', () => allocations().length === minted.length);
  const relay = sum(allocations().map(({ sent }) => sent));
  const ledger = await until('the ledger to have it', async () => {
    const { grants } = await (await operator('/api/grants?limit=1000')).json();
    const measured = sum(grants.filter(({ id }) => minted.includes(id)).map(({ measuredBytes }) => measuredBytes));
    return measured === relay && measured;
  });
  const counts = { browser: received.ann + received.bob, relay, ledger };
  console.log(rows('egress to the two pages', [
    ['browser', 'getStats, transport.bytesReceived', counts.browser],
    ['relay', 'log, bytes sent to the clients', counts.relay],
    ['ledger', '/api/grants, measuredBytes', counts.ledger],
    ['browser', 'of these the page that only sends', received.ann],
  ]));
  theyAgree(counts, TOLERANCE);
  for (const page of [ann, bob]) await page.close();
}

/** After each kind of outage, the page that was waiting gets a session, and its connection has a relay. */
async function aRefusedSessionIsTriedAgain() {
  const refusals = {
    html: [503, 'text/html', '<h1>Busy</h1>'],
    json: [429, 'application/json', JSON.stringify({ errorCode: 'too_many', errorDescription: 'Try again later' })],
    'json at 200': [200, 'application/json', JSON.stringify({ errorCode: 'internal', errorDescription: 'An error' })],
  };
  sfu.fault = (path) => {
    const [, number] = /\/sessions\/new\?correlationId=outage-(\d)$/.exec(path) ?? [];
    return Object.values(refusals)[number] ?? null;
  };
  const pages = await Promise.all(Object.keys(refusals).map(openSite));
  await Promise.all(pages.map((page, number) => join(page, `outage-${number}`, true)));
  const tries = (page) => answersOf(page, 'POST', '/sessions/new').length;
  await until('each to have tried twice', () => pages.every((page) => tries(page) > 1));
  for (const page of pages) assert.deepEqual((await look(page)).sessions, []);
  sfu.fault = null;
  const begun = Date.now();
  await Promise.all(Object.keys(refusals).map(async (what, number) => {
    const page = pages[number];
    await until('a session', async () => (await look(page)).sessions.length);
    console.log(`  ${what}: a session ${((Date.now() - begun) / 1_000).toFixed(1)} s after the end of the outage, at try ${tries(page)}`);
    assert.deepEqual((await look(page)).sessions.length, 1);
    assert.ok(isRelayed(await look(page)), 'with a relay');
    await page.close();
  }));
}

/** No request says that a page was closed. The next look at its session does. */
async function aClosedPageIsNoLongerCharged() {
  await until('no track to be charged', async () => (await charged()) === 0);
  assert.ok(sfu.requests.some(({ method, path }) => method === 'GET' && /sessions\/[0-9a-f]+$/.test(path)), 'the SFU was asked');
}

async function aSpentBudgetEndsWhatPullsUntilTheLimitIsRaised() {
  const [ann, bob] = [await enter('room-4', false), await enter('room-4', false)];
  const sent = await push(ann);
  const pulled = await pull(bob, sent);
  await flows(bob, pulled);
  assert.ok(isRelayed(await look(bob)), 'there was a relay');

  const { usedBytes } = await status();
  const spentAt = Date.now();
  assert.equal((await operator('/api/budget/limit', 'POST', { limitGB: usedBytes / 1e9 })).status, 200);
  await until('the end by force', () => closings(bob.session).length > 0);
  const closedSeconds = (Date.now() - spentAt) / 1_000;
  const [{ body: { tracks, force } }] = closings(bob.session);
  assert.deepEqual([tracks.length, force], [1, true]);
  assert.deepEqual(closings(ann.session), [], 'what a page sends costs nothing');
  await stands(bob, pulled);
  await until('the charge to end', async () => (await charged()) === 0);

  await pull(bob, sent);
  await isRefused(bob, 429, 'budget_exhausted');
  const carl = await enter('room-4', false);
  const late = await look(carl);
  assert.ok(late.given.length > 0 && !isRelayed(late), JSON.stringify(late.given));
  const ofCarl = await push(carl);

  assert.equal((await operator('/api/budget/limit', 'POST', { limitGB: null })).status, 200);
  await flows(bob, await pull(bob, sent));
  await flows(bob, await pull(bob, ofCarl));
  console.log(`  closed by force ${closedSeconds.toFixed(1)} s after the budget was spent`);
  for (const page of [ann, bob, carl]) nothingWentWrong(page);
  for (const page of [ann, bob, carl]) await page.close();
}

async function mediaGoOnOverARestartOfTheBrokerAndPagesOpenNewSessions() {
  const [ann, bob] = [await enter('room-5', true), await enter('room-5', true)];
  const sent = await push(ann);
  const pulled = await pull(bob, sent);
  await flows(bob, pulled);
  assert.equal((await look(bob)).path, 'relay/udp');

  assert.equal(await broker.stop(), 'status 0');
  await flows(bob, pulled); // without the broker
  const carl = await openSite();
  await join(carl, 'room-5', true);
  await seconds(OUTAGE_SECONDS);
  broker = await start();
  const begun = Date.now();
  await until('a session', async () => (await look(carl)).sessions.length);
  console.log(`  a page that was waiting has a session ${((Date.now() - begun) / 1_000).toFixed(1)} s after the start`);
  await flows(bob, pulled);

  await flows(carl, await pull(carl, sent)); // of a session of before the restart
  const ofCarl = await push(carl);
  await pull(bob, ofCarl);
  await isRefused(bob, 410, 'session_gone');
  assert.equal((await look(bob)).sessions.length, 1, 'the package opens no new session by itself');
  await flows(bob, pulled);
  await bob.close();
  const again = await enter('room-5', true);
  await flows(again, await pull(again, ofCarl));
  nothingWentWrong(again);
  for (const page of [ann, carl, again]) await page.close();
}

function theSfuSawOnlyWhatItShould() {
  for (const { path, headers } of sfu.requests) {
    assert.equal(headers.authorization, `Bearer ${APP.secret}`);
    const hidden = ['cookie', 'origin', 'referer', 'x-forwarded-for', 'cf-connecting-ip'].filter((name) => name in headers);
    assert.deepEqual(hidden, [], path);
  }
  assert.ok(sfu.of('/sessions/new').every(({ path }) => /\/sessions\/new\?correlationId=(room|outage)-\d$/.test(path)));
}

/** A page that has a session. Every answer of the broker to it is in `page.answers`. */
async function enter(name, isRelayed) {
  const page = await openSite();
  await join(page, name, isRelayed);
  [page.session] = await until('a session', async () => {
    const { sessions } = await look(page);
    return sessions.length && sessions;
  });
  return page;
}

async function openSite() {
  const page = await openPage(browser);
  page.answers = [];
  page.on('response', async (response) => {
    const { pathname } = new URL(response.url());
    if (!pathname.startsWith(PREFIX)) return;
    const text = await response.text().catch(() => '');
    assert.ok(![text, JSON.stringify(response.headers())].some((part) => part.includes(APP.secret)), 'no page sees the secret');
    page.answers.push({ method: response.request().method(), path: pathname, status: response.status(), text });
  });
  await page.goto(site);
  await page.waitForFunction(() => globalThis.room);
  return page;
}

async function push(page) {
  const { pushed: { length } } = await look(page);
  await page.evaluate(() => room.push());
  return until('a sent track', async () => (await look(page)).pushed[length]);
}

/** The last pull of a page. The package drops a refused pull with this error, so the page has to pull again. */
async function isRefused(page, status, code) {
  const refusal = await until('a refusal', () => {
    const last = answersOf(page, 'POST', '/tracks/new').at(-1);
    return last?.status >= 400 && last;
  });
  const { errorCode, errorDescription } = JSON.parse(refusal.text);
  assert.deepEqual([refusal.status, errorCode], [status, code]);
  await until('the page to be told', () => page.faults.some((fault) => fault.includes(errorDescription)));
  page.faults.splice(0);
}

/** A picture moves. */
async function flows(page, number) {
  const { frames } = (await look(page)).pulled[number];
  await until('frames', async () => (await look(page)).pulled[number].frames > frames + FRAMES);
  assert.equal((await look(page)).pulled[number].state, 'live');
}

/** A picture moves no more. */
async function stands(page, number) {
  const count = async () => (await look(page)).pulled[number].frames;
  await until('the last frame', async () => {
    const before = await count();
    await seconds(2);
    return before === await count();
  });
}

/** A request of a page, with what it answers. */
const ask = (page, method, path) => page.evaluate(async (method, url) => {
  const answer = await fetch(url, { method });
  return { status: answer.status, body: await answer.json() };
}, method, PREFIX + path);
const errorOf = async (asked) => {
  const { status, body } = await asked;
  return [status, body.errorCode];
};
const join = (page, name, isRelayed) => page.evaluate((...options) => room.join(...options), name, isRelayed);
const pull = (page, metadata) => page.evaluate((metadata) => room.pull(metadata), metadata);
const look = (page) => page.evaluate(() => room.look());
const answersOf = (page, method, end) => page.answers.filter((answer) => answer.method === method && answer.path.endsWith(end));
const closings = (session) => sfu.of('/tracks/close').filter(({ path }) => path.includes(session));
const isRelayed = ({ given }) => given.some(({ username }) => username);
/** The grant of a page's credential, which is in its user name. */
const grantOf = (page) => JSON.parse(answersOf(page, 'GET', '/generate-ice-servers')[0].text).iceServers.find(({ username }) => username).username.split(':')[1];
const charged = async () => metric(await (await operator('/metrics')).text(), 'turn_broker_sfu_pulled_tracks');
const seconds = (count) => new Promise((resolve) => { setTimeout(resolve, count * 1_000); });

await runTest(run, RUN_SECONDS_MAX);
