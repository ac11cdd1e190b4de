// Calls between peers with the PeerJS package from npm, unmodified. The broker gives the ids, carries the messages, and mints the
// credentials. Every connection is relayed by coturn.
import assert from 'node:assert/strict';
import { BROKER, directory, operatorToken, runTest, startBroker, startCoturn } from './harness.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';
import { nothingWentWrong, openPage, part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 900;
/** How long a message waits for an absent peer. */
const WAIT_SECONDS = 5;
const LATE_SECONDS = 1;
const BINARY_BYTES = 300_000;
const METADATA = { text: 'ü"\\😀', list: [1, null, { deep: true }] };
let site;
let broker;
let browser;

async function run() {
  site = await serveSite(5173, 'peerjs-page.mjs', ['node_modules/peerjs/dist/peerjs.min.js', 'picture.mjs']);
  await startCoturn();
  broker = await start();
  browser = await launchBrowser(directory);

  const pair = [await open(), await open('bert')];
  await part(theyExchangeData, pair);
  await part(theySeeEachOther, pair);
  await part(aConnectionOutlivesItsSockets, pair);
  await part(renewedServersAreUsedByTheNextConnection, pair);
  await part(anAbsentPeerIsReported, pair[0]);
  await part(aPeerThatIsLateGetsTheOffer, pair[0]);
  await part(anIdIsTakenUntilItsPageHasGone);
  await part(aWrongKeyIsRefused);
  await part(aRestartOfTheBrokerBreaksNoConnection, pair);

  for (const page of pair) nothingWentWrong(page);
  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
  assert.ok(!broker.log.includes('token=') && !broker.log.includes(operatorToken), 'the log has no token');
}

const start = () => startBroker(site, { SIGNALING: 'peerjs', STATE_DIR: `${directory}/state`, RATE_LIMIT_REQUESTS: '100' });

async function theyExchangeData([a, b]) {
  assert.match((await look(a)).id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  await connect(a, 'bert', METADATA);
  await until('the connection', async () => (await looks([a, b])).every(({ isOpen }) => isOpen));
  assert.deepEqual((await look(b)).metadata, [METADATA]);
  await theyTalk([a, b]);
  await a.evaluate((count) => peer.sendBytes(count), BINARY_BYTES);
  await until('the bytes', async () => (await look(b)).arrived.at(-1).bytes);
  assert.deepEqual((await look(b)).arrived.at(-1), { bytes: BINARY_BYTES, isWhole: true });
}

async function theySeeEachOther([a, b]) {
  await a.evaluate((id) => peer.call(id), 'bert');
  await until('a frame on both sides', async () => (await looks([a, b])).every(({ events }) => events.includes('frame')));
  await a.evaluate(() => peer.calls[0].close());
  await until('the end of the call', async () => (await look(b)).events.includes('call closed'));
  await theyTalk([a, b]);
}

async function aConnectionOutlivesItsSockets([a, b]) {
  const before = await look(b);
  await a.evaluate(() => peer.it.disconnect());
  await until('disconnected', async () => (await look(a)).events.at(-1) === 'disconnected');
  await theyTalk([a, b]);
  assert.deepEqual((await look(b)).events, before.events, 'the other side is told nothing');
  await reconnect(a);
  await theyTalk([a, b]);
}

async function renewedServersAreUsedByTheNextConnection([a, b]) {
  const username = await a.evaluate((from) => peer.renew(from), BROKER);
  assert.notEqual((await look(a)).username, username);
  await connect(a, 'bert');
  await until('the second connection', async () => (await looks([a, b])).every(({ isOpen, metadata }) => isOpen && metadata.length === 2));
  assert.equal((await look(a)).username, username);
  await theyTalk([a, b]);
}

async function anAbsentPeerIsReported(a) {
  const begun = Date.now();
  await connect(a, 'nobody');
  const last = async () => (await look(a)).events.at(-1);
  await until('the error', async () => (await last()) === 'error peer-unavailable');
  const seconds = (Date.now() - begun) / 1_000;
  assert.ok(seconds >= WAIT_SECONDS, `after ${seconds} s`);
  const { events } = await look(a);
  assert.equal(events.filter((event) => event.startsWith('error')).length, 1, 'one error, however many candidates there were');
}

async function aPeerThatIsLateGetsTheOffer(a) {
  const late = await openSite(); // a busy machine may take longer for a page than the offer waits
  await connect(a, 'late');
  await new Promise((resolve) => { setTimeout(resolve, LATE_SECONDS * 1_000); });
  await begin(late, { id: 'late' });
  await isOpen(late);
  await until('the connection', async () => (await looks([a, late])).every(({ isOpen }) => isOpen));
  await theyTalk([a, late]);
  await late.close();
}

async function anIdIsTakenUntilItsPageHasGone() {
  const first = await open('carl');
  const second = await openSite();
  await begin(second, { id: 'carl' });
  await until('the error', async () => (await look(second)).events.includes('error unavailable-id'));
  await first.reload();
  await first.waitForFunction(() => globalThis.peer);
  await begin(first, { id: 'carl' }); // with another token
  await isOpen(first);
  await first.evaluate(() => peer.it.destroy());
  await second.reload();
  await second.waitForFunction(() => globalThis.peer);
  await begin(second, { id: 'carl' });
  await isOpen(second);
  for (const page of [first, second]) {
    nothingWentWrong(page);
    await page.close();
  }
}

async function aWrongKeyIsRefused() {
  const page = await openSite();
  await begin(page, { id: 'dora', key: 'wrong' });
  await until('the error', async () => (await look(page)).events.includes('error server-error'));
  await page.close();
}

async function aRestartOfTheBrokerBreaksNoConnection([a, b]) {
  await connect(a, 'bert');
  const isConnected = async () => (await looks([a, b])).every(({ isOpen }) => isOpen);
  await until('the connection', isConnected);
  const ids = (await looks([a, b])).map(({ id }) => id);
  assert.equal(await broker.stop(), 'status 0');
  for (const page of [a, b]) await until('disconnected', async () => (await look(page)).events.at(-1) === 'disconnected');
  assert.ok((await looks([a, b])).every(({ events }) => events.at(-2) === 'error network'));
  await theyTalk([a, b]);
  broker = await start();
  for (const page of [a, b]) await reconnect(page);
  assert.deepEqual((await looks([a, b])).map(({ id }) => id), ids);
  await theyTalk([a, b]);
  const before = (await look(b)).metadata.length;
  await connect(a, 'bert');
  await until('another connection', async () => (await isConnected()) && (await look(b)).metadata.length > before);
  await theyTalk([a, b]);
}

/** Sends a text each way over the last connection of each page. */
async function theyTalk(pair) {
  for (const [from, to] of [pair, pair.toReversed()]) {
    const text = `text ${Math.random()}`;
    await from.evaluate((text) => peer.connections.at(-1).send(text), text);
    await until('a text', async () => (await look(to)).arrived.at(-1) === text);
  }
}

/** A page whose peer is open. Without an id it asks the broker for one. */
async function open(id) {
  const page = await openSite();
  await begin(page, { id });
  await isOpen(page);
  return page;
}

async function openSite() {
  const page = await openPage(browser);
  await page.goto(site);
  await page.waitForFunction(() => globalThis.peer);
  return page;
}

async function reconnect(page) {
  await page.evaluate(() => peer.it.reconnect());
  await until('open again', async () => (await look(page)).events.at(-1) === 'open');
}

const begin = (page, options) => page.evaluate((given) => peer.begin(given), { broker: BROKER, ...options });
const isOpen = (page) => until('the peer to open', async () => (await look(page)).events.includes('open'));
const connect = (page, id, metadata = null) => page.evaluate((id, metadata) => peer.connect(id, metadata), id, metadata);
const look = (page) => page.evaluate(() => peer.look());
const looks = (pages) => Promise.all(pages.map(look));

await runTest(run, RUN_SECONDS_MAX);
