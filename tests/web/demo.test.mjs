// The texts of the demo page: the states of a call, the figures, and the comparison of two counts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesAt, callWords, credentials, figures, guestStory, isDue, known, phaseMark, placed, rejectionReason, story, whyCut, worst } from '../../src/web/demo/words.js';

const MB = 1e6;

function overview({ used = 10, committed = 60, limit = 250, measured = used, ...status } = {}) {
  return {
    at: '2026-01-15T12:00:02Z',
    bytes: { used: used * MB, committed: committed * MB, limit: limit * MB, overshootBound: Math.max(0, committed - limit) * MB, measured: measured * MB },
    status: { status: used >= limit ? 'LIMIT_EXCEEDED' : 'OK', frozen: false, boundHolds: true, boundAssumes: '4 Mbps per grant until 0 s after expiry', asOf: '2026-01-15T12:00:01Z', grants: { live: 2 }, ...status },
  };
}

const storyOf = (now) => story({ phase: 'running', why: null, rejection: null, overview: overview(), secondsLeft: 90, inUse: 2, ...now });

test('a call ended by the budget, by a revocation or by expiry has its own reason', () => {
  assert.equal(whyCut({ isSpent: true, isRevoked: false, hasExpired: true }), 'spent');
  assert.equal(whyCut({ isSpent: true, isRevoked: true, hasExpired: false }), 'revoked');
  assert.equal(whyCut({ isSpent: false, isRevoked: false, hasExpired: true }), 'expired');
  assert.equal(whyCut({ isSpent: false, isRevoked: false, hasExpired: false }), 'lost');
  assert.equal(phaseMark({ phase: 'cut', why: 'spent' }).word, 'cut by the relay');
  assert.equal(phaseMark({ phase: 'cut', why: 'lost' }).word, 'path lost');
});

test('a spent budget quotes the broker’s message', () => {
  const rejection = { code: 'BUDGET_EXHAUSTED', message: 'Monthly bandwidth limit of 0.25 GB has been reached.' };
  const spent = overview({ used: 250 });
  const { mark, text } = storyOf({ phase: 'cut', why: 'spent', rejection, overview: spent });
  assert.equal(mark, 'bad');
  assert.match(text, /The broker gives no new credentials \(BUDGET_EXHAUSTED\): “Monthly bandwidth limit of 0\.25 GB has been reached\.”/);
  assert.match(text, /Raise the limit, then start again\.$/);
  assert.match(storyOf({ phase: 'rejected', rejection, overview: spent }).text, /429 BUDGET_EXHAUSTED.*Raise the limit/);
  assert.match(storyOf({ phase: 'rejected', rejection: { code: 'DISABLED', message: '' }, overview: overview({ frozen: true }) }).text, /Minting is stopped.*Allow minting again/);
  assert.match(storyOf({ phase: 'rejected', rejection: { code: 'NETWORK', message: 'no answer' } }).text, /\(NETWORK\): no answer/);
});

test('a rejection is not shown after its reason is gone', () => {
  const [disabled, spent] = [{ code: 'DISABLED', message: '' }, { code: 'BUDGET_EXHAUSTED', message: 'Spent.' }];
  for (const rejection of [disabled, spent]) {
    const now = { phase: 'rejected', why: null, rejection, overview: overview() };
    assert.deepEqual(storyOf(now), { mark: 'good', text: 'Minting works again. Start again.' });
    assert.deepEqual(phaseMark(now), { mark: 'quiet', word: 'no call' });
  }
  const raised = storyOf({ phase: 'cut', why: 'spent', rejection: spent });
  assert.match(raised.text, /Minting works again\. Start again\.$/);
  assert.doesNotMatch(raised.text, /gives no|Raise/);
  // Another obstacle has replaced the first.
  assert.match(storyOf({ phase: 'rejected', rejection: spent, overview: overview({ frozen: true }) }).text, /Allow minting again/);
  assert.match(storyOf({ phase: 'rejected', rejection: disabled, overview: overview({ used: 250 }) }).text, /gives no credentials\. Raise the limit/);
  assert.equal(phaseMark({ phase: 'rejected', rejection: disabled, overview: overview({ used: 250 }) }).word, 'rejected');
  assert.match(storyOf({ phase: 'cut', why: 'revoked', overview: overview({ frozen: true }) }).text, /Allow minting again, then start again\.$/);
  const fault = { phase: 'rejected', rejection: { code: 'NETWORK', message: 'no answer' }, overview: overview() };
  assert.deepEqual([storyOf(fault).mark, phaseMark(fault).word], ['bad', 'rejected'], 'no override lifts that');
});

