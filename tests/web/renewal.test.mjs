// Renewal during a call: the new credentials, the ICE restart, and the grant that each byte is charged to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Peer, degraded, error } from './fakes.mjs';
import { urls, username, world } from './world.mjs';

/** In a call, credentials of 600 s are renewed after 450 s plus some percent of the rest. Then the ends take turns. */
const BEFORE = 450;
const AFTER = 30;

test('a relayed call gets new credentials well before the old ones expire, and restarts ICE', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(BEFORE - 5, 5);
  assert.deepEqual([broker.of('mint').length, pc.configurations.length], [1, 0]);
  await time.pass(AFTER, 1);
  assert.equal(broker.of('mint')[1].token, 'grant-1');
  assert.deepEqual([pc.configurations.length, pc.restarts], [1, 1]);
  assert.equal(username(pc.configuration.iceServers), 'user-2');
  assert.equal(pc.configuration.iceServers.length, 2, 'the old servers are gone');
});

test('the controlled end waits for the other end to restart', async () => {
  const { time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.iceRole = 'controlled';
  await time.pass(BEFORE + AFTER, 1);
  assert.deepEqual([pc.configurations.length, pc.restarts], [1, 0]);
  await time.pass(20, 1);
  assert.equal(pc.restarts, 1);
});

test('one restart after the renewal serves both ends', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.iceRole = 'controlled';
  await time.pass(BEFORE + 15, 1);
  assert.equal(pc.configurations.length, 1);
  pc.statistics.generation = 'g2';
  await time.pass(100, 1);
  assert.deepEqual([pc.restarts, broker.of('open').length], [0, 2]);
});

test('the restart of the other end counts before a new pair is selected', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.iceRole = 'controlled';
  await time.pass(BEFORE + 15, 1);
  pc.statistics.others = [{ id: 'Lg2', type: 'local-candidate', candidateType: 'relay', usernameFragment: 'g2' }];
  await time.pass(100, 1);
  assert.deepEqual([pc.restarts, broker.of('open').length], [0, 1]);
});

test('a restart before the renewal does not count, since its candidates have the old credentials', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.localDescription = { type: 'answer', sdp: 'v=0\r\na=ice-ufrag:g2\r\na=ice-pwd:x\r\n' };
  await time.pass(BEFORE + 15, 1);
  pc.statistics.generation = 'g2';
  await time.pass(AFTER, 1);
  assert.deepEqual([pc.restarts, broker.of('open').length], [1, 1]);
});

test('a description that was under way when the credentials came does not count', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(BEFORE, 1);
  while (pc.configurations.length === 0) await time.pass(0.1, 0.1);
  pc.describe('answer', 'g2');
  pc.statistics.generation = 'g2';
  await time.pass(AFTER, 1);
  assert.deepEqual([pc.restarts, broker.of('open').length], [1, 1]);
});

test('a restart waits for a running negotiation, and a direct path needs none', async () => {
  const { time } = world;
  const client = world.client();
  const [first, second] = [await world.call(client), await world.call(client)];
  first.pc.signalingState = 'have-remote-offer';
  await time.pass(BEFORE + AFTER - 20, 1);
  second.pc.statistics.type = 'host';
  await time.pass(60, 1);
  assert.deepEqual([first.pc.restarts, second.pc.restarts], [0, 0]);
  first.pc.signalingState = 'stable';
  await time.pass(6, 1);
  assert.deepEqual([first.pc.restarts, second.pc.restarts], [1, 0]);
});

test('a short lifetime leaves enough time for both turns', async () => {
  const { broker, time } = world;
  broker.ttl = 60;
  const { pc } = await world.call(world.client());
  pc.statistics.iceRole = null;
  await time.pass(56);
  assert.equal(pc.restarts, 1);
});

test('a direct call gets new credentials without a restart', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client(), { type: 'host' });
  await time.pass(BEFORE + AFTER, 5);
  assert.deepEqual([pc.configurations.length, pc.restarts, broker.of('open').length], [1, 0, 1]);
});

