// Programs of others that mint with a server key, as they are: Janus with docs/janus.jcfg, Selkies, the server parts of partytracks and dimos,
// Prosody, ejabberd and Nextcloud Talk with deploy/adapters, programs that read a file, and the lines that the server of a page has for Cloudflare's API. Each finds the broker by a base URL, or because its fixed name leads there.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transformSync } from 'esbuild';
import { routePartyTracksRequest } from 'partytracks/server';
import { endedAllocations, metric } from './counts.mjs';
import { askEjabberd, askProsody, askTalk, fileOf, floodOfRooms, keepsTheRules, servicesOfRoom, startEjabberd, startFront, startProsody } from './adapters.mjs';
import { BROKER, directory, operator, runTest, start, startBroker } from './harness.mjs';
import { RELAY, addNetwork, callOfJanus, startJanus } from './janus.mjs';
import { pass } from './npm-site.mjs';
import { until } from './processes.mjs';
import { part } from './watched-page.mjs';

const RUN_SECONDS_MAX = 180;
/** Where Selkies looks, which no setting changes. */
const CLOUDFLARE = 'rtc.live.cloudflare.com';
const BYTES = 200_000;
const FILES = ['go2rtc', 'mediamtx', 'galene', 'pairdrop', 'json'];
const NAMES = ['janus', 'partytracks', 'dimos', 'selkies', 'page-server', 'prosody', 'ejabberd', 'nextcloud', ...FILES];
const keys = Object.fromEntries(NAMES.map((name) => [name, randomBytes(32).toString('hex')]));
/** What each program got, by the name of its key. */
const credentials = {};
const run = promisify(execFile);
let broker;

async function test() {
  addNetwork();
  broker = await startBroker('http://app.test', {
    ICE_SOURCES: 'relay', RELAY_LISTEN: `${RELAY}:3478`, COTURN_URLS: '', COTURN_SECRET: '', DOORS: 'turn,cloudflare',
    SERVER_KEYS: NAMES.map((name) => `${name}=${keys[name]}`).join(),
  });
  await nameLeadsHere();
  await part(janusRelaysWhatAClientSends);
  await part(partytracksGivesItsPagesARelay);
  await part(dimosTakesAnotherBaseUrl);
  await part(theServerOfAPageNeedsAnotherBaseUrlAlone);
  await part(selkiesFindsTheRelayOverBothOfItsWays);
  await part(prosodyGivesEachUserACredential);
  await part(ejabberdGivesEachUserACredential);
  await part(nextcloudTalkGivesEachUserACredential);
  await part(aFileOfEachProgramHasARelay);
  await part(eachCredentialRelaysForItsUser);
  await part(aSpentBudgetIsWhatCloudflareWouldCallTooMany);
  assert.equal(await broker.stop(), 'status 0');
  assert.ok(!Object.values(keys).some((key) => broker.log.includes(key)), 'the log has no key');
}

async function janusRelaysWhatAClientSends() {
  const janus = await start(startJanus(keys.janus));
  assert.equal(await callOfJanus('ann', BYTES), BYTES);
  await until('the end of its allocation', () => endedAllocations(broker.log).length === 1);
  const grant = await until('the ledger to have it', async () => {
    const [found] = await grantsOf('janus');
    return found.measuredBytes > BYTES && found;
  });
  assert.deepEqual([grant.user, grant.evidence], ['ann', 'measured']);
  console.log(`  ${BYTES} bytes came back; the relay has sent ${grant.measuredBytes} to Janus`);
  assert.equal(await janus.stop(), 'status 0');
}

async function partytracksGivesItsPagesARelay() {
  const answer = await askPartytracks();
  assert.equal(answer.status, 201);
  isRelay('partytracks', await answer.json());
  assert.equal((await grantsOf('partytracks')).length, 1);
}

/** A page asks its own server, and this part of that server answers. */
const askPartytracks = () => routePartyTracksRequest({
  appId: 'app', token: 'secret', realtimeApiBaseUrl: `${BROKER}/v1`, turnServerAppId: 'any', turnServerAppToken: keys.partytracks,
  request: new Request('http://app.test/partytracks/generate-ice-servers'),
});

async function dimosTakesAnotherBaseUrl() {
  isRelay('dimos', { iceServers: await askDimos() });
  assert.equal((await grantsOf('dimos')).length, 1);
}

