// The relay in the broker, with real browsers on it: its count, the ledger's and the browser's are of the same bytes, and
// once the budget is spent nothing more arrives, however long the browser goes on sending.
import assert from 'node:assert/strict';
import { endedAllocations, table } from './counts.mjs';
import { directory, operator, runTest, startBroker, status, sum, theyAgree, usedBytes } from './harness.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';

const RUN_SECONDS_MAX = 120;
const LIMIT_BYTES = 8_000_000;
/** More than the limit lets through, at a pace that goes on for some time after the cut. */
const BYTES_EACH_WAY = 20_000_000;
const MBPS_EACH_WAY = 4;
/** The relay's bytes hold 4 of framing for each packet and the handshakes, the browser's do not. */
const TOLERANCE = 0.02;
/** How long nothing is to arrive after the cut. */
const SILENCE_SECONDS = 5;
const BROKER = 'http://127.0.0.1:3001';

async function run() {
  const site = await serveSite(5173);
  const broker = await startBroker(site, {
    ICE_SOURCES: 'relay', COTURN_URLS: '', COTURN_SECRET: '', BANDWIDTH_LIMIT_GB: String(LIMIT_BYTES / 1e9), LIABILITY_MBPS_PER_GRANT: '20',
  });
  const browser = await launchBrowser(directory);
  const page = await browser.newPage();
  await page.goto(site);
  const look = () => page.evaluate(() => call.look());
  const minted = await page.evaluate((url) => call.fetchCredentials(url), BROKER);
  for (const { source, degraded } of minted) assert.deepEqual({ source, degraded }, { source: 'relay', degraded: false });
  await page.evaluate(() => call.connect());
  await page.evaluate((bytes, mbps) => call.startSending(bytes, mbps), BYTES_EACH_WAY, MBPS_EACH_WAY);

  await until('half of the budget to be used', async () => (await usedBytes()) > LIMIT_BYTES / 2);
  await theStatusIsMeasured();
  await until('the budget to be spent', async () => (await status()).status === 'LIMIT_EXCEEDED');
  await until('the cut', () => endedAllocations(broker.log).length === minted.length);
  const atTheCut = await look();
  assert.ok(atTheCut.every(({ relayed, arrived }) => relayed && arrived > 1_000_000), 'both ends were relayed until then');

  await new Promise((resolve) => setTimeout(resolve, SILENCE_SECONDS * 1_000));
  const later = await look();
  for (const [index, { arrived, bytesReceived, waiting }] of later.entries()) {
    assert.deepEqual({ arrived, bytesReceived }, { arrived: atTheCut[index].arrived, bytesReceived: atTheCut[index].bytesReceived });
    assert.ok(waiting > atTheCut[index].waiting, 'the page went on sending');
  }
  const used = await usedBytes();
  assert.ok(used >= LIMIT_BYTES && used < LIMIT_BYTES + 1_500, `the rest of one packet at most: ${used}`);
  assert.equal((await fetch(`${BROKER}/api/turn-credentials`)).status, 429);

  const ended = endedAllocations(broker.log);
  assert.ok(ended.every(({ why }) => why === 'spent'), JSON.stringify(ended));
  const counts = {
    browser: sum(later.map(({ bytesReceived }) => bytesReceived)),
    broker: used,
    relay: sum(ended.map(({ sent }) => sent)),
  };
  console.log(table(counts));
  theyAgree(counts, TOLERANCE);
  assert.equal(counts.broker, counts.relay, 'the ledger has what the relay has sent, to the byte');

  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
}

/** What flows is known from the relay, not from the page: nothing is estimated. */
async function theStatusIsMeasured() {
  const { source, stale, asOf } = await status();
  assert.deepEqual({ source, stale }, { source: 'measured+estimate', stale: false });
  assert.ok(Date.now() - Date.parse(asOf) < 10_000, asOf);
  const text = await (await operator('/metrics')).text();
  assert.ok(text.includes('turn_broker_relay_allocations 2'), 'one allocation for each end');
}

await runTest(run, RUN_SECONDS_MAX);
