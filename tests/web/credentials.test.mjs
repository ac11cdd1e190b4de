// iceServers(): which response is kept, when a request is sent, and what happens without a response.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mock, test } from 'node:test';
import { Store, degraded, error, settle } from './fakes.mjs';
import { STUN, urls, username, world } from './world.mjs';

test('a response is kept for three quarters of its lifetime, then renewed with its grant', async () => {
  const { broker, time } = world;
  const client = world.client();
  assert.equal(username(await client.iceServers()), 'user-1');
  await time.pass(449, 10);
  assert.equal(username(await client.iceServers()), 'user-1');
  assert.deepEqual(broker.of('mint').map(({ token }) => token), [undefined], 'the first request has no token, so it needs no preflight');
  await time.pass(1);
  assert.equal(username(await client.iceServers()), 'user-2');
  assert.equal(broker.of('mint')[1].headers.Authorization, 'Bearer grant-1');
});

test('the page may change the returned list', async () => {
  const client = world.client();
  (await client.iceServers())[1].username = 'changed';
  assert.equal(username(await client.iceServers()), 'user-1');
});

test('concurrent callers share one request', async () => {
  const { broker } = world;
  const client = world.client();
  const lists = await Promise.all(Array.from({ length: 20 }, () => client.iceServers()));
  assert.equal(new Set(lists.map(username)).size, 1);
  assert.equal(broker.of('mint').length, 1);
});

test('the request has the ttl option, and the base URL may end in a slash', async () => {
  await world.client({ baseUrl: 'https://broker.example/sub/', ttl: 120 }).iceServers();
  assert.equal(world.broker.asked[0].url, 'https://broker.example/sub/api/turn-credentials?ttl=120');
});

test('the base URL may be a URL object, and null is the page’s own origin', async () => {
  for (const baseUrl of [new URL('https://broker.example'), null]) await world.client({ baseUrl, storage: null }).iceServers();
  assert.deepEqual(world.broker.asked.map(({ url }) => url), ['https://broker.example/api/turn-credentials?ttlAtMost=3600', '/api/turn-credentials?ttlAtMost=3600']);
});

test('the request has the label and a token of the sign-in; a renewal has the grant', async () => {
  const { broker, time } = world;
  let calls = 0;
  const client = world.client({ label: 'team/room 1', ttl: 600, getToken: async () => `jwt-${++calls}` });
  await client.iceServers();
  assert.equal(broker.asked[0].url, '/api/turn-credentials?ttl=600&label=team%2Froom+1');
  await time.pass(450, 10);
  assert.equal(username(await client.iceServers()), 'user-2');
  assert.deepEqual(broker.of('mint').map(({ token }) => token), ['jwt-1', 'grant-1']);
});

test('a grant whose sign-in is over renews with a token of the user beside it', async () => {
  const { broker, time } = world;
  const client = world.client({ getToken: () => 'jwt' });
  await client.iceServers();
  await time.pass(450, 10);
  broker.next('mint', error(401, 'UNAUTHORIZED'));
  assert.equal(username(await client.iceServers()), 'user-2');
  const beside = broker.of('mint').map(({ token, headers }) => [token, headers['X-Auth-Token']]);
  assert.deepEqual(beside, [['jwt', undefined], ['grant-1', undefined], ['grant-1', 'jwt']]);
});

test('a sign-in that fails is reported, and public STUN servers are used', async () => {
  const client = world.client({ getToken: () => Promise.reject(new Error('signed out')) });
  assert.deepEqual(urls(await client.iceServers()), STUN);
  assert.equal(client.status().reason, 'TOKEN');
  assert.equal(world.broker.of('mint').length, 0);
});

test('without a user signed in there is no token', async () => {
  await world.client({ getToken: () => null }).iceServers();
  assert.deepEqual(world.broker.of('mint').map(({ token }) => token), [undefined]);
});

test('after a reload the stored response keeps its age', async () => {
  const { broker, time } = world;
  await world.client().iceServers();
  await time.pass(400, 10);
  assert.equal(username(await world.client().iceServers()), 'user-1');
  await time.pass(60, 10);
  assert.equal(username(await world.client().iceServers()), 'user-2');
  assert.deepEqual(broker.of('mint').map(({ token }) => token), [undefined, 'grant-1']);
});

