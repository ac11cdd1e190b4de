// The dashboard's tables and alerts without a browser: which rows a table shows, what it says of spenders and their grants, and
// the buttons of an alert.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pageOf } from '../../src/web/dashboard/rows.js';
import { ago, averageOf, blockedNote, canEnd, cost, credentials, evidence, grantsPath, isKept, isRevocable, listPath, members, nameOf, namedLately, noneOf, note, nowPath, ofAll, percent, rateNow, share, state, summary, TITLES, whatEnded, withNow } from '../../src/web/dashboard/spending.js';

const NOW = new Date('2026-11-20T14:24:00Z');
const GB = 1e9;

const rows = (names) => names.map((name, at) => ({ name, bytes: at % 3 }));
const shown = (all, more = {}) => pageOf(all, { text: '', words: ({ name }) => name, by: ({ bytes }) => bytes, isDescending: true, key: ({ name }) => name, first: 0, size: 3, ...more });
const names = ({ rows: list }) => list.map(({ name }) => name).join('');

test('rows are sorted by the column, then by their key', () => {
  const all = rows(['f', 'e', 'd', 'c', 'b', 'a']);
  assert.equal(names(shown(all, { size: 9 })), 'adbecf');
  assert.equal(names(shown(all, { size: 9, isDescending: false })), 'cfbead');
  assert.equal(names(shown(all, { size: 9, by: ({ name }) => name })), 'fedcba');
});

test('a search ignores case and the rows that it leaves out', () => {
  const all = rows(['Ann', 'ben', 'joann']);
  const found = shown(all, { text: ' ANN ' });
  assert.deepEqual([found.matching, names(found)], [2, 'joannAnn']);
  assert.deepEqual(shown(all, { text: 'zoe' }), { rows: [], first: 0, matching: 0 });
});

test('a page beyond the last row is the last page', () => {
  const all = rows([...'abcdefg']);
  const by = { by: ({ name }) => name, isDescending: false };
  assert.deepEqual([names(shown(all, by)), names(shown(all, { ...by, first: 3 })), names(shown(all, { ...by, first: 6 }))], ['abc', 'def', 'g']);
  assert.deepEqual([shown(all, { ...by, first: 90 }).first, shown(all, { ...by, first: -3 }).first], [6, 0]);
});

test('those who spend now stand beside the month, also those of whom the month is not loaded', () => {
  const month = [{ key: 'ann', bytes: 9 * GB }, { key: null, bytes: GB }, { key: 'ben', bytes: 5 }];
  const lately = (seconds) => ({ seconds, spenders: [{ key: 'zoe', bytes: 75e6 }, { key: 'ben', bytes: 3 }, { key: null, bytes: 1 }] });
  const found = withNow(month, lately(300));
  assert.deepEqual(found.map(({ key, bytes, isListed }) => [key, bytes, isListed]), [['ann', 9 * GB, true], [null, GB, true], ['ben', 5, true], ['zoe', 0, false]]);
  assert.deepEqual(found.map(rateNow), ['–', '0 Mbps', '0 Mbps', '2 Mbps']);
  assert.equal(rateNow(withNow([], lately(60))[0]), '10 Mbps', 'the first minute of traffic');
  assert.deepEqual(withNow(month, null).map(rateNow), ['–', '–', '–']);
  assert.deepEqual([listPath('label'), listPath('label', 'a='), nowPath('user')], ['api/spenders?by=label&limit=200', 'api/spenders?by=label&limit=200&cursor=a%3D', 'api/spenders?by=user&limit=200&since=5m']);
});