test('each code has a reason in words', () => {
  assert.deepEqual(['DISABLED', 'BUDGET_EXHAUSTED', 'NETWORK', 'DEGRADED'].map(rejectionReason), ['minting is stopped', 'the budget is spent', 'the broker does not answer', 'the broker says DEGRADED']);
  assert.equal(rejectionReason('full'), 'two others are in the room');
  assert.match(storyOf({ phase: 'rejected', rejection: { code: 'full', message: '' } }).text, /^Two others are in this room/);
});

test('during a call the text names the most important fact', () => {
  assert.match(storyOf({}).text, /^The relay counts every byte/);
  assert.match(storyOf({ overview: overview({ committed: 300 }) }).text, /could take usage 50\.0 MB past the limit\. This is the overshoot bound\. This relay/);
  assert.match(storyOf({ overview: overview({ committed: 300, grants: { live: 6 } }) }).text, /Older credentials count until they expire\./);
  assert.match(storyOf({ overview: overview({ committed: 300, boundHolds: false }) }).text, /The ledger now uses the observed rate/);
  assert.match(storyOf({ overview: overview({ used: 245, committed: 300 }) }).text, /^5\.0 MB are left/);
  assert.match(storyOf({ overview: overview({ used: 245, frozen: true }), secondsLeft: 42 }).text, /stopped.*in about 42 s/);
});

test('the figures show usage, reservation and minting', () => {
  const words = figures(overview({ committed: 300 }), 7.14);
  assert.deepEqual([words.used, words.worst, words.limit, words.rate], ['10.0', { mark: 'warn', word: '300.0 MB' }, '250', '7.14 Mbps to both ends']);
  assert.equal(words.bound, '50.0 MB');
  assert.match(words.boundWhy, /^290\.0 MB are reserved: 4 Mbps for each credential, until it expires$/);
  assert.equal(words.minting.mark, 'good');
  const spent = overview({ used: 250, committed: 300 });
  const { worst: most, boundOf, bound, boundWhy } = figures(spent, null);
  assert.deepEqual([words.boundOf, boundOf], ['Past the limit in the worst case', 'Past the limit']);
  assert.deepEqual([most, bound, boundWhy], [{ mark: 'good', word: '250.0 MB' }, '0.0 MB', 'The relay stopped at the packet that reached it.']);
  assert.deepEqual([worst(overview({ committed: 300 })), worst(spent)], [300 * MB, 250 * MB]);
  assert.equal(figures(overview({ used: 250 }), null).minting.word, 'rejected: the limit is reached');
  assert.equal(figures(overview({ used: 250, frozen: true }), null).minting.word, 'minting is stopped');
});

test('two counts are compared at the same time', () => {
  const samples = [[1_000, 0], [2_000, 10 * MB], [3_000, 30 * MB]];
  assert.deepEqual([0, 1_000, 1_500, 2_500, 9_000].map((at) => bytesAt(samples, at)), [0, 0, 5 * MB, 20 * MB, 30 * MB]);
  assert.equal(bytesAt([], 5), 0);
  const asOf = Date.parse('2026-01-15T12:00:01Z');
  const around = [[asOf - 500, 9 * MB], [asOf + 500, 11 * MB]];
  assert.deepEqual(known(overview({ used: 11, measured: 10.05 }), around, 0), {
    how: 'measured at the relay, 1 s ago', page: '10.0 MB sent and received by this window since it was loaded, by the browser’s own statistics. The ledger differs by +0.5\u00a0%',
  });
  assert.match(known(overview({ measured: 9.9 }), around, 0).page, /\u22121\.0\s%$/);
  assert.match(known(overview(), [], 0).page, /appears during the first call/);
});