test('with storage null nothing is stored', async () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage');
  const own = new Store();
  Object.defineProperty(globalThis, 'sessionStorage', { configurable: true, value: own });
  await world.client({ storage: null }).iceServers();
  assert.equal(own.items.size, 0);
  await world.client({ storage: undefined }).iceServers();
  assert.equal(own.items.size, 1, 'sessionStorage is the default');
  if (before) Object.defineProperty(globalThis, 'sessionStorage', before);
  else delete globalThis.sessionStorage;
});

test('a storage that throws or has foreign data is ignored', async () => {
  const broken = { getItem: () => { throw new Error('blocked'); }, setItem: () => { throw new Error('full'); }, removeItem() {} };
  assert.equal(username(await world.client({ storage: broken }).iceServers()), 'user-1');
  for (const text of ['', 'nonsense', 'null', '{}', '{"answer":{"iceServers":[]},"bornWall":1}', '{"answer":{"iceServers":[{"urls":"stun:x"}],"grant":"g","ttl":9e9}}']) {
    const store = { ...broken, getItem: () => text };
    assert.match(username(await world.client({ storage: store }).iceServers()), /^user-/, text);
  }
});

test('a stored response from the future is fetched again', async () => {
  const { time } = world;
  await world.client().iceServers();
  time.wallOffset = -3_600_000;
  assert.equal(username(await world.client().iceServers()), 'user-2');
});

test('a wall clock set back does not extend the lifetime, and sleep counts', async () => {
  const { time } = world;
  const client = world.client();
  await client.iceServers();
  time.wallOffset = -3_600_000;
  await time.pass(450, 10);
  assert.equal(username(await client.iceServers()), 'user-2');
  time.sleep(500);
  assert.equal(username(await client.iceServers()), 'user-3');
});

for (const hours of [65 / 60, 25, -25]) {
  test(`a device whose clock is ${hours.toFixed(1)} hours off gets a relay with one request, and keeps it`, async () => {
    const { broker, time } = world;
    time.wallOffset = 7 * 3_600_000 + hours * 3_600_000;
    const client = world.client();
    for (let minutes = 0; minutes < 5; minutes += 1) {
      assert.equal(username(await client.iceServers()), 'user-1');
      await time.pass(60, 10);
    }
    assert.deepEqual([broker.of('mint').length, world.errors], [1, []]);
  });
}

test('a clock that is set forward asks for the next credentials, and the last ones serve until they come', async () => {
  const { broker, time } = world;
  const client = world.client();
  await client.iceServers();
  time.wallOffset = 25 * 3_600_000;
  broker.next('mint', error(429, 'RATE_LIMITED', { 'Retry-After': '5' }));
  assert.equal(username(await client.iceServers()), 'user-1');
  await time.pass(10);
  assert.equal(username(await client.iceServers()), 'user-2');
  assert.equal(broker.of('mint').length, 3);
});

test('a response that was minted ahead is renewed by its remaining lifetime', async () => {
  const { broker, time } = world;
  const at = (seconds) => new Date(time.server + seconds * 1_000).toISOString();
  // The response is 100 s old: 500 of 600 s are left, and 350 s until the renewal.
  broker.next('mint', { body: broker.minted({ ttl: 500, issuedAt: at(-100), expiresAt: at(500), refreshAfter: at(350) }) });
  const client = world.client();
  await client.iceServers();
  await time.pass(349, 10);
  await client.iceServers();
  assert.equal(broker.of('mint').length, 1);
  await time.pass(1);
  await client.iceServers();
  assert.equal(broker.of('mint').length, 2);
});

const FAULTS = {
  'a network fault': new TypeError('fetch failed'),
  'a 500': error(500, 'INTERNAL'),
  'a 503': error(503, 'LEDGER_UNAVAILABLE'),
  'a 429': error(429, 'RATE_LIMITED', { 'Retry-After': '2' }),
  'a page of a proxy': { status: 502, body: '<html>bad gateway</html>' },
  'no JSON': { body: 'hello' },
  'no list': { body: { iceServers: 'turn:x' } },
  'an empty list': { body: { iceServers: [] } },
  'a list of empty servers': { body: { iceServers: [{}] } },
  'a grant without a ttl': { body: { iceServers: [{ urls: 'turn:x' }], grant: 'g' } },
  'a STUN answer': degraded('PROVIDER_UNAVAILABLE'),
};

