// What the demo's page says: each state of a call in words, the figures, and two counts held against each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesAt, credentials, figures, known, phaseMark, placed, refusedBecause, story, whyCut } from '../../src/web/demo/words.js';

const MB = 1e6;

function overview({ used = 10, committed = 60, limit = 250, measured = used, ...status } = {}) {
  return {
    at: '2026-01-15T12:00:02Z',
    bytes: { used: used * MB, committed: committed * MB, limit: limit * MB, overshootBound: Math.max(0, committed - limit) * MB, measured: measured * MB },
    status: { status: used >= limit ? 'LIMIT_EXCEEDED' : 'OK', frozen: false, boundHolds: true, boundAssumes: '4 Mbps per grant until 0 s after expiry', asOf: '2026-01-15T12:00:01Z', grants: { live: 2 }, ...status },
  };
}

const said = (now) => story({ phase: 'running', why: null, refusal: null, overview: overview(), secondsLeft: 90, inUse: 2, ...now });

test('a call that the budget ended is told from one that an order ended, and from one whose credentials ran out', () => {
  assert.equal(whyCut({ isSpent: true, isRevoked: false, hasExpired: true }), 'spent');
  assert.equal(whyCut({ isSpent: true, isRevoked: true, hasExpired: false }), 'revoked');
  assert.equal(whyCut({ isSpent: false, isRevoked: false, hasExpired: true }), 'expired');
  assert.equal(whyCut({ isSpent: false, isRevoked: false, hasExpired: false }), 'lost');
  assert.equal(phaseMark({ phase: 'cut', why: 'spent' }).word, 'cut by the relay');
  assert.equal(phaseMark({ phase: 'cut', why: 'lost' }).word, 'path lost');
});

test('a spent budget is told with the broker’s own words', () => {
  const refusal = { code: 'BUDGET_EXHAUSTED', message: 'Monthly bandwidth limit of 0.25 GB has been reached.' };
  const spent = overview({ used: 250 });
  const { mark, text } = said({ phase: 'cut', why: 'spent', refusal, overview: spent });
  assert.equal(mark, 'bad');
  assert.match(text, /A new credential is refused \(BUDGET_EXHAUSTED\): “Monthly bandwidth limit of 0\.25 GB has been reached\.”/);
  assert.match(text, /Raise the limit, and start again\.$/);
  assert.match(said({ phase: 'refused', refusal, overview: spent }).text, /429 BUDGET_EXHAUSTED.*Raise the limit/);
  assert.match(said({ phase: 'refused', refusal: { code: 'DISABLED', message: '' }, overview: overview({ frozen: true }) }).text, /Minting is stopped.*Allow minting again/);
  assert.match(said({ phase: 'refused', refusal: { code: 'NETWORK', message: 'no answer' } }).text, /\(NETWORK\): no answer/);
});

test('what was refused is not told once it would be granted', () => {
  const [disabled, spent] = [{ code: 'DISABLED', message: '' }, { code: 'BUDGET_EXHAUSTED', message: 'Spent.' }];
  for (const refusal of [disabled, spent]) {
    const now = { phase: 'refused', why: null, refusal, overview: overview() };
    assert.deepEqual(said(now), { mark: 'good', text: 'Minting again: start the call.' });
    assert.deepEqual(phaseMark(now), { mark: 'quiet', word: 'no call' });
  }
  const raised = said({ phase: 'cut', why: 'spent', refusal: spent });
  assert.match(raised.text, /Minting again: start the call\.$/);
  assert.doesNotMatch(raised.text, /refused|Raise/);
  // Another hindrance has come in the place of the first.
  assert.match(said({ phase: 'refused', refusal: spent, overview: overview({ frozen: true }) }).text, /Allow minting again/);
  assert.match(said({ phase: 'refused', refusal: disabled, overview: overview({ used: 250 }) }).text, /gives no credential\. Raise the limit/);
  assert.equal(phaseMark({ phase: 'refused', refusal: disabled, overview: overview({ used: 250 }) }).word, 'refused');
  assert.match(said({ phase: 'cut', why: 'revoked', overview: overview({ frozen: true }) }).text, /allow it again, and start again/);
  const fault = { phase: 'refused', refusal: { code: 'NETWORK', message: 'no answer' }, overview: overview() };
  assert.deepEqual([said(fault).mark, phaseMark(fault).word], ['bad', 'refused'], 'no order takes that back');
});

test('why there is no credential is a sentence', () => {
  assert.deepEqual(['DISABLED', 'BUDGET_EXHAUSTED', 'NETWORK', 'DEGRADED'].map(refusedBecause), ['minting is stopped', 'the budget is spent', 'the broker does not answer', 'the broker says DEGRADED']);
});

