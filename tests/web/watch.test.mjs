// watch(): what is reported about a peer connection and when, and that no listener or timer remains.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Peer, error, settle } from './fakes.mjs';
import { world } from './world.mjs';

const opened = () => [...world.broker.open.keys()];
const counts = ({ body: { bytesSent, bytesReceived } }) => [bytesSent, bytesReceived];

test('a connection is opened when ICE connects, with its path', async () => {
  const { broker, time } = world;
  const client = world.client();
  const pc = new Peer({ iceServers: await client.iceServers() });
  const watch = client.watch(pc);
  pc.become('checking');
  await time.pass(10);
  assert.deepEqual([broker.of('open').length, watch.connectionId, watch.relayed], [0, null, null]);
  pc.become('connected');
  pc.become('completed');
  await settle();
  const [open] = broker.of('open');
  assert.equal(open.headers.Authorization, 'Bearer grant-1');
  assert.equal(open.body.relayed, true);
  assert.deepEqual(opened(), [open.body.connectionId]);
  assert.match(watch.connectionId, /^[0-9a-f-]{36}$/);
  assert.deepEqual([watch.relayed, watch.relayProtocol], [true, 'tls']);
});

test('heartbeats follow the broker’s interval and have the bytes of the transport', async () => {
  const { broker, time } = world;
  broker.heartbeatSeconds = 20;
  const { pc, watch } = await world.call(world.client());
  for (let minute = 0; minute < 60; minute += 20) {
    pc.statistics.flow(100, 1_000);
    await time.pass(20);
  }
  const beats = broker.of('heartbeat');
  assert.deepEqual(beats.map(counts), [[100, 1_000], [200, 2_000], [300, 3_000]]);
  assert.deepEqual(beats.map(({ at }, index) => at - (beats[index - 1]?.at ?? 0)), [20, 20, 20]);
  assert.ok(beats.every(({ path, body }) => path === `/api/connections/${watch.connectionId}/heartbeat` && body.relayed === true));
  assert.deepEqual([watch.bytesSent, watch.bytesReceived], [300, 3_000]);
});

test('a report says whether the path is relayed, also after a change', async () => {
  const { broker, time } = world;
  const { pc, watch } = await world.call(world.client(), { type: 'srflx' });
  assert.equal(broker.of('open')[0].body.relayed, false);
  assert.equal(watch.relayProtocol, null);
  pc.statistics.type = 'relay';
  await time.pass(30);
  assert.equal(broker.of('heartbeat')[0].body.relayed, true);
});

test('counts never fall when transports and pairs change', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(500, 5_000);
  await time.pass(30);
  Object.assign(pc.statistics, { sent: 7, received: 70 }); // restarted at zero
  await time.pass(30);
  pc.statistics.flow(3, 30);
  await time.pass(30);
  assert.deepEqual(broker.of('heartbeat').map(counts), [[500, 5_000], [507, 5_070], [510, 5_100]]);
});

test('without transport counts, the counts of all pairs are added, even of removed ones', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  const pair = (id, bytesReceived, selected) => ({ id, type: 'candidate-pair', localCandidateId: `L${id}`, bytesSent: 1, bytesReceived, selected });
  const local = (id, candidateType) => ({ id: `L${id}`, type: 'local-candidate', candidateType });
  const report = (...entries) => { pc.statistics.report = () => new Map(entries.map((entry) => [entry.id, entry])); };
  report(pair('A', 1_000, true), local('A', 'relay'), pair('B', 10, false), local('B', 'host'));
  await time.pass(30);
  report(pair('B', 60, true), local('B', 'host'));
  await time.pass(30);
  const beats = broker.of('heartbeat');
  assert.deepEqual(beats.map(counts), [[2, 1_010], [2, 1_060]]);
  assert.deepEqual(beats.map(({ body }) => body.relayed), [true, false]);
});

test('counts are read before an ICE restart removes a pair', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(100, 1_000);
  pc.dispatch('signalingstatechange');
  await settle();
  Object.assign(pc.statistics, { sent: 0, received: 0 });
  await time.pass(30);
  assert.deepEqual(counts(broker.of('heartbeat')[0]), [100, 1_000]);
});

