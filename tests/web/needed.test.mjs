// iceServers({ when: 'needed' }): a mint only for a peer connection that does not connect without one, and never a second one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Peer, degraded, error, settle } from './fakes.mjs';
import { STUN, urls, username, world } from './world.mjs';

/** Seconds after the descriptions until a relay is needed: at the end that offered, and at the one that answered. */
const AFTER = 3;
const AFTER_OF_ANSWERER = 4.5;

/** A watched peer connection that has its descriptions and is not connected. */
async function calling({ client = world.client(), type = 'offer', ...options } = {}) {
  const pc = new Peer({ iceServers: await client.iceServers({ when: 'needed' }) });
  const watch = client.watch(pc, options);
  pc.describe(type);
  pc.become('checking');
  await settle();
  return { client, pc, watch };
}

/** The peer connection connects after an ICE restart, over the relay unless another type is given. */
async function connect(pc, { type = 'relay', ufrag = 'g2' } = {}) {
  Object.assign(pc.statistics, { type, generation: ufrag });
  pc.describe(pc.currentLocalDescription.type, ufrag);
  pc.become('connected');
  await world.time.pass(1);
}

const mints = () => world.broker.of('mint').length;

test('nothing is requested, and the servers are STUN servers', async () => {
  const client = world.client();
  assert.deepEqual(urls(await client.iceServers({ when: 'needed' })), STUN);
  assert.deepEqual([world.broker.asked.length, client.status()], [0, { source: null, degraded: false, reason: null, message: null, expiresAt: null }]);
});

test('the page may choose the STUN servers', async () => {
  const client = world.client({ stunUrls: ['stun:turn.example:3478'] });
  assert.deepEqual(urls(await client.iceServers({ when: 'needed' })), ['stun:turn.example:3478']);
});

test('a peer connection that connects directly never mints, however long it lasts', async () => {
  const { broker, time } = world;
  const { pc } = await calling();
  await time.pass(AFTER - 0.5);
  pc.statistics.type = 'srflx';
  pc.become('connected');
  await time.pass(7_200, 5);
  assert.deepEqual([broker.asked.length, pc.configurations.length, pc.restarts, world.errors], [0, 0, 0, []]);
});

test('one that has not connected in time gets credentials and an ICE restart, once', async () => {
  const { time } = world;
  const renewals = [];
  const { pc } = await calling({ onRenew: ({ relayed, restart }) => void renewals.push({ relayed, restart }) });
  await time.pass(AFTER - 0.5);
  assert.deepEqual([mints(), pc.restarts], [0, 0]);
  await time.pass(1);
  assert.deepEqual([mints(), pc.configurations.length, pc.restarts, username(pc.configuration.iceServers)], [1, 1, 1, 'user-1']);
  await time.pass(60);
  assert.deepEqual([mints(), pc.configurations.length, pc.restarts, renewals], [1, 1, 1, [{ relayed: null, restart: true }]]);
});

test('the page may choose the time, also none', async () => {
  const { time } = world;
  const { pc } = await calling({ relayAfterSeconds: 10 });
  await time.pass(9.5);
  assert.equal(mints(), 0);
  await time.pass(1);
  assert.equal(pc.restarts, 1);
  const at = time.elapsed;
  const other = await calling({ client: world.client({ storage: null }), relayAfterSeconds: 0 });
  assert.deepEqual([time.elapsed - at, other.pc.restarts], [0, 1]);
});

test('the time runs from offer and answer, even if ICE stays new', async () => {
  const { time } = world;
  const client = world.client();
  const pc = new Peer({ iceServers: await client.iceServers({ when: 'needed' }) });
  client.watch(pc);
  await time.pass(600, 5);
  assert.equal(mints(), 0, 'ringing');
  pc.describe();
  await time.pass(AFTER - 0.5);
  assert.equal(mints(), 0);
  await time.pass(1);
  assert.deepEqual([mints(), pc.restarts], [1, 1]);
});

test('a failure does not wait for the time', async () => {
  const { pc } = await calling();
  await world.time.pass(1);
  pc.become('failed');
  await settle();
  assert.deepEqual([mints(), pc.restarts], [1, 1]);
});

test('the relayed call is reported on its grant, and renewed by it', async () => {
  const { broker, time } = world;
  const { pc, watch } = await calling();
  await time.pass(AFTER + 0.5);
  await connect(pc);
  assert.deepEqual([watch.relayed, broker.of('open').map(({ token, body }) => [token, body.relayed])], [true, [['grant-1', true]]]);
  await time.pass(480, 1);
  assert.deepEqual([broker.of('mint').map(({ token }) => token), pc.restarts], [[undefined, 'grant-1'], 2]);
  Object.assign(pc.statistics, { generation: 'g3' });
  await time.pass(10);
  assert.deepEqual([broker.of('open').map(({ token }) => token), broker.of('close').length], [['grant-1', 'grant-2'], 1]);
});

