// turn-client.js in a real browser: a call over the second of two relays, of which the first is dead, across two renewals of credentials
// that live for 20 s, a restart of the broker during the call, and a page that closes. The call must lose no message, and every byte must be counted.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { coturnEgress, coturnHasClosed, rows } from './counts.mjs';
import {
  BROKER, atRest, directory, openConnections, runTest, start, startBroker, startCoturn, status, sum, theyAgree, usedBytes,
} from './harness.mjs';
import { coturnProcess, launchBrowser, serveSite, until, watchAnswers } from './processes.mjs';

const RUN_SECONDS_MAX = 240;
/** The client looks every 5 s at most whether its credentials are due, so it renews them in the last quarter of this. */
const TTL_SECONDS = 20;
const RENEWALS = 2;
const MESSAGES_PER_SECOND = 50;
/** The longest allowed gap between two messages. A measured ICE restart took 22 to 105 ms, and a busy machine pauses for seconds. */
const SILENCE_MS_MAX = 10_000;
/** The longest time until a call connects whose credentials are refused. Measured: 0.2 to 1.8 s. A restart that gathers nothing costs 8 s. */
const REFUSED_MS_MAX = 20_000;
/** After this time a call that is not connected never will be. */
const HANGS_AFTER_MS = 60_000;
/** Nothing runs at the first one, so the broker leaves it out. */
const RELAYS = 'turn:127.0.0.2:3478?transport=udp,turn:127.0.0.1:3478?transport=udp';
/** The user of a broker whose UDP is dropped. */
const UID = 10_001;
/** After this time the statistics are read again, so all sent bytes are counted. */
const SAMPLE_SECONDS = 6;

