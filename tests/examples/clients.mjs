// The code of docs/CLIENTS.md, with a broker whose relay is in the process, and one with the fake Cloudflare.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { BROKER, directory, openConnections, runTest, start, startBroker, status } from '../browser/harness.mjs';
import { Process, launchBrowser, until } from '../browser/processes.mjs';
import { nothingWentWrong } from '../browser/watched-page.mjs';
import { Document } from './document.mjs';
import { SITE, inBrowser, inNode, inShell, serveExamples, settings } from './examples.mjs';

const SECONDS_MAX = 240;
const reporterToken = randomBytes(24).toString('hex');
const jwtSecret = randomBytes(32).toString('hex');
const clients = new Document('docs/CLIENTS.md');
let browser;

/** What every broker of this test has in common. */
const COMMON = { COTURN_URLS: '', COTURN_SECRET: '', RATE_LIMIT_REQUESTS: '1000', REPORTER_TOKEN: reporterToken };
const RELAY = { ...COMMON, ICE_SOURCES: 'relay,stun' };
const CLOUDFLARE = {
  ...COMMON, ICE_SOURCES: 'cloudflare,stun', CLOUDFLARE_API_BASE: 'http://127.0.0.1:8787', CLOUDFLARE_TURN_KEY_ID: 'demo', CLOUDFLARE_TURN_API_TOKEN: 'demo-token',
};

async function run() {
  await serveExamples();
  browser = await launchBrowser(directory);
  await withBroker(RELAY, thePageReportsByHand);
  await withBroker(RELAY, theCallMintsOnlyWhenNeeded);

  const cloudflare = new Process('cloudflare', directory, process.env.FAKE_CLOUDFLARE_BIN, ['--perfect'], {}, ({ log }) => log.includes('8787'));
  await start(cloudflare);
  await withBroker(CLOUDFLARE, anAppServerReports);
  await withBroker(CLOUDFLARE, aGrantIsRenewed);
  const signIn = { ...settings(clients.block('AUTH_JWT_SECRET=…')), AUTH_JWT_SECRET: jwtSecret, AUTH_REQUIRED: 'true' };
  await withBroker({ ...CLOUDFLARE, ...signIn }, usersAreKnown);

  clients.allNamed();
  await browser.close();
}

async function withBroker(settings, test) {
  const broker = await startBroker(SITE, settings);
  console.log(`  ${test.name}`);
  await test();
  await broker.stop();
}

/** Only relayed candidates, so that a call within one page uses the relay. */
const RELAYED = `globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) { super({ ...configuration, iceTransportPolicy: 'relay' }); }
};`;

/** The other end of a call of the example's `pc`, in the same page, and an exchange. */
const OTHER_END = `
  const { iceServers: otherServers } = await (await fetch('${BROKER}/api/turn-credentials')).json();
  const other = new RTCPeerConnection({ iceServers: otherServers });
  pc.onicecandidate = ({ candidate }) => candidate && other.addIceCandidate(candidate);
  other.onicecandidate = ({ candidate }) => candidate && pc.addIceCandidate(candidate);
  other.ondatachannel = ({ channel }) => { channel.onmessage = ({ data }) => channel.send(data); };
  pc.onnegotiationneeded = async () => {
    await pc.setLocalDescription();
    await other.setRemoteDescription(pc.localDescription);
    await other.setLocalDescription();
    await pc.setRemoteDescription(other.localDescription);
  };
  const channel = pc.createDataChannel('echo');
  const echoed = new Promise((resolve) => { channel.onmessage = resolve; channel.onopen = () => channel.send('x'.repeat(50_000)); });
  await echoed;`;

async function thePageReportsByHand() {
  const page = await inBrowser(browser, clients.block('sendBeacon'), {
    before: `${RELAYED} const broker = '${BROKER}';`,
    after: `${OTHER_END}
      await beat(); globalThis.reported = { connectionId, ...last };`,
  });
  const { connectionId, bytesReceived, relayed } = await page.evaluate(() => globalThis.reported);
  assert.ok(relayed && bytesReceived > 50_000, `${bytesReceived} bytes, relayed: ${relayed}`);
  assert.deepEqual((await openConnections()).map((open) => [open.connectionId, open.bytesReceived]), [[connectionId, bytesReceived]]);
  nothingWentWrong(page);
  await page.goto('about:blank');
  await until('the beacon to close the connection', async () => (await openConnections()).length === 0, 5);
}

async function theCallMintsOnlyWhenNeeded() {
  const page = await inBrowser(browser, clients.block("when: 'needed'"), {
    before: `${RELAYED} const { createTurnClient } = await import('${BROKER}/turn-client.js'); const turn = createTurnClient({ baseUrl: '${BROKER}', stunUrls: [] });`,
    after: `globalThis.call = call;${OTHER_END}`,
  });
  await until('a relayed call', () => page.evaluate(() => globalThis.call.relayed));
  assert.equal((await status()).grants.issued, 2, 'one for each end');
  nothingWentWrong(page);
}

async function anAppServerReports() {
  const printed = await inShell(clients.block('Bearer $REPORTER_TOKEN'), { REPORTER_TOKEN: reporterToken });
  assert.match(printed, /"connectionId":"room-9.alice"/);
  assert.deepEqual(await openConnections(), []);
}

async function aGrantIsRenewed() {
  const before = `const broker = '${BROKER}'; const minted = await (await fetch(broker + '/api/turn-credentials')).json();`;
  const { source, grant } = JSON.parse(await inNode(`${before}${clients.block('${minted.grant}` } });')} console.log(await response.text())`));
  assert.ok(source === 'cloudflare' && grant);
}

async function usersAreKnown() {
  const token = (await inNode(clients.block('createHmac'), { AUTH_JWT_SECRET: jwtSecret })).trim();
  const [head, claims, signature] = token.split('.');
  assert.equal(createHmac('sha256', jwtSecret).update(`${head}.${claims}`).digest('base64url'), signature);
  const before = `const auth = { getToken: async () => '${token}' };`;
  const page = await inBrowser(browser, clients.block('auth.getToken()'), { before, after: 'await turn.iceServers(); globalThis.source = turn.status().source;' });
  assert.equal(await page.evaluate(() => globalThis.source), 'cloudflare');
  nothingWentWrong(page);
}

await runTest(run, SECONDS_MAX);
