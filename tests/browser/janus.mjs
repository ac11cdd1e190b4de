// Debian's Janus with docs/janus.jcfg, and a client that opens a data channel to its echo test. Janus may use its relay alone, so that what
// comes back has passed it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RTCPeerConnection } from 'werift';
import { BROKER, directory } from './harness.mjs';
import { Process, until } from './processes.mjs';

const API = 'http://127.0.0.1:8088/janus';
/** The relay's address, which must be private for the relay in the broker. */
export const RELAY = '10.9.0.1';
/** That of Janus and its client, because this relay exchanges no packets with its own address. */
const OURS = '10.9.0.2';
const PART = 10_000;
const PARTS = { plugins: 'libjanus_echotest.so', transports: 'libjanus_http.so' };

/** Both addresses on one interface, because Janus sends over that of its own address. It uses no loopback interface. */
export function addNetwork() {
  const ip = (command) => execFileSync('ip', command.split(' '));
  ip('link add lan type bridge');
  for (const address of [RELAY, OURS]) ip(`address add ${address}/24 dev lan`);
  ip('link set lan up');
}

/** @param {string} key The server key of Janus. */
export function startJanus(key) {
  const folder = join(directory, 'janus');
  mkdirSync(folder);
  const documented = readFileSync(new URL('../../docs/janus.jcfg', import.meta.url), 'utf8');
  const ours = documented.replace('https://turn.example.com', BROKER).replace('KEY_OF_JANUS', key);
  assert.ok(!ours.includes('example.com') && ours.includes(key), 'the broker and the key of this test');
  const parts = (kind) => join(process.env.JANUS_PARTS, kind);
  const disabled = Object.entries(PARTS).map(([kind, used]) => {
    const others = readdirSync(parts(kind)).filter((name) => name.endsWith('.so') && name !== used);
    return `${kind}: { disable = "${others}" }`;
  });
  writeFileSync(join(folder, 'janus.jcfg'), [
    `general: { debug_level = 4, ${Object.keys(PARTS).map((kind) => `${kind}_folder = "${parts(kind)}"`).join(', ')}, events_folder = "/nonexistent", loggers_folder = "/nonexistent" }`,
    ...disabled,
    ours.replace('nat: {', `nat: {\n\tallow_force_relay = true\n\tice_enforce_list = "${OURS}"`),
  ].join('\n'));
  writeFileSync(join(folder, 'janus.transport.http.jcfg'), 'general: { http = true, port = 8088, ip = "127.0.0.1" }');
  const serves = () => fetch(`${API}/info`).then(({ ok }) => ok, () => false);
  return new Process('janus', folder, process.env.JANUS, ['--configs-folder', folder, '--config', join(folder, 'janus.jcfg'), '--disable-colors'], {}, serves);
}

/**
 * Sends so many bytes to the echo test of Janus. Returns how many came back.
 * @param {string} user The `opaque_id`.
 * @param {number} bytes
 */
export async function callOfJanus(user, bytes) {
  const session = (await ask('', { janus: 'create' })).data.id;
  const handle = (await ask(`/${session}`, { janus: 'attach', plugin: 'janus.plugin.echotest', opaque_id: user })).data.id;
  const pc = new RTCPeerConnection({ iceServers: [], iceUseIpv6: false, iceInterfaceAddresses: { udp4: OURS }, bundlePolicy: 'max-bundle' });
  const channel = pc.createDataChannel('JanusDataChannel');
  let echoed = 0;
  channel.onMessage.subscribe((message) => { echoed += message.length; });
  await pc.setLocalDescription(await pc.createOffer());
  await until('the candidates', () => pc.iceGatheringState === 'complete');
  const jsep = { type: 'offer', sdp: pc.localDescription.sdp, force_relay: true };
  await ask(`/${session}/${handle}`, { janus: 'message', body: { audio: false, video: false }, jsep });
  const answer = await until('the answer', async () => (await (await fetch(`${API}/${session}`)).json()).jsep);
  const candidates = [...answer.sdp.matchAll(/^a=candidate:.* typ (\w+)/gm)].map(([, kind]) => kind);
  assert.deepEqual(candidates, ['relay'], 'Janus has a relay and no other way');
  await pc.setRemoteDescription(answer);
  await ask(`/${session}/${handle}`, { janus: 'trickle', candidate: { completed: true } });
  await until('an open channel', () => channel.readyState === 'open');
  for (let sent = 0; sent < bytes; sent += PART) channel.send(Buffer.alloc(PART, 1));
  await until('the echo', () => echoed >= bytes);
  await ask(`/${session}/${handle}`, { janus: 'detach' });
  await pc.close();
  return echoed;
}

async function ask(path, body) {
  const answer = await fetch(API + path, { method: 'POST', body: JSON.stringify({ ...body, transaction: 'test' }) });
  const said = await answer.json();
  assert.ok(['success', 'ack'].includes(said.janus), JSON.stringify(said));
  return said;
}