async function run() {
  const site = await serveSite(5173, 'client-page.mjs');
  const exampleSite = await serveSite(5174, '../../src/web/turn-client/examples/plain.html');
  const settings = { TURN_TTL_SECONDS: String(TTL_SECONDS), STATE_DIR: `${directory}/state`, COTURN_URLS: RELAYS };
  const coturn = await startCoturn();
  let broker = await startBroker(`${site},${exampleSite}`, settings);
  const browser = await launchBrowser(directory);
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.log(`page: ${error.message}`));
  const look = () => page.evaluate(() => call.look());
  const begun = Date.now();
  const say = (what) => console.log(`  ${((Date.now() - begun) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
  const usernames = new Set();
  const renewed = async (times) => {
    const peers = await look();
    peers.forEach(({ username }) => usernames.add(username));
    return peers.every(({ renewals, connections }) => renewals.length >= times && connections.length > times);
  };

  await theDeadRelayIsLeftOut();
  say('the first relay is left out');
  await page.goto(site);
  await page.waitForFunction(() => globalThis.call);
  await page.evaluate(() => call.connect());
  await until('both to report', async () => (await look()).every(({ connectionId, relayed }) => connectionId && relayed));
  assert.equal((await status()).grants.issued, 2);
  await page.evaluate((perSecond) => call.startSending(perSecond), MESSAGES_PER_SECOND);
  say('connected, both relayed and reported');

  await until('the first renewal to be in use', () => renewed(1));
  say(`renewed once: ${usernames.size} users of the relay so far`);
  await theNewGrantsAreCharged(coturn, look, 2 + 2);

  const usedBefore = await usedBytes();
  assert.equal(await broker.stop(), 'status 0');
  const faultsOf = async () => (await look()).flatMap((peer) => peer.faults);
  await until('the page to notice', async () => (await faultsOf()).length > 0);
  broker = await startBroker(`${site},${exampleSite}`, settings);
  assert.ok((await usedBytes()) >= usedBefore, 'the ledger survived the restart');
  await until('usage to rise', async () => (await usedBytes()) > usedBefore + 50_000);
  const faults = await faultsOf();
  assert.ok(faults.every((fault) => fault.startsWith('NETWORK')), `the page reported it: ${faults}`);
  say(`broker restarted; the page had ${faults.length} errors and continues to report`);

  await until('the second renewal to be in use', () => renewed(RENEWALS));
  say('renewed twice');
  await page.evaluate(() => call.stopSending());
  await atRest(async () => (await look()).map(({ arrived }) => arrived));
  await new Promise((resolve) => setTimeout(resolve, SAMPLE_SECONDS * 1_000));
  await theNewGrantsAreCharged(coturn, look, 2 + 2 * RENEWALS);
  const peers = await look();
  theCallLostNoMessage(peers, (Date.now() - begun) / 1_000);

  await page.evaluate(() => call.hangUp());
  await until('the close of both connections', async () => (await status()).activeConnections === 0);
  assert.equal((await status()).source, 'estimate', 'nobody reads this coturn: the page reports');
  await until('coturn to close the sessions', () => coturnHasClosed(coturn.log, [...usernames]));
  const counts = {
    browser: sum(peers.map(({ bytesReceived }) => bytesReceived)),
    broker: await usedBytes(),
    coturn: coturnEgress(coturn.log, [...usernames]),
  };
  console.log(rows('egress to the two clients', [
    ['browser', 'getStats, transport.bytesReceived', counts.browser],
    ['broker', '/metrics, turn_broker_used_bytes', counts.broker],
    ['coturn', 'log, bytes sent on the client legs', counts.coturn],
  ]));
  theyAgree(counts);

  await theDeadRelayIsLeftOut();
  await aClosingPageSendsBeacons(browser, site);
  say('a closing page sent its beacons');
  await theExampleRelays(browser, exampleSite);
  say('the example relays');
  assert.equal(await broker.stop(), 'status 0');
  await onlyThePageReachesTheRelay(browser, site);
  say('a relay that the broker does not reach is handed out, degraded');
  const ms = await aNewSecretLosesNoCall(browser, site, coturn);
  say(`a call whose credentials the relay refused connected after ${ms} ms`);
  await browser.close();
  assert.ok(!broker.log.includes('"given_up":true'), 'no connection timed out');
  assert.match(broker.log, /it has the feature `short-lives`, and must serve nobody/, 'the program says which times it has');
}

/** A broker that has just begun knows nothing of its relays. */
async function theDeadRelayIsLeftOut() {
  const isDown = ({ code, message }) => code === 'RELAY_DOWN' && message.includes('127.0.0.2');
  await until('the dead relay to be left out', async () => (await status()).hints.some(isDown));
}

/** Each end uses its new grant and allocation, and only the newest connections are open. */
async function theNewGrantsAreCharged(coturn, look, grants) {
  assert.equal((await status()).grants.issued, grants, 'there are no other mints');
  const [open, peers] = [await openConnections(), await look()];
  assert.deepEqual(open.map(({ connectionId }) => connectionId).sort(), peers.map(({ connectionId }) => connectionId).sort());
  // A page on a busy machine may renew again meanwhile.
  await until('the relay to log the new users', async () => (await look()).every(({ username }) => coturn.log.includes(`username=<${username}>`)));
  assert.ok((await look()).every(({ renewals }) => renewals.every(({ relayed, restart }) => relayed && restart)));
}

function theCallLostNoMessage(peers, seconds) {
  for (const [index, peer] of peers.entries()) {
    const { sent } = peers[1 - index];
    assert.deepEqual([peer.arrived, peer.disorder], [sent, 0], 'every message arrived in order');
    assert.ok(peer.silence < SILENCE_MS_MAX, `silent for ${peer.silence} ms`);
    assert.ok(peer.faults.every((fault) => fault.startsWith('NETWORK')), String(peer.faults));
    const { degraded, source } = peer.status;
    assert.deepEqual({ degraded, source, protocol: peer.relayProtocol }, { degraded: false, source: 'coturn', protocol: 'udp' });
    console.log(`  ${peer.arrived} messages in ${seconds.toFixed(0)} s, longest silence ${peer.silence} ms, ${peer.negotiations} offers`);
  }
}

/** At the end the log shows that no missing heartbeat closed them. */
async function aClosingPageSendsBeacons(browser, site) {
  const page = await browser.newPage();
  const answers = await watchAnswers(page);
  await page.goto(site);
  await page.waitForFunction(() => globalThis.call);
  await page.evaluate(() => call.connect());
  await until('both to be open', async () => (await status()).activeConnections === 2);
  await page.goto('about:blank');
  await until('the beacons to close', async () => (await status()).activeConnections === 0);
  const closes = answers().filter(({ method, url }) => method === 'POST' && url?.endsWith('/close'));
  assert.ok(closes.every((answer) => answer.status === 204), JSON.stringify(closes));
}

async function theExampleRelays(browser, site) {
  const page = await browser.newPage();
  await page.goto(`${site}/?broker=${BROKER}`);
  const text = () => page.evaluate(() => document.querySelector('#log').textContent);
  await until('the example to relay', async () => (await text()).includes('relayed: true (udp)'));
  assert.equal((await openConnections()).length, 2);
  await page.goto('about:blank');
  await until('the beacons', async () => (await status()).activeConnections === 0);
}

/** A firewall drops the broker's UDP, and not the page's. Nothing else serves. */
async function onlyThePageReachesTheRelay(browser, site) {
  // A packet that the machine itself refuses to send shows nothing about the relay, so it is dropped where it arrives.
  const firewalled = `${directory}/broker-without-udp`;
  const command = `chmod 0755 ${directory} && iptables -t mangle -A OUTPUT -p udp -m owner --uid-owner ${UID} -j MARK --set-mark 7 && iptables -A INPUT -m mark --mark 7 -j DROP && exec setpriv --reuid=${UID} --clear-groups ${process.env.TURN_BROKER_BIN} "$@"`;
  writeFileSync(firewalled, `#!/bin/sh\n${command}\n`, { mode: 0o755 });
  const broker = await startBroker(site, {}, 'unreached', firewalled);
  await until('the probes to fail', async () => (await status()).hints.some(({ code }) => code === 'PROVIDER_DOWN'));
  const page = await browser.newPage();
  await page.goto(site);
  await page.waitForFunction(() => globalThis.call);
  await page.evaluate(() => call.connect());
  const look = () => page.evaluate(() => call.look());
  await until('both to relay', async () => (await look()).every(({ connectionId, relayed }) => connectionId && relayed));
  assert.ok((await look()).every(({ status: { degraded, source } }) => degraded && source === 'coturn'));
  assert.equal(await broker.stop(), 'status 0');
}

