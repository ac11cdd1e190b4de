// The eight tests of an adapter (CONTRIBUTING.md, "Rules for adapters"), for Nextcloud Talk: php-cli, Guzzle and the listener, at a broker that
// fails in the way that a test sets. tests/browser/servers.mjs has the same listener and our broker.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, beforeEach, test } from 'node:test';
import { Talk } from './talk.mjs';

/** Longer than a page may wait, and shorter than anybody would. */
const HANGS_FOR_MS = 3_000;
const OWN = [{ server: 'of its own settings' }];

/** The requests that the broker has had: their parameters, in order. @type {string[]} */
const asked = [];
/** What the broker does next. @type {(answer: import('node:http').ServerResponse) => void} */
let does = mints;
const broker = createServer((request, answer) => {
  asked.push(new URL(request.url, 'http://broker').search);
  does(answer);
});
broker.listen(0, '127.0.0.1');
await once(broker, 'listening');
const url = `http://127.0.0.1:${broker.address().port}`;
/** @type {Talk[]} */
const started = [];
after(() => { broker.close(); started.forEach((talk) => talk.stop()); });
beforeEach(() => { asked.length = 0; does = mints; });

/** A Nextcloud with an empty cache. @param {string} [at] The broker. @param {string} [cache] */
function nextcloud(at = url, cache = '') {
  const talk = new Talk(at, 'key', cache);
  started.push(talk);
  return talk;
}

function mints(answer) {
  const refreshAfter = new Date(Date.now() + 3_600_000).toISOString();
  const [urls, credential] = [['turn:turn.example.com:3478', 'turns:turn.example.com:443'], `${asked.length}`];
  answer.end(JSON.stringify({ iceServers: [{ urls: ['stun:turn.example.com'] }, { urls, username: 'name', credential }], refreshAfter, ttl: 4_800 }));
}

const refuses = (status, code) => (answer) => { answer.writeHead(status).end(JSON.stringify({ code })); };
/** Which credential a page has. */
const credentialOf = ({ servers }) => servers[0].password;
async function hasOwnServers(talk, user, reason, later = 0) {
  const { servers, log } = await talk.page(user, later);
  assert.deepEqual(servers, OWN);
  assert.equal(log.length, 1);
  assert.match(log[0], reason);
}

test('an answer is kept until its refreshAfter', async () => {
  const talk = nextcloud();
  const first = await talk.page('ann');
  assert.deepEqual(first, { log: [], servers: [
    { schemes: 'turn', server: 'turn.example.com:3478', protocols: 'udp', username: 'name', password: '1' },
    { schemes: 'turns', server: 'turn.example.com:443', protocols: 'tcp', username: 'name', password: '1' },
  ] });
  for (let page = 0; page < 100; page += 1) assert.deepEqual(await talk.page('ann'), first);
  assert.equal(asked.length, 1);
  assert.equal(credentialOf(await talk.page('ann', 3_500)), '1');
  assert.equal(credentialOf(await talk.page('ann', 101)), '2');
});

test('each user has a credential, and all who are not logged in share one', async () => {
  const talk = nextcloud();
  const credentials = [];
  for (const user of ['ann', '', 'bob', '', 'ann', 'guests']) credentials.push(credentialOf(await talk.page(user)));
  assert.deepEqual(credentials, ['1', '2', '3', '2', '1', '4']);
  assert.deepEqual(asked, ['?user=ann', '?label=guests', '?user=bob', '?user=guests']);
});

test('while the broker starts again, a kept answer serves', async () => {
  const talk = nextcloud();
  await talk.page('ann');
  does = refuses(503, 'SHUTTING_DOWN');
  assert.equal(credentialOf(await talk.page('ann')), '1');
  await hasOwnServers(talk, 'bob', /503 Service Unavailable/);
  does = mints;
  assert.equal(credentialOf(await talk.page('bob', 31)), '3');
});

test('a broker that is down is asked twice in 30 s, for all users', async () => {
  const talk = nextcloud('http://127.0.0.1:1');
  for (const user of ['ann', 'bob']) await hasOwnServers(talk, user, /Failed to connect|refused/);
  assert.deepEqual(await talk.page('carol'), { servers: OWN, log: [] });
  assert.deepEqual(await talk.page('ann', 29), { servers: OWN, log: [] });
  await hasOwnServers(talk, 'ann', /Failed to connect|refused/, 2);
});

test('one slow answer takes nothing from other users', async () => {
  const talk = nextcloud();
  does = refuses(503, 'OVERLOADED');
  await hasOwnServers(talk, 'ann', /503/);
  does = mints;
  assert.equal(credentialOf(await talk.page('bob')), '2');
});

test('a broker that hangs holds two pages, for a second each', async () => {
  const talk = nextcloud();
  const end = new Promise((resolve) => {
    does = (answer) => {
      const timer = setTimeout(() => { resolve('the broker left'); answer.destroy(); }, HANGS_FOR_MS);
      answer.on('close', () => { resolve('the page left'); clearTimeout(timer); });
    };
  });
  await hasOwnServers(talk, 'ann', /timed out/);
  assert.equal(await end, 'the page left');
  await hasOwnServers(talk, 'bob', /timed out/);
  assert.deepEqual(await talk.page('carol'), { servers: OWN, log: [] });
  assert.equal(asked.length, 2);
});

test('a page of HTML is no answer', async () => {
  const talk = nextcloud();
  for (const body of ['<!doctype html><title>Sign in</title>', '{}', '{"iceServers":[{"urls":["stun:turn.example.com"]}],"reason":"DISABLED"}', '"text"']) {
    does = (answer) => { answer.end(body); };
    await hasOwnServers(talk, 'ann', /Syntax error|has none|DISABLED|string/, 31);
  }
});

test('a wrong key is said, with the status', async () => {
  does = refuses(401, 'UNAUTHORIZED');
  const talk = nextcloud();
  await hasOwnServers(talk, 'ann', /401 Unauthorized[^]*UNAUTHORIZED/);
  assert.deepEqual(await talk.page('ann', 29), { servers: OWN, log: [] });
  does = mints;
  assert.equal(credentialOf(await talk.page('ann', 2)), '2');
});

test('a refusal of one user leaves the others theirs', async () => {
  does = refuses(429, 'USER_LIMIT_REACHED');
  const talk = nextcloud();
  await hasOwnServers(talk, 'ann', /429 Too Many Requests[^]*USER_LIMIT_REACHED/);
  does = mints;
  assert.equal(credentialOf(await talk.page('bob')), '2');
  assert.deepEqual(await talk.page('ann'), { servers: OWN, log: [] });
});

test('a Nextcloud without a cache mints nothing, and says what to set', async () => {
  await hasOwnServers(nextcloud(url, 'none'), 'ann', /memcache\.local/);
  assert.deepEqual(asked, []);
});
