// Errors of browsers, pages and brokers at bad moments: the page gets no exception, and nothing hangs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Peer, error, settle } from './fakes.mjs';
import { urls, username, world } from './world.mjs';

const counts = ({ body: { bytesSent, bytesReceived } }) => [bytesSent, bytesReceived];
const never = () => new Promise(() => {});

test('hanging up does not wait for statistics that never come', async () => {
  const { broker, time } = world;
  const { pc, watch } = await world.call(world.client());
  pc.statistics.flow(11, 22);
  await time.pass(5);
  pc.getStats = never;
  await time.pass(5);
  let isStopped = false;
  void watch.stop().then(() => { isStopped = true; });
  await time.pass(3);
  assert.ok(isStopped, 'stop has resolved');
  pc.close();
  await time.pass(3);
  assert.deepEqual([broker.of('close').map(counts), time.timers.size], [[[11, 22]], 0]);
});

test('a page that watches before there is a peer connection is told, and nothing is thrown', async () => {
  const { broker } = world;
  const watch = world.client().watch(undefined);
  await watch.stop();
  assert.deepEqual([watch.connectionId, broker.of('open').length, world.errors], [null, 0, ['PEER_CONNECTION']]);
});

test('heartbeats continue without statistics', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.getStats = never;
  await time.pass(65);
  assert.equal(broker.of('heartbeat').length, 2);
  assert.ok(world.errors.includes('PEER_CONNECTION'));
});

test('a peer connection that closes while its statistics are read causes no error', async () => {
  const { broker, time } = world;
  const client = world.client();
  const { pc } = await world.call(client);
  await time.pass(446, 5);
  await time.pass(4);
  await client.iceServers(); // fetches the next credentials
  let tell;
  pc.getStats = () => new Promise((resolve) => { tell = resolve; });
  await time.pass(5, 5);
  pc.close();
  tell(new Map());
  await time.pass(1);
  assert.deepEqual([pc.configurations.length, pc.restarts, world.errors], [0, 0, []]);
  assert.deepEqual([pc.listenerCount, broker.of('close').length], [0, 1]);
});

test('a peer connection that was made with STUN only is not given the same servers again', async () => {
  const { broker, time } = world;
  broker.always('mint', { body: { iceServers: [{ urls: 'stun:own.example' }], source: 'stun', degraded: false } });
  const renewals = [];
  const { pc } = await world.call(world.client(), { type: 'host', onRenew: (renewal) => void renewals.push(renewal) });
  await time.pass(60, 5);
  assert.deepEqual([urls(pc.configuration.iceServers), pc.configurations.length, renewals.length], [['stun:own.example'], 0, 0]);
  broker.always('mint', undefined);
  await time.pass(3_600, 60);
  assert.equal(username(pc.configuration.iceServers), 'user-1', 'a relay is added once there is one');
  assert.deepEqual(urls(pc.configuration.iceServers), ['stun:relay.example:3478', 'turn:relay.example:3478']);
});

test('if sendBeacon throws, a request is sent instead', async () => {
  const { broker, window } = world;
  await world.call(world.client());
  globalThis.navigator = { sendBeacon: () => { throw new TypeError('the URL scheme must be http or https'); } };
  assert.doesNotThrow(() => window.dispatch('pagehide', { persisted: false }));
  await settle();
  assert.equal(broker.of('close')[0].token, 'grant-1');
});

test('a page that returns during an old request opens its connection right after it', async () => {
  const { broker, time, window } = world;
  const { pc } = await world.call(world.client());
  let answer;
  broker.next('heartbeat', () => new Promise((resolve) => { answer = resolve; }));
  pc.statistics.flow(11, 22);
  await time.pass(31);
  window.dispatch('pagehide', { persisted: true });
  window.dispatch('pageshow', { persisted: true });
  await settle();
  answer({ body: {} });
  await time.pass(6);
  assert.equal(broker.of('open').length, 2);
  pc.statistics.flow(1, 2);
  await time.pass(31);
  assert.deepEqual([broker.beacons.map(({ bytesReceived }) => bytesReceived), counts(broker.of('heartbeat').at(-1))], [[22], [1, 2]]);
});

test('a path that is lost while a report is on its way is seen right after it', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  let answer;
  broker.next('heartbeat', () => new Promise((resolve) => { answer = resolve; }));
  await time.pass(31);
  pc.become('disconnected');
  answer({ body: { heartbeatSeconds: 30 } });
  await time.pass(3.5);
  assert.equal(pc.restarts, 1);
});

test('a ttl that the broker rejects is dropped', async () => {
  const { broker, time } = world;
  const isTooLong = ({ url }) => (url.includes('ttl=') ? error(400, 'INVALID_REQUEST') : { body: broker.minted() });
  broker.always('mint', isTooLong);
  const client = world.client({ ttl: 7_200 });
  assert.equal(username(await client.iceServers()), 'user-1');
  assert.deepEqual(world.errors, ['INVALID_REQUEST'], 'the error is reported');
  await time.pass(451, 10);
  await client.iceServers();
  assert.equal(broker.of('mint').filter(({ url }) => url.includes('ttl=')).length, 1, 'the ttl is requested once');
});

