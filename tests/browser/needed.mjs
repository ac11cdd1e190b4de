// iceServers({ when: 'needed' }) between two browsers in two networks. With an open direct path nothing is minted. With a blocked one,
// each end that needs a relay mints once. `needed-cost` measures the connect time against minting up front.
import assert from 'node:assert/strict';
import { directory, runTest, startBroker, status } from './harness.mjs';
import { SERVER, addServerAddress, clientNetwork, setDirectPath } from './networks.mjs';
import { launchBrowserElsewhere, serveSite, until } from './processes.mjs';

const RUN_SECONDS_MAX = 300;
const RUNS = 9;
/** Longer than any machine takes to connect, so that the other end or the direct path comes first. */
const LONG = 60;

/** @type {import('puppeteer-core').Page[]} */
let pages;
let site;

async function run() {
  addServerAddress();
  site = await serveSite(5173, 'needed-page.mjs', [], SERVER);
  const broker = await startBroker(site, {
    HOST: '0.0.0.0', ICE_SOURCES: 'relay', COTURN_URLS: '', COTURN_SECRET: '', RELAY_LISTEN: `${SERVER}:3478`, RATE_LIMIT_REQUESTS: '1000',
  });
  const programs = [await clientNetwork(directory, 1), await clientNetwork(directory, 2)];
  const browsers = await Promise.all(programs.map((program) => launchBrowserElsewhere(directory, program)));
  pages = await Promise.all(browsers.map((browser) => browser.newPage()));
  for (const [index, page] of pages.entries()) {
    page.on('pageerror', (error) => console.log(`page ${index}: ${error.message}`));
    // A page that is left no longer takes messages.
    await page.exposeFunction('carry', (message) => void pages[1 - index].evaluate((message) => call.take(message), message).catch(() => {}));
  }

  await (process.argv[2] === 'needed-cost' ? measure() : check());

  await Promise.all(browsers.map((browser) => browser.close()));
  assert.equal(await broker.stop(), 'status 0');
}

/** Connects the two pages. Returns what each end says, and the number of mints. */
async function connect(isOpen, caller, callee = caller) {
  setDirectPath(isOpen);
  const before = (await status()).grants.issued;
  for (const page of pages) {
    await page.goto(site);
    await page.waitForFunction(() => globalThis.call);
  }
  await Promise.all([caller, callee].map((options, index) => pages[index].evaluate((options) => call.begin(options), { ...options, isCaller: index === 0 })));
  const look = () => Promise.all(pages.map((page) => page.evaluate(() => call.look())));
  const ends = await until('both ends to connect', async () => {
    const ends = await look();
    return ends.every(({ connectMs, relayed }) => connectMs !== null && relayed !== null) && ends;
  });
  const mints = (await status()).grants.issued - before;
  await Promise.all(pages.map((page) => page.evaluate(() => call.hangUp())));
  for (const { faults } of ends) assert.deepEqual(faults, []);
  return { ends, mints, ms: ends[0].connectMs };
}

/** The times are such that no machine is too slow for these results. */
async function check() {
  const open = await connect(true, { when: 'needed', relayAfterSeconds: LONG });
  say('direct path open', open);
  assert.deepEqual(theyAre(open), { mints: 0, relayed: [false, false], minted: [false, false], offers: [1, 0] });

  const blocked = await connect(false, { when: 'needed', relayAfterSeconds: 1 }, { when: 'needed', relayAfterSeconds: LONG });
  say('direct path blocked', blocked);
  assert.deepEqual(theyAre(blocked), { mints: 1, relayed: [true, false], minted: [true, false], offers: [2, 0] });

  // The second end may use nothing but a relay, as in a network that blocks UDP.
  const both = await connect(false, { when: 'needed', relayAfterSeconds: 1 }, { when: 'needed', relayAfterSeconds: 4, iceTransportPolicy: 'relay' });
  say('blocked, and both need a relay', both);
  const { mints, minted, offers } = theyAre(both);
  assert.deepEqual({ mints, minted, offers }, { mints: 2, minted: [true, true], offers: [2, 1] });
}

const theyAre = ({ ends, mints }) => ({
  mints, relayed: ends.map(({ relayed }) => relayed), minted: ends.map(({ isMinted }) => isMinted), offers: ends.map(({ offers }) => offers),
});

/** Connect times with the default times, in turns, so that a busy machine affects all cases. */
async function measure() {
  const cases = [true, false].flatMap((isOpen) => ['now', 'needed'].map((when) => ({ isOpen, when, results: [] })));
  for (let run = 0; run < RUNS; run += 1) {
    for (const { isOpen, when, results } of cases) results.push(await connect(isOpen, { when }));
  }
  const median = (numbers) => numbers.sort((a, b) => a - b)[(numbers.length - 1) / 2];
  console.log(`| direct path | credentials | mints per call | connected after (median of ${RUNS}) | min to max | ratio to up front |\n|---|---|---|---|---|---|`);
  for (const { isOpen, when, results } of cases) {
    const times = results.map(({ ms }) => ms);
    const upFront = cases.find((other) => other.isOpen === isOpen).results.map(({ ms }) => ms);
    const ratio = median(times.map((ms, index) => ms / upFront[index]));
    const mints = results.reduce((sum, result) => sum + result.mints, 0) / RUNS;
    const [least, most] = [Math.min(...times), Math.max(...times)];
    const cells = [isOpen ? 'open' : 'blocked', when === 'now' ? 'up front' : 'when needed', mints.toFixed(1), seconds(median([...times])), `${seconds(least)} to ${seconds(most)}`, ratio.toFixed(2)];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

const seconds = (ms) => `${(ms / 1_000).toFixed(2)} s`;
const say = (what, { mints, ms, ends }) =>
  console.log(`  ${what.padEnd(32)} ${mints} mints, connected after ${seconds(ms)}, relayed: ${ends.map(({ relayed }) => relayed).join(', ')}`);

await runTest(run, RUN_SECONDS_MAX);