test('while a call runs, what matters most is said', () => {
  assert.match(said({}).text, /^Every byte/);
  assert.match(said({ overview: overview({ committed: 300 }) }).text, /could take usage 50\.0 MB past the limit: that is the bound\. This relay/);
  assert.match(said({ overview: overview({ committed: 300, grants: { live: 6 } }) }).text, /of a call before.*still count, until they expire/);
  assert.match(said({ overview: overview({ committed: 300, boundHolds: false }) }).text, /The ledger has noticed/);
  assert.match(said({ overview: overview({ used: 245, committed: 300 }) }).text, /^5\.0 MB are left/);
  assert.match(said({ overview: overview({ used: 245, frozen: true }), secondsLeft: 42 }).text, /stopped.*in about 42 s/);
});

test('the figures say what is used, promised and minted', () => {
  const words = figures(overview({ committed: 300 }), 7.14);
  assert.deepEqual([words.used, words.limit, words.rate, words.bound.word], ['10.0', '250', '7.1 Mbps to both ends', '50.0 MB']);
  assert.match(words.boundWhy, /^290\.0 MB are promised: 4 Mbps for each credential, until it expires$/);
  assert.equal(words.minting.mark, 'good');
  assert.equal(figures(overview({ used: 250 }), null).minting.word, 'refused: the limit is reached');
  assert.equal(figures(overview({ used: 250, frozen: true }), null).minting.word, 'minting is stopped');
});

test('two counts are held against each other at the same instant', () => {
  const looks = [[1_000, 0], [2_000, 10 * MB], [3_000, 30 * MB]];
  assert.deepEqual([0, 1_000, 1_500, 2_500, 9_000].map((at) => bytesAt(looks, at)), [0, 0, 5 * MB, 20 * MB, 30 * MB]);
  assert.equal(bytesAt([], 5), 0);
  const asOf = Date.parse('2026-01-15T12:00:01Z');
  const around = [[asOf - 500, 9 * MB], [asOf + 500, 11 * MB]];
  assert.deepEqual(known(overview({ used: 11, measured: 10.05 }), around, 0), {
    how: 'measured at the relay, 1 s ago', page: '10.0 MB since this page was loaded, by the browser’s own statistics: the ledger has +0.5\u00a0%',
  });
  assert.match(known(overview({ measured: 9.9 }), around, 0).page, /\u22121\.0\s%$/);
  assert.match(known(overview(), [], 0).page, /appears with the first call/);
});

test('a page that is loaded again compares what came since', () => {
  const asOf = Date.parse('2026-01-15T12:00:01Z');
  const looks = [[asOf - 500, 2 * MB], [asOf + 500, 4 * MB]];
  assert.match(known(overview({ measured: 52.58 }), looks, 49.55 * MB).page, /^3\.0 MB since this page was loaded.*\+1\.0\s%$/);
  assert.match(known(overview({ measured: 1 }), looks, 49.55 * MB).page, /appears/, 'a new period has begun');
});

test('each end’s credential is told with its end and its renewals, and those of before are told too', () => {
  const held = [{ name: 'Ann', renewals: 0, expiresAt: new Date(61_000) }, { name: 'Ben', renewals: 2, expiresAt: new Date(30_000) }];
  assert.equal(credentials(held, 2, 1_000), '2 alive; Ann’s expires in 60 s; Ben’s expires in 29 s, renewed 2×');
  assert.equal(credentials([{ name: 'Eve', renewals: 0, expiresAt: null }], 1, 1_000), '1 alive');
  assert.match(credentials(held, 6, 1_000), /; 4 given before still count, until they expire$/);
  assert.equal(credentials([], 4, 1_000), '4 alive, of calls before: they still count, until they expire');
  assert.equal(credentials([], 0, 1_000), 'none alive');
});

test('no two words above the chart meet, and the latest has a place whatever came before', () => {
  const words = [0, 10, 20, 30, 40, 400, 990].map((x) => ({ x, width: 60 }));
  const places = placed(words, { right: 1_000, rows: 3 });
  assert.deepEqual(places.map((place) => place && place.row), [null, null, 2, 1, 0, 0, 0]);
  assert.deepEqual(places.map((place) => place?.isLeft ?? null), [null, null, false, false, false, false, true]);
  const spans = words.map(({ x, width }, index) => ({ ...places[index], from: places[index]?.isLeft ? x - width : x, width })).filter(({ row }) => row !== undefined);
  for (const one of spans) {
    for (const other of spans) assert.ok(one === other || one.row !== other.row || one.from + one.width <= other.from || other.from + other.width <= one.from);
  }
});
