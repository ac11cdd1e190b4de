// The code of docs/SIGNALING.md: each example is the page of one person, and another page is with it. The broker has its relay in the
// process, and an SFU on loopback. partytracks has the origin of its page.
import assert from 'node:assert/strict';
import { BROKER, directory, openConnections, runTest, startBroker } from '../browser/harness.mjs';
import { LoopbackSfu } from '../browser/loopback-sfu.mjs';
import { launchBrowser, until } from '../browser/processes.mjs';
import { nothingWentWrong, part } from '../browser/watched-page.mjs';
import { Document } from './document.mjs';
import { SITE, folderFor, inBrowser, inShell, serveExamples } from './examples.mjs';

const SECONDS_MAX = 300;
const APP = { id: 'app-1', secret: 'app-secret-fixture' };
const signaling = new Document('docs/SIGNALING.md');
/** The module is installed here by what the document says. */
const folder = folderFor({ 'package.json': '{ "private": true }' });
let browser;

async function run() {
  await serveExamples({ '/partytracks/': BROKER });
  const sfu = await new LoopbackSfu(APP.id, APP.secret).start(5180);
  const broker = await startBroker(SITE, {
    SIGNALING: 'ayame,peerjs,yjs,p2pcf,sfu,rooms', ICE_SOURCES: 'relay,stun', COTURN_URLS: '', COTURN_SECRET: '', RATE_LIMIT_REQUESTS: '1000',
    CALLS_APP_ID: APP.id, CALLS_APP_SECRET: APP.secret, CALLS_API_URL: sfu.url,
  });
  // A camera and a microphone, without a question. Names of a local network cannot be resolved here, where there is no multicast.
  const devices = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required'];
  browser = await launchBrowser(directory, ['--disable-features=WebRtcHideLocalIpsWithMdns', ...devices]);
  await inShell(signaling.block('npm i https://turn.example.com/turn-client.tgz'), { npm_config_cache: `${directory}/npm`, npm_config_audit: 'false' }, folder);
  for (const example of [ayame, peerjs, yjs, p2pcf, partytracks, partysocket]) await part(example);
  signaling.allNamed();
  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
}

/** Both pages see each other. The SDK offers to the second one. */
async function ayame() {
  const open = () => inBrowser(browser, signaling.block('@open-ayame/ayame-web-sdk'));
  const pair = [await open(), await open()];
  const sees = (page) => page.evaluate(() => document.querySelector('video').srcObject?.getVideoTracks().some(({ muted }) => !muted));
  for (const page of pair) await until('a picture', () => sees(page));
  await close(pair);
}

async function peerjs() {
  const code = signaling.block("'peerjs'");
  const bob = await inBrowser(browser, `import { Peer } from 'peerjs';
    globalThis.heard = [];
    const peer = new Peer('bob', { host: 'turn.example.com', port: 443, secure: true, config: { iceServers: [] } });
    peer.on('connection', (data) => data.on('data', (text) => { heard.push(text); }));
    globalThis.answer = () => { const data = peer.connect('ann'); data.on('open', () => data.send('hello, Ann')); };
    await new Promise((resolve) => peer.on('open', resolve));`);
  const ann = await inBrowser(browser, code, { folder });
  await until('the text of Ann', () => bob.evaluate(() => heard.includes('hello')));
  await bob.evaluate(() => answer());
  await until('the text of Bob', () => ann.shown.includes('hello, Ann'));
  await reported(2);
  await close([ann, bob]);
}

async function yjs() {
  const open = () => inBrowser(browser, signaling.block("'y-webrtc'"), { after: 'globalThis.map = doc.getMap("map");', folder });
  const pair = [await open(), await open()];
  for (const [from, to] of [pair, pair.toReversed()]) {
    const text = `text ${Math.random()}`;
    await from.evaluate((text) => map.set('text', text), text);
    await until('the same document', () => to.evaluate((text) => map.get('text') === text, text));
  }
  await reported(2);
  await close(pair);
}

async function p2pcf() {
  const code = signaling.block("'p2pcf'");
  const anna = await inBrowser(browser, code, { after: 'globalThis.room = room;', folder });
  const bert = await inBrowser(browser, `import P2PCF from 'p2pcf';
    globalThis.room = new P2PCF('bert', 'room-1', { workerUrl: 'https://turn.example.com/p2pcf' });
    room.start();`);
  const isConnected = (page) => page.evaluate(() => [...room.peers.values()].some(({ connected }) => connected));
  for (const page of [anna, bert]) await until('the pages to be connected', () => isConnected(page));
  await bert.evaluate(() => room.broadcast(new TextEncoder().encode('hello')));
  await until('the text', () => anna.shown.includes('bert hello'));
  await reported(1);
  await close([anna, bert]);
}

async function partytracks() {
  const around = { before: "document.body.append(document.createElement('audio'));", after: 'globalThis.hear = hear;' };
  const open = () => inBrowser(browser, signaling.block("'partytracks/client'"), around);
  const [ann, bob] = [await open(), await open()];
  const told = await until('the track', () => ann.shown.find((line) => line.startsWith('tell the others ')));
  const track = JSON.parse(told.slice('tell the others '.length));
  await bob.evaluate((track) => { hear(track); }, track);
  const plays = () => bob.evaluate(() => document.querySelector('audio').srcObject?.getAudioTracks().some(({ muted }) => !muted));
  await until('the sound', plays);
  await close([ann, bob]);
}

async function partysocket() {
  const after = `globalThis.got = [];
    room.addEventListener('message', ({ data }) => got.push(JSON.parse(data)));`;
  const page = await inBrowser(browser, signaling.block("'partysocket'"), { after });
  const user = await until('the room', () => page.evaluate(() => {
    const { state } = globalThis.got.findLast(({ type }) => type === 'roomState') ?? {};
    return state?.users.find(({ joined }) => joined);
  }));
  assert.deepEqual([user.name, user.tracks.audio], ['Ann', 'session/track']);
  await close([page]);
}

/** The module reports this many peer connections. */
async function reported(count) {
  await until('the reports', async () => (await openConnections()).length === count);
}

async function close(pages) {
  for (const page of pages) {
    nothingWentWrong(page);
    await page.goto('about:blank');
    await page.close();
  }
  await until('no report', async () => (await openConnections()).length === 0);
}

await runTest(run, SECONDS_MAX);
