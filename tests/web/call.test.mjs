// `call()`: a component's call begins once, and leaves nothing behind whenever the component goes.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Peer, settle } from './fakes.mjs';
import { world } from './world.mjs';

let made = [];
beforeEach(() => {
  made = [];
  globalThis.RTCPeerConnection = class extends Peer {
    constructor(configuration) {
      super(configuration);
      made.push(this);
    }
  };
});
const listeners = () => world.window.listenerCount + made.reduce((sum, { listenerCount }) => sum + listenerCount, 0);

test('a call has the ICE servers, is reported, and ends with its last counts', async () => {
  const { broker, time } = world;
  const { start, end } = world.client().call();
  assert.equal(broker.of('mint').length, 0, 'nothing is requested before a call');
  const pc = await start();
  assert.match(JSON.stringify(pc.configuration.iceServers), /turn:/);
  await settle();
  pc.become('connected');
  await time.pass(1);
  assert.equal(broker.open.size, 1);
  pc.statistics.flow(10, 250);
  await end();
  await settle();
  assert.deepEqual([broker.of('close').at(-1).body.bytesReceived, broker.open.size, pc.signalingState, listeners()], [250, 0, 'closed', 0]);
});

test('a call has its own configuration, but the ICE servers of the broker', async () => {
  const { start, end } = world.client().call({ configuration: { iceTransportPolicy: 'relay', iceServers: [{ urls: 'stun:own.example' }] } });
  const { configuration } = await start();
  assert.equal(configuration.iceTransportPolicy, 'relay');
  assert.match(JSON.stringify(configuration.iceServers), /turn:/);
  assert.doesNotMatch(JSON.stringify(configuration.iceServers), /own\.example/);
  await end();
});

test('a call that ends while it waits for ICE servers gets no peer connection', async () => {
  const { start, end } = world.client().call();
  const starting = start();
  await end();
  assert.deepEqual([await starting, made.length, listeners()], [null, 0, 0]);
});

test('a call can be started again after its end', async () => {
  const { start, end } = world.client().call();
  await end();
  const first = await start();
  await end();
  const second = await start();
  assert.deepEqual([first.signalingState, second.signalingState], ['closed', 'stable']);
});

test('a second start ends the first one, also while that waits', async () => {
  const { start, end } = world.client().call();
  const [first, second] = await Promise.all([start(), start()]);
  assert.deepEqual([first, made.length], [null, 1]);
  const third = await start();
  await settle();
  assert.deepEqual([second.signalingState, third.signalingState], ['closed', 'stable']);
  await end();
  assert.equal(listeners(), 0);
});

test('options of the watch hold for the call, so one that may connect directly mints nothing', async () => {
  const { broker, time } = world;
  const pc = await world.client().call({ when: 'needed', connectionId: 'room-9.alice', relayAfterSeconds: 1 }).start();
  assert.equal(broker.of('mint').length, 0);
  await settle();
  pc.describe();
  await time.pass(2);
  assert.equal(broker.of('mint').length, 1);
  pc.become('connected');
  await time.pass(1);
  assert.deepEqual([...broker.open.keys()], ['room-9.alice']);
});