test('after a reload the page compares only what came since', () => {
  const asOf = Date.parse('2026-01-15T12:00:01Z');
  const samples = [[asOf - 500, 2 * MB], [asOf + 500, 4 * MB]];
  assert.match(known(overview({ measured: 52.58 }), samples, 49.55 * MB).page, /^3\.0 MB sent and received by this window.*\+1\.0\s%$/);
  assert.match(known(overview({ measured: 1 }), samples, 49.55 * MB).page, /appears/, 'a new period has begun');
});

test('the credentials list shows expiry and older credentials', () => {
  const held = [{ name: 'Ben', expiresAt: new Date(30_000) }, { name: 'Ann', expiresAt: new Date(61_000) }];
  assert.equal(credentials(held, 2, 1_000), '2 live; Ann’s expires in 60 s; Ben’s expires in 29 s');
  assert.match(credentials(held, 6, 1_000), /; 4 older ones count until they expire$/);
  assert.equal(credentials([], 4, 1_000), '4 live, from earlier calls; they count until they expire');
  assert.equal(credentials([], 0, 1_000), 'none live');
});

test('both join again shortly before a credential expires, and not after', () => {
  const held = [{ expiresAt: new Date(180_000) }, { expiresAt: new Date(100_000) }];
  assert.deepEqual([0, 85_000, 85_001, 99_999, 100_000].map((at) => isDue(held, new Date(at))), [false, false, true, true, false]);
  assert.equal(isDue([], new Date(0)), false);
});

test('a room has its bytes and its cost', () => {
  const priced = { ...overview({ used: 50 }), cost: { averagePerGB: 0.05, currency: 'USD' } };
  assert.equal(callWords(50 * MB, priced), '50.0 MB in this room, $0.0025');
  assert.deepEqual([callWords(null, priced), callWords(0, priced)], Array(2).fill('nothing in this room yet'));
});

test('a room that ended or waits is no cut', () => {
  assert.deepEqual(['waiting', 'left'].map((phase) => phaseMark({ phase }).word), ['waiting', 'the room has ended']);
  assert.match(storyOf({ phase: 'waiting' }).text, /starts when the second window is there/);
  assert.match(storyOf({ phase: 'left' }).text, /the second window left, or the operator ended it/);
});

test('the second window says what it waits for', () => {
  const words = ['joining', 'waiting', 'connecting', 'connected'].map((state) => guestStory(state, '').word);
  assert.deepEqual(words, ['joining', 'waiting', 'connecting', 'in call, relayed']);
  assert.deepEqual(['no relay', 'full', 'closed', 'bye'].map((why) => guestStory('ended', why).word), ['no relay', 'full', 'no answer', 'the room has ended']);
});

test('words above the chart do not overlap, and the latest one is shown', () => {
  const words = [0, 10, 20, 30, 40, 400, 990].map((x) => ({ x, width: 60 }));
  const places = placed(words, { right: 1_000, rows: 3 });
  assert.deepEqual(places.map((place) => place && place.row), [null, null, 2, 1, 0, 0, 0]);
  assert.deepEqual(places.map((place) => place?.isLeft ?? null), [null, null, false, false, false, false, true]);
  const spans = words.map(({ x, width }, index) => ({ ...places[index], from: places[index]?.isLeft ? x - width : x, width })).filter(({ row }) => row !== undefined);
  for (const one of spans) {
    for (const other of spans) assert.ok(one === other || one.row !== other.row || one.from + one.width <= other.from || other.from + other.width <= one.from);
  }
});
