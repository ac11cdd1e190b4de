// Calls over Ayame with the SDK from npm, unmodified, in a real browser. Every call is relayed by coturn with the credentials of
// its `accept`, so none connects without them.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { metric } from './counts.mjs';
import { BROKER, directory, operator, operatorToken, runTest, startBroker, startCoturn } from './harness.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';
import { nothingWentWrong, openPage, part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 900;
const SDK = 'node_modules/@open-ayame/ayame-web-sdk/dist/ayame.mjs';
const SIGNALING = `${BROKER.replace('http', 'ws')}/signaling`;
const WEBHOOKS = 'http://127.0.0.1:5174';
/** Short, so that a call outlives it. */
const PONG_TIMEOUT_SECONDS = 10;
const SECRETS = { signalingKey: 'signaling-key-fixture', authnMetadata: 'metadata-fixture' };
/** Every request to a webhook: `{ path, origin, body }`. */
const asked = [];
let browser;
let broker;
let site;
/** The mints that the test has caused. */
let mints = 0;

async function run() {
  site = await serveSite(5173, 'ayame-page.mjs', [SDK]);
  await receiveWebhooks();
  await startCoturn();
  broker = await start();
  browser = await launchBrowser(directory);

  await part(twoPagesTalkAndTheThirdIsFull);
  await part(theWebhookDecides);
  await part(aRestartOfTheBrokerEndsCallsAndTheyBeginAgain);

  await browser.close();
  await everyConnectionIsToldOfOnce();
  assert.equal(await broker.stop(), 'status 0');
  assert.ok(![operatorToken, ...Object.values(SECRETS)].some((secret) => broker.log.includes(secret)), 'the log has no secret');
}

function start() {
  return startBroker(site, {
    SIGNALING: 'ayame', STATE_DIR: `${directory}/state`, RATE_LIMIT_REQUESTS: '100',
    AUTHN_WEBHOOK_URL: `${WEBHOOKS}/authn`, DISCONNECT_WEBHOOK_URL: `${WEBHOOKS}/disconnect`, COPY_WEBSOCKET_HEADER_NAMES: 'Origin',
    WS_PING_INTERVAL_SEC: '1', WS_PONG_TIMEOUT_SEC: String(PONG_TIMEOUT_SECONDS),
  });
}

async function twoPagesTalkAndTheThirdIsFull() {
  const pair = await thePairTalks('room-1');
  for (const [index, { isExistUser, servers }] of (await looks(pair)).entries()) {
    assert.equal(isExistUser, index === 1, 'the second makes the offer');
    assert.ok(servers.some(({ urls, username, credential }) => urls[0].startsWith('turn:') && username && credential), JSON.stringify(servers));
  }
  const third = await openCall();
  assert.equal(await connect(third, 'room-1'), 'REJECTED');
  assert.deepEqual((await look(third)).events, ['disconnect full']);
  await third.close();
  await seconds(PONG_TIMEOUT_SECONDS + 1); // they answer pings, so they stay
  await theyTalk(pair);
  assert.equal(await mintCount(), mints, 'the third page costs nothing');

  const [survivor, leaver] = pair;
  await leaver.evaluate(() => call.connection.disconnect());
  await until('bye', async () => (await look(survivor)).events.length === 4);
  assert.deepEqual((await look(survivor)).events, ['open', 'connect', 'bye', 'disconnect WS-CLOSED']);
  await end(pair);
  await end(await thePairTalks('room-1')); // the room works again
}

async function theWebhookDecides() {
  const page = await openCall();
  const metadata = { word: SECRETS.authnMetadata };
  assert.equal(await connect(page, 'refused', { metadata, signalingKey: SECRETS.signalingKey }), 'REJECTED');
  assert.deepEqual((await look(page)).events, ['disconnect not this room']);
  const { body, origin } = asked.findLast(({ path }) => path === '/authn');
  assert.deepEqual({ ...body, clientId: '', connectionId: '' }, {
    roomId: 'refused', clientId: '', connectionId: '', authnMetadata: metadata, signalingKey: SECRETS.signalingKey,
  });
  assert.match(body.connectionId, /^[0-9A-HJKMNP-TV-Z]{26}$/);
  assert.equal(origin, site);
  assert.equal(await connect(page, 'failing'), 'REJECTED');
  assert.equal((await look(page)).events.at(-1), 'disconnect InternalServerError');
  assert.equal(await mintCount(), mints);
  mints += 1;
  assert.equal(await connect(page, 'welcome'), 'connected');
  assert.deepEqual((await look(page)).authzMetadata, { room: 'welcome' });
  await end([page]);
}

async function aRestartOfTheBrokerEndsCallsAndTheyBeginAgain() {
  const pair = await thePairTalks('room-3');
  assert.equal(await broker.stop(), 'status 0');
  for (const page of pair) {
    await until('the end of the call', async () => (await look(page)).events.length === 4);
    assert.deepEqual((await look(page)).events, ['open', 'connect', 'bye', 'disconnect WS-CLOSED']);
  }
  broker = await start();
  await end(pair);
  await end(await thePairTalks('room-3'));
}

async function everyConnectionIsToldOfOnce() {
  const toldAt = (path) => asked.filter((request) => request.path === path).map(({ body }) => body.connectionId).sort();
  const authorized = toldAt('/authn');
  const isTold = () => authorized.every((connection) => toldAt('/disconnect').includes(connection));
  await until('every end to be told', isTold);
  const told = toldAt('/disconnect');
  assert.deepEqual(told, [...new Set(told)], 'once');
  assert.equal(told.length, authorized.length + 1, 'the third page of a full room is told, although nobody was asked');
}

/** Two pages that are connected over the relay, and have sent a text each way. */
async function thePairTalks(room) {
  const pair = [await openCall(), await openCall()];
  for (const page of pair) assert.equal(await connect(page, room), 'connected');
  mints += pair.length;
  await until('both ends to connect', async () => (await looks(pair)).every(({ isOpen, events }) => isOpen && events.includes('connect')));
  await theyTalk(pair);
  return pair;
}

async function theyTalk(pair) {
  for (const [from, to] of [pair, pair.toReversed()]) {
    const before = (await look(to)).arrived.length;
    await from.evaluate((text) => call.channel.send(text), `text ${before}`);
    await until('a text', async () => (await look(to)).arrived.length > before);
    assert.equal((await look(to)).arrived.at(-1), `text ${before}`);
  }
}

async function openCall() {
  const page = await openPage(browser);
  await page.goto(site);
  await page.waitForFunction(() => globalThis.call);
  return page;
}

const connect = (page, room, options = {}) =>
  page.evaluate((given) => call.connect(given), { url: SIGNALING, room, ...options });
const look = (page) => page.evaluate(() => call.look());
const looks = (pages) => Promise.all(pages.map(look));
const seconds = (count) => new Promise((resolve) => { setTimeout(resolve, count * 1_000); });

/** Closes pages in which nothing unexpected happened, and waits for the end of their sockets. */
async function end(pages) {
  for (const page of pages) {
    nothingWentWrong(page);
    await page.close();
  }
  await noSocketIsOpen();
}

const noSocketIsOpen = () => until('all sockets to close', async () => {
  const metrics = await (await operator('/metrics')).text();
  return metric(metrics, 'turn_broker_places_taken{place="signaling_sockets"}') === 0;
});

async function mintCount() {
  return (await (await operator('/api/grants?limit=1000')).json()).grants.length;
}

/** The application: it decides by the name of the room. */
async function receiveWebhooks() {
  const verdicts = {
    refused: [200, { allowed: false, reason: 'not this room' }],
    failing: [500, {}],
  };
  const server = createServer(async (request, answer) => {
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    asked.push({ path: request.url, origin: request.headers.origin, body });
    const [status, verdict] = verdicts[body.roomId] ?? [200, { allowed: true, authzMetadata: { room: body.roomId } }];
    answer.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(verdict));
  });
  const { port, hostname } = new URL(WEBHOOKS);
  await new Promise((resolve) => { server.listen(port, hostname, resolve); });
}

await runTest(run, RUN_SECONDS_MAX);
