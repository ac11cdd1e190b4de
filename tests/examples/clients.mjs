// The code of docs/CLIENTS.md, with a broker whose relay is in the process, and one with the fake Cloudflare; of the module's README the
// calls that mint only when needed.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { compile } from 'svelte/compiler';
import { BROKER, directory, openConnections, operator, operatorToken, runTest, start, startBroker, status } from '../browser/harness.mjs';
import { Process, launchBrowser, until } from '../browser/processes.mjs';
import { nothingWentWrong } from '../browser/watched-page.mjs';
import { Document } from './document.mjs';
import { SITE, folderFor, inBrowser, inNode, inShell, serveExamples, settings, typeChecked } from './examples.mjs';

const SECONDS_MAX = 240;
const reporterToken = randomBytes(24).toString('hex');
const jwtSecret = randomBytes(32).toString('hex');
const clients = new Document('docs/CLIENTS.md');
const module = new Document('src/web/turn-client/README.md');
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
  await withBroker(RELAY, npmInstallsTheModule);
  await withBroker(RELAY, thePageCallsWithTheModule);
  await withBroker({ ...RELAY, ...settings(clients.block('CLIENT_URL=')) }, thePageMayReadWhyItIsRefused);
  await withoutABrokerThePageWorks();
  await theTypesAreRight();
  await withBroker(RELAY, frameworksCall);
  await withBroker({ ...RELAY, BANDWIDTH_LIMIT_GB: '0' }, theReactNoticeSaysWhyThereIsNoRelay);
  await withBroker(RELAY, simplePeerCalls);
  await withBroker(RELAY, aNativeAppCalls);
  await withBroker(RELAY, thePageReportsByHand);
  await withBroker(RELAY, theCallMintsOnlyWhenNeeded);

  const cloudflare = new Process('cloudflare', directory, process.env.FAKE_CLOUDFLARE_BIN, [], {}, ({ log }) => log.includes('8787'));
  await start(cloudflare);
  await withBroker(CLOUDFLARE, anAppServerReports);
  await withBroker(CLOUDFLARE, aGrantIsRenewed);
  const signIn = { ...settings(clients.block('AUTH_JWT_SECRET=…')), AUTH_JWT_SECRET: jwtSecret, AUTH_REQUIRED: 'true' };
  await withBroker({ ...CLOUDFLARE, ...signIn }, usersAreKnown);
  const keys = (await inShell(`${clients.block('SERVER_KEYS=app')}\necho "$SERVER_KEYS"`)).trim();
  await withBroker({ ...CLOUDFLARE, SERVER_KEYS: keys }, async function aServerMintsForItsUsers() {
    const [, key] = keys.split(',')[0].split('=');
    const minted = await inShell(clients.block('Bearer $KEY'), { KEY: key });
    assert.match(minted, /"source":"cloudflare"/);
    const { grants } = await (await operator('/api/grants?user=ann')).json();
    assert.deepEqual(grants.map((grant) => grant.label), ['room-1']);
  });

  clients.allNamed();
  await browser.close();
}

async function withBroker(settings, test) {
  const broker = await startBroker(SITE, settings);
  console.log(`  ${test.name}`);
  await test();
  await broker.stop();
}

/** Their page closes them: the broker has given up none after missed heartbeats. */
async function theConnectionsWereClosed() {
  await until('the connections to be closed', async () => (await openConnections()).length === 0);
  const { connections } = await (await operator('/api/overview')).json();
  assert.equal(connections.givenUp, 0);
}

/** The module is installed here by what the document says, so examples import it from here. */
const app = folderFor({ 'package.json': '{ "private": true }' });
const WITH_NPM = "import { createTurnClient } from 'turn-broker-client';\nconst turn = createTurnClient({ baseUrl: 'https://turn.example.com' });\nconst pc";
const BY_URL = 'const broker = await import';
const HOOK = new URL('../../src/web/turn-client/examples/useWebRTC.tsx', import.meta.url);
const BY_HAND = "check the broker's address";