test('an app may choose the connection id, with any visible characters', async () => {
  const { broker, time } = world;
  const { watch } = await world.call(world.client(), { connectionId: 'room/9.alice%' });
  await time.pass(30);
  assert.equal(watch.connectionId, 'room/9.alice%');
  assert.equal(broker.of('heartbeat')[0].path, '/api/connections/room%2F9.alice%25/heartbeat');
});

test('stop reports the current counts', async () => {
  const { broker } = world;
  const { pc, watch } = await world.call(world.client());
  pc.statistics.flow(11, 22);
  await watch.stop();
  pc.close();
  await settle();
  const [close] = broker.of('close');
  assert.deepEqual([counts(close), close.body.relayed, opened()], [[11, 22], true, []]);
  await watch.stop();
  await settle();
  assert.equal(broker.of('close').length, 1);
});

test('hanging up does not wait for the broker', async () => {
  const { broker, time } = world;
  const { pc, watch } = await world.call(world.client());
  broker.always('heartbeat', () => new Promise(() => {}));
  await time.pass(32);
  assert.equal(broker.of('heartbeat').length, 1, 'one request is running');
  pc.statistics.flow(11, 22);
  await watch.stop();
  pc.close();
  assert.deepEqual([watch.bytesReceived, pc.listenerCount], [22, 0]);
});

test('a closed peer connection is closed at the broker within seconds, with the last counts', async () => {
  const { broker, time, window } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(11, 22);
  await time.pass(5);
  pc.statistics.flow(1, 1);
  pc.close();
  await time.pass(5);
  assert.deepEqual(broker.of('close').map(counts), [[11, 22]]);
  assert.deepEqual([pc.listenerCount, window.listenerCount, world.errors], [0, 0, []]);
});

test('a failed call is closed after half a minute and opened again if it recovers', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(11, 22);
  pc.become('failed');
  await time.pass(29);
  assert.equal(opened().length, 1);
  await time.pass(6);
  assert.deepEqual([opened(), broker.of('close').map(counts)], [[], [[11, 22]]]);
  pc.statistics.flow(1, 2);
  pc.become('connected');
  await time.pass(30);
  assert.equal(opened().length, 1);
  assert.deepEqual(counts(broker.of('heartbeat').at(-1)), [1, 2], 'bytes of the first connection are not counted again');
});

test('a call that recovers in time keeps its connection', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.become('failed');
  await time.pass(20);
  pc.become('connected');
  await time.pass(60);
  assert.deepEqual([broker.of('open').length, broker.of('close').length], [1, 0]);
});

test('a page that closes sends a beacon with the token and the last counts', async () => {
  const { broker, time, window } = world;
  const { pc, watch } = await world.call(world.client({ baseUrl: 'https://broker.example' }), { connectionId: 'c' });
  pc.statistics.flow(11, 22);
  await time.pass(5);
  window.dispatch('pagehide', { persisted: false });
  const expected = { token: 'grant-1', bytesSent: 11, bytesReceived: 22, relayed: true };
  assert.deepEqual(broker.beacons, [{ url: 'https://broker.example/api/connections/c/close', ...expected }]);
  assert.equal(watch.connectionId, null);
  await time.pass(120);
  assert.deepEqual([broker.of('open').length, broker.of('heartbeat').length], [1, 0], 'no further requests');
});

test('without beacons the page sends a request with keepalive', async () => {
  const { broker, window } = world;
  await world.call(world.client());
  globalThis.navigator = undefined;
  window.dispatch('pagehide', { persisted: false });
  await settle();
  const [close] = broker.of('close');
  assert.deepEqual([close.token, close.headers], ['grant-1', {}]);
  assert.equal(broker.fetch.mock.calls.at(-1).arguments[1].keepalive, true);
});