test('the page’s own servers and other settings stay', async () => {
  const { time } = world;
  const own = [{ urls: 'stun:page.example' }, { urls: 'turn:page.example', username: 'own', credential: 'c' }];
  const { pc } = await world.call(world.client(), { own });
  pc.configuration.iceTransportPolicy = 'relay';
  await time.pass(BEFORE + AFTER, 5);
  assert.deepEqual(pc.configuration.iceServers.slice(0, 2), own);
  assert.deepEqual([pc.configuration.iceServers.length, pc.configuration.iceTransportPolicy], [4, 'relay']);
});

test('bytes are charged to the old grant until the new allocation is in use', async () => {
  const { broker, time } = world;
  const { pc, watch } = await world.call(world.client());
  pc.statistics.flow(100, 1_000);
  await time.pass(BEFORE + AFTER, 5);
  pc.statistics.flow(10, 100);
  await time.pass(30);
  assert.equal(broker.of('open').length, 1, 'the old connection is still open');
  const first = watch.connectionId;
  pc.statistics.generation = 'g2';
  pc.statistics.flow(1, 10);
  await time.pass(10);
  const close = broker.of('close')[0];
  assert.deepEqual([close.token, close.path, close.body.bytesReceived], ['grant-1', `/api/connections/${first}/close`, 1_110]);
  const open = broker.of('open')[1];
  assert.equal(open.token, 'grant-2');
  assert.equal(watch.connectionId, open.body.connectionId);
  pc.statistics.flow(2, 20);
  await time.pass(30);
  const beat = broker.of('heartbeat').at(-1);
  assert.deepEqual([beat.token, beat.body.bytesSent, beat.body.bytesReceived], ['grant-2', 2, 20]);
  assert.deepEqual(world.errors, []);
});

test('a connection that cannot be closed after a renewal goes on until it can, so no byte counts twice', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(BEFORE + AFTER, 5);
  broker.next('close', new TypeError('fetch failed'));
  broker.next('heartbeat', new TypeError('fetch failed'));
  pc.statistics.generation = 'g2';
  pc.statistics.flow(10, 100);
  await time.pass(5.5);
  assert.deepEqual([broker.of('close').length, broker.of('open').length], [1, 1]);
  await time.pass(30);
  assert.deepEqual(broker.of('close').map(({ body }) => body.bytesReceived), [100, 100]);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-1', 'grant-2']);
  assert.deepEqual([broker.open.size, broker.of('heartbeat').at(-1).body.bytesReceived], [1, 100]);
});

for (const type of ['relay', 'host']) {
  test(`a lost ${type} path gets an ICE restart with the same credentials, and every half minute as long as it is lost`, async () => {
    const { broker, time } = world;
    const client = world.client();
    const [caller, answerer] = [await world.call(client, { type }), await world.call(client, { type })].map(({ pc }) => pc);
    answerer.describe('answer');
    const restarts = () => [caller.restarts, answerer.restarts];
    caller.become('disconnected');
    answerer.become('disconnected');
    await time.pass(2.5);
    assert.deepEqual(restarts(), [0, 0]);
    await time.pass(1);
    assert.deepEqual(restarts(), [1, 0]);
    await time.pass(1.5);
    assert.deepEqual(restarts(), [1, 1]);
    await time.pass(37);
    assert.deepEqual(restarts(), [2, 2]);
    caller.statistics.generation = 'g2';
    caller.become('connected');
    await time.pass(60);
    assert.deepEqual([caller.restarts, broker.of('mint').length, broker.of('open').length], [2, 1, 2]);
  });
}

test('candidates of the old generation stay with the old grant', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.others = [{ id: 'Lother', type: 'local-candidate', candidateType: 'relay', usernameFragment: 'g0' }];
  await time.pass(BEFORE + AFTER, 5);
  pc.statistics.generation = 'g0';
  await time.pass(30);
  assert.equal(broker.of('open').length, 1);
});