/** Both ends have credentials of an earlier call, which the relay refuses since it has another secret. They may use nothing but the relay. */
async function aNewSecretLosesNoCall(browser, site, coturn) {
  const broker = await startBroker(site, {}, 'before');
  const page = await browser.newPage();
  await page.goto(site);
  await page.waitForFunction(() => globalThis.call);
  await page.evaluate(() => call.connect());
  await page.evaluate(() => call.hangUp());
  assert.equal(await broker.stop(), 'status 0');
  await coturn.stop();
  const secret = randomBytes(24).toString('hex');
  await start(coturnProcess(directory, secret));
  const next = await startBroker(site, { COTURN_SECRET: secret }, 'after');
  const ms = await page.evaluate((most) => {
    const begun = performance.now();
    const connected = call.connect().then(() => Math.round(performance.now() - begun));
    return Promise.race([connected, new Promise((resolve) => { setTimeout(() => resolve(null), most); })]);
  }, HANGS_AFTER_MS);
  const ends = await page.evaluate(() => call.look());
  assert.notEqual(ms, null, JSON.stringify(ends));
  assert.ok(ends.every(({ faults }) => faults.some((fault) => fault.startsWith('TURN_REFUSED'))), JSON.stringify(ends));
  assert.ok(ms < REFUSED_MS_MAX, `${ms} ms`);
  assert.equal(await next.stop(), 'status 0');
  return ms;
}

await runTest(run, RUN_SECONDS_MAX);