for (const [what, fault] of Object.entries(FAULTS)) {
  test(`${what} at renewal keeps the last credentials while they live, then STUN`, async () => {
    const { broker, time } = world;
    const client = world.client();
    await client.iceServers();
    broker.always('mint', fault);
    await time.pass(500, 10);
    assert.equal(username(await client.iceServers()), 'user-1');
    assert.equal(client.status().degraded, false);
    assert.ok(client.status().reason, 'the status has the reason');
    await time.pass(100, 10);
    const servers = urls(await client.iceServers());
    assert.deepEqual(servers, what === 'a STUN answer' ? ['stun:own.example:3478'] : STUN);
    assert.equal(client.status().degraded, true);
    assert.ok(world.errors.length > 0);
    broker.always('mint', undefined);
    await time.pass(600, 10);
    assert.equal(username(await client.iceServers()), 'user-2', 'the client recovers');
    assert.deepEqual({ ...client.status(), expiresAt: null }, { source: 'cloudflare', degraded: false, reason: null, message: null, expiresAt: null });
  });
}

test('a request without a response times out, and the page gets STUN', async () => {
  const { broker, time } = world;
  const aborts = mock.fn();
  broker.always('mint', ({ signal }) => new Promise(() => signal.addEventListener('abort', aborts)));
  const asked = world.client().iceServers();
  await time.pass(8);
  assert.deepEqual(urls(await asked), STUN);
  assert.deepEqual([world.errors, aborts.mock.callCount(), time.timers.size], [['NETWORK'], 1, 0]);
});

/** The requests of a page that asks for ICE servers every second. */
async function asksIn(seconds, fault) {
  const { broker, time } = world;
  const client = world.client();
  broker.always('mint', fault);
  for (let second = 0; second < seconds; second += 1) {
    await client.iceServers();
    await time.pass(1, 1);
  }
  return broker.of('mint').map(({ at }) => at);
}

test('while the broker is down, retries become rarer, down to one in some minutes', async () => {
  const at = await asksIn(3_600, new TypeError('fetch failed'));
  const pauses = at.slice(1).map((time, index) => time - at[index]);
  assert.deepEqual(pauses.slice(0, 4), [2, 3, 6, 12], 'half of each pause is random, here the middle');
  assert.equal(pauses.at(-1), 225);
});

test('once the browser is online again, the pause after a lost network ends, and one that the broker asked for does not', async () => {
  const { broker, time, window } = world;
  let isOnline = false;
  broker.always('mint', () => (isOnline ? { body: broker.minted() } : new TypeError('Failed to fetch')));
  const signIn = async () => {
    if (!isOnline) throw new TypeError('Failed to fetch');
    return 'jwt';
  };
  for (const getToken of [undefined, signIn]) {
    const client = world.client({ getToken, storage: null });
    const ask = async (seconds) => {
      await time.pass(seconds);
      return username(await client.iceServers());
    };
    isOnline = false;
    for (let times = 0; times < 30; times += 1) await ask(10);
    isOnline = true;
    assert.equal(await ask(2), undefined, 'it pauses');
    window.dispatch('online');
    assert.equal(await ask(0), undefined, 'not all pages at once');
    assert.match(await ask(2), /^user-/);
    await time.pass(600, 10);
    broker.next('mint', error(429, 'RATE_LIMITED', { 'Retry-After': '60' }));
    await ask(0);
    window.dispatch('online');
    assert.equal(await ask(5), undefined);
  }
});

test('the client obeys Retry-After', async () => {
  const at = await asksIn(100, error(429, 'RATE_LIMITED', { 'Retry-After': '30' }));
  assert.deepEqual(at, [0, 32, 64, 96]);
});

test('with a spent budget the client asks four times an hour, for weeks', async () => {
  const at = await asksIn(3_600, error(429, 'BUDGET_EXHAUSTED', { 'Retry-After': '1900800' }));
  assert.equal(at.length, 4);
});

for (const reason of ['NOT_CONFIGURED', 'DISABLED', 'BUDGET_EXHAUSTED']) {
  test(`${reason} in a STUN response delays the next request`, async () => {
    const at = await asksIn(600, degraded(reason));
    assert.deepEqual(at, [0, 315]);
  });
}

