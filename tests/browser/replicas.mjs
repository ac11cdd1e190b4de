// Two members of a room at two replicas, with the clients from npm, unmodified: Ayame's SDK, PeerJS, y-webrtc, partysocket. The replica that
// leads is killed, and they must meet again. Each member reaches the replicas as behind a balancer: the other one if its own is dead.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { directory, runTest, startBroker, startCoturn } from './harness.mjs';
import { serveNpmPage } from './npm-site.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';
import { openPage, part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 300;
const REPLICAS = [3001, 3002];
/** The balancers, one for each member. */
const DOORS = [3011, 3012];
const DATABASE_PORT = 5433;
const sites = {};
/** The processes by port. */
const replicas = new Map();
/** The replica that leads, then the other one. */
let order;
let browser;

async function run() {
  sites.ayame = await serveSite(5173, 'ayame-page.mjs', ['node_modules/@open-ayame/ayame-web-sdk/dist/ayame.mjs']);
  sites.peerjs = await serveSite(5174, 'peerjs-page.mjs', ['node_modules/peerjs/dist/peerjs.min.js', 'picture.mjs']);
  sites.yjs = await serveNpmPage(5175, 'yjs-page.mjs', ['yjs', 'lib0', 'y-protocols', 'y-webrtc'], { 'simple-peer/simplepeer.min.js': '/simple-peer.mjs' });
  sites.rooms = await serveSite(5176, 'rooms-page.mjs', ['index.js', 'ws.js'].map((file) => `node_modules/partysocket/dist/${file}`));
  await startDatabase();
  await startCoturn();
  for (const port of REPLICAS) await startReplica(port);
  await Promise.all(DOORS.map(openDoor));
  browser = await launchBrowser(directory);

  await part(ayame);
  await part(peerjs);
  await part(yjs);
  await part(partysocket);

  await browser.close();
  for (const replica of replicas.values()) assert.equal(await replica.stop(), 'status 0');
}

/** The one that the tests in Rust use. It ends with this process. */
async function startDatabase() {
  const [newest] = readdirSync('/usr/lib/postgresql').sort((a, b) => b - a);
  const data = `${directory}/database`;
  mkdirSync(data);
  chmodSync(directory, 0o711); // it runs as another user
  const script = new URL('../it/support/postgres.sh', import.meta.url).pathname;
  const server = spawn('sh', [script, data, `/usr/lib/postgresql/${newest}/bin`, String(DATABASE_PORT)], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve) => { server.stdout.once('data', resolve); });
}

async function startReplica(port) {
  replicas.set(port, await startBroker(Object.values(sites).join(), {
    PORT: String(port), SIGNALING: 'ayame,peerjs,yjs,rooms', RATE_LIMIT_REQUESTS: '100',
    DATABASE_URL: `postgres://turn@127.0.0.1:${DATABASE_PORT}/postgres?sslmode=disable`,
  }, `replica-${port}`));
}

/** A balancer for the member with this number: the leader's, or the standby's. */
function openDoor(port, member) {
  const door = createServer((client) => {
    const ports = member === 0 ? order : order.toReversed();
    client.on('error', () => {});
    const pass = ([first, ...others]) => {
      if (!first) return client.destroy();
      const replica = connect(first, '127.0.0.1');
      replica.once('connect', () => {
        client.pipe(replica).pipe(client);
        for (const [one, other] of [[client, replica], [replica, client]]) one.once('close', () => other.destroy());
      });
      replica.on('error', () => { if (replica.connecting || !replica.bytesWritten) pass(others); });
    };
    pass(ports);
  });
  return new Promise((resolve) => { door.listen(port, '127.0.0.1', resolve); });
}

/** Two pages, each with a door of its own. */
async function members(site) {
  for (const port of REPLICAS) await until('it serves', () => asked(port, '/ready'));
  order = (await asked(REPLICAS[0], '/leader')) ? REPLICAS : REPLICAS.toReversed();
  const pages = [];
  for (const port of DOORS) pages.push(await openMember(site, port));
  return pages;
}

async function openMember(site, port) {
  const page = await openPage(browser);
  await page.goto(site);
  return Object.assign(page, { door: `http://127.0.0.1:${port}` });
}

const asked = (port, path) => fetch(`http://127.0.0.1:${port}${path}`).then(({ ok }) => ok, () => false);