test('a manager reads one line', () => {
  const of = { bytes: { used: 10 * GB }, cost: { soFar: '0.50', currency: 'USD', forecast: { usedBytes: 20 * GB, cost: '1.00' } } };
  const rows = [{ key: 'ann', bytes: 5 * GB }, { key: null, bytes: 3 * GB }, { key: 'ben', bytes: GB }, { key: 'eve', bytes: GB / 2 }, { key: 'zoe', bytes: GB / 2 }];
  assert.equal(summary(of, [{ usedBytes: 8 * GB, cost: '0.40', currency: 'EUR' }, { usedBytes: 1 }], rows, 'user'), 'This period so far 10.00 GB ($0.50); 20.00 GB ($1.00) at the reset; last period 8.00 GB (€0.40); largest users: ann 50.0 %, ben 10.0 %, eve 5.0 %.');
  assert.equal(summary({ ...of, cost: { ...of.cost, forecast: null } }, [], [], 'user'), 'This period so far 10.00 GB ($0.50).');
  assert.match(summary(of, [], rows.slice(1), 'user'), /; largest users: \(no user\) 30\.0 %, ben 10\.0 %, eve 5\.0 %\.$/);
});

test('the tab of whom an alert of the last hour names is shown first', () => {
  const alerts = [{ section: 'by-user', at: '2026-11-20T14:20:00Z' }, { section: 'by-key=app', at: '2026-11-20T13:25:00Z' }, { section: 'by-user=ann', at: '2026-11-20T13:24:00Z' }];
  assert.deepEqual(['14:24', '14:25'].map((now) => namedLately(alerts, `2026-11-20T${now}:00Z`)), ['by-key', undefined], 'the newest of the last hour');
});

test('an earlier period is asked for by its month, of what is kept', () => {
  assert.equal(listPath('key', '', '2026-10'), 'api/spenders?by=key&limit=200&period=2026-10');
  assert.deepEqual(Object.keys(TITLES).filter(isKept), ['user', 'label', 'key']);
});

test('the row without a key says so', () => {
  assert.equal(nameOf({ key: 'ann' }, 'user'), 'ann');
  assert.deepEqual(['user', 'label', 'origin', 'address', 'call'].map((by) => nameOf({ key: null }, by)), ['(no user)', '(no label)', '(no origin)', '(no address)', '(no call)']);
  assert.equal(credentials({ key: null, grants: 1200, usable: 0 }), '1,200', 'how many of them are usable is not known');
});

test('an empty list says how users and labels become known', () => {
  assert.match(noneOf('user'), /^No user has spent anything in this period\. .*AUTH_JWT_SECRET/);
  assert.equal(noneOf('user', true), 'No user has spent anything in this period.', 'the setting is set');
  assert.match(noneOf('label'), /\?label=/);
  assert.equal(noneOf('origin'), 'No origin has spent anything in this period.');
});

test('a share is of the usage of the period', () => {
  assert.deepEqual([share(GB, 4 * GB), share(1, GB), share(0, GB), share(GB, 0), share(2 * GB, GB)], ['25.0 %', '< 0.1 %', '0.0 %', '–', '100.0 %']);
});

test('shares add up to 100 % also while the list is newer than the usage of the period', () => {
  const rows = [{ bytes: 3 * GB }, { bytes: 2 * GB }, { bytes: GB }];
  assert.deepEqual([ofAll(rows, 3 * GB), ofAll(rows, 8 * GB)], [6 * GB, 8 * GB]);
  assert.deepEqual(rows.map(({ bytes }) => share(bytes, ofAll(rows, 3 * GB))), ['50.0 %', '33.3 %', '16.7 %']);
});

test('the bar of a spender is its share, also that of the largest', () => {
  assert.deepEqual([percent(GB, 4 * GB), percent(0, 0), percent(2 * GB, GB)], [25, 0, 100]);
});

test('the cost of a part is that part of the cost', () => {
  const of = (averagePerGB) => ({ averagePerGB, currency: 'USD' });
  assert.deepEqual([cost(GB, of(0.05)), cost(GB, of(0.025)), cost(GB, of(0)), cost(0, of(0.05))], ['$0.05', '$0.03', '$0.00', '$0.00']);
  assert.equal(cost(24.6e6, of(0.05)), '$0.0012', 'a short call costs less than a cent');
  assert.equal(cost(GB, averageOf({ cost: '4.00', usedBytes: 2 * GB, currency: 'EUR' })), '€2.00');
  assert.equal(cost(0, averageOf({ cost: '0.00', usedBytes: 0, currency: 'USD' })), '$0.00');
});