test('the first request asks for an hour, or as long as the broker permits, and a label that is rejected is reported', async () => {
  const { broker } = world;
  await world.client({ label: 'room-1' }).iceServers();
  assert.deepEqual(broker.of('mint').map(({ url }) => url), ['/api/turn-credentials?ttlAtMost=3600&label=room-1']);
  const other = world.client({ label: 'a room', storage: null });
  broker.always('mint', ({ url }) => (url.includes('?') ? error(400, 'INVALID_REQUEST') : { body: broker.minted() }));
  await other.iceServers();
  assert.deepEqual([broker.of('mint').at(-1).url, world.errors], ['/api/turn-credentials', ['INVALID_REQUEST']], 'a label that is rejected is reported');
});

test('the page may change a returned list of URLs', async () => {
  const client = world.client();
  (await client.iceServers())[1].urls.push('turn:added.example');
  const own = (await client.iceServers())[1].urls;
  assert.deepEqual(own, ['turn:relay.example:3478']);
});

test('a peer connection without a configuration is not reported, and the page continues', async () => {
  const { time } = world;
  const client = world.client();
  await client.iceServers();
  const pc = new Peer();
  pc.getConfiguration = pc.setConfiguration = () => { throw new Error('of the browser'); };
  client.watch(pc);
  pc.become('connected');
  await time.pass(30);
  pc.close();
  await time.pass(5);
  assert.equal(pc.listenerCount, 0);
});

test('credentials that a relay rejects are replaced in the running call and removed from the storage', async () => {
  const { broker, store, time } = world;
  const client = world.client();
  const { pc } = await world.call(client);
  const [refused] = (await client.iceServers()).filter(({ username }) => username);
  await time.pass(400, 5);
  broker.next('mint', new TypeError('fetch failed'));
  for (const url of [refused.urls].flat()) pc.dispatch('icecandidateerror', { errorCode: 401, url });
  await time.pass(0.5);
  assert.deepEqual([store.items.size, username(await client.iceServers())], [0, refused.username], 'the rejected credentials stay in use until there are others');
  await time.pass(10);
  assert.notEqual(username(await client.iceServers()), refused.username);
  assert.notEqual(username(pc.configuration.iceServers), refused.username);
  assert.deepEqual(world.errors, ['TURN_REFUSED', 'NETWORK']);
});

test('a call whose relay is not reached at any URL gets another relay at once', async () => {
  const { broker, time } = world;
  const client = world.client();
  const iceServers = await client.iceServers();
  const pc = new Peer({ iceServers });
  client.watch(pc);
  pc.become('checking');
  const relays = iceServers.filter(({ username }) => username).flatMap(({ urls }) => urls);
  for (const url of relays.slice(1)) pc.dispatch('icecandidateerror', { errorCode: 701, url });
  await time.pass(5);
  assert.equal(broker.of('mint').length, 1, 'one may still be reached');
  pc.dispatch('icecandidateerror', { errorCode: 701, url: relays[0] });
  await time.pass(5);
  const mints = broker.of('mint');
  assert.equal(mints.length, 2);
  assert.equal(new URL(mints[1].url, 'http://broker.test').searchParams.get('failed'), relays[0]);
  assert.notEqual(username(pc.configuration.iceServers), username(iceServers));
  assert.deepEqual(world.errors, ['TURN_UNREACHED']);
});

test('credentials that are always rejected are replaced at a limited rate', async () => {
  const { broker, time } = world;
  const client = world.client();
  const { pc } = await world.call(client);
  for (let second = 0; second < 1_800; second += 5) {
    const [relay] = (await client.iceServers()).filter(({ username }) => username);
    pc.dispatch('icecandidateerror', { errorCode: 401, url: [relay.urls].flat()[0] });
    await time.pass(5, 5);
  }
  assert.ok(broker.of('mint').length <= 8, `${broker.of('mint').length} in half an hour`);
});

test('a rejection by a foreign relay, or an unreachable relay, changes nothing', async () => {
  const { broker, time } = world;
  const client = world.client();
  const { pc } = await world.call(client);
  const [relay] = (await client.iceServers()).filter(({ username }) => username);
  await time.pass(400, 5);
  pc.dispatch('icecandidateerror', { errorCode: 401, url: 'turn:own.example' });
  pc.dispatch('icecandidateerror', { errorCode: 701, url: [relay.urls].flat()[0] });
  pc.dispatch('icecandidateerror', {});
  await time.pass(10);
  assert.deepEqual([broker.of('mint').length, pc.configurations.length, world.errors], [1, 0, []]);
});

/** A peer connection with kept credentials that a relay rejects: in `new` where it may use only a relay, else while ICE checks others. */
async function refusedCall(client, { type = 'offer', state = 'new' } = {}) {
  const pc = new Peer({ iceServers: await client.iceServers() });
  client.watch(pc);
  pc.describe(type);
  if (type === 'offer') Object.assign(pc, { signalingState: 'have-local-offer', currentLocalDescription: null, currentRemoteDescription: null });
  if (state !== 'new') pc.become(state);
  await settle();
  pc.dispatch('icecandidateerror', { errorCode: 401, url: 'turn:relay.example:3478' });
  await settle();
  return pc;
}

