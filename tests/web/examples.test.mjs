// The examples work. plain.html runs in tests/browser.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import typescript from 'typescript';
import { CallReporter } from '../../src/web/turn-client/examples/reporter.mjs';
import { Document } from '../examples/document.mjs';
import { Peer, degraded, settle } from './fakes.mjs';
import { world } from './world.mjs';

const PACKAGE = new URL('../../src/web/turn-client/', import.meta.url);

const reporter = () =>
  new CallReporter({
    broker: 'http://broker.example/', token: 'reporter-token', fetch: world.broker.fetch, onError: ({ message }) => world.errors.push(message),
  });

test('the reporter opens calls, keeps them alive and closes them', async () => {
  const { broker, time } = world;
  const calls = reporter();
  await calls.begin('room-9.alice');
  await calls.begin('room-9.bob', false);
  calls.note('room-9.alice', { bytesReceived: 250, bytesSent: 10 });
  await time.pass(61);
  assert.equal(broker.of('heartbeat').length, 4);
  assert.equal(broker.of('heartbeat').at(-2).body.bytesReceived, 250);
  broker.always('room-9.alice', { status: 204 });
  await calls.end('room-9.alice');
  const { method, path, token, body } = broker.asked.at(-1);
  assert.deepEqual([method, path, token, body.bytesReceived], ['DELETE', '/api/connections/room-9.alice', 'reporter-token', 250]);
  broker.always('room-9.bob', { status: 204 });
  await calls.close();
  const asked = broker.asked.length;
  await time.pass(120);
  assert.deepEqual([broker.asked.length, world.errors], [asked, []], 'no timer is left');
});

test('the reporter opens a forgotten call again and starts at the reported counts', async () => {
  const { broker, time } = world;
  const calls = reporter();
  await calls.begin('c');
  calls.note('c', { bytesReceived: 100 });
  await time.pass(31);
  broker.open.clear();
  calls.note('c', { bytesReceived: 150 });
  await time.pass(60);
  assert.equal(broker.of('open').length, 2);
  assert.deepEqual(broker.of('heartbeat').map(({ body }) => body.bytesReceived), [100, 150, 50]);
});

test('the reporter retries after an outage of the broker', async () => {
  const { broker, time } = world;
  const calls = reporter();
  broker.always('open', new TypeError('fetch failed'));
  await calls.begin('c');
  assert.equal(broker.open.size, 0);
  broker.always('open', undefined);
  await time.pass(31);
  assert.deepEqual([[...broker.open.keys()], world.errors], [['c'], ['fetch failed']]);
});

test('the reporter reports an end until the broker has taken it', async () => {
  const { broker, time } = world;
  const calls = reporter();
  await calls.begin('c');
  calls.note('c', { bytesReceived: 300 });
  broker.always('c', { status: 503 });
  await calls.end('c');
  broker.always('c', { status: 204 });
  await time.pass(120);
  const ends = broker.asked.filter(({ method }) => method === 'DELETE');
  assert.deepEqual([ends.map(({ body }) => body.bytesReceived), broker.of('heartbeat').length], [[300, 300], 0]);
});

/** The hook with a minimal React: state without rendering, immediate effects. */
async function hook() {
  const directory = mkdtempSync(join(tmpdir(), 'turn-client-'));
  const source = readFileSync(new URL('examples/useWebRTC.tsx', PACKAGE), 'utf8');
  const compilerOptions = { jsx: typescript.JsxEmit.React, module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 };
  const { outputText } = typescript.transpileModule(source, { compilerOptions, fileName: 'useWebRTC.tsx' });
  const react = `export const cleanups = [], states = [];
    export const useState = (first) => { if (typeof first === 'function') return [first()]; const at = states.push(first) - 1; return [first, (next) => { states[at] = next; }]; };
    export const useEffect = (effect) => cleanups.push(effect());
    export const useRef = (current) => ({ current });
    export const useCallback = (callback) => callback;
    export const useSyncExternalStore = (subscribe, look) => { cleanups.push(subscribe(() => states.push('changed'))); return look(); };
    globalThis.React = { createElement: (type, properties, ...children) => children.join('') };`;
  writeFileSync(join(directory, 'react.mjs'), react);
  const client = new URL('turn-client.js', PACKAGE).href;
  const runnable = outputText.replace("'react'", "'./react.mjs'").replace("'turn-broker-client'", `'${client}'`)
    .replace('import.meta.env.VITE_BROKER_URL', "'http://broker.example'");
  writeFileSync(join(directory, 'hook.mjs'), runnable);
  const load = (name) => import(pathToFileURL(join(directory, name)).href);
  const loaded = { ...(await load('react.mjs')), ...(await load('hook.mjs')) };
  rmSync(directory, { recursive: true });
  return loaded;
}

