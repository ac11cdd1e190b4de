// The ledger's accuracy for video: 15 s of video between two ends. The first call uses the relay in the broker, which
// measures. The second uses a coturn that the broker does not read, so the ledger has only the reports of turn-client. Browser,
// relay and ledger count the same bytes.
import assert from 'node:assert/strict';
import { coturnEgress, coturnHasClosed, endedAllocations, table } from './counts.mjs';
import { directory, openConnections, operator, runTest, startBroker, startCoturn, status, sum, theyAgree, usedBytes } from './harness.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';

const RUN_SECONDS_MAX = 260;
const CALL_SECONDS = 15;
const MBPS_EACH_WAY = 2.5;
/** A busy machine encodes at a fraction of the rate. With less than a tenth, handshakes would hide in the tolerance. */
const BYTES_MIN = (2 * CALL_SECONDS * MBPS_EACH_WAY * 1e6) / 8 / 10;

async function run() {
  const site = await serveSite(5173, 'video-page.mjs', ['../../src/web/demo/scene.js']);
  const browser = await launchBrowser(directory);
  await measured(site, browser);
  await claimed(site, browser);
  await browser.close();
}

async function measured(site, browser) {
  const broker = await startBroker(site, { ICE_SOURCES: 'relay', COTURN_URLS: '', COTURN_SECRET: '', LIABILITY_MBPS_PER_GRANT: '4' });
  const { received } = await call(site, browser);
  await until('the allocations to be gone', async () => (await metrics()).includes('turn_broker_relay_allocations 0'));
  await until('the last reading', lastReading());
  assert.equal((await status()).source, 'measured+estimate');
  const ledger = await usedBytes();
  assert.equal(await broker.stop(), 'status 0');
  const relay = sum(endedAllocations(broker.log).map(({ sent }) => sent));
  report('measured by the relay in the broker', { browser: received, broker: ledger, relay });
  assert.equal(ledger, relay, 'ledger and relay agree to the byte');
}

async function claimed(site, browser) {
  const coturn = await startCoturn();
  const broker = await startBroker(site);
  const { received, usernames } = await call(site, browser);
  await until('the connections to be closed at the broker', async () => (await openConnections()).length === 0);
  assert.equal((await status()).source, 'estimate');
  const ledger = await usedBytes();
  assert.equal(await broker.stop(), 'status 0');
  await until('coturn to close the sessions', () => coturnHasClosed(coturn.log, usernames));
  report('claimed by turn-client, over a coturn that the broker does not read', { browser: received, broker: ledger, coturn: coturnEgress(coturn.log, usernames) });
}

/** Video, from the first packet at both ends. */
async function call(site, browser) {
  const page = await browser.newPage();
  await page.goto(site);
  await page.waitForFunction(() => globalThis.video);
  const look = () => page.evaluate(() => video.look());
  await page.evaluate((mbps) => video.begin(mbps), MBPS_EACH_WAY);
  await until('video at both ends', async () => (await look()).ends.every(({ state, framesPerSecond }) => state === 'connected' && framesPerSecond > 0));
  await new Promise((resolve) => setTimeout(resolve, CALL_SECONDS * 1_000));
  const { ends, faults } = await look();
  assert.deepEqual(ends.map(({ path }) => path), ['relay/udp', 'relay/udp']);
  assert.deepEqual(faults, []);
  const usernames = await page.evaluate(() => video.usernames());
  await page.evaluate(() => video.stopSending());
  // Checks of the path go on. They are a few bytes.
  await until('the pictures to end', stands(async () => sum((await look()).ends.map(({ received }) => received))));
  const received = await page.evaluate(() => video.end());
  await page.close();
  return { received, usernames };
}

/** A check for a figure that rises by less than a kilobyte in a second. */
function stands(figure) {
  let last = -Infinity;
  return async () => {
    const before = last;
    last = await figure();
    await new Promise((resolve) => { setTimeout(resolve, 1_000); });
    return last - before < 1_000;
  };
}

const metrics = async () => (await operator('/metrics')).text();

/** A check for a reading that ends after now. */
function lastReading() {
  const now = Date.now();
  return async () => Date.parse((await status()).asOf) > now;
}

function report(how, counts) {
  const mbps = (counts.browser * 8) / CALL_SECONDS / 1e6;
  console.log(`${CALL_SECONDS} s of video, ${(mbps / 2).toFixed(2)} Mbps each way, ${how}:\n${table(counts)}`);
  assert.ok(counts.browser > BYTES_MIN, 'the call carried video');
  theyAgree(counts);
}

await runTest(run, RUN_SECONDS_MAX);