test('the members of a call are counted, with the users among them', () => {
  assert.equal(members([{ user: null }, { user: null }]), '2');
  assert.equal(members([{ user: 'ann' }, { user: null }, { user: 'ben' }]), '3: ann, ben');
});

test('a room whose clients hold no sockets cannot be ended', () => {
  assert.deepEqual(['ayame', 'p2pcf', 'peerjs'].map(canEnd), [true, false, true]);
  const ended = [{ protocol: 'ayame', members: 2 }, { protocol: 'rooms', members: 3 }];
  assert.equal(whatEnded({ room: 'standup', ended, revoked: 2 }), 'standup has ended: 5 members disconnected, 2 credentials revoked.');
});

test('the evidence for bytes is a word beside them', () => {
  assert.equal(evidence({ evidence: 'measured' }).word, 'measured');
  assert.equal(evidence({ evidence: 'claimed' }).word, 'claimed');
  assert.equal(credentials({ key: 'ann', grants: 1200, usable: 3 }), '3 usable of 1,200');
  assert.equal(credentials({ key: 'ann', grants: 1200, usable: 0 }, true), '1,200', 'in a past period');
});

test('the note says of when the list is, what is unknown, and that it is a part', () => {
  const list = (more) => note({ by: 'user', asOf: '2026-11-20T14:10:00Z', unknownBytes: 0, spenders: [{}, {}], next: null, ...more }, NOW);
  assert.equal(list(), 'as of 14:10.');
  const counted = note({ by: 'user', asOf: '2026-11-20T14:10:00Z', unknownBytes: 0, spenders: [], next: null }, NOW, { countedUntil: '2026-11-20T13:58:00Z' });
  assert.equal(counted, 'as of 14:10. Now: the last five minutes, or those counted up to 13:58 where they show more.');
  assert.equal(list({ unknownBytes: 3.2 * GB }), 'as of 14:10. 3.20 GB are of credentials that this ledger does not know.');
  assert.match(list({ next: 'c' }), / Search and order apply to the 2 rows loaded, the largest\.$/);
});

test('a revoked credential says so, whatever else it is', () => {
  const grant = { revokedAt: null, live: true, expiresAt: '2026-11-21T00:00:00Z' };
  assert.deepEqual(state(grant, NOW), { mark: 'good', word: 'live' });
  assert.deepEqual(state({ ...grant, revokedAt: '2026-11-20T14:20:00Z' }, NOW), { mark: 'bad', word: 'revoked 14:20' });
  const expired = { ...grant, expiresAt: '2026-11-20T14:00:00Z' };
  assert.equal(state(expired, NOW).word, 'in its tail');
  assert.equal(state({ ...expired, live: false }, NOW).word, 'expired');
  assert.deepEqual([isRevocable(grant), isRevocable({ ...grant, revokedAt: 'x' }), isRevocable({ ...grant, live: false })], [true, false, false]);
});

test('the note about what is blocked says whether all is listed', () => {
  const ann = { by: 'user', key: 'ann', until: null };
  assert.equal(blockedNote({ count: 0, blocks: [] }), 'Nobody is blocked.');
  assert.equal(blockedNote({ count: 1, blocks: [ann] }), '1 blocked.');
  assert.equal(blockedNote({ count: 1071, blocks: [ann, ann, ann] }), '1,071 blocked. These are the first 3.');
});

test('the grants of a spender are asked for by its key', () => {
  assert.equal(grantsPath('user', 'a&b c'), 'api/grants?user=a%26b%20c&limit=200');
  assert.equal(ago('2026-11-20T14:04:00Z', NOW), '20 min ago');
});