test('one that connects directly after the mint keeps its connection and does not renew', async () => {
  const { broker, time } = world;
  const { pc } = await calling({ onRenew: () => false });
  await time.pass(AFTER + 0.5);
  pc.statistics.type = 'srflx';
  pc.become('connected');
  await time.pass(10);
  pc.statistics.generation = 'g2';
  await time.pass(1_200, 5);
  assert.deepEqual(broker.open.size, 1);
  assert.deepEqual([mints(), pc.restarts, broker.of('open').length, broker.of('open')[0].body.relayed], [1, 0, 1, false]);
});

test('a direct path that is back before the time is left alone', async () => {
  const { time } = world;
  const { pc } = await calling();
  await connect(pc, { type: 'host', ufrag: 'g1' });
  pc.become('disconnected');
  await time.pass(AFTER - 0.5);
  pc.become('connected');
  await time.pass(60);
  assert.deepEqual([mints(), pc.restarts], [0, 0]);
});

test('a direct path that is lost during the call gets a relay', async () => {
  const { broker, time } = world;
  const { pc } = await calling();
  await connect(pc, { type: 'host', ufrag: 'g1' });
  await time.pass(3_600, 5);
  pc.become('disconnected');
  await time.pass(AFTER + 0.5);
  assert.deepEqual([mints(), pc.restarts], [1, 1]);
  await connect(pc);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-1']);
});

test('a closed or stopped peer connection does not mint', async () => {
  const { time } = world;
  const [closed, stopped] = [await calling(), await calling()];
  await time.pass(1);
  closed.pc.close();
  await stopped.watch.stop();
  await time.pass(60);
  assert.deepEqual([mints(), world.time.timers.size, closed.pc.listenerCount, stopped.pc.listenerCount], [0, 0, 0, 0]);
});

test('closing during the mint leaves nothing behind', async () => {
  const { broker, time } = world;
  let answer;
  broker.next('mint', () => new Promise((resolve) => { answer = () => resolve({ body: broker.minted() }); }));
  const { pc } = await calling();
  await time.pass(AFTER + 0.5);
  pc.close();
  answer();
  await time.pass(60);
  assert.deepEqual([mints(), pc.configurations.length, pc.restarts, world.errors, time.timers.size], [1, 0, 0, [], 0]);
});

test('connecting during the mint makes the restart unnecessary', async () => {
  const { broker, time } = world;
  let answer;
  broker.next('mint', () => new Promise((resolve) => { answer = () => resolve({ body: broker.minted() }); }));
  const { pc } = await calling();
  await time.pass(AFTER + 0.5);
  pc.statistics.type = 'srflx';
  pc.become('connected');
  answer();
  await time.pass(1_200, 5);
  assert.deepEqual([mints(), pc.restarts, world.errors], [1, 0, []]);
});

test('a refused mint is retried when the broker says so', async () => {
  const { broker, time } = world;
  broker.next('mint', error(429, 'RATE_LIMITED', { 'Retry-After': '10' }));
  const { pc, client } = await calling();
  await time.pass(AFTER + 0.5);
  assert.deepEqual([mints(), pc.restarts, client.status().reason, world.errors], [1, 0, 'RATE_LIMITED', ['RATE_LIMITED']]);
  await time.pass(9);
  assert.equal(mints(), 1);
  await time.pass(7);
  assert.deepEqual([mints(), pc.restarts, world.errors.length], [2, 1, 1]);
});

test('a broker without a relay is asked rarely, and changes nothing on the peer connection', async () => {
  const { broker, time } = world;
  broker.always('mint', degraded('BUDGET_EXHAUSTED'));
  const { pc, client } = await calling();
  await time.pass(200, 1);
  assert.deepEqual([mints(), pc.configurations.length, pc.restarts, client.status().degraded], [1, 0, 0, true]);
});

test('an answer without a relay is no reason to restart ICE', async () => {
  const { broker, time } = world;
  broker.always('mint', { body: { iceServers: [{ urls: ['stun:own.example:3478'] }], source: 'stun', degraded: false } });
  const { pc } = await calling();
  await time.pass(60);
  assert.deepEqual([mints(), pc.restarts], [1, 0]);
});

test('the end that answered waits longer, and needs no credential if the other end’s relay connects them', async () => {
  const { time } = world;
  const [caller, callee] = [await calling(), await calling({ client: world.client({ storage: null }), type: 'answer' })];
  await time.pass(AFTER + 0.5);
  assert.deepEqual([mints(), caller.pc.restarts, callee.pc.restarts], [1, 1, 0]);
  await Promise.all([connect(caller.pc), connect(callee.pc, { type: 'srflx' })]);
  await time.pass(1_200, 5);
  assert.deepEqual(world.broker.of('mint').map(({ token }) => token).slice(0, 2), [undefined, 'grant-1']);
  assert.deepEqual([callee.pc.configurations.length, callee.pc.restarts], [0, 0]);
});

