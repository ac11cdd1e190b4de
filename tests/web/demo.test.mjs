// What the demo's page says: each state of a call in words, the figures, and two counts held against each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesAt, credentials, figures, known, phaseMark, story, whyCut } from '../../src/web/demo/words.js';

const MB = 1e6;

function overview({ used = 10, committed = 60, limit = 250, measured = used, ...status } = {}) {
  return {
    at: '2026-01-15T12:00:02Z',
    bytes: { used: used * MB, committed: committed * MB, limit: limit * MB, overshootBound: Math.max(0, committed - limit) * MB, measured: measured * MB },
    status: { status: used >= limit ? 'LIMIT_EXCEEDED' : 'OK', frozen: false, boundHolds: true, boundAssumes: '4 Mbps per grant until 0 s after expiry', asOf: '2026-01-15T12:00:01Z', ...status },
  };
}

const said = (now) => story({ phase: 'running', why: null, refusal: null, overview: overview(), secondsLeft: 90, ...now });

test('a call that the budget ended is told from one that an order ended, and from one whose credentials ran out', () => {
  assert.equal(whyCut({ isSpent: true, isRevoked: false, hasExpired: true }), 'spent');
  assert.equal(whyCut({ isSpent: true, isRevoked: true, hasExpired: false }), 'revoked');
  assert.equal(whyCut({ isSpent: false, isRevoked: false, hasExpired: true }), 'expired');
  assert.equal(whyCut({ isSpent: false, isRevoked: false, hasExpired: false }), 'lost');
  assert.equal(phaseMark('cut', 'spent').word, 'cut by the relay');
  assert.equal(phaseMark('cut', 'lost').word, 'path lost');
});

test('a spent budget is told with the broker’s own words', () => {
  const refusal = { code: 'BUDGET_EXHAUSTED', message: 'Monthly bandwidth limit of 0.25 GB has been reached.' };
  const { mark, text } = said({ phase: 'cut', why: 'spent', refusal });
  assert.equal(mark, 'bad');
  assert.match(text, /A new credential is refused \(BUDGET_EXHAUSTED\): “Monthly bandwidth limit of 0\.25 GB has been reached\.”/);
  assert.match(said({ phase: 'refused', refusal }).text, /429 BUDGET_EXHAUSTED/);
  assert.match(said({ phase: 'refused', refusal: { code: 'DISABLED', message: '' } }).text, /frozen/);
  assert.match(said({ phase: 'refused', refusal: { code: 'NETWORK', message: 'no answer' } }).text, /\(NETWORK\): no answer/);
});

test('while a call runs, what matters most is said', () => {
  assert.match(said({}).text, /^Every byte/);
  assert.match(said({ overview: overview({ committed: 300 }) }).text, /could take the limit 50\.0 MB too far/);
  assert.match(said({ overview: overview({ committed: 300, boundHolds: false }) }).text, /The ledger has noticed/);
  assert.match(said({ overview: overview({ used: 245, committed: 300 }) }).text, /^5\.0 MB are left/);
  assert.match(said({ overview: overview({ used: 245, frozen: true }), secondsLeft: 42 }).text, /frozen.*in about 42 s/);
});

test('the figures say what is used, promised and minted', () => {
  const words = figures(overview({ committed: 300 }), 7.14);
  assert.deepEqual([words.used, words.limit, words.rate, words.bound.word], ['10.0', '250', '7.1 Mbps to both ends', '50.0 MB']);
  assert.match(words.boundWhy, /^290\.0 MB are promised: 4 Mbps per grant/);
  assert.equal(words.minting.mark, 'good');
  assert.equal(figures(overview({ used: 250 }), null).minting.word, 'refused: the limit is reached');
  assert.equal(figures(overview({ used: 250, frozen: true }), null).minting.word, 'minting is frozen');
});

test('two counts are held against each other at the same instant', () => {
  const looks = [[1_000, 0], [2_000, 10 * MB], [3_000, 30 * MB]];
  assert.deepEqual([0, 1_000, 1_500, 2_500, 9_000].map((at) => bytesAt(looks, at)), [0, 0, 5 * MB, 20 * MB, 30 * MB]);
  assert.equal(bytesAt([], 5), 0);
  const asOf = Date.parse('2026-01-15T12:00:01Z');
  const around = [[asOf - 500, 9 * MB], [asOf + 500, 11 * MB]];
  assert.deepEqual(known(overview({ used: 11, measured: 10.05 }), around), {
    how: 'measured at the relay, 1 s ago', page: '10.0 MB by the browser’s own statistics: the ledger has +0.5 %',
  });
  assert.match(known(overview({ measured: 9.9 }), around).page, /\u22121\.0 %$/);
  assert.match(known(overview(), []).page, /appears with the first call/);
});

test('each end’s credential is told with its end and its renewals', () => {
  const held = [{ name: 'Ann', renewals: 0, expiresAt: new Date(61_000) }, { name: 'Ben', renewals: 2, expiresAt: new Date(30_000) }, { name: 'Eve', renewals: 0, expiresAt: null }];
  assert.equal(credentials(held, 3, 1_000), '3 alive; Ann’s ends in 60 s; Ben’s ends in 29 s, renewed 2×');
});