test('after two renewals without a restart, the newest credentials count', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(2 * (BEFORE + AFTER), 5);
  pc.statistics.generation = 'g2';
  await time.pass(10);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-1', 'grant-3']);
  assert.equal(pc.restarts, 2);
});

test('several calls share one renewal', async () => {
  const { broker, time } = world;
  const client = world.client();
  const calls = [await world.call(client), await world.call(client), await world.call(client)];
  await time.pass(BEFORE + AFTER, 5);
  assert.equal(broker.of('mint').length, 2);
  assert.deepEqual(calls.map(({ pc }) => username(pc.configuration.iceServers)), ['user-2', 'user-2', 'user-2']);
});

test('the page may do the restart itself', async () => {
  const { time } = world;
  const seen = [];
  const { pc } = await world.call(world.client(), { onRenew: (renewal) => (seen.push(renewal), false) });
  await time.pass(BEFORE + AFTER, 5);
  assert.equal(pc.restarts, 0);
  const [{ iceServers, ...renewal }] = seen;
  assert.deepEqual([seen.length, renewal, username(iceServers)], [1, { pc, relayed: true, restart: true }, 'user-2']);
});

test('a callback that throws does not prevent the renewal', async () => {
  const { time } = world;
  const { pc } = await world.call(world.client(), { onRenew: () => { throw new Error('of the page'); } });
  await time.pass(BEFORE + AFTER, 5);
  assert.equal(pc.restarts, 1);
});

test('a failed renewal is retried until it succeeds', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  broker.next('mint', new TypeError('fetch failed'));
  broker.next('mint', error(503, 'LEDGER_UNAVAILABLE', { 'Retry-After': '1' }));
  broker.next('mint', degraded('PROVIDER_UNAVAILABLE'));
  await time.pass(BEFORE + AFTER + 40, 5);
  assert.equal(username(pc.configuration.iceServers), 'user-2');
  assert.deepEqual(world.errors, ['NETWORK', 'LEDGER_UNAVAILABLE', 'PROVIDER_UNAVAILABLE']);
});

test('without a successful renewal, the peer connection keeps its credentials', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  broker.always('mint', degraded('DISABLED'));
  await time.pass(3_000, 5);
  assert.deepEqual([pc.configurations.length, pc.restarts, broker.of('open').length], [0, 0, 1]);
  assert.equal(broker.of('heartbeat').at(-1).token, 'grant-1', 'the old grant reports until it expires');
});

test('the same list of servers changes only the grant', async () => {
  const { broker, time } = world;
  const iceServers = [{ urls: ['turn:fixed.example'], username: 'fixed', credential: 'c' }];
  broker.always('mint', () => ({ body: broker.minted({ iceServers, source: 'manual' }) }));
  const { pc } = await world.call(world.client());
  await time.pass(BEFORE + AFTER, 5);
  assert.deepEqual([pc.configurations.length, pc.restarts], [0, 0]);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-1', 'grant-2']);
});

test('a call that started without a relay gets one as soon as there is one', async () => {
  const { broker, time } = world;
  broker.next('mint', new TypeError('fetch failed'));
  const { pc } = await world.call(world.client(), { type: 'host' });
  await time.pass(10);
  assert.equal(username(pc.configuration.iceServers), 'user-1');
  assert.deepEqual([pc.restarts, broker.of('open')[0].body.relayed], [0, false]);
});

test('a call that began while the broker gave no relay, and has no path, restarts ICE with one', async () => {
  const { broker, time } = world;
  broker.always('mint', new TypeError('fetch failed'));
  const client = world.client();
  const calls = [new Peer({ iceServers: await client.iceServers() }), new Peer({ iceServers: await client.iceServers() })];
  for (const pc of calls) {
    client.watch(pc);
    pc.describe();
  }
  calls[1].statistics.type = 'host';
  calls[1].become('connected');
  await time.pass(10);
  broker.always('mint', undefined);
  await time.pass(20);
  assert.deepEqual(calls.map(({ restarts, configuration }) => [restarts, username(configuration.iceServers)]), [[1, 'user-1'], [0, 'user-1']]);
});