for (const state of ['new', 'checking']) {
  test(`a call that meets refused credentials in ${state} gets others and restarts ICE at once`, async () => {
    const { broker, time } = world;
    const client = world.client();
    const pc = await refusedCall(client, { state });
    assert.deepEqual([broker.of('mint').length, username(pc.configuration.iceServers), pc.restarts], [2, 'user-2', 0], 'its offer waits for the answer');
    pc.signalingState = 'stable';
    pc.describe();
    await settle();
    assert.deepEqual([pc.restarts, time.elapsed], [1, 0]);
    pc.describe('offer', 'g2');
    Object.assign(pc.statistics, { generation: 'g2' });
    pc.become('connected');
    await time.pass(60);
    assert.deepEqual([pc.restarts, broker.of('mint').length, broker.of('open').map(({ token }) => token)], [1, 2, ['grant-2']]);
  });
}

test('the end that answered waits for the other end to restart, and restarts itself if that does not', async () => {
  const { time } = world;
  const answered = () => refusedCall(world.client({ storage: null }), { type: 'answer' });
  const [waits, served, hangs] = [await answered(), await answered(), await answered()];
  served.describe('answer', 'g2');
  served.statistics.generation = 'g2';
  served.become('connected');
  hangs.describe('answer', 'g2'); // was under way: it was gathered with the refused credentials
  await time.pass(1);
  assert.deepEqual([waits.restarts, served.restarts, hangs.restarts], [0, 0, 0]);
  await time.pass(1);
  assert.deepEqual([waits.restarts, served.restarts, hangs.restarts], [1, 0, 1]);
});

test('a call that other credentials do not connect restarts ICE again, until it is connected', async () => {
  const { time } = world;
  const pc = await refusedCall(world.client(), { type: 'answer' });
  await time.pass(9);
  assert.equal(pc.restarts, 1);
  await time.pass(1);
  assert.equal(pc.restarts, 2);
  pc.statistics.generation = 'g2';
  pc.become('connected');
  await time.pass(60);
  assert.equal(pc.restarts, 2);
});

for (const relays of [true, false]) {
  test(`a late refusal of the credentials before ${relays ? 'is none of those that relay now' : 'counts while nothing is relayed'}`, async () => {
    const { broker, time } = world;
    const client = world.client();
    const pc = await refusedCall(client);
    assert.equal(username(pc.configuration.iceServers), 'user-2');
    pc.signalingState = 'stable';
    pc.describe('offer', 'g2');
    pc.dispatch('icecandidateerror', { errorCode: 401, url: 'turn:relay.example:3478' });
    pc.statistics.generation = 'g2';
    if (relays) pc.become('connected');
    await time.pass(4);
    assert.equal(client.status().reason, null, 'nobody knows yet whose refusal it was');
    await time.pass(5);
    assert.equal(client.status().reason, relays ? null : 'TURN_REFUSED');
    assert.equal(broker.of('mint').length, 2);
  });
}

test('until something is gathered with the others, as while it rings, every refusal is of the credentials before', async () => {
  const { broker, time } = world;
  const client = world.client();
  const pc = await refusedCall(client);
  for (const errorCode of [401, 701, 401]) {
    pc.dispatch('icecandidateerror', { errorCode, url: 'turn:relay.example:3478' });
    await time.pass(1.5);
  }
  assert.deepEqual([client.status().degraded, broker.of('mint').length, world.errors], [false, 2, ['TURN_REFUSED']]);
});

test('two calls with the same refused credentials share the request for others', async () => {
  const { broker } = world;
  const client = world.client();
  const iceServers = await client.iceServers();
  const other = new Peer({ iceServers });
  client.watch(other);
  await refusedCall(client, { type: 'answer' });
  other.describe('answer');
  other.dispatch('icecandidateerror', { errorCode: 401, url: 'turn:relay.example:3478' });
  await settle();
  assert.deepEqual([username(other.configuration.iceServers), broker.of('mint').length], ['user-2', 2]);
});

test('the page says that others were refused, and asks again when the broker says so', async () => {
  const { broker, time } = world;
  const seen = [];
  const client = world.client({ onStatus: ({ degraded, reason }) => seen.push([degraded, reason]) });
  await client.iceServers();
  broker.next('mint', error(429, 'RATE_LIMITED', { 'Retry-After': '10' }));
  const pc = await refusedCall(client, { type: 'answer' });
  assert.deepEqual([world.errors, seen.at(-1)], [['TURN_REFUSED', 'RATE_LIMITED'], [true, 'RATE_LIMITED']]);
  await time.pass(20);
  assert.deepEqual([username(pc.configuration.iceServers), pc.restarts, seen.at(-1)], ['user-2', 1, [false, null]]);
});