test('a page that returns from the cache opens its connection again', async () => {
  const { broker, time, window } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(11, 22);
  await time.pass(5);
  window.dispatch('pagehide', { persisted: true });
  window.dispatch('pageshow', { persisted: true });
  await time.pass(31);
  pc.statistics.flow(1, 2);
  await time.pass(30);
  assert.equal(broker.of('open').length, 2);
  assert.deepEqual(broker.of('heartbeat').map(counts), [[0, 0], [1, 2]]);
  assert.deepEqual([broker.beacons.length, world.errors], [1, []]);
});

test('a page that closes during a request opens nothing afterwards', async () => {
  const { broker, time, window } = world;
  await world.call(world.client());
  let answer;
  broker.next('heartbeat', () => new Promise((resolve) => { answer = resolve; }));
  await time.pass(31);
  window.dispatch('pagehide', { persisted: true });
  answer({ body: {} });
  await time.pass(60);
  assert.deepEqual([broker.of('open').length, broker.beacons.length], [1, 1]);
});

test('a thousand watches leave no listeners and no timers', async () => {
  const { broker, time, window } = world;
  const client = world.client();
  const { pc, watch } = await world.call(client);
  assert.ok(pc.listenerCount > 0 && window.listenerCount > 0 && time.timers.size > 0, 'there are listeners and timers');
  await watch.stop();
  const peers = [];
  for (let cycle = 0; cycle < 1_000; cycle += 1) {
    const peer = cycle % 2 === 0 ? pc : new Peer(pc.configuration);
    if (cycle % 3 === 0) peer.become('connected');
    const watch = client.watch(peer);
    if (cycle % 5 === 0) await settle();
    peers.push(peer);
    await watch.stop();
  }
  await settle();
  assert.deepEqual([window.listenerCount, peers.reduce((sum, peer) => sum + peer.listenerCount, 0)], [0, 0]);
  assert.deepEqual([time.timers.size, opened()], [0, []]);
  assert.ok(broker.of('open').length > 50, 'many connections were open');
});

test('close stops all watches', async () => {
  const { window } = world;
  const client = world.client();
  const calls = [await world.call(client), await world.call(client)];
  assert.equal(opened().length, 2);
  await client.close();
  await settle();
  assert.deepEqual([opened(), window.listenerCount, ...calls.map(({ pc }) => pc.listenerCount)], [[], 0, 0, 0]);
});

test('watching a peer connection twice reports it once', async () => {
  const client = world.client();
  const { pc, watch } = await world.call(client);
  assert.equal(client.watch(pc), watch);
  await watch.stop();
  assert.notEqual(client.watch(pc), watch);
});

test('a watch right after a stop counts nothing twice', async () => {
  const { broker, time } = world;
  const client = world.client();
  const { pc, watch } = await world.call(client);
  pc.statistics.flow(11, 22);
  const ended = watch.stop();
  client.watch(pc);
  await ended;
  await time.pass(31);
  assert.deepEqual([broker.of('close').map(counts), broker.of('heartbeat').map(counts)], [[[11, 22]], [[0, 0]]]);
  assert.equal(broker.of('open').length, 2);
});

test('bytes of a call during an outage of the broker are reported after it', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  const away = new TypeError('fetch failed');
  broker.always('heartbeat', away);
  pc.statistics.flow(100, 1_000);
  await time.pass(80);
  const tries = broker.of('heartbeat').length;
  assert.ok(tries >= 3 && tries <= 8, `tried again, and not all the time: ${tries}`);
  broker.always('heartbeat', undefined);
  await time.pass(31);
  assert.deepEqual(counts(broker.of('heartbeat').at(-1)), [100, 1_000]);
  assert.deepEqual([broker.of('open').length, new Set(world.errors)], [1, new Set(['NETWORK'])]);
});

test('after a long outage the next report comes within a heartbeat, and the back-off restarts', async () => {
  const { broker, time } = world;
  broker.heartbeatSeconds = 6;
  await world.call(world.client());
  broker.always('heartbeat', new TypeError('fetch failed'));
  await time.pass(600);
  broker.always('heartbeat', undefined);
  const before = broker.of('heartbeat').length;
  await time.pass(6);
  assert.ok(broker.of('heartbeat').length > before);
  broker.next('heartbeat', new TypeError('fetch failed'));
  await time.pass(9);
  const at = broker.of('heartbeat').map((beat) => beat.at);
  assert.ok(at.at(-1) - at.at(-2) <= 2.5, `tried again after ${at.at(-1) - at.at(-2)} s`);
});