test('two ends that both need a relay mint one credential each', async () => {
  const { time } = world;
  const [caller, callee] = [await calling(), await calling({ client: world.client({ storage: null }), type: 'answer' })];
  await time.pass(AFTER + 0.5);
  caller.pc.describe('offer', 'g2');
  callee.pc.describe('answer', 'g2');
  await time.pass(AFTER_OF_ANSWERER - AFTER);
  assert.deepEqual([mints(), caller.pc.restarts, callee.pc.restarts], [2, 1, 1]);
  caller.pc.describe('answer', 'g3');
  callee.pc.describe('offer', 'g3');
  await time.pass(60);
  assert.deepEqual([mints(), caller.pc.restarts, callee.pc.restarts], [2, 1, 1]);
});

for (const [what, seconds, restarts] of [
  ['a restart by the other end after the mint serves both', 2, 0],
  ['an answer that was under way when the credentials came may have no relay, so ICE restarts', 0.5, 1],
]) {
  test(what, async () => {
    const { time } = world;
    const { pc } = await calling({ type: 'answer' });
    await time.pass(AFTER_OF_ANSWERER - 0.5);
    pc.signalingState = 'have-remote-offer';
    await time.pass(seconds);
    assert.deepEqual([mints(), pc.restarts], [1, 0]);
    pc.signalingState = 'stable';
    pc.describe('answer', 'g2');
    await time.pass(60);
    assert.deepEqual([mints(), pc.restarts], [1, restarts]);
  });
}

test('a page that makes its own offers gets the credentials without a restart', async () => {
  const renewals = [];
  const { pc } = await calling({ type: 'answer', onRenew: ({ restart, relayed }) => { renewals.push({ restart, relayed }); return false; } });
  await world.time.pass(60);
  assert.deepEqual([mints(), pc.configurations.length, pc.restarts, renewals], [1, 1, 0, [{ restart: true, relayed: null }]]);
});

test('several peer connections of a page share one mint', async () => {
  const client = world.client();
  const calls = [await calling({ client }), await calling({ client })];
  await world.time.pass(AFTER + 0.5);
  assert.deepEqual([mints(), calls.map(({ pc }) => pc.restarts)], [1, [1, 1]]);
});

test('fresh credentials of an earlier call are used from the start, and not renewed for a direct path', async () => {
  const { broker, time } = world;
  const client = world.client();
  await client.iceServers();
  assert.equal(username(await client.iceServers({ when: 'needed' })), 'user-1');
  const { pc } = await calling({ client });
  await connect(pc, { type: 'host', ufrag: 'g1' });
  await time.pass(460, 5);
  assert.deepEqual([mints(), broker.of('open').length], [1, 1]);
  assert.deepEqual(urls(await client.iceServers({ when: 'needed' })), STUN, 'due credentials are not handed out');
  await time.pass(600, 5);
  assert.equal(mints(), 1);
});

test('setConfiguration may throw: one error, no second mint, and the call can still connect', async () => {
  const { broker, time } = world;
  const { pc } = await calling();
  pc.setConfiguration = () => { throw new Error('InvalidModificationError'); };
  await time.pass(30);
  assert.deepEqual([mints(), pc.restarts, world.errors], [1, 0, ['PEER_CONNECTION']]);
  pc.statistics.type = 'srflx';
  pc.become('connected');
  await time.pass(60);
  assert.deepEqual([mints(), broker.of('open')[0].body.relayed, world.errors.length], [1, false, 1]);
});

test('a peer connection of the page’s own gets a relay if the watch says so', async () => {
  const { time } = world;
  const client = world.client();
  const own = [{ urls: 'stun:page.example' }];
  const [waits, wants] = [new Peer({ iceServers: own }), new Peer({ iceServers: own })];
  client.watch(waits, { when: 'needed' });
  waits.describe();
  await time.pass(AFTER - 0.5);
  assert.equal(mints(), 0);
  await time.pass(1);
  assert.deepEqual([mints(), waits.restarts, waits.configuration.iceServers.length], [1, 1, 3]);
  client.watch(wants, { when: 'now' });
  wants.become('checking');
  await settle();
  assert.equal(username(wants.configuration.iceServers), 'user-1');
});

test('a path over a relay of the page’s own does not mint', async () => {
  const { time } = world;
  const client = world.client();
  const pc = new Peer({ iceServers: [...(await client.iceServers({ when: 'needed' })), { urls: 'turn:page.example', username: 'own', credential: 'c' }] });
  client.watch(pc);
  pc.become('checking');
  pc.become('connected');
  await time.pass(1_200, 5);
  assert.equal(mints(), 0);
});

test('a watch follows the last call of iceServers()', async () => {
  const client = world.client();
  await client.iceServers({ when: 'needed' });
  const iceServers = await client.iceServers();
  const pc = new Peer({ iceServers });
  client.watch(pc);
  pc.describe();
  await world.time.pass(460 + 30, 5);
  pc.become('checking');
  await world.time.pass(10);
  assert.equal(mints(), 2, 'renewed before it is connected, as without `needed`');
});