/** Asks with the part for Cloudflare of the package from PyPI. Only its types are removed, because Node.js 20 cannot run them. */
async function askDimos() {
  const packages = execFileSync(process.env.PROGRAMS_PYTHON, ['-c', 'import sysconfig; print(sysconfig.get_path("platlib"))'], { encoding: 'utf8' }).trim();
  const source = readFileSync(join(packages, 'dimos/web/relay_bridge/_relay_dist/relay/cloudflare.ts'), 'utf8');
  const file = join(directory, 'dimos.mjs');
  writeFileSync(file, transformSync(source, { loader: 'ts', format: 'esm' }).code);
  const { CloudflareClient } = await import(file);
  const config = { appId: 'app', appSecret: 'secret', turnKeyId: 'any', turnToken: keys.dimos };
  return new CloudflareClient(config, fetch, `${BROKER}/v1`).iceServers();
}

async function theServerOfAPageNeedsAnotherBaseUrlAlone() {
  const answer = await askAsPageServer();
  assert.equal(answer.status, 201);
  isRelay('page-server', await answer.json());
  const [grant] = await grantsOf('page-server');
  assert.equal(grant.user, 'user-7');
  assert.equal((await askCloudflare(`${credentials['page-server'].username}/revoke`)).status, 204);
  assert.ok((await grantsOf('page-server'))[0].revokedAt);
  isRelay('page-server', await (await askAsPageServer()).json());
}

/** The call as Cloudflare documents it, with a user. */
const askAsPageServer = () => askCloudflare('generate-ice-servers', { ttl: 86_400, customIdentifier: 'user-7' });
const askCloudflare = (call, body) => fetch(`${BROKER}/v1/turn/keys/any/credentials/${call}`, {
  method: 'POST',
  headers: { Authorization: `Bearer ${keys['page-server']}`, 'Content-Type': 'application/json' },
  body: body && JSON.stringify(body),
});

/** Cloudflare's API, and the TURN REST draft, for which it takes a URL. */
async function selkiesFindsTheRelayOverBothOfItsWays() {
  const relay = new RegExp(String.raw`^turn://(.+):(.+)@${RELAY}:3478`);
  for (const [settings, way] of [[BY_CLOUDFLARE, 'using_cloudflare_turn'], [BY_REST, 'using_rest_api']]) {
    const { turn, by } = await askSelkies(settings);
    assert.deepEqual(by, [way]);
    assert.ok(turn.length > 0 && turn.every((uri) => relay.test(uri)), `${turn}`);
    const [username, credential] = relay.exec(turn[0]).slice(1).map(decodeURIComponent);
    credentials.selkies = { username, credential };
  }
  assert.deepEqual((await grantsOf('selkies')).map(({ user }) => user).sort(), ['desktop-1', null]);
}

const BY_CLOUDFLARE = { enable_cloudflare_turn: true, cloudflare_turn_token_id: 'any', cloudflare_turn_api_token: keys.selkies };
const BY_REST = { turn_rest_uri: `${BROKER}/turn`, turn_rest_api_key: keys.selkies, turn_rest_username: 'desktop-1' };

async function askSelkies(settings) {
  const { stdout } = await run(process.env.PROGRAMS_PYTHON, ['ask-selkies.py', JSON.stringify(settings)], { env: { ...process.env, SSL_CERT_FILE: join(directory, 'cloudflare.pem') } });
  return JSON.parse(stdout);
}

async function prosodyGivesEachUserACredential() {
  await startFront();
  await start(startProsody(keys.prosody));
  hasRelayOfXmpp('prosody', await askProsody(['ann']));
  assert.deepEqual((await grantsOf('prosody')).map(({ user }) => user), ['ann@xmpp.test']);
  hasRelayOfXmpp('jitsi', [{ services: await servicesOfRoom() }]);
  assert.deepEqual((await grantsOf('room-7')).map(({ user }) => user), [null]);
  const minted = async () => metric(await (await operator('/metrics')).text(), 'turn_broker_server_key_mints_total{key="prosody",outcome="minted"}');
  const before = await minted();
  await floodOfRooms(90);
  assert.equal(await minted() - before, 64, 'an address names 64 rooms; the others share the credential of their host');
  await keepsTheRules(askProsody);
}

async function ejabberdGivesEachUserACredential() {
  await start(startEjabberd(keys.ejabberd));
  hasRelayOfXmpp('ejabberd', await askEjabberd(['ann']));
  assert.deepEqual((await grantsOf('ejabberd')).map(({ user }) => user), ['ann@xmpp.test']);
  await keepsTheRules(askEjabberd);
}

function hasRelayOfXmpp(name, [{ services }]) {
  const found = services.find(({ type, host, port, username, password, expires }) => type === 'turn' && host === RELAY && port === '3478' && username && password && expires);
  assert.ok(found, JSON.stringify(services));
  credentials[name] = { username: found.username, credential: found.password };
}