test('a call that connects after its credentials were renewed is reported on the newest grant', async () => {
  const { broker, time } = world;
  const client = world.client();
  const pc = new Peer({ iceServers: await client.iceServers() });
  await time.pass(451, 10);
  await client.iceServers();
  client.watch(pc);
  pc.become('connected');
  await time.pass(1);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-2'], 'the broker opens nothing on a renewed grant');
  assert.equal(username(pc.configuration.iceServers), 'user-2', 'the peer connection gets the newest credentials at once');
});

test('a call that has not started or has ended is not renewed', async () => {
  const { broker, time } = world;
  const client = world.client();
  const idle = new Peer({ iceServers: await client.iceServers() });
  client.watch(idle);
  const { pc } = await world.call(client);
  pc.become('failed');
  await time.pass(2_000, 5);
  assert.equal(broker.of('mint').length, 1);
  assert.deepEqual(urls(idle.configuration.iceServers), ['stun:relay.example:3478', 'turn:relay.example:3478']);
});

const forgotten = error(401, 'INVALID_GRANT');

test('after the broker lost its grants, reports continue on a new grant', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  pc.statistics.flow(100, 1_000);
  await time.pass(400, 5);
  broker.open.clear();
  broker.next('heartbeat', forgotten);
  pc.statistics.flow(10, 100);
  await time.pass(40);
  assert.deepEqual(broker.of('mint').map(({ token }) => token), [undefined, undefined], 'the unknown grant is not sent again');
  assert.equal(broker.of('open').at(-1).token, 'grant-2');
  assert.equal(pc.restarts, 1);
  await time.pass(30);
  assert.equal(broker.of('heartbeat').at(-1).body.bytesReceived, 100);
});

test('a watched call whose grant is revoked asks at once, and a blocked user learns why', async () => {
  const { broker, time } = world;
  const told = [];
  const client = world.client({ getToken: () => 'user-token', onError: ({ code, message }) => told.push([code, message]) });
  const { pc } = await world.call(client);
  await time.pass(20);
  broker.always('heartbeat', forgotten);
  broker.always('open', forgotten);
  broker.always('mint', error(403, 'USER_BLOCKED'));
  await time.pass(40);
  assert.deepEqual(broker.of('mint').map(({ token }) => token), ['user-token', 'user-token'], 'asked once, as the user');
  assert.deepEqual(told.filter(([code]) => code === 'USER_BLOCKED'), [['USER_BLOCKED', 'USER_BLOCKED, in words']]);
  assert.equal(pc.signalingState, 'stable', 'the call is left to the page');
  await time.pass(200);
  assert.equal(broker.of('mint').length, 2);
});

test('the page says that the relay has ended a call at the limit; the call may continue, or begin again without a relay', async () => {
  const { broker, time } = world;
  const said = [];
  const client = world.client({ onStatus: ({ degraded, reason }) => said.push([degraded, reason]) });
  const { pc } = await world.call(client);
  await time.pass(20);
  broker.always('heartbeat', ({ path }) => ({ body: { connectionId: path.split('/')[3], heartbeatSeconds: 30, code: 'BUDGET_EXHAUSTED' } }));
  broker.always('mint', error(429, 'BUDGET_EXHAUSTED', { 'Retry-After': '1900800' }));
  await time.pass(40);
  assert.deepEqual([said.at(-1), world.errors, broker.of('mint').length], [[true, 'BUDGET_EXHAUSTED'], ['BUDGET_EXHAUSTED'], 2]);
  await time.pass(120);
  assert.equal(broker.of('mint').length, 2);
  await client.iceServers();
  assert.deepEqual([said.length, client.status().degraded], [3, true]);
  pc.become('disconnected');
  await time.pass(60);
  assert.equal(pc.restarts, 0, 'the ended credentials are not used again');
});