/** Kills the leader. `meet` waits until the members have met again. */
async function afterAKill(pages, meet) {
  const begun = Date.now();
  const [leader] = order;
  await replicas.get(leader).stop('SIGKILL');
  await meet();
  console.log(`  met again ${((Date.now() - begun) / 1_000).toFixed(1)} s after the kill`);
  for (const page of pages) await page.close();
  await startReplica(leader);
}

async function ayame() {
  const pages = await members(sites.ayame);
  const join = (page) => until('the room', async () => {
    const url = `${page.door.replace('http', 'ws')}/signaling`;
    return await page.evaluate((url) => { call.events.length = 0; return call.connect({ url, room: 'room' }); }, url) === 'connected';
  });
  const meet = async () => {
    for (const page of pages) await join(page);
    await until('the call', async () => (await looks(pages, 'call')).every(({ isOpen, events }) => isOpen && events.includes('connect')));
    await theyTalk(pages, 'call', (text) => call.channel.send(text));
  };
  await meet();
  await afterAKill(pages, async () => {
    await until('the end', async () => (await looks(pages, 'call')).every(({ events }) => events.some((event) => event.startsWith('disconnect'))));
    await meet();
  });
}

async function peerjs() {
  const pages = await members(sites.peerjs);
  for (const [index, page] of pages.entries()) await page.evaluate((broker, id) => peer.begin({ broker, id }), page.door, `member-${index}`);
  const last = (event) => until(event, async () => (await looks(pages, 'peer')).every(({ events }) => events.at(-1) === event));
  const meet = async () => {
    await last('open');
    const before = (await looks(pages, 'peer'))[1].metadata.length;
    await pages[0].evaluate(() => peer.connect('member-1', null));
    await until('a connection', async () => (await looks(pages, 'peer')).every(({ isOpen, metadata }) => isOpen && metadata.length > before));
    await theyTalk(pages, 'peer', (text) => peer.connections.at(-1).send(text));
  };
  await meet();
  await afterAKill(pages, async () => {
    await last('disconnected');
    for (const page of pages) await page.evaluate(() => peer.it.reconnect());
    await meet();
  });
}

/** The pages stay connected to each other without signaling, so one of them closes and another one comes. */
async function yjs() {
  const pages = await members(sites.yjs);
  const enter = (page, name) => page.evaluate((broker, name) => shared.enter({ broker, room: 'room', name }), page.door, name);
  const meet = (newcomer) => until('both to share', async () => {
    const found = await Promise.all(pages.map((page) => page.evaluate(() => shared.look('room'))));
    return found.every(({ names }) => 'member-0' in names && newcomer in names);
  });
  for (const [index, page] of pages.entries()) await enter(page, `member-${index}`);
  await meet('member-1');
  await afterAKill(pages, async () => {
    await pages[1].close();
    pages[1] = await openMember(sites.yjs, DOORS[1]);
    await enter(pages[1], 'member-2');
    await meet('member-2');
  });
}

async function partysocket() {
  const pages = await members(sites.rooms);
  for (const [index, page] of pages.entries()) {
    await page.evaluate((broker, name) => room.choose(broker, name), page.door, `member-${index}`);
    await page.evaluate((host) => room.enter(host, 'room'), new URL(page.door).host);
  }
  const meet = (seen) => until('both in the room', async () => {
    const states = await Promise.all(pages.map((page, index) => page.evaluate((from) => room.got.slice(from).findLast(({ type }) => type === 'roomState')?.state, seen[index])));
    return states.every((state) => state?.users.map(({ name }) => name).sort().join() === 'member-0,member-1');
  });
  await meet([0, 0]);
  const got = () => Promise.all(pages.map((page) => page.evaluate(() => [room.got.length, room.opens.length])));
  const before = await got();
  await afterAKill(pages, async () => {
    await until('both to be back', async () => (await got()).every(([, opens], index) => opens > before[index][1]));
    await meet(before.map(([seen]) => seen));
  });
}

/** Each sends a text to the other. */
async function theyTalk(pages, name, send) {
  for (const [from, to] of [[0, 1], [1, 0]]) {
    const text = `text ${Math.random()}`;
    await pages[from].evaluate(send, text);
    await until('a text', async () => (await looks(pages, name))[to].arrived.at(-1) === text);
  }
}

const looks = (pages, name) => Promise.all(pages.map((page) => page.evaluate((name) => globalThis[name].look(), name)));

await runTest(run, RUN_SECONDS_MAX);