async function nextcloudTalkGivesEachUserACredential() {
  const [{ servers: [server], log }] = await askTalk(keys.nextcloud, 'ann', 'ann', '', '');
  assert.deepEqual([server.schemes, server.server, server.protocols, log], ['turn', `${RELAY}:3478`, 'udp', []]);
  credentials.nextcloud = { username: server.username, credential: server.password };
  for (const [label, user] of [['nextcloud', 'ann'], ['guests', null]]) assert.deepEqual((await grantsOf(label)).map((grant) => grant.user), [user]);
}

async function aFileOfEachProgramHasARelay() {
  const read = Object.fromEntries(await Promise.all(FILES.map(async (form) => [form, await fileOf(form, keys[form])])));
  isRelay('json', read.json);
  isRelay('pairdrop', read.pairdrop);
  isRelay('galene', { iceServers: read.galene });
  isRelay('go2rtc', { iceServers: read.go2rtc.webrtc.ice_servers });
  isRelay('mediamtx', { iceServers: read.mediamtx.webrtcICEServers2.map(({ url, username, password }) => ({ urls: [url], username, credential: password })) });
  for (const form of FILES) assert.equal((await grantsOf(form)).length, 1);
}

/** Two clients with each credential reach each other. Janus has had its call. */
async function eachCredentialRelaysForItsUser() {
  const relay = ({ username, credential }) => run('turnutils_uclient', ['-c', '-y', '-n', '20', '-l', '1000', '-u', username, '-w', credential, RELAY]);
  await Promise.all(Object.values(credentials).map(relay));
  const spent = async (by, names) => {
    const { spenders } = await (await operator(`/api/spenders?by=${by}`)).json();
    return names.every((name) => spenders.find(({ key }) => key === name)?.measuredBytes >= 2 * 20 * 1_000);
  };
  await until('the bytes of each program', () => spent('label', NAMES));
  await until('the bytes of each user', () => spent('user', ['ann', 'user-7', 'desktop-1', 'ann@xmpp.test']));
}

async function aSpentBudgetIsWhatCloudflareWouldCallTooMany() {
  assert.equal((await operator('/api/budget/limit', 'POST', { limitGB: 0 })).status, 200);
  for (const ask of [askPartytracks, askAsPageServer]) {
    const refused = await ask();
    const { code, errors: [error] } = await refused.json();
    assert.deepEqual([refused.status, code, error.code], [429, 'BUDGET_EXHAUSTED', 429]);
  }
  await assert.rejects(askDimos, { status: 429 });
  for (const settings of [BY_CLOUDFLARE, BY_REST]) assert.deepEqual(await askSelkies(settings), { turn: [], by: [] });
  for (const ask of [askProsody, askEjabberd]) assert.equal((await ask(['bob']))[0].condition, 'resource-constraint');
  const [{ servers: [{ username }], log }] = await askTalk(keys.nextcloud, 'ann');
  assert.equal(username, undefined, 'its own settings');
  assert.match(log[0], /Bandwidth limit reached/);
  await assert.rejects(fileOf('json', keys.json), /Bandwidth limit/);
}

function isRelay(name, { iceServers }) {
  const found = iceServers.find(({ urls, username, credential }) => username && credential && urls.some((url) => url.startsWith(`turn:${RELAY}:3478`)));
  assert.ok(found, JSON.stringify(iceServers));
  credentials[name] = found;
}

/** What was minted with a key, which is the label of all that names none. @param {string} name */
const grantsOf = async (name) => (await operator(`/api/grants?label=${name}`).then((answer) => answer.json())).grants;

/** In this namespace, the name of Cloudflare's API is that of a server in front of the broker. */
async function nameLeadsHere() {
  const [key, certificate, hosts] = ['cloudflare.key', 'cloudflare.pem', 'hosts'].map((name) => join(directory, name));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', certificate,
    '-days', '2', '-subj', `/CN=${CLOUDFLARE}`, '-addext', `subjectAltName=DNS:${CLOUDFLARE}`], { stdio: 'ignore' });
  writeFileSync(hosts, `${readFileSync('/etc/hosts', 'utf8')}\n127.0.0.1 ${CLOUDFLARE}\n`);
  execFileSync('mount', ['--bind', hosts, '/etc/hosts']);
  const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, answer) => pass(request, BROKER, answer));
  await new Promise((resolve) => { server.listen(443, '127.0.0.1', resolve); });
}

await runTest(test, RUN_SECONDS_MAX);