test('a call that one relay ends gets another one, and restarts ICE at once', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(20);
  broker.next('heartbeat', { body: { heartbeatSeconds: 30, code: 'BUDGET_EXHAUSTED' } });
  await time.pass(16);
  assert.deepEqual([username(pc.configuration.iceServers), pc.restarts], ['user-2', 1]);
});

test('a broker that forgets its grants again and again gets one mint at once and then one in 5 minutes', async () => {
  const { broker, time } = world;
  broker.always('open', forgotten);
  await world.call(world.client());
  await time.pass(280, 1);
  assert.equal(broker.of('mint').length, 2);
  await time.pass(60, 1);
  assert.equal(broker.of('mint').length, 3);
});

test('a grant that the broker does not know is removed from the storage', async () => {
  const { broker, store, time } = world;
  await world.call(world.client());
  broker.always('mint', new TypeError('fetch failed'));
  broker.next('heartbeat', forgotten);
  assert.equal(store.items.size, 1);
  await time.pass(31);
  assert.equal(store.items.size, 0);
});

test('a broker that never knows its grants is asked at a limited rate, and the page keeps its relay', async () => {
  const { broker, time } = world;
  broker.always('open', forgotten);
  const client = world.client();
  await world.call(client);
  await time.pass(1_800, 5);
  assert.ok(broker.of('mint').length <= 7, `${broker.of('mint').length} in half an hour`);
  assert.match(username(await client.iceServers()), /^user-/);
});

test('a connection that timed out after its grant was renewed continues on the newest grant', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(BEFORE + AFTER, 5);
  assert.equal(username(pc.configuration.iceServers), 'user-2');
  broker.open.clear();
  await time.pass(60);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-1', 'grant-2']);
  assert.deepEqual(broker.of('mint').map(({ token }) => token), [undefined, 'grant-1'], 'the credentials that work stay');
  assert.deepEqual([broker.open.size, world.errors], [1, ['NOT_FOUND']]);
});

for (const type of ['relay', 'host']) {
  test(`a ${type} call whose connection could not be opened before its grant expired is reported on the newest grant`, async () => {
    const { broker, time } = world;
    broker.always('open', new TypeError('fetch failed'));
    const { pc } = await world.call(world.client(), { type });
    await time.pass(BEFORE + AFTER, 5);
    if (type === 'relay') pc.statistics.generation = 'g2';
    await time.pass(150, 5);
    broker.always('open', undefined);
    await time.pass(60, 5);
    assert.deepEqual([broker.of('open').at(-1).token, broker.open.size], ['grant-2', 1]);
  });
}

test('a connection that timed out while the machine slept until its grant had expired continues on a new grant', async () => {
  const { broker, time } = world;
  await world.call(world.client());
  await time.pass(40);
  broker.open.clear();
  time.sleep(3_600);
  broker.always('mint', new TypeError('fetch failed'));
  await time.pass(40);
  assert.equal(broker.of('open').length, 1, 'nothing is opened on the expired grant');
  broker.always('mint', undefined);
  await time.pass(300, 5);
  assert.deepEqual(broker.of('open').map(({ token }) => token), ['grant-1', 'grant-2']);
  assert.equal(broker.open.size, 1);
});

test('a watch that stops while it reads statistics does not change the peer connection', async () => {
  const { time } = world;
  const client = world.client();
  const { pc, watch } = await world.call(client);
  await time.pass(BEFORE + 1, 5);
  await client.iceServers(); // fetches the next credentials
  let tell;
  pc.getStats = () => new Promise((resolve) => { tell = resolve; });
  await time.pass(5);
  pc.getStats = async () => new Map();
  const stopped = watch.stop();
  tell(new Map());
  await stopped;
  await time.pass(1);
  assert.deepEqual([pc.configurations.length, pc.restarts], [0, 0]);
});

test('a closed peer connection is not changed', async () => {
  const { broker, time } = world;
  const { pc } = await world.call(world.client());
  await time.pass(BEFORE - 5, 5);
  pc.close();
  await time.pass(60);
  assert.deepEqual([pc.configurations.length, broker.of('mint').length, world.errors], [0, 1, []]);
});
