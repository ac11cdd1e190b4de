// Documents that pages share with the y-webrtc package from npm, unmodified. The broker carries the messages by which the pages
// find each other, and mints the credentials. Connections are relayed by coturn, except in the crowd: its pages connect directly, because
// a relay that refuses one of fifty allocations at once would fail the test.
import assert from 'node:assert/strict';
import { metric } from './counts.mjs';
import { BROKER, directory, operator, runTest, startBroker, startCoturn } from './harness.mjs';
import { serveNpmPage } from './npm-site.mjs';
import { launchBrowser, until } from './processes.mjs';
import { openPage, part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 900;
const CROWD = 8;
/** Pages with the same password take less time to connect. */
const QUIET_SECONDS = 3;
let site;
let broker;
let browser;

async function run() {
  const simplePeer = { 'simple-peer/simplepeer.min.js': '/simple-peer.mjs' };
  site = await serveNpmPage(5173, 'yjs-page.mjs', ['yjs', 'lib0', 'y-protocols', 'y-webrtc'], simplePeer);
  await startCoturn();
  broker = await start();
  // Names of a local network cannot be resolved here, where there is no multicast.
  browser = await launchBrowser(directory, ['--disable-features=WebRtcHideLocalIpsWithMdns']);

  const pages = await part(twoPagesShareADocument);
  await part(aThirdPageMeetsBoth, pages);
  await part(aSecondRoomUsesTheSameSocket, pages);
  await part(onlyPagesWithThePasswordShare, pages);
  await part(renewedServersAreUsedByLaterConnections, pages);
  await part(aPageThatLeavesIsGoneAndComesBack, pages);
  await part(aRestartOfTheBrokerEndsNothing, pages);
  for (const page of pages) await page.close();
  await part(pagesThatEnterAtOnceAllSync);

  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
}

const start = () => startBroker(site, { SIGNALING: 'yjs', STATE_DIR: `${directory}/state`, RATE_LIMIT_REQUESTS: '100' });

async function twoPagesShareADocument() {
  const pages = [await enter('anna'), await enter('bert')];
  await allShare(pages, { anna: 'before', bert: 'before' });
  await pages[0].evaluate(() => shared.write('room', 'anna', 'after'));
  await pages[1].evaluate(() => shared.write('room', 'bert', 'after'));
  await allShare(pages, { anna: 'after', bert: 'after' });
  await until('awareness', async () => (await looks(pages)).every(({ aware }) => aware.join() === 'anna,bert'));
  return pages;
}

async function aThirdPageMeetsBoth(pages) {
  pages.push(await enter('cora'));
  await allShare(pages, { anna: 'after', bert: 'after', cora: 'before' });
}

async function aSecondRoomUsesTheSameSocket(pages) {
  const [a, b] = pages;
  const sockets = await openSockets();
  for (const page of [a, b]) await enterRoom(page, { room: 'second', name: 'again' });
  await allShare([a, b], { again: 'before' }, 'second');
  assert.equal(await openSockets(), sockets);
  await allShare(pages, { anna: 'after', bert: 'after', cora: 'before' });
}

async function onlyPagesWithThePasswordShare([a, b, c]) {
  for (const [page, password] of [[a, 'right'], [b, 'right'], [c, 'wrong']]) await enterRoom(page, { room: 'secret', name: password, password });
  await a.evaluate(() => shared.write('secret', 'text', 'opaque'));
  await allShare([a, b], { right: 'before', text: 'opaque' }, 'secret');
  await seconds(QUIET_SECONDS);
  const { peers, names } = await look(c, 'secret');
  assert.deepEqual({ peers, names }, { peers: 0, names: { wrong: 'before' } });
  for (const page of [a, b, c]) await page.evaluate(() => shared.leave('secret'));
}

async function renewedServersAreUsedByLaterConnections(pages) {
  const [a] = pages;
  const username = await a.evaluate((from) => shared.renew(from, 'room'), BROKER);
  assert.ok(!(await look(a)).usernames.includes(username));
  const dora = await enter('dora');
  await allShare([...pages, dora], { anna: 'after', bert: 'after', cora: 'before', dora: 'before' });
  assert.equal((await look(a)).usernames.filter((used) => used === username).length, 1);
  await dora.close();
  await until('the page to be gone', async () => (await looks(pages)).every(({ peers }) => peers === pages.length - 1));
}

/** It closes and opens again. A provider of y-webrtc that disconnects announces itself once more, so what follows is left to chance. */
async function aPageThatLeavesIsGoneAndComesBack(pages) {
  const [a, b, c] = pages;
  await c.close();
  await until('the page to be gone', async () => (await looks([a, b])).every(({ peers }) => peers === 1));
  await a.evaluate(() => shared.write('room', 'anna', 'meanwhile'));
  pages[2] = await enter('cora');
  await allShare(pages, { anna: 'meanwhile', cora: 'before' });
}

async function aRestartOfTheBrokerEndsNothing(pages) {
  assert.equal(await broker.stop(), 'status 0');
  await until('the sockets to close', async () => (await looks(pages)).every(({ isSignaling }) => !isSignaling));
  await pages[0].evaluate(() => shared.write('room', 'anna', 'without a broker'));
  await allShare(pages, { anna: 'without a broker' });
  broker = await start();
  await until('the sockets to open', async () => (await looks(pages)).every(({ isSignaling }) => isSignaling));
  // Each provider of y-webrtc announces itself once more. A page that enters meanwhile can get two connections to one peer, of which none works.
  await new Promise((resolve) => { setTimeout(resolve, 3_000); });
  const emil = await enter('emil');
  await allShare([...pages, emil], { anna: 'without a broker', emil: 'before' });
  await emil.close();
}

async function pagesThatEnterAtOnceAllSync() {
  const names = Array.from({ length: CROWD }, (_, index) => `page${index}`);
  const pages = [];
  while (pages.length < names.length) pages.push(await openSite()); // only the entries are at once
  await Promise.all(pages.map((page, index) => enterRoom(page, { room: 'crowd', name: names[index], isRelayed: false })));
  await allShare(pages, Object.fromEntries(names.map((name) => [name, 'before'])), 'crowd');
}

/** Waits until all pages are connected to each other and have these entries. */
async function allShare(pages, expected, room = 'room') {
  const has = (names) => Object.entries(expected).every(([name, value]) => names[name] === value);
  await until(`${pages.length} pages to share ${JSON.stringify(expected)}`, async () => {
    const found = await looks(pages, room);
    return found.every(({ names, peers, isSynced }) => has(names) && peers === pages.length - 1 && isSynced);
  }, 120);
  assert.ok((await looks(pages, room)).every(({ broadcastPeers }) => broadcastPeers === 0), 'all of it through WebRTC');
}

async function enter(name, room = 'room') {
  const page = await openSite();
  await enterRoom(page, { room, name });
  return page;
}

async function openSite() {
  const page = await openPage(browser);
  await page.goto(site);
  await page.waitForFunction(() => globalThis.shared);
  return page;
}

const enterRoom = (page, options) => page.evaluate((given) => shared.enter(given), { broker: BROKER, ...options });
const look = (page, room = 'room') => page.evaluate((room) => shared.look(room), room);
const looks = (pages, room) => Promise.all(pages.map((page) => look(page, room)));
const seconds = (count) => new Promise((resolve) => { setTimeout(resolve, count * 1_000); });
const openSockets = async () => metric(await (await operator('/metrics')).text(), 'turn_broker_places_taken{place="signaling_sockets"}');

await runTest(run, RUN_SECONDS_MAX);