test('STUN as the first source is a normal response without grant or expiry', async () => {
  const { broker, time } = world;
  broker.always('mint', { body: { iceServers: [{ urls: 'stun:own.example' }], source: 'stun', degraded: false } });
  const client = world.client();
  assert.deepEqual(urls(await client.iceServers()), ['stun:own.example']);
  assert.deepEqual(client.status(), { source: 'stun', degraded: false, reason: null, message: null, expiresAt: null });
  await time.pass(3_599, 60);
  await client.iceServers();
  assert.equal(broker.of('mint').length, 1);
  await time.pass(1);
  await client.iceServers();
  assert.equal(broker.of('mint')[1].token, undefined);
  assert.equal(world.store.items.size, 0);
});

test('the status shows a fallback source, and the expiry by the page’s clock', async () => {
  const { broker } = world;
  const seen = [];
  const client = world.client({ onStatus: (status) => seen.push(status) });
  assert.deepEqual(client.status(), { source: null, degraded: false, reason: null, message: null, expiresAt: null });
  broker.next('mint', { body: broker.minted({ source: 'coturn', degraded: true, reason: 'PROVIDER_UNAVAILABLE' }) });
  await client.iceServers();
  const expiresAt = new Date(Date.now() + 600_000);
  assert.deepEqual(client.status(), { source: 'coturn', degraded: true, reason: 'PROVIDER_UNAVAILABLE', message: 'The relay has a fault. Calls may fail on some networks.', expiresAt });
  assert.deepEqual(seen, [client.status()]);
});

const TEXTS = {
  BUDGET_EXHAUSTED: 'The monthly limit of the relay is used up or reserved.', USER_BLOCKED: 'The operator has blocked you.',
  ADDRESS_BLOCKED: 'The operator has blocked your network.', ADDRESS_LIMIT_REACHED: 'Your network has used its limit of today.',
};
for (const [code, text] of Object.entries(TEXTS)) {
  for (const [how, answer] of [['a refusal', error(403, code)], ['a STUN answer', degraded(code)]]) {
    test(`${code} in ${how} has a text for the person, also while the last credentials live, and when the person calls again`, async () => {
      const { broker, time } = world;
      const said = [];
      const client = world.client({ onStatus: ({ degraded, message }) => said.push([degraded, message]) });
      await client.iceServers();
      broker.always('mint', answer);
      await time.pass(460, 10);
      assert.equal(username(await client.iceServers()), 'user-1');
      const told = [true, `${text} Calls may fail on some networks.`];
      assert.deepEqual(said.at(-1), told);
      await time.pass(200, 10);
      await client.iceServers();
      assert.deepEqual([said.length, said.at(-1), broker.of('mint').length], [3, told, 2], 'again without a request');
      broker.always('mint', undefined);
      await time.pass(200, 10);
      await client.iceServers();
      assert.deepEqual(said.at(-1), [false, null]);
    });
  }
}

test('each refusal of a mint that lasts has a text for the person', () => {
  const source = readFileSync(new URL('../../src/web/turn-client/turn-client.js', import.meta.url), 'utf8');
  const texts = [...source.match(/const REFUSALS = \{([^}]*)\}/)[1].matchAll(/^ {2}([A-Z_]+):/gm)].map(([, code]) => code);
  const { enum: codes } = JSON.parse(readFileSync(new URL('../../src/web/openapi.json', import.meta.url), 'utf8')).components.schemas.ErrorBody.properties.code;
  assert.deepEqual(codes.filter((code) => /BLOCKED$|_LIMIT_REACHED$|^BUDGET/.test(code)).sort(), texts.filter((code) => codes.includes(code)).sort());
});

test('without onError, errors are warnings in the console', async (context) => {
  const warn = context.mock.method(console, 'warn', () => {});
  world.broker.next('mint', error(429, 'RATE_LIMITED'));
  await world.client({ onError: undefined }).iceServers();
  assert.deepEqual(warn.mock.calls.map((call) => call.arguments), [['turn-client: RATE_LIMITED: RATE_LIMITED, in words']]);
});

