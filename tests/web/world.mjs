// A page with the module, new for each test.
import { webcrypto } from 'node:crypto';
import { afterEach, beforeEach, mock } from 'node:test';
import { createTurnClient } from '../../src/web/turn-client/turn-client.js';
import { FakeBroker, Peer, Store, Target, Time } from './fakes.mjs';

/** @type {{time: Time, broker: FakeBroker, window: Target, store: Store, errors: string[], client: Function, call: Function}} */
export const world = {};

beforeEach(() => {
  const time = new Time();
  const broker = new FakeBroker(time);
  const window = new Target();
  Object.assign(globalThis, {
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
  });
  const sendBeacon = (url, text) => Boolean(broker.beacons.push({ url, ...JSON.parse(text) }));
  Object.defineProperty(globalThis, 'navigator', { configurable: true, writable: true, value: { sendBeacon } });
  globalThis.crypto ??= webcrypto; // Node 18
  const store = new Store();
  const errors = [];
  const client = (options = {}) =>
    createTurnClient({ fetch: broker.fetch, storage: store, onError: ({ code }) => errors.push(code), ...options });
  Object.assign(world, { time, broker, window, store, errors, client, call });
});

afterEach(() => {
  mock.restoreAll();
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
  delete globalThis.navigator;
});

/** A connected and watched call. */
async function call(client, { type = 'relay', own = [], ...options } = {}) {
  const pc = new Peer({ iceServers: [...own, ...(await client.iceServers())] });
  pc.statistics.type = type;
  const watch = client.watch(pc, options);
  pc.become('checking');
  pc.become('connected');
  await world.time.pass(0.5);
  return { pc, watch };
}

export const STUN = ['stun:stun.l.google.com:19302', 'stun:stun1.l.google.com:19302'];
export const urls = (iceServers) => iceServers.flatMap((server) => server.urls);
export const username = (iceServers) => iceServers.find((server) => server.username)?.username;
