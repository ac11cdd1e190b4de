// Pages find each other over the broker with the p2pcf package, unmodified. No request of the package may fail, except while the
// broker restarts. After the restart, polls restore the room long before the pages publish again.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BROKER, directory, runTest, startBroker, startCoturn } from './harness.mjs';
import { launchBrowser, serveSite, until, watchAnswers } from './processes.mjs';

const RUN_SECONDS_MAX = 900;
const WORKER_URL = `${BROKER}/p2pcf`;
/** A page polls every 5 s, and tries again 5 s after a failure. It publishes again only after 90 s. */
const POLL_MS = 5_500;
const STUN = [{ urls: 'stun:127.0.0.1:3478' }];

let site;
let browser;

async function run() {
  site = await serveSite(5173, 'p2pcf-page.mjs', ['node_modules/p2pcf/dist/p2pcf.js']);
  const settings = { SIGNALING: 'p2pcf', STATE_DIR: join(directory, 'state') };
  await startCoturn();
  const first = await startBroker(site, settings);
  // Names of a local network cannot be resolved here, where there is no multicast.
  browser = await launchBrowser(directory, ['--disable-features=WebRtcHideLocalIpsWithMdns']);

  const anna = await enter('anna');
  await aloneAPagePublishesAtOnce(anna);
  const bert = await enter('bert');
  await connected([anna, bert]);
  await messagesArrive([anna, bert]);
  const cora = await enter('cora');
  await connected([anna, bert, cora]);
  await messagesArrive([anna, bert, cora]);
  await aPageThatIsLoadedAgainComesBack(bert, [anna, cora]);
  const before = [anna, bert, cora];
  everyRequestWasAnswered(before);
  const isQuiet = ({ posts }) => Date.now() - published(posts).at(-1).at > POLL_MS;
  await until('the pages to have nothing to publish', () => before.every(isQuiet));

  assert.equal(await first.stop(), 'status 0');
  await messagesArrive(before); // calls go on without the broker
  const restartedAt = Date.now();
  const broker = await startBroker(site, settings);
  await until('the room to be complete again', async () => (await sessions()).length === 3);
  for (const { name, posts } of before) assert.ok(published(posts).at(-1).at < restartedAt, `${name} came back with a poll`);

  const dora = await enter('dora');
  await connected([...before, dora]);
  await messagesArrive([...before, dora]);
  for (const { name, posts } of before) oneDeleteKey(name, posts);
  await aPageThatLeavesIsGoneAtOnce(cora);
  everyRequestWasAnswered([...before, dora]);
  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
}

/** Opens a page that enters the room. Its POSTs are recorded with their answers. */
async function enter(name) {
  const tab = await browser.newPage();
  const page = { name, tab, posts: [], console: [], answers: await watchAnswers(tab) };
  tab.on('console', (line) => page.console.push(line.text()));
  tab.on('response', async (response) => {
    const request = response.request();
    if (request.method() !== 'POST' || request.url() !== WORKER_URL) return;
    const post = { at: Date.now(), sent: JSON.parse(request.postData()), status: response.status(), answer: undefined };
    page.posts.push(post);
    post.answer = await response.json().catch(() => undefined);
  });
  await tab.goto(site);
  await begin(page);
  return page;
}

async function begin({ name, tab }) {
  await tab.waitForFunction(() => globalThis.room);
  await tab.evaluate((...args) => room.join(...args), WORKER_URL, name, STUN);
}

/** Waits until each page is connected to each other page. */
async function connected(pages) {
  const names = pages.map(({ name }) => name);
  const started = Date.now();
  for (const { name, tab } of pages) {
    const others = names.filter((other) => other !== name).sort().join();
    await until(`${name} to reach ${others}`, async () => (await tab.evaluate(() => room.peers())).join() === others);
  }
  console.log(`${names.join(', ')}: connected after ${((Date.now() - started) / 1_000).toFixed(1)} s`);
}

/** A short message and one that the package sends in chunks arrive from each page at each other page. */
async function messagesArrive(pages) {
  const texts = [`hello ${Date.now()}`, `${Date.now()}`.repeat(3_100)]; // 40,300 bytes
  for (const { tab } of pages) await tab.evaluate((texts) => texts.forEach(room.say), texts);
  for (const { name, tab } of pages) {
    for (const text of texts) {
      const from = async () => (await tab.evaluate(() => room.heard())).filter((heard) => heard.text === text).length;
      await until(`${name} to hear ${text.length} characters from each other page`, async () => (await from()) === pages.length - 1);
    }
  }
}

async function aloneAPagePublishesAtOnce({ posts }) {
  await until('the first publish', () => posts[1]?.answer);
  assert.deepEqual(Object.keys(posts[0].sent).sort(), ['k', 'r'], 'the first request only reads');
  assert.deepEqual(posts[0].answer, { ps: [], pk: [] });
  assert.deepEqual(posts[1].sent.p, []);
  assert.match(posts[1].answer.dk, /^[A-Za-z0-9]{24}$/);
  const polls = () => posts.filter(({ sent, answer }) => sent.d && !sent.p && answer);
  await until('a poll', () => polls().length > 0);
  for (const { answer } of polls()) assert.deepEqual(Object.keys(answer).sort(), ['pk', 'ps'], 'a poll gets no delete key');
}

async function aPageThatIsLoadedAgainComesBack(page, others) {
  const [{ sent: { k }, sent: { d: [session] } }] = published(page.posts);
  const before = page.posts.length;
  await page.tab.reload();
  await begin(page);
  const isBack = () => published(page.posts.slice(before)).find(({ sent }) => sent.d[0] !== session);
  const { sent } = await until('another session', isBack);
  assert.equal(sent.k, k, 'the context stays');
  await until('one entry for each page', async () => {
    const listed = await sessions();
    return listed.length === 3 && listed.includes(sent.d[0]) && !listed.includes(session);
  });
  await connected([page, ...others]);
  await messagesArrive([page, ...others]);
}

async function aPageThatLeavesIsGoneAtOnce({ tab, posts }) {
  const session = published(posts).at(-1).sent.d[0];
  assert.ok((await sessions()).includes(session));
  await tab.evaluate(() => room.leave());
  const { status, answer } = await until('the delete', () => posts.find(({ sent, answer }) => sent.dk && answer));
  assert.deepEqual([status, answer], [200, {}]);
  assert.ok(!(await sessions()).includes(session));
}

function oneDeleteKey(name, posts) {
  const keys = new Set(posts.map(({ answer }) => answer?.dk).filter(Boolean));
  assert.equal(keys.size, 1, `the delete keys of ${name}`);
}

/** Every answer is a 200, preflights too, and the browser lets the pages read them. It asks once for each kind of request. */
function everyRequestWasAnswered(pages) {
  const ours = pages.flatMap(({ answers }) => answers()).filter(({ url }) => url === WORKER_URL);
  assert.ok(ours.some(({ method }) => method === 'OPTIONS'), 'there was a preflight');
  assert.deepEqual(ours.filter(({ status }) => status !== 200), []);
  assert.deepEqual(pages.flatMap(({ console: lines }) => lines).filter((line) => line.includes('CORS')), []);
}

const published = (posts) => posts.filter(({ sent, answer }) => sent.p && answer);

/** The sessions in the room, as a stranger sees them. */
async function sessions() {
  const body = JSON.stringify({ r: 'room-1' });
  const answer = await fetch(WORKER_URL, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  return (await answer.json()).ps.map(([session]) => session);
}

await runTest(run, RUN_SECONDS_MAX);