test('the hook fetches ICE servers when a call starts, reports the call and cleans up', async () => {
  const { broker, window, time } = world;
  Object.assign(globalThis, { RTCPeerConnection: Peer, fetch: broker.fetch });
  const { cleanups, useWebRTC } = await hook();
  const sent = [];
  const { start, receive, hangUp } = useWebRTC((message) => sent.push(message), true);
  await settle();
  assert.equal(broker.of('mint').length, 0, 'nothing is requested before a call');
  const pc = await start();
  assert.equal(broker.of('mint').length, 1);
  Object.assign(pc, {
    setLocalDescription: async () => { pc.localDescription = { type: 'answer' }; }, setRemoteDescription: async (description) => { pc.remote = description; },
  });
  await receive({ description: { type: 'offer' } });
  assert.deepEqual([pc.remote, sent], [{ type: 'offer' }, [{ description: { type: 'answer' } }]]);
  pc.become('connected');
  await time.pass(1);
  assert.equal(broker.open.size, 1);
  await hangUp();
  for (const cleanup of cleanups) cleanup();
  await settle();
  assert.deepEqual([broker.open.size, pc.signalingState, pc.listenerCount, window.listenerCount], [0, 'closed', 0, 0]);
});

/** A started hook, whose peer connection records what it is told. */
async function started(meanwhile) {
  const told = [], sent = [];
  class Recorder extends Peer {
    async setRemoteDescription({ type }) { told.push(type); }
    async setLocalDescription() { this.localDescription = { type: 'answer' }; }
    async addIceCandidate(candidate) { told.push(candidate); }
  }
  Object.assign(globalThis, { RTCPeerConnection: Recorder, fetch: world.broker.fetch });
  const loaded = await hook();
  const ends = loaded.useWebRTC((message) => sent.push(message), true);
  await meanwhile(ends, false);
  const starting = ends.start();
  await meanwhile(ends, true);
  const pc = await starting;
  await settle();
  return { ...ends, cleanups: loaded.cleanups, pc, told, sent };
}

test('the hook keeps an offer and its candidates until the call has started', async () => {
  const { told, sent, hangUp, receive, start } = await started(async ({ receive }, isStarting) => {
    if (isStarting) return receive({ candidate: 'second' });
    await receive({ candidate: 'late, of a call before' });
    await receive({ description: { type: 'offer' } });
    await receive({ candidate: 'first' });
  });
  assert.deepEqual([told, sent], [['offer', 'first', 'second'], [{ description: { type: 'answer' } }]]);
  await hangUp();
  await receive({ candidate: 'after the end' });
  await start();
  await settle();
  assert.equal(told.length, 3);
  await hangUp();
});

test('a cleanup before the call, as by StrictMode, changes no state and prevents no call', async () => {
  Object.assign(globalThis, { RTCPeerConnection: Peer, fetch: world.broker.fetch });
  const { cleanups, states, useWebRTC } = await hook();
  const { start, hangUp } = useWebRTC(() => {}, true);
  for (const cleanup of cleanups) cleanup();
  await settle();
  assert.deepEqual(states, ['new']);
  assert.ok(await start());
  await hangUp();
  assert.deepEqual(states, ['closed']);
});

test('a component that goes while the hook waits leaves nothing behind', async () => {
  const { pc } = await started(async ({ hangUp }, isStarting) => { if (isStarting) await hangUp(); });
  assert.deepEqual([pc, world.window.listenerCount], [null, 0]);
});

test('the notice follows the status of the client', async () => {
  const { broker } = world;
  Object.assign(globalThis, { RTCPeerConnection: Peer, fetch: broker.fetch });
  const { RelayNotice, states, useWebRTC } = await hook();
  assert.equal(RelayNotice(), null);
  broker.next('mint', degraded('DISABLED'));
  await useWebRTC(() => {}, true).start();
  assert.equal(states.at(-1), 'changed', 'React renders the notice again');
  assert.match(RelayNotice(), /^The relay is switched off\./);
});

test('the page without the module reads the counts of every browser', async () => {
  const [source] = /async function counts[\s\S]*?\n}\n/.exec(new Document('docs/CLIENTS.md').block('sendBeacon'));
  const counts = (...stats) => new Function('pc', `${source} return counts();`)({ getStats: async () => new Map(stats.map((one) => [one.id, one])) });
  const transport = { id: 'T', type: 'transport', selectedCandidatePairId: 'P' };
  const pair = { id: 'P', type: 'candidate-pair', localCandidateId: 'L', bytesSent: 20, bytesReceived: 300 };
  const others = [{ id: 'O', type: 'candidate-pair', localCandidateId: 'M' }, { id: 'L', type: 'local-candidate', candidateType: 'relay' }, { id: 'M', type: 'local-candidate', candidateType: 'host' }];
  const counted = { bytesSent: 20, bytesReceived: 300, relayed: true };
  assert.deepEqual(await counts({ ...transport, bytesSent: 21, bytesReceived: 301 }, pair, ...others), { bytesSent: 21, bytesReceived: 301, relayed: true }, 'Chromium and Safari');
  assert.deepEqual(await counts(...others, pair, transport), counted, 'Firefox');
  assert.deepEqual(await counts(...others, { ...pair, selected: true }), counted, 'Firefox before it had transports');
  assert.deepEqual(await counts({ id: 'T', type: 'transport' }), { bytesSent: undefined, bytesReceived: undefined, relayed: undefined }, 'before a pair is selected');
});