test('an old answer of a service worker is no credential', async () => {
  const codes = [];
  const client = world.client({ onError: ({ code }) => codes.push(code) });
  const first = await client.iceServers();
  const { answer } = JSON.parse([...world.store.items.values()][0]);
  await world.time.pass(450, 10);
  world.broker.next('mint', { body: JSON.stringify(answer) });
  assert.equal(username(await client.iceServers()), username(first), 'the first one lives on');
  await world.time.pass(140, 10);
  assert.equal(username(await client.iceServers()), 'user-2');
  const expiresAt = new Date(world.time.server).toISOString();
  await world.time.pass(460, 10);
  world.broker.next('mint', { body: JSON.stringify({ ...answer, grant: 'other', expiresAt }) });
  assert.equal(username(await client.iceServers()), 'user-2', 'it had expired when the last one came');
  assert.deepEqual(codes, ['STALE_ANSWER', 'STALE_ANSWER']);
});

test('an error names the URL that was asked, and what to do about a wrong baseUrl', async (context) => {
  Object.assign(globalThis, { location: { href: 'http://localhost:5173/app/' } });
  context.after(() => delete globalThis.location);
  const messages = async (answer, options) => {
    const said = [];
    world.broker.next('mint', answer);
    await world.client({ ...options, storage: null, onError: ({ code, message }) => said.push(code, message) }).iceServers();
    return said;
  };
  assert.deepEqual(await messages({ body: '<!doctype html>' }), [
    'BAD_ANSWER', 'the answer of http://localhost:5173/api/turn-credentials?ttlAtMost=3600 has no ICE servers: set baseUrl to the address of the broker',
  ]);
  const baseUrl = 'http://localhost:3002/';
  assert.deepEqual(await messages({ body: '<!doctype html>' }, { baseUrl, label: 'room-1' }), [
    'BAD_ANSWER', 'the answer of http://localhost:3002/api/turn-credentials?ttlAtMost=3600&label=room-1 has no ICE servers: check that baseUrl is the address of the broker',
  ]);
  assert.deepEqual(await messages({ status: 404 }, { baseUrl }), [
    'HTTP_404', 'http://localhost:3002/api/turn-credentials?ttlAtMost=3600 answered 404: check that baseUrl is the address of the broker',
  ]);
  for (const status of [502, 503, 504]) {
    assert.deepEqual(await messages({ status }, { baseUrl }), [
      `HTTP_${status}`, `http://localhost:3002/api/turn-credentials?ttlAtMost=3600 answered ${status}: the broker, or the proxy in front of it, does not answer`,
    ]);
  }
  const [code, message] = await messages(new TypeError('Failed to fetch'), { baseUrl });
  assert.equal(code, 'NETWORK');
  assert.match(message, /^no response from http:\/\/localhost:3002\/api\/turn-credentials\?ttlAtMost=3600: check that baseUrl .*CLIENT_URL.*connect-src/);
});

test('types and README list the codes that the client makes itself', () => {
  const text = (name) => readFileSync(new URL(`../../src/web/turn-client/${name}`, import.meta.url), 'utf8');
  const made = new Set([...text('turn-client.js').matchAll(/TurnClientError\((?:[^)]*\?\? )?'([A-Z_]+)'/g)].map(([, code]) => code));
  const listed = (list) => new Set([...list.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code));
  assert.ok(made.size >= 5, [...made].join());
  assert.deepEqual(listed(text('turn-client.d.ts').match(/Otherwise `NETWORK`[^/]*/)[0].replace('`CLIENT_URL`', '')), made);
  assert.deepEqual(listed(text('README.md').match(/and `NETWORK`[^.]*/)[0]), made);
});

test('offline, the page says that the device is offline, and gives no advice about settings', async () => {
  const said = [];
  globalThis.navigator.onLine = false;
  world.broker.always('mint', new TypeError('Failed to fetch'));
  const client = world.client({ onError: ({ code, message }) => said.push(code, message) });
  await client.iceServers();
  assert.deepEqual([said, client.status().message], [['NETWORK', 'the device is offline'], 'You are offline. Calls may fail on some networks.']);
});

test('callbacks that throw are ignored', async () => {
  const thrower = () => { throw new Error('of the page'); };
  const client = world.client({ onError: thrower, onStatus: thrower });
  world.broker.next('mint', error(500, 'INTERNAL'));
  assert.deepEqual(urls(await client.iceServers()), STUN);
  await settle();
});
