// Three browsers in a room of the broker, with the unmodified partysocket from npm: names, states, messages, a lost socket that comes
// back, a user who leaves and one who falls silent.
import assert from 'node:assert/strict';
import { BROKER, directory, runTest, startBroker } from './harness.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';
import { nothingWentWrong, openPage } from './watched-page.mjs';

const RUN_SECONDS_MAX = 600;
const SWEEP_SECONDS = 3;
const CLIENT = ['index.js', 'ws.js'].map((file) => `node_modules/partysocket/dist/${file}`);

async function run() {
  const site = await serveSite(5173, 'rooms-page.mjs', CLIENT);
  const broker = await startBroker(site, { SIGNALING: 'rooms', ROOM_SWEEP_SECONDS: String(SWEEP_SECONDS), ICE_SOURCES: 'stun', COTURN_URLS: '', COTURN_SECRET: '' });
  const browser = await launchBrowser(directory);
  const [ann, bob] = [await visit(browser, site, 'ann'), await visit(browser, site, 'Bob 🍊')];

  const { meetingId } = await stateOf(ann, namesAre('ann', 'Bob 🍊'));
  assert.equal((await stateOf(bob, namesAre('ann', 'Bob 🍊'))).meetingId, meetingId, 'one meeting');
  await usersSeeWhatOthersShare(ann, bob);
  await messagesArrive(ann, bob);
  await aLostSocketRemovesNobody(ann, bob);
  const eve = await visit(browser, site, 'eve');
  await stateOf(ann, namesAre('ann', 'Bob 🍊', 'eve'));
  await eve.page.evaluate(() => room.leave());
  await notified(ann, eve, 'who left');
  await aSilentUserIsRemoved(ann, bob);

  for (const { page } of [ann, bob]) nothingWentWrong(page);
  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
}

/** A browser chooses its name and enters. */
async function visit(browser, site, name) {
  const page = await openPage(browser);
  await page.goto(site);
  await page.waitForFunction(() => globalThis.room);
  await page.evaluate((broker, name) => room.choose(broker, name), BROKER, name);
  const id = await page.evaluate((host) => room.enter(host, 'room-1'), new URL(BROKER).host);
  await until(`${name} to be in the room`, () => page.evaluate(() => room.state()?.meetingId));
  return { page, id };
}

async function usersSeeWhatOthersShare(ann, bob) {
  const forged = { id: bob.id, name: 'Bob 🍊', joined: true, raisedHand: true, tracks: { audio: 's1/mic', audioEnabled: true } };
  await ann.page.evaluate((user) => room.share(user), forged);
  const { users } = await stateOf(bob, ({ users }) => users.some(({ raisedHand }) => raisedHand));
  const seen = users.find(({ id }) => id === ann.id);
  const shared = { ...forged, id: ann.id, name: 'ann', speaking: false, tracks: { ...forged.tracks, audioUnavailable: false } };
  assert.deepEqual(seen, shared, 'all but the id and the name');
}

async function messagesArrive(ann, bob) {
  await ann.page.evaluate((to) => {
    room.say({ type: 'directMessage', to, message: 'hello' });
    room.say({ type: 'muteUser', id: to });
    room.say({ type: 'e2eeMlsMessage', payload: 'AAEC' });
    room.say({ type: 'partyserver-ping' });
  }, bob.id);
  const wanted = [{ type: 'directMessage', from: 'ann', message: 'hello' }, { type: 'muteMic' }, { type: 'e2eeMlsMessage', payload: 'AAEC' }];
  for (const message of wanted) await received(bob, message);
  await received(ann, { type: 'partyserver-pong' });
}

async function aLostSocketRemovesNobody(ann, bob) {
  const before = await bob.page.evaluate(() => room.opens.length);
  await bob.page.evaluate(() => room.reconnect());
  await until('Bob to be back', () => bob.page.evaluate((before) => room.opens.length > before, before));
  await stateOf(bob, ({ users }) => users.some(({ id }) => id === bob.id));
  const left = await ann.page.evaluate(() => room.got.filter(({ type }) => type === 'userLeftNotification'));
  assert.deepEqual(left, [], 'nobody has left');
}

async function aSilentUserIsRemoved(ann, bob) {
  const begun = Date.now();
  await bob.page.evaluate(() => room.fallSilent());
  await notified(ann, bob, 'who is silent');
  const seconds = (Date.now() - begun) / 1_000;
  console.log(`  removed after ${seconds.toFixed(1)} s of silence`);
  assert.ok(seconds > SWEEP_SECONDS - 1.5, 'not before a sweep');
  await stateOf(ann, namesAre('ann'));
}

const namesAre = (...names) => ({ users }) => users.map(({ name }) => name).sort().join() === [...names].sort().join();
const stateOf = ({ page }, holds) => until('a state', async () => {
  const state = await page.evaluate(() => room.state());
  return state && holds(state) && state;
});
const received = ({ page }, message) => until(JSON.stringify(message), () => page.evaluate((text) => room.got.some((one) => JSON.stringify(one) === text), JSON.stringify(message)));
const notified = (to, { id }, who) => until(`a word of ${who}`, () => to.page.evaluate((id) => room.got.some((one) => one.type === 'userLeftNotification' && one.id === id), id));

await runTest(run, RUN_SECONDS_MAX);