test('a connection that the broker closed is opened again and starts at the reported counts', async () => {
  const { broker, time } = world;
  const { pc, watch } = await world.call(world.client());
  pc.statistics.flow(100, 1_000);
  await time.pass(30);
  const first = watch.connectionId;
  broker.open.clear();
  pc.statistics.flow(10, 10);
  await time.pass(35);
  assert.notEqual(watch.connectionId, first);
  assert.deepEqual(opened(), [watch.connectionId]);
  await time.pass(30);
  assert.deepEqual(broker.of('heartbeat').map(counts), [[100, 1_000], [110, 1_010], [10, 10]]);
});

test('a lost response to an opening is retried under the same id', async () => {
  const { broker, time } = world;
  broker.next('open', (request) => {
    broker.open.set(request.body.connectionId, {});
    throw new TypeError('answer lost');
  });
  const { watch } = await world.call(world.client());
  await time.pass(5);
  const ids = broker.of('open').map(({ body }) => body.connectionId);
  assert.deepEqual([ids.length, new Set(ids).size, watch.connectionId], [2, 1, ids[0]]);
});

for (const [what, leave] of [
  ['failing', async ({ pc }) => { pc.become('failed'); await world.time.pass(40); pc.become('connected'); }],
  ['leaving the page', async () => { world.window.dispatch('pagehide', {}); world.window.dispatch('pageshow', {}); }],
]) {
  test(`${what} before the connection is open loses no bytes`, async () => {
    const { broker, time } = world;
    broker.always('open', new TypeError('fetch failed'));
    const call = await world.call(world.client());
    call.pc.statistics.flow(11, 22);
    await time.pass(10);
    await leave(call);
    broker.always('open', undefined);
    await time.pass(100);
    assert.deepEqual(counts(broker.of('heartbeat')[0]), [11, 22]);
  });
}

test('a rejected opening obeys Retry-After', async () => {
  const { broker, time } = world;
  broker.always('open', error(429, 'RATE_LIMITED', { 'Retry-After': '90' }));
  await world.call(world.client());
  await time.pass(300);
  assert.deepEqual(broker.of('open').map(({ at }) => Math.round(at / 10)), [0, 9, 19, 28]);
});

test('timers throttled to once a minute keep the connection', async () => {
  const { broker, time } = world;
  await world.call(world.client());
  await time.pass(600, 60);
  const at = broker.of('heartbeat').map((beat) => beat.at);
  assert.ok(at.length >= 9 && at.slice(1).every((value, index) => value - at[index] < 90), String(at));
});

test('failing statistics are ignored', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(11, 22);
  await time.pass(5);
  pc.getStats = async () => { throw new Error('of the browser'); };
  await time.pass(30);
  assert.deepEqual(broker.of('heartbeat').map(counts), [[11, 22]]);
  assert.ok(world.errors.includes('PEER_CONNECTION'));
});

test('a call over public STUN is not reported', async () => {
  const { broker, time } = world;
  broker.always('mint', new TypeError('fetch failed'));
  await world.call(world.client(), { type: 'host' });
  await time.pass(60);
  assert.equal(broker.of('open').length, 0);
});

test('a report that failed is due once the browser is online, and what timed out meanwhile is soon open again', async () => {
  const { broker, time, window } = world;
  await world.call(world.client());
  broker.always('heartbeat', new TypeError('fetch failed'));
  await time.pass(100);
  broker.always('heartbeat', undefined);
  broker.open.clear();
  const failed = broker.of('heartbeat').length;
  window.dispatch('online');
  await time.pass(1.5);
  assert.equal(broker.of('heartbeat').length, failed + 1);
  await time.pass(2);
  assert.equal(broker.of('open').length, 2);
});
