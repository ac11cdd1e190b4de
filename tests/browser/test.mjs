// The whole path in a real browser: a page fetches credentials from the broker, relays through coturn, and reports its bytes.
// The broker's figure must match what the browser received and what coturn sent.
import assert from 'node:assert/strict';
import { coturnEgress, coturnHasClosed, table } from './counts.mjs';
import {
  BROKER, HEARTBEAT_SECONDS, coturnSecret, directory, openConnections, operatorToken, runTest, startBroker, startCoturn, status, sum,
  theyAgree, usedBytes,
} from './harness.mjs';
import { launchBrowser, serveSite, until, watchAnswers } from './processes.mjs';

const RUN_SECONDS_MAX = 120;
const BYTES_EACH_WAY = 12_000_000;
const MBPS_EACH_WAY = 8;

async function run() {
  const site = await serveSite(5173);
  const foreignSite = await serveSite(5174);
  const coturn = await startCoturn();
  const broker = await startBroker(site);
  const browser = await launchBrowser(directory);

  await aForeignPageGetsNothing(browser, foreignSite);

  const page = await browser.newPage();
  const answers = await watchAnswers(page);
  await page.goto(site);
  const minted = await page.evaluate((url) => call.fetchCredentials(url), BROKER);
  const { usernames, credentials } = relayUsers(minted);
  const connections = await page.evaluate(() => call.connect());
  for (const { heartbeatSeconds } of connections) assert.equal(heartbeatSeconds, HEARTBEAT_SECONDS);

  const arrived = await page.evaluate((bytes, mbps) => call.exchange(bytes, mbps), BYTES_EACH_WAY, MBPS_EACH_WAY);
  assert.ok(arrived.every((bytes) => bytes >= BYTES_EACH_WAY), `arrived: ${arrived}`);
  assert.equal((await status()).activeConnections, 2);
  assert.ok((await usedBytes()) > 0, 'usage rises while a connection is open');

  const readings = await page.evaluate(() => call.hangUp());
  await until('coturn to close the sessions', () => coturnHasClosed(coturn.log, usernames));
  await theOperatorSeesWhatThePageReported(connections, readings);
  await bothWaysToCloseWork(page, answers);

  const counts = {
    browser: sum(readings.map(({ bytesReceived }) => bytesReceived)),
    broker: await usedBytes(),
    coturn: coturnEgress(coturn.log, usernames),
  };
  console.log(table(counts));
  theyAgree(counts);
  assert.equal((await status()).bandwidthUsedGB, (counts.broker / 1e9).toFixed(2));

  await browser.close();
  assert.equal(await broker.stop(), 'status 0');
  for (const { connectionId } of connections) {
    assert.ok(broker.log.includes(`[Bandwidth] Connection ${connectionId} closed. Estimated usage: `), 'the log has each close');
  }
  assert.ok(!broker.log.includes('"given_up":true'), 'the beacon closed the connection, not a missing heartbeat');
  const secrets = [coturnSecret, operatorToken, ...minted.map(({ grant }) => grant), ...credentials];
  assert.ok(!secrets.some((secret) => broker.log.includes(secret)), 'the log of the broker has no secret');
}

/** A page of an origin that is not in CLIENT_URL may read why it is refused, and nothing else. Nothing is minted. */
async function aForeignPageGetsNothing(browser, site) {
  const page = await browser.newPage();
  const answers = await watchAnswers(page);
  await page.goto(site);
  const url = `${BROKER}/api/turn-credentials`;
  const read = (path) => page.evaluate((url) => fetch(url).then((answer) => answer.json(), ({ name }) => ({ name })), BROKER + path);
  const { code, message } = await read('/api/turn-credentials');
  assert.deepEqual([code, message], ['ORIGIN_NOT_ALLOWED', `Add ${site} to CLIENT_URL if the page is yours.`]);
  assert.deepEqual(await read('/api/bandwidth-status'), { name: 'TypeError' }, 'the browser hides every other response from the page');
  await until('the refusal', () => answers().find((answer) => answer.url === url && answer.status === 403));
  assert.equal((await status()).grants.issued, 0, 'nothing was minted');
  await page.close();
}

/** The TURN username and credential of each response, which must not be degraded. */
function relayUsers(minted) {
  assert.equal(new Set(minted.map(({ grant }) => grant)).size, 2, 'each peer has its own grant');
  for (const { source, degraded } of minted) assert.deepEqual({ source, degraded }, { source: 'coturn', degraded: false });
  const entries = minted.map(({ iceServers }) => iceServers.find(({ username }) => username));
  return { usernames: entries.map(({ username }) => username), credentials: entries.map(({ credential }) => credential) };
}

/** The broker has the page's last heartbeats to the byte, and `relayed` as getStats had it for the selected pair. */
async function theOperatorSeesWhatThePageReported(connections, readings) {
  const live = await openConnections();
  for (const [index, { relayed, relayProtocol, bytesSent, bytesReceived, heartbeats, faults }] of readings.entries()) {
    assert.deepEqual({ relayed, relayProtocol, faults }, { relayed: true, relayProtocol: 'udp', faults: [] });
    assert.ok(heartbeats > 1, 'there were several heartbeats');
    const shown = live.find(({ connectionId }) => connectionId === connections[index].connectionId);
    assert.deepEqual([shown?.bytesSent, shown?.bytesReceived], [bytesSent, bytesReceived]);
  }
}

/** A DELETE and a beacon of a closing page both close. With the last counts in them, they do not change the usage. */
async function bothWaysToCloseWork(page, answers) {
  const before = await usedBytes();
  await page.evaluate(() => call.close());
  assert.equal((await status()).activeConnections, 1);
  await page.goto('about:blank');
  await until('the beacon to close', async () => (await status()).activeConnections === 0);
  assert.equal(await usedBytes(), before, 'closing with the last counts does not change the total');

  const seen = (method) => answers().filter((answer) => answer.method === method);
  assert.ok(seen('OPTIONS').some((answer) => answer.status < 300), 'the browser sent a preflight');
  assert.deepEqual(seen('DELETE').map((answer) => answer.status), [204]);
}

await runTest(run, RUN_SECONDS_MAX);
