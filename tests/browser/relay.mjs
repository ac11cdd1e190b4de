// The relay in the broker with a real browser. Relay, ledger and browser count the same bytes, and after the budget is spent
// nothing arrives any more, although the browser continues to send.
import assert from 'node:assert/strict';
import { endedAllocations, table } from './counts.mjs';
import { atRest, directory, operator, runTest, startBroker, status, sum, theyAgree, usedBytes } from './harness.mjs';
import { launchBrowser, serveSite, until } from './processes.mjs';

const RUN_SECONDS_MAX = 120;
const LIMIT_BYTES = 8_000_000;
/** More than the limit allows, at a rate that lasts until after the cut. */
const BYTES_EACH_WAY = 20_000_000;
const MBPS_EACH_WAY = 4;
/** The time after the cut in which nothing may arrive. */
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
  const arrivals = async () => (await look()).map(({ arrived, bytesReceived }) => ({ arrived, bytesReceived }));
  await atRest(arrivals); // what the relay sent before the cut may be on its way
  const atTheCut = await look();
  assert.ok(atTheCut.every(({ relayed, arrived }) => relayed && arrived > 1_000_000), 'both ends were relayed before the cut');

  await new Promise((resolve) => setTimeout(resolve, SILENCE_SECONDS * 1_000));
  const later = await look();
  for (const [index, { arrived, bytesReceived, waiting }] of later.entries()) {
    assert.deepEqual({ arrived, bytesReceived }, { arrived: atTheCut[index].arrived, bytesReceived: atTheCut[index].bytesReceived });
    assert.ok(waiting > atTheCut[index].waiting, 'the page continued to send');
  }
  const used = await usedBytes();
  assert.ok(used >= LIMIT_BYTES && used < LIMIT_BYTES + 1_500, `at most one packet past the limit: ${used}`);
  assert.equal((await fetch(`${BROKER}/api/turn-credentials`)).status, 429);

  const ended = endedAllocations(broker.log);
  assert.ok(ended.every(({ why }) => why === 'spent'), JSON.stringify(ended));
  const counts = {
    browser: sum(later.map(({ bytesReceived }) => bytesReceived)),
    broker: used,
    relay: sum(ended.map(({ sent }) => sent)),
  };
  console.log(table(counts));
  theyAgree(counts);
  assert.equal(counts.broker, counts.relay, 'ledger and relay agree to the byte');

  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
}

/** The usage comes from the relay, not from the page. */
async function theStatusIsMeasured() {
  const begun = Date.now();
  const { source, stale } = await until('a reading of now', async () => {
    const now = await status();
    return Date.parse(now.asOf) > begun && now;
  });
  assert.deepEqual({ source, stale }, { source: 'measured+estimate', stale: false });
  const text = await (await operator('/metrics')).text();
  assert.ok(text.includes('turn_broker_relay_allocations 2'), 'one allocation for each end');
}

await runTest(run, RUN_SECONDS_MAX);