async function npmInstallsTheModule() {
  await inShell(clients.block('npm i https://turn.example.com/turn-client.tgz'), { npm_config_cache: `${directory}/npm`, npm_config_audit: 'false' }, app);
  const { version, types, exports } = JSON.parse(readFileSync(`${app}/node_modules/turn-broker-client/package.json`, 'utf8'));
  assert.equal(version, (await (await fetch(`${BROKER}/health`)).json()).version);
  assert.deepEqual([types, exports['.'].default], ['./turn-client.d.ts', './turn-client.js']);
  assert.match(readFileSync(`${app}/package-lock.json`, 'utf8'), /"integrity": "sha512-/);
}

async function thePageCallsWithTheModule() {
  for (const [text, isWatched] of [[WITH_NPM, true], [BY_URL, true], [BY_HAND, false]]) {
    const page = await inBrowser(browser, clients.block(text), { before: RELAYED, after: OTHER_END, folder: app });
    if (isWatched) await until('a report of the module', async () => (await openConnections()).length > 0);
    await page.goto('about:blank');
    await theConnectionsWereClosed();
  }
}

/** The settings of the document allow only its own origin, so that of this test is foreign. */
async function thePageMayReadWhyItIsRefused() {
  const page = await inBrowser(browser, clients.block(BY_HAND), { after: 'globalThis.read = { code, message };', expected: /status of 403/ });
  assert.deepEqual(await page.evaluate(() => globalThis.read), { code: 'ORIGIN_NOT_ALLOWED', message: `Add ${SITE} to CLIENT_URL if the page is yours.` });
}

async function withoutABrokerThePageWorks() {
  for (const text of [WITH_NPM, BY_URL, BY_HAND]) {
    const page = await inBrowser(browser, clients.block(text), { after: 'globalThis.servers = pc.getConfiguration().iceServers;', folder: app, expected: /ERR_CONNECTION_REFUSED/ });
    assert.match(JSON.stringify(await page.evaluate(() => globalThis.servers)), /stun:stun\.l\.google\.com/);
  }
}

async function theTypesAreRight() {
  typeChecked({
    'useWebRTC.tsx': readFileSync(HOOK, 'utf8'), 'client.ts': clients.block('type TurnStatus'), 'vue/useCall.ts': clients.block("from 'vue'"), 'svelte/call.ts': clients.block("from 'svelte'"),
    'next/call-button.tsx': clients.block("'use client'"), 'process.d.ts': 'declare const process: { env: Record<string, string | undefined> };',
  }, app);
}

/** In each framework a component begins a call, which is reported, and ends it with itself. Those of React are in StrictMode. */
async function frameworksCall() {
  const { VITE_BROKER_URL } = settings(clients.block('VITE_BROKER_URL='));
  const env = { 'import.meta.env.VITE_BROKER_URL': VITE_BROKER_URL, 'process.env.NEXT_PUBLIC_BROKER_URL': VITE_BROKER_URL };
  const components = {
    react: [{ 'useWebRTC.tsx': readFileSync(HOOK, 'utf8') }, `import { StrictMode, useEffect } from 'react'; import { createRoot } from 'react-dom/client'; import { useWebRTC } from './useWebRTC';
      globalThis.byes = 0; const send = ({ bye }: { bye?: true }) => { if (bye) globalThis.byes += 1; }; let effects = 0; let used = () => {}; globalThis.states = [];
      function Call() {
        const { connectionState, ...call } = useWebRTC(send, true);
        Object.assign(globalThis, call); globalThis.states.push(connectionState);
        useEffect(() => { effects += 1; if (effects === 2) used(); }, []);
        return null;
      }
      const root = createRoot(document.querySelector('#root')!); globalThis.unmount = () => root.unmount();
      await new Promise<void>((resolve) => { used = resolve; root.render(<StrictMode><Call /></StrictMode>); });`],
    vue: [{ 'useCall.ts': clients.block("from 'vue'") }, `import { createApp } from 'vue'; import { useCall } from './useCall';
      const app = createApp({ setup() { ({ start: globalThis.start } = useCall()); return () => null; } });
      app.mount('#root'); globalThis.unmount = () => app.unmount();`],
    svelte: [{ 'call.ts': clients.block("from 'svelte'"), 'App.js': compile("<script>import { call } from './call'; ({ start: globalThis.start } = call());</script>", { runes: false }).js.code },
      `import { mount, unmount } from 'svelte'; import App from './App.js';
      const app = mount(App, { target: document.querySelector('#root') }); globalThis.unmount = () => unmount(app);`],
    next: [{ 'call-button.tsx': clients.block("'use client'") }, `import { StrictMode } from 'react'; import { createRoot } from 'react-dom/client'; import { renderToString } from 'react-dom/server.browser'; import { CallButton } from './call-button';
      if (renderToString(<CallButton onCall={() => {}} />) !== '<button>Call</button>') throw new Error('the server renders a button');
      const root = createRoot(document.querySelector('#root')!); let called = (pc: RTCPeerConnection) => {};
      root.render(<StrictMode><CallButton onCall={(pc) => called(pc)} /></StrictMode>); globalThis.unmount = () => root.unmount();
      globalThis.start = () => new Promise((resolve) => { called = resolve; document.querySelector('button')!.click(); });
      await new Promise((resolve) => { new MutationObserver(resolve).observe(document.querySelector('#root')!, { childList: true }); });`],
  };
  for (const [name, [files, code]] of Object.entries(components)) {
    const minted = (await status()).grants.issued;
    const page = await inBrowser(browser, code, { before: RELAYED, files, env, folder: app });
    assert.equal((await status()).grants.issued, minted, `${name}: nothing is requested before a call`);
    await beginsACall(name, page);
    assert.doesNotMatch(await page.evaluate(() => String(globalThis.states)), /closed/);
    if (name === 'react') await hangsUp(page);
    await page.evaluate(() => globalThis.unmount());
    await until(`${name}: the end`, () => page.evaluate(() => globalThis.pc.signalingState === 'closed'));
    await theConnectionsWereClosed();
    nothingWentWrong(page);
    await page.close();
    await goesWhileItWaits(name, await inBrowser(browser, code, { before: RELAYED, files, env, folder: app }));
  }
}

async function theReactNoticeSaysWhyThereIsNoRelay() {
  const code = `import { createRoot } from 'react-dom/client'; import { RelayNotice, useWebRTC } from './useWebRTC';
    function Call() { Object.assign(globalThis, useWebRTC(() => {}, true)); return <RelayNotice />; }
    createRoot(document.querySelector('#root')!).render(<Call />);`;
  const env = { 'import.meta.env.VITE_BROKER_URL': BROKER };
  const page = await inBrowser(browser, code, { files: { 'useWebRTC.tsx': readFileSync(HOOK, 'utf8') }, env, folder: app, expected: /status of 429/ });
  await until('the hook', () => page.evaluate(() => globalThis.start));
  await page.evaluate(async () => { await globalThis.start(); });
  await until('the reason', () => page.evaluate(() => /^The monthly limit of the relay is used up or reserved/.test(document.querySelector('[role=status]')?.textContent ?? '')));
  await page.close();
}

/** Two ends in Python, two in Go. The network has only `lo`, whose addresses neither of them uses, so the call is relayed. */
async function aNativeAppCalls() {
  const printed = await inShell(`"$EXAMPLES_PYTHON" - <<'END'
import asyncio, sys
sys.path.insert(0, '${new URL('../../docs/native', import.meta.url).pathname}')
from call import start_call
async def main():
    (one, first), (other, second) = [await start_call('${BROKER}') for _ in range(2)]
    channel, echoed = one.createDataChannel('echo'), asyncio.get_running_loop().create_future()
    channel.on('open', lambda: channel.send('x' * 50000))
    channel.on('message', echoed.set_result)
    other.on('datachannel', lambda made: made.on('message', made.send))
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(other.localDescription)
    print(len(await asyncio.wait_for(echoed, 20)), 'typ relay' in one.localDescription.sdp)
    await asyncio.sleep(2)
    async with __import__('aiohttp').ClientSession(headers={'Authorization': 'Bearer ${operatorToken}'}) as http:
        print('open', (await (await http.get('${BROKER}/api/connections')).json())['total'])
    for task in (first, second): task.cancel()
    await asyncio.gather(one.close(), other.close())
asyncio.run(main())
END`, { EXAMPLES_PYTHON: process.env.EXAMPLES_PYTHON });
  assert.equal(printed, '50000 True\nopen 2\n');
  // The same in Go, without reports.
  assert.equal(await inShell(`"${process.env.EXAMPLES_GO}" '${BROKER}'`), '50000 true true\n');
}

async function beginsACall(name, page) {
  await page.evaluate(`(async () => { const pc = await globalThis.start(); globalThis.pc = pc; ${OTHER_END} })()`);
  await until(`${name}: the report`, async () => (await openConnections()).length === 1);
}

/** Hanging up tells the other end, and what the other end says ends the call here. */
async function hangsUp(page) {
  for (const how of ['hangUp()', 'receive({ bye: true })']) {
    await page.evaluate(`globalThis.${how}`);
    assert.equal(await page.evaluate(() => globalThis.pc.signalingState), 'closed', how);
    await theConnectionsWereClosed();
    await beginsACall(how, page);
  }
  assert.equal(await page.evaluate(() => globalThis.byes), 1);
}

async function simplePeerCalls() {
  const page = await inBrowser(browser, clients.block('simplepeer.min.js'), {
    before: RELAYED, folder: app,
    after: `const other = new Peer({ config: { iceServers: peer.config.iceServers } });
      peer.on('signal', (signal) => other.signal(signal));
      other.on('signal', (signal) => peer.signal(signal));
      other.on('data', (data) => other.send(data));
      peer.on('connect', () => peer.send('x'.repeat(50_000)));
      await new Promise((resolve) => { peer.on('data', resolve); });`,
  });
  await until('the report', async () => (await openConnections()).length === 1);
  nothingWentWrong(page);
  await page.goto('about:blank');
  await theConnectionsWereClosed();
}

/** A component that goes before its credentials come makes no peer connection. */
async function goesWhileItWaits(name, page) {
  await page.evaluate(() => { void globalThis.start(); globalThis.unmount(); });
  const hasCome = () => page.evaluate(() => performance.getEntriesByType('resource').some(({ name, responseEnd }) => name.includes('turn-credentials') && responseEnd > 0));
  await until(`${name}: the credentials`, hasCome);
  assert.equal(await page.evaluate(() => new Promise((resolve) => { setTimeout(() => resolve(globalThis.made)); })), 0, name);
  nothingWentWrong(page);
  await page.close();
}

/** Only relayed candidates, so that a call within one page uses the relay. */
const RELAYED = `globalThis.made = 0;
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({ ...configuration, iceTransportPolicy: 'relay' });
    globalThis.made += 1;
  }
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
  await theConnectionsWereClosed();
}

async function theCallMintsOnlyWhenNeeded() {
  const page = await inBrowser(browser, module.block("when: 'needed'"), {
    before: `${RELAYED} const { createTurnClient } = await import('${BROKER}/turn-client.js'); const turn = createTurnClient({ baseUrl: '${BROKER}', stunUrls: [] });`,
    after: `globalThis.call = call;${OTHER_END}`,
  });
  await until('a relayed call', () => page.evaluate(() => globalThis.call.relayed));
  assert.equal((await status()).grants.issued, 2, 'one for each end');
  nothingWentWrong(page);
}

async function anAppServerReports() {
  const printed = await inShell(clients.block('Bearer $REPORTER_TOKEN'), { REPORTER_TOKEN: reporterToken });
  assert.match(printed, /"connectionId":"room-9.17"/);
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
  const page = await inBrowser(browser, clients.block('auth.getToken()'), { before, folder: app, after: 'await turn.iceServers(); globalThis.source = turn.status().source;' });
  assert.equal(await page.evaluate(() => globalThis.source), 'cloudflare');
  nothingWentWrong(page);
}

await runTest(run, SECONDS_MAX);
