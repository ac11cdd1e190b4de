// The pages' logic without a browser: curves and verdicts of the dashboard, and the findings of the relay check.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Fault, ask, token } from '../../src/web/dashboard/broker.js';
import { amounts, assumed, mbps, size, span, time, typedNumber, withTimes } from '../../src/web/dashboard/format.js';
import { curves, firstRange, lanes, marks, period, rates, tableRows, unknown } from '../../src/web/dashboard/series.js';
import * as verdicts from '../../src/web/dashboard/verdicts.js';
import { reliability, bound, callerRows, freezeNote, grants, hintNotes, limitNote, listed, minting, pastRows, providerRows, providerState, relayRows, revocations } from '../../src/web/dashboard/verdicts.js';
import { findings, outcome } from '../../src/web/relay-check/findings.js';
import { attempts, gatherAll, hasEnded, parse, reach, secondsMax } from '../../src/web/relay-check/gather.js';
import { answerRows, errorLines, progressLine, progressWord, report } from '../../src/web/relay-check/report.js';

const HOUR = 3600;
const DAY = 24 * HOUR;
const GB = 1e9;

/** Day 10 of a period of 30 days, with 1 GB in each of the last `hours`. */
function world(hours, more = {}) {
  const now = 10 * DAY;
  const points = Array.from({ length: 240 }, (_, n) => ({ at: n * HOUR, usedBytes: n >= 240 - hours ? GB : 0, liveGrants: 0 }));
  return { start: 0, reset: 30 * DAY, now, step: HOUR, points, isMeasured: false, used: hours * GB, limit: 1000 * GB, startedAt: now, recordedFrom: now, ...more };
}

test('the used curve is the sum of the points and ends at the used figure', () => {
  const { x, used, dashed, expected, limit } = curves(world(240), 700 * GB);
  assert.deepEqual([x[0], x.at(-1)], [0, 30 * DAY]);
  assert.equal(used[x.indexOf(5 * DAY)], 120 * GB);
  assert.equal(used[x.indexOf(10 * DAY)], 240 * GB);
  assert.equal(used.at(-1), null, 'there is no usage in the future');
  assert.ok(dashed.every((value) => value === null));
  assert.deepEqual([expected[x.indexOf(10 * DAY)], expected.at(-1)], [240 * GB, 700 * GB]);
  assert.ok(limit.every((value) => value === 1000 * GB));
});

test('an unfinished step ends now', () => {
  const now = 10 * DAY - 1200;
  const { x, used } = curves(world(240, { now, used: 239.5 * GB }), null);
  assert.deepEqual([x.at(-2), x.at(-1)], [now, 30 * DAY]);
  assert.deepEqual(used.slice(-3), [239 * GB, 239.5 * GB, null]);
});

test('without a count, the time before the first credential is a gap', () => {
  const known = world(48);
  assert.deepEqual(unknown(known), [{ from: 0, to: 8 * DAY }]);
  const { x, used, dashed } = curves(known, null);
  assert.deepEqual([used[0], used[x.indexOf(4 * DAY)]], [null, null]);
  assert.equal(used[x.indexOf(8 * DAY)], 0);
  assert.ok(dashed.every((value) => value === null), 'nothing is known of it, not even the sum');
  assert.deepEqual(unknown(world(0)), [], 'nothing was ever used');
  const points = known.points.map((point, n) => (n === 0 ? { ...point, liveGrants: 1 } : point));
  assert.deepEqual(unknown({ ...known, points }), [], 'without live credentials nothing is relayed');
  assert.deepEqual(unknown({ ...known, recordedFrom: 5 * DAY }), [{ from: 0, to: 5 * DAY }], 'the broker ran, and nobody came');
});

test('with counts, a stretch without a record is dashed between its known ends', () => {
  const points = world(240).points.map((point, n) => ({ ...point, liveGrants: n < 100 ? 1 : 0 }));
  const measured = world(240, { isMeasured: true, points, startedAt: 140 * HOUR });
  const quiet = measured.points.map((point) => ({ ...point, usedBytes: 0 }));
  assert.deepEqual(unknown({ ...measured, points: quiet }), [], 'nothing was used');
  assert.deepEqual(unknown(measured), [{ from: 100 * HOUR, to: 140 * HOUR }]);
  const { x, used, dashed } = curves(measured, null);
  const value = (list, hour) => list[x.indexOf(hour * HOUR)];
  assert.deepEqual([value(used, 100), value(used, 120), value(used, 140)], [100 * GB, null, 140 * GB]);
  assert.deepEqual([value(dashed, 99), value(dashed, 100), value(dashed, 120), value(dashed, 140), value(dashed, 141)], [null, 100 * GB, 120 * GB, 140 * GB, null]);
  const { mbps } = rates(measured, unknown(measured));
  assert.deepEqual([mbps[99] > 0, mbps[100], mbps[139], mbps[140] > 0], [true, null, null, true]);
});

test('the stretch before the start is unknown, and one with live credentials is known', () => {
  const points = world(240).points.map((point, n) => ({ ...point, liveGrants: n < 48 ? 0 : 3 }));
  const measured = world(240, { isMeasured: true, points });
  assert.deepEqual(unknown(measured), [{ from: 0, to: 2 * DAY }]);
  const { used, dashed } = curves(measured, null);
  assert.deepEqual([used[0], dashed[0]], [null, 0]);
});

test('the average of an unfinished step covers the elapsed time only', () => {
  const { mbps, live } = rates({ step: HOUR, now: HOUR + 8, points: [{ at: 0, usedBytes: 450e6, liveGrants: 3 }, { at: HOUR, usedBytes: 1e6, liveGrants: 4 }] }, []);
  assert.deepEqual([mbps, live], [[1, 1], [3, 4]]);
});

test('the chart as a table has the alerts and the start, the latest step first', () => {
  const happened = marks([{ at: new Date(70_000).toISOString(), event: 'budget.used_80' }], { startedAt: 0 });
  assert.deepEqual(tableRows({ x: [0, 60], mbps: [null, 3.456], live: [null, 2] }, 60, happened), [
    { at: 60, mbps: '3.46', live: 2, marks: 'budget used 80' },
    { at: 0, mbps: '–', live: '–', marks: 'start' },
  ]);
});

test('names of marks get the first lane in which they touch no other, or none', () => {
  const name = (/** @type {number} */ left, length = 50) => ({ left, right: left + length });
  assert.deepEqual(lanes([name(0), name(40), name(60), name(91), name(95), name(20, 500)], 3), [0, 1, 0, 1, 2, -1]);
  assert.deepEqual(lanes([name(0)], 0), [-1]);
});

test('timestamps become seconds', () => {
  const usage = { pastPeriods: [], periodStart: '1970-01-01T00:00:10.000Z', resetDate: '1970-01-31T00:00:00.000Z', stepSeconds: 60, points: [{ at: '1970-01-01T00:01:00.000Z', usedBytes: 1, liveGrants: 2 }] };
  const latest = { at: '1970-01-02T00:00:00.000Z', uptimeSeconds: 400, bytes: { used: 4, limit: 5 }, status: { asOf: null } };
  const made = period(usage, latest);
  assert.equal(made.recordedFrom, DAY - 400, 'the start of the process');
  const before = { ...usage, pastPeriods: [{ usedBytes: 0 }] };
  assert.equal(period(before, latest).recordedFrom, 10, 'the ledger is older than the period');
  assert.deepEqual([made.start, made.now, made.points[0].at, made.isMeasured, made.used, made.limit], [10, DAY, 60, false, 4, 5]);
});

/** A healthy overview with these changes to its status and to other fields. */
const overview = (status = {}, more = {}) => ({
  at: '2026-11-20T14:24:00.000Z',
  status: { frozen: false, status: 'OK', asOf: '2026-11-20T14:10:00.000Z', stale: false, durable: true, boundHolds: true, boundAssumes: '2 Mbps', overshootBoundGB: '0.00', observedMbpsPerGrant: 0.7, hints: [], minting: { on: true, code: null, message: null, until: null }, grants: { issued: 10, live: 2, reported: 8 }, ...status },
  bytes: { used: 2 * GB, committed: 3 * GB, limit: 10 * GB, overshootBound: 0, likelyOvershoot: 0, measured: 1.9 * GB },
  usable: 1, rate: { mbps: 1, until: '2026-11-20T14:10:00.000Z', limitAt: null }, alertPercents: [50, 80, 95, 100], provider: { keys: [{ up: true }], failure: null }, connections: { opened: 8, closed: 8, givenUp: 0, claimsClamped: 0 },
  callers: { answers: [], refusals: [], addressRefused: 0 }, revoked: [], ...more,
});

test('what the broker ends by itself is one sentence with the count left', () => {
  const said = (isAtLimit, left, revoked) => verdicts.ending({ ending: { isAtLimit, left, revoked } });
  assert.equal(said(false, 0, 7), '', 'it is over');
  assert.equal(said(true, 1280, 20), 'The limit is reached by counted and vouched bytes: all live credentials are being revoked (AT_LIMIT), 1,280 left, 20 done since the start.');
  assert.match(said(true, 0, 1300), /0 left, 1,300 done/);
  assert.match(said(false, 2, 1), /^Revoked credentials wait for an answer of Cloudflare, 2 left/);
});

test('several replicas are listed, with the one that leads', () => {
  assert.equal(verdicts.replicas({ replicas: [] }), '');
  const replicas = [{ url: 'http://a', leads: true }, { url: 'http://b', leads: false }];
  assert.equal(verdicts.replicas({ replicas }), 'http://a (leads) · http://b · ');
});

test('the headline says whether metered credentials are minted as the broker states it', () => {
  assert.deepEqual(minting(overview()), { mark: 'good', word: 'Minting', why: '' });
  const stopped = minting(overview({ minting: { on: false, code: 'CLOCK_DISAGREES', message: 'Correct it.', until: null } }));
  assert.deepEqual(stopped, { mark: 'bad', word: 'Not minting: CLOCK_DISAGREES', why: 'Correct it.' });
});

test('all that the page says of the provider agrees, with its answer and the remedy', () => {
  const failure = { what: 'answered 401 Unauthorized', remedy: 'compare CLOUDFLARE_TURN_API_TOKEN with the dashboard’s' };
  const down = { keys: [{ up: false }, { up: false }], failure };
  assert.deepEqual(providerState(down), { mark: 'bad', word: 'Cloudflare does not mint', why: 'Answered 401 Unauthorized. Compare CLOUDFLARE_TURN_API_TOKEN with the dashboard’s.' });
  const one = { keys: [{ up: true }, { up: false }], failure: null };
  assert.equal(providerState(one).word, 'Cloudflare mints', 'one key works');
  assert.equal(providerState({ keys: [], failure: null }).mark, 'good', 'the first key is being created');
  assert.equal(providerState(null).word, 'no network provider');
});

test('the gravest hints come first', () => {
  const hints = [['ASSUMPTION', 'info'], ['NOT_DURABLE', 'warning'], ['NO_REPORTS', 'critical'], ['CLOCK_WRONG', 'warning'], ['DISABLED', 'critical']]
    .map(([code, severity]) => ({ code, severity, message: 'text' }));
  const notes = hintNotes(overview({ hints })).map(({ code, mark }) => `${code} ${mark}`);
  assert.deepEqual(notes, ['NO_REPORTS bad', 'DISABLED bad', 'NOT_DURABLE warn', 'CLOCK_WRONG warn', 'ASSUMPTION quiet']);
});

test('the reliability verdict depends on who counted the usage', () => {
  const good = reliability(overview());
  assert.deepEqual([good.mark, good.word], ['good', 'Yes: measured']);
  assert.match(good.why, /counted 1\.90 GB up to 14:10, 14 min ago\. 0\.10 GB since then are estimated/);
  assert.equal(reliability(overview({ stale: true })).mark, 'warn');
  const half = reliability(overview({}, { bytes: { used: 2 * GB, measured: GB } }));
  assert.deepEqual([half.mark, half.word], ['warn', 'Partly: 50 % is estimated']);
  assert.match(half.why, /1\.00 GB since then are estimated/);
  assert.equal(reliability(overview({}, { bytes: { used: 2 * GB, measured: 0 } })).word, 'No: all of it is estimated');
  const leak = (until) => reliability(overview({}, { rate: { mbps: 800, until, limitAt: null } }));
  assert.equal(leak('2026-11-20T14:24:00.000Z').mark, 'good');
  assert.deepEqual([leak('2026-11-20T14:12:00.000Z').mark, leak('2026-11-20T14:12:00.000Z').word], ['warn', 'Partly: 14 min are not counted yet']);
  assert.equal(reliability(overview({ asOf: null })).mark, 'warn');
  assert.equal(reliability(overview({ asOf: null, hints: [{ code: 'NO_REPORTS' }] })).mark, 'bad');
  const forgetful = reliability(overview({ durable: false }));
  assert.deepEqual([forgetful.mark, forgetful.word], ['warn', 'Yes: measured, but in memory only']);
  assert.match(forgetful.why, /A restart forgets it/);
});

test('the page names the source that counts usage', () => {
  assert.match(reliability(overview()).why, /^Cloudflare counted 1\.90 GB/);
  assert.match(bound(overview({ observedMbpsPerGrant: null })).why, /Not yet tested against Cloudflare’s count\.$/);
  assert.match(reliability(overview({}, { provider: null })).why, /^The relay counted 1\.90 GB/);
  assert.match(bound(overview({ observedMbpsPerGrant: null }, { provider: null })).why, /Not yet tested against the relay’s count\.$/);
});

test('with Cloudflare and without its analytics, the page does not mention a relay', () => {
  const hints = [['NO_ANALYTICS', 'warning'], ['NO_REPORTS', 'critical']].map(([code, severity]) => ({ code, severity, message: 'The estimate cannot see usage.' }));
  for (const asOf of [null, '2026-11-20T14:10:00.000Z']) {
    for (const status of [{}, { observedMbpsPerGrant: null }, { boundHolds: false }]) {
      const unread = overview({ asOf, hints, ...status });
      const texts = [reliability(unread).why, bound(unread).why, ...hintNotes(unread).map(({ text }) => text)];
      assert.doesNotMatch(texts.join(' '), /relay/i);
    }
  }
  assert.match(reliability(overview({ asOf: null, hints: hints.slice(0, 1) })).why, /Cloudflare’s count is not read\./);
  assert.match(bound(overview({ asOf: null, observedMbpsPerGrant: null, hints })).why, /Not tested: Cloudflare’s count is not read\.$/);
  assert.deepEqual(hintNotes(overview({ hints })).map(({ mark }) => mark), ['bad', 'warn'], 'a count that is not read shows no usage');
});

test('an observed rate above the assumed one is no evidence for the assumption', () => {
  const above = bound(overview({ boundAssumes: '2 Mbps per grant until 7200 s after expiry', observedMbpsPerGrant: 5.333 }));
  assert.doesNotMatch(above.why, /holds/);
  assert.match(above.why, /The recent average is 5\.33 Mbps, within the margin of the counts\.$/);
  assert.match(bound(overview({ observedMbpsPerGrant: 2 })).why, /It holds: 2 Mbps were observed/);
});

test('without a metered source there is no assumption to test', () => {
  const unmetered = overview({ asOf: null, boundAssumes: 'no metered source is configured', observedMbpsPerGrant: null }, { provider: null });
  assert.equal(bound(unmetered).why, 'No metered source is configured.');
});

test('the note beside a button is true before and after the click', () => {
  assert.match(freezeNote({ frozen: false }), /^If stopped, new callers get STUN only\./);
  assert.match(freezeNote({ frozen: true }), /^New callers now get STUN only\./);
  const note = (gb, configured) => limitNote({ status: { bandwidthLimitGB: gb }, bytes: { limit: gb * GB, configuredLimit: configured * GB } });
  assert.equal(note(0.5, 0.5), 'Now 0.5 GB, as configured.');
  assert.equal(note(1500, 1000), 'Now 1500 GB, by an override; the configured limit is 1000 GB.');
});

test('a bound that the data contradict is shown as unreliable', () => {
  assert.equal(bound(overview()).mark, 'good');
  assert.match(bound(overview()).why, /holds: 0\.7 Mbps/);
  assert.match(bound(overview({ boundAssumes: '4 Mbps per grant until 7200 s after expiry' })).why, /^Assumes 4 Mbps for each credential, until 2 h after it expires\./);
  const broken = bound(overview({ boundHolds: false, overshootBoundGB: '4.00' }));
  assert.deepEqual([broken.mark, broken.word], ['bad', '4.00 GB, unreliable']);
  assert.match(broken.why, /The hints say why/);
});

test('a bound above the limit is a warning only with its hint, and says what is likely', () => {
  const above = (likelyOvershoot, hints = []) => bound(overview({ hints, overshootBoundGB: '405.00' }, { bytes: { limit: 10 * GB, used: 0, committed: 415 * GB, overshootBound: 405 * GB, likelyOvershoot } }));
  assert.deepEqual([above(0).mark, above(0).word], ['quiet', '405.00 GB'], 'not green, because the bar shows it in red');
  assert.match(above(0).why, /^Assumes 2 Mbps\. At the highest hourly rate that was counted, 0\.00 GB\. It holds/);
  assert.doesNotMatch(above(null).why, /hourly/, 'nothing is counted');
  assert.equal(above(3 * GB, [{ code: 'BOUND_ABOVE_LIMIT' }]).mark, 'warn');
});

test('the present rate says what it is the average of', () => {
  const rate = (mbps, until = '2026-11-20T14:24:00.000Z') => verdicts.rate(overview({}, { rate: { mbps, until, limitAt: null } }));
  assert.deepEqual(rate(3.2), { word: '3.2 Mbps', why: 'The last five minutes. 1.44 GB an hour.' });
  assert.deepEqual([rate(0).word, rate(41.7).word], ['0 Mbps', '42 Mbps']);
  assert.match(rate(3.2, '2026-11-20T14:10:00.000Z').why, /^The five minutes up to 14:10, by Cloudflare’s count\. Less was reported since\./);
});

test('the limit at this rate is an instant, or not before the reset', () => {
  const limitAt = (instant, more = {}) => verdicts.limitAt(overview({}, {
    rate: { mbps: 3.2, until: '', limitAt: instant }, cost: { forecast: { usedBytes: 9 * GB, since: '2026-11-18T09:00:00.000Z' } }, ...more,
  }));
  assert.deepEqual(limitAt(null), { mark: 'good', word: 'not before the reset', why: 'The average since 18 Nov leads to 9.00 GB at the reset.' });
  assert.deepEqual([limitAt('2026-11-25T09:30:00Z').mark, limitAt('2026-11-25T09:30:00Z').word], ['warn', 'about 25 Nov, 09:30']);
  assert.deepEqual([limitAt('2026-11-20T14:24:17Z').mark, limitAt('2026-11-20T14:24:17Z').word], ['bad', 'within a minute, if not already']);
  const flows = (freeGB, mbps, until = '2026-11-20T14:24:00.000Z') => limitAt(null, { bytes: { used: 10 * GB, limit: 10 * GB }, rate: { mbps, until, limitAt: null }, cost: { forecast: null, freeGB, pricePerGB: 0.05, currency: 'USD', bySource: [] } });
  assert.deepEqual(flows(5, 40), { mark: 'bad', word: 'it is reached', why: '18.00 GB an hour still flow, at $0.90 an hour.' });
  assert.equal(flows(1000, 0).why, '0.00 GB an hour still flow, at $0.00 an hour.');
  assert.equal(flows(5, 40, '2026-11-20T14:10:00.000Z').why, '18.00 GB an hour flowed up to 14:10, as counted, at $0.90 an hour.');
  assert.equal(limitAt(null, { cost: { forecast: null } }).why, '');
});

test('the rates begin with the last hour while there is a fault and in the first hours of traffic', () => {
  const hours = (count) => ({ now: 30 * 3600, points: [{ at: 6 * 3600, usedBytes: 0, liveGrants: 0 }, { at: (30 - count) * 3600, usedBytes: 1, liveGrants: 1 }] });
  const calm = { minting: { on: true }, hints: [{ severity: 'warning' }] };
  assert.deepEqual([firstRange(hours(1), calm), firstRange(hours(7), calm), firstRange({ now: 0, points: [] }, calm)], ['hour', 'day', 'hour']);
  assert.deepEqual([{ ...calm, minting: { on: false } }, { ...calm, hints: [{ severity: 'critical' }] }].map((status) => firstRange(hours(7), status)), ['hour', 'hour']);
});

test('the bar is scaled to the limit, and what is beyond it is shown apart', () => {
  const bar = (used, committed, limit, overshootBound) => verdicts.bar({ used, committed, limit, overshootBound });
  assert.deepEqual(bar(20, 50, 100, 0), { used: 20, worst: 50, usedOver: 0, over: 0 });
  assert.deepEqual(bar(90, 130, 100, 32), { used: 90, worst: 100, usedOver: 0, over: 32 }, 'the bound has the margin of the count too');
  assert.deepEqual(bar(110, 140, 100, 40), { used: 100, worst: 100, usedOver: 25, over: 40 });
  assert.deepEqual(bar(0, 0, 0, 0), { used: 100, worst: 100, usedOver: 0, over: 0 });
});

test('the bar has the steps of the alerts and the colors of their severity', () => {
  const at = '2026-11-20T14:24:00.000Z';
  const level = (used, alertPercents = [50, 80, 95, 100], limitAt = null) => verdicts.level({ at, bytes: { used: used * GB, limit: 100 * GB }, alertPercents, rate: { limitAt } });
  const marks = [0, 79.99, 80, 94.99, 95, 99.99, 100].map((used) => level(used).mark);
  assert.deepEqual(marks, ['good', 'good', 'warn', 'warn', 'bad', 'bad', 'bad']);
  assert.deepEqual([20, 60, 96, 100].map((used) => level(used).word), ['below 50 % of the limit', 'below 80 % of the limit', 'above 95 % of the limit', 'the limit is reached']);
  assert.deepEqual([[85, [90]], [91, [90]], [91, [50]], [100, [50]]].map(([used, percents]) => level(used, percents)).map(({ mark, word }) => `${mark}: ${word}`),
    ['good: below 90 % of the limit', 'warn: above 90 % of the limit', 'good: above 50 % of the limit', 'bad: the limit is reached']);
  const near = [51, 96].map((used) => level(used, undefined, '2026-11-21T14:23:59.000Z').mark);
  assert.deepEqual([...near, level(51, undefined, '2026-11-21T14:24:00.000Z').mark], ['warn', 'bad', 'good'], 'a limit that is reached within a day is at least a warning');
  assert.deepEqual([51, 85].map((used) => level(used, undefined, '2026-11-20T15:23:59.000Z').mark), ['bad', 'bad'], 'within an hour it is critical');
  assert.equal(level(51, undefined, '2026-11-20T15:23:59.000Z').word, 'the limit is near at the present rate');
});

test('the cost is stated in the currency, with the basis of the forecast', () => {
  const of = (source, cost, gb) => ({ source, usedBytes: gb * GB, cost });
  const cost = { currency: 'EUR', pricePerGB: 0.05, freeGB: 1000, soFar: '12.35', bySource: [of('cloudflare', '12.35', 2)], forecast: { usedBytes: 2000 * GB, cost: '50.00', since: '2026-11-18T09:00:00.000Z' } };
  const made = (more) => verdicts.costs(overview({}, { cost: { ...cost, ...more } }));
  assert.equal(made().soFar, '€12.35');
  assert.deepEqual(made().rows.map(({ value }) => value), ['€50.00', '2,000.00 GB', '€0.05', '998.00 GB']);
  assert.equal(made().note, 'The forecast continues the average rate since 18 Nov.');
  assert.deepEqual([made({ forecast: null }).rows[0].value, made({ pricePerGB: 0.0005 }).rows[2].value], ['–', '€0.0005']);
  assert.match(made({ forecast: null }).note, /first day/);
  const paid = made({ bySource: [of('cloudflare', '0.00', 1), of('sfu', '0.00', 1), of('http', '12.35', 30)] }).rows.slice(2);
  assert.deepEqual(paid.map(({ name, value }) => [name, value]), [['price of a GB', '€0.05'], ['left of 1,000 free GB', '998.00 GB'], ['so far at http', '€12.35']]);
  assert.deepEqual(made({ bySource: [of('coturn', '0.00', 1)] }).rows.length, 2, 'free GB of Cloudflare say nothing without it');
});

test('a response of a proxy in front of the broker is a fault', async () => {
  Object.assign(globalThis, { document: { baseURI: 'http://b.example/dashboard' }, sessionStorage: { getItem: () => 'token' } });
  for (const [body, code, message] of [['null', undefined, 'status 502'], ['<html>', 'NO_ANSWER', 'no answer'], ['{"error":"Bad","message":"Wait.","code":"X"}', 'X', 'Bad. Wait.']]) {
    mock.method(globalThis, 'fetch', async () => new Response(body, { status: 502 }));
    await assert.rejects(ask('api/overview'), { constructor: Fault, status: 502, code, message });
  }
  mock.restoreAll();
  delete globalThis.document;
  delete globalThis.sessionStorage;
});

test('where the browser blocks site data, the sign-in is kept in the page', async () => {
  const blocked = { configurable: true, get: () => { throw new DOMException('blocked', 'SecurityError'); } };
  for (const name of ['sessionStorage', 'localStorage']) Object.defineProperty(globalThis, name, blocked);
  assert.deepEqual([token.isInPageOnly, token.get()], [true, null]);
  token.set('secret', true);
  assert.equal(token.get(), 'secret');
  token.forget();
  assert.equal(token.get(), null);
  for (const name of ['sessionStorage', 'localStorage']) delete globalThis[name];
});

test('responses to callers are summed by reason', () => {
  const answers = [{ source: 'cloudflare', reason: null, count: 3 }, { source: 'stun', reason: 'DISABLED', count: 1 }, { source: 'manual', reason: 'DISABLED', count: 2 }];
  const rows = callerRows(overview({}, { callers: { ...overview().callers, answers } }));
  assert.deepEqual(rows.map(({ name, value }) => [name, value]), [['from the first source', '3'], ['degraded', '3'], ['FROZEN', '3'], ['refused', '0']]);
  const disabled = callerRows(overview({ minting: { on: false, code: 'DISABLED', message: '', until: null } }, { callers: { ...overview().callers, answers } }));
  assert.equal(disabled[2].name, 'DISABLED', 'the code of the headline');
});

test('each code of refused mints has a row', () => {
  const refusals = [{ code: 'RATE_LIMITED', count: 37 }, { code: 'LEDGER_UNAVAILABLE', count: 600 }];
  const rows = callerRows(overview({}, { callers: { answers: [], refusals, addressRefused: 9 } }));
  assert.deepEqual(rows.slice(2).map(({ name, value, isWarning }) => [name, value, isWarning]), [
    ['refused', '637', true], ['RATE_LIMITED', '37', undefined], ['LEDGER_UNAVAILABLE', '600', undefined], ['because of one address', '9', undefined],
  ]);
});

test('a note points out unused credentials', () => {
  assert.equal(grants(overview()).note, '');
  const unused = grants(overview({ grants: { issued: 10, live: 2, reported: 1 } }));
  assert.match(unused.note, /unused or unreported/);
  assert.equal(unused.rows[2].value, '10 %');
  assert.deepEqual(unused.rows.slice(3, 5).map(({ name, value }) => [name, value]), [['usable', '1'], ['live, with revoked ones and the tail', '2']]);
  assert.equal(grants(overview({ grants: { issued: 0, live: 0, reported: 0 } })).rows[2].value, '–');
});

test('the periods before are listed with their days and their usage', () => {
  const [start, end] = ['2026-10-01T00:00:00.000Z', '2026-11-01T00:00:00.000Z'];
  assert.deepEqual(pastRows([{ start, end, usedBytes: 702_450_000_000 }]), [{ name: '1 Oct – 1 Nov', value: '702.45 GB' }]);
  const short = pastRows([702_450_000_000, 24_600_000, 1_000, 0].map((usedBytes) => ({ start, end, usedBytes })));
  assert.deepEqual(short.map(({ value }) => value), ['702.45 GB', '0.02 GB', '< 0.01 GB', '0.00 GB'], 'one unit');
});

test('the table says how many connections it lists', () => {
  assert.equal(listed([1, 2, 3], 3, 'connection'), '3 connections');
  assert.equal(listed(Array(1000), 5000, 'call'), 'the first 1,000 of 5,000');
});

test('each relay has a row with its state and its load', () => {
  const relay = { host: 'eu.example', state: 'up', since: null, failure: null, sessions: 1, bytesPerSecond: 1_250_000, used: 45_000_000_000 };
  const down = { ...relay, host: 'us.example', state: 'down', since: '2025-01-15T12:00:02.000Z', sessions: 0, bytesPerSecond: 0, used: 0 };
  assert.deepEqual(relayRows([relay, down]).map(({ name, value, isWarning }) => [name, value, isWarning]), [
    ['relay eu.example', 'up, 1 session, 10 Mbps, 45.00 GB', false],
    ['relay us.example', 'down since 2025-01-15 12:00, 0 sessions, 0 Mbps, 0.00 GB', true],
  ]);
});

test('credentials minted ahead are listed if there are any', () => {
  const provider = (pool) => ({ outcomes: { minted: 20, timeout: 1 }, pool });
  const words = (rows) => rows.map(({ name, value }) => `${name}: ${value}`);
  assert.deepEqual(words(providerRows(provider({ ready: 0, handedOut: 0, wasted: 0 }))), ['minted: 20', 'timeout: 1']);
  assert.deepEqual(words(providerRows(provider({ ready: 3, handedOut: 10, wasted: 2 }))),
    ['minted: 20', 'minted ahead, ready: 3', 'minted ahead, used: 10', 'minted ahead, discarded: 2', 'timeout: 1']);
  assert.deepEqual(providerRows(null), []);
});

test('sizes, durations and times are short', () => {
  assert.deepEqual([0, 37_500, 3_500_000, 280_000_000, 1_234.5 * GB].map((bytes) => size(bytes)), ['0.00 GB', '37.5 kB', '3.5 MB', '0.28 GB', '1,234.50 GB']);
  assert.deepEqual([0, 4.903808, 9.999, 41.7, 1200].map(mbps), ['0 Mbps', '4.9 Mbps', '10 Mbps', '42 Mbps', '1,200 Mbps']);
  assert.deepEqual([7, 600, 2 * HOUR, 2.5 * HOUR, 9 * DAY + 4 * HOUR, 3 * DAY].map(span), ['7 s', '10 min', '2 h', '2 h 30 min', '9 d 4 h', '3 d']);
  const now = new Date('2026-11-20T00:05:00Z');
  assert.deepEqual([time(now, now), time(new Date('2026-11-19T23:59:00Z'), now)], ['00:05', '19 Nov, 23:59']);
});

test('used and limit have one unit, MB for a small budget', () => {
  const shown = (bytes, status) => Object.values(amounts({ bytes, status })).join(' ');
  const gb = { bandwidthUsedGB: '2.00', bandwidthLimitGB: 750.5, reservedGB: '1.00', overshootBoundGB: '0.01' };
  assert.equal(shown({ used: 2 * GB, committed: 3 * GB, limit: 750.5 * GB, overshootBound: 1 }, gb), 'GB 2.00 750.5 1.00 0.01');
  assert.equal(shown({ used: 40_960_000, committed: 45_010_000, limit: 41_000_000, overshootBound: 4_010_000 }, gb), 'MB 41.0 41 4.1 4.1');
  assert.match(shown({ used: 2 * GB, committed: 2 * GB, limit: 0, overshootBound: 0 }, gb), /^GB/);
  assert.match(shown({ used: 0, committed: 2 * GB, limit: 0, overshootBound: 2 * GB }, gb), /^GB/);
});

test('the assumed duration of a credential is shown in words', () => {
  assert.equal(assumed('4 Mbps per grant until 0 s after expiry'), '4 Mbps for each credential, until it expires');
  assert.equal(assumed('3.4 Mbps per grant (observed; 2 Mbps were assumed) until 7200 s after expiry'), '3.4 Mbps for each credential (observed; 2 Mbps were assumed), until 2 h after it expires');
  assert.equal(assumed('2 Mbps per grant until 7200 s (cloudflare), 0 s (relay) after expiry'), '2 Mbps for each credential, until 2 h (cloudflare), 0 s (relay) after it expires');
  assert.equal(assumed('no metered source is configured'), 'no metered source is configured');
});

test('a number with a comma is rejected because it is ambiguous', () => {
  assert.deepEqual(['0.5', ' 1500 ', '.5', '0'].map(typedNumber), [0.5, 1500, 0.5, 0]);
  assert.deepEqual(['0,5', '1,500', '', '1e3', '-1', 'ten', '1.2.3'].map(typedNumber), Array(7).fill(null));
});

test('timestamps in the broker’s sentences are readable', () => {
  const now = new Date('2026-11-20T14:24:00Z');
  assert.equal(withTimes('To last until 2026-12-01T00:00:00.000Z; down since 2026-11-20T09:08:12.004Z.', now), 'To last until 1 Dec, 00:00; down since 09:08.');
});

// --- relay check ---------------------------------------------------------------------------------------------------

const attempt = (url, more = {}) => ({ url, ...parse(url), candidates: [], errors: [], reach: 'unknown', state: 'done', ...more });
const allocates = (url, reach) => attempt(url, { candidates: [{ type: 'relay', protocol: 'udp', ms: 50 }], reach });
const works = (url) => (parse(url).kind === 'turn' ? allocates(url, 'any') : attempt(url, { candidates: [{ type: 'srflx', protocol: 'udp', ms: 50 }] }));
const fails = (url, code = 701, text = 'TURN allocate request timed out.') => attempt(url, { errors: [{ code, text, ms: 9000, times: 1 }] });
const [STUN, UDP, TCP, TLS] = ['stun:s.example', 'turn:r.example?transport=udp', 'turn:r.example:443?transport=tcp', 'turns:r.example:443?transport=tcp'];
const minted = { status: 200, body: { iceServers: [{}], source: 'cloudflare', degraded: false, ttl: 300 } };
const titles = (list, answer = minted) => findings(answer, list).map(({ title }) => title);

test('a URL gives the kind of server and the transport', () => {
  const over = (url) => Object.values(parse(url)).join(' ');
  assert.deepEqual([STUN, UDP, TCP, TLS, 'turn:r.example', 'turns:r.example?transport=udp', 'STUNS:r'].map(over), ['stun udp', 'turn udp', 'turn tcp', 'turn tls', 'turn udp', 'turn dtls', 'stun tls']);
});

test('each URL is tried alone, with its credentials, up to a maximum', () => {
  const list = [{ urls: STUN }, { urls: [UDP, TCP], username: 'u', credential: 'c' }];
  const begun = attempts(list);
  assert.deepEqual(begun.map(({ server }) => server), [{ urls: STUN }, { urls: UDP, username: 'u', credential: 'c' }, { urls: TCP, username: 'u', credential: 'c' }]);
  assert.deepEqual(begun.map(({ stun }) => stun.map(({ urls }) => urls)), [[STUN], ['stun:r.example', STUN], [STUN]], 'for the other end');
  assert.ok(begun.every(({ attempt }) => !('credential' in attempt) && !('username' in attempt)));
  assert.equal(attempts([{ urls: Array.from({ length: 99 }, () => STUN) }]).length, 24);
});

test('findings name what the network blocks', () => {
  assert.deepEqual(titles([works(STUN), works(UDP), works(TCP), works(TLS)]), ['The relay works over UDP']);
  assert.deepEqual(titles([fails(STUN), fails(UDP), works(TCP), works(TLS)]), ['UDP to the relay is blocked', 'STUN does not answer']);
  assert.deepEqual(titles([fails(STUN), fails(UDP), fails(TCP), works(TLS)]), ['Only TLS gets through', 'STUN does not answer']);
  assert.deepEqual(titles([works(STUN), fails(UDP), fails(TCP), fails(TLS)]), ['The relay cannot be reached']);
  assert.deepEqual(titles([fails(STUN), fails(UDP)])[0], 'No server can be reached');
  assert.deepEqual(titles([works(STUN), works(UDP), fails(TLS)]), ['The relay works over UDP', 'TLS to the relay fails']);
  assert.deepEqual(titles([works(STUN), fails(UDP), works(TCP), fails(TLS)]), ['UDP to the relay is blocked', 'TLS to the relay fails']);
  assert.deepEqual(titles([works(UDP), fails(TCP)]), ['The relay works over UDP', 'TCP to the relay fails']);
  assert.deepEqual(titles([works(TCP)]), ['The relay works, without UDP']);
});

test('a relay works if a message comes through it', async () => {
  const [direct, relayed] = [{ iceServers: [{ urls: STUN }] }, { iceServers: [{ urls: UDP }], iceTransportPolicy: 'relay' }];
  const reached = async (...answers) => {
    const asked = [];
    const found = await reach({ urls: UDP }, [{ urls: STUN }], async (server, peer) => {
      assert.deepEqual([server, peer], [{ urls: UDP }, asked.length ? relayed : direct]);
      asked.push(peer);
      return answers[asked.length - 1];
    });
    assert.equal(asked.length, answers.length);
    return found;
  };
  const [came, lost, hidden] = [{ hasCome: true, isPublic: true }, { hasCome: false, isPublic: true }, { hasCome: false, isPublic: false }];
  assert.deepEqual(await Promise.all([reached(came), reached(lost, came), reached(hidden, came), reached(hidden, lost)]), ['any', 'only clients', 'clients', 'nobody']);
});

test('a relay that only makes allocations does not work', () => {
  const barred = (url) => allocates(url, 'nobody');
  assert.deepEqual([outcome(barred(UDP)), outcome({ ...barred(UDP), state: 'running', reach: 'unknown' }).word], [{ mark: 'bad', word: 'nothing comes through' }, 'sending']);
  const [only] = findings(minted, [works(STUN), barred(UDP), barred(TCP)]);
  assert.deepEqual([only.mark, only.title], ['bad', 'Nothing comes through the relay']);
  assert.match(only.text, /min-port.*denied-peer-ip/);
  assert.match(findings(minted, [barred(UDP), works(TCP)])[0].text, /r\.example\?transport=udp \(nothing comes through\)\. Calls work over TCP/);
});

test('a relay that only its clients reach works, with a warning if a public address was tried', () => {
  const both = (...reaches) => titles(reaches.map((reach, n) => allocates([UDP, TCP][n], reach)));
  assert.deepEqual(both('clients', 'clients'), ['The relay works over UDP']);
  assert.deepEqual(both('only clients', 'clients'), ['The relay works over UDP', 'Only clients of the relay reach each other']);
  assert.deepEqual(both('only clients', 'any'), ['The relay works over UDP'], 'over the other transport it came');
});

test('a broken server among working ones is not reported as a blocked network', () => {
  const dead = fails('turn:dead.example?transport=udp');
  assert.deepEqual(titles([works(UDP), dead]), ['The relay works over UDP', 'One server does not work']);
});

test('a server that does not answer is not called broken if only its port may be blocked', () => {
  const list = [fails('stun:r.example:3478'), fails('turn:r.example:3478?transport=udp'), fails('turn:r.example:3478?transport=tcp'),
    works('turn:r.example:80?transport=tcp'), fails('turns:r.example?transport=tcp'), works('turns:r.example:443?transport=tcp')];
  const found = findings(minted, list);
  assert.deepEqual(found.map(({ title }) => title), ['UDP to the relay is blocked', 'Some ports do not work', 'STUN does not answer']);
  assert.match(found[1].text, /r\.example:3478\?transport=tcp \(no answer\); turns:r\.example\?transport=tcp \(no answer\)\..*Keep them/);
  assert.deepEqual(titles([works(UDP), fails('turn:[2001:db8::1]:3478')]), ['The relay works over UDP', 'One server does not work'], 'the default port is one');
  const refuses = fails('turn:other.example:3480?transport=udp', 401, 'Unauthorized');
  assert.deepEqual(titles([works(UDP), refuses]), ['The relay works over UDP', 'One server does not work'], 'a server that rejects is reached');
});

test('UDP is not called blocked if a relay answered over UDP', () => {
  const text = (list) => findings(minted, list).at(-1).text;
  assert.doesNotMatch(text([fails(STUN), fails(UDP, 401, 'Unauthorized')]), /blocked/);
  assert.doesNotMatch(text([fails(STUN), fails(TCP, 401, 'Unauthorized')]), /need the relay/);
  const unnamed = fails(STUN, 701, 'STUN host lookup received error.');
  assert.deepEqual(titles([unnamed, works(TCP)]), ['The relay works, without UDP', 'The STUN server’s name is not found']);
});

test('UDP is called blocked only if every name was found and no port refused', () => {
  const unnamed = (url) => fails(url, 701, 'TURN host lookup received error.');
  const shut = (url) => fails(url, 701, 'Connection refused.');
  assert.deepEqual(titles([works(STUN), unnamed(UDP), works(TCP)]), ['The relay does not work over UDP']);
  assert.deepEqual(titles([works(STUN), shut(UDP), works(TCP)]), ['The relay does not work over UDP']);
  assert.match(findings(minted, [works(STUN), unnamed(UDP), works(TLS)])[0].text, /name not found\)\. Calls work over TLS/);
  const stun = findings(minted, [shut(STUN), fails('stun:t.example'), works(TCP)]).at(-1);
  assert.equal(stun.title, 'STUN does not answer');
  assert.doesNotMatch(stun.text, /blocked/);
});

test('rejected credentials, a full relay and an unknown name have their own findings', () => {
  assert.deepEqual(titles([works(STUN), fails(UDP, 401, 'Unauthorized')]), ['The relay rejects the credentials']);
  assert.deepEqual(titles([works(STUN), fails(UDP, 486, 'Allocation Quota Reached')]), ['The relay is full']);
  assert.deepEqual(titles([works(STUN), fails(UDP, 701, 'TURN host lookup received error.')]), ['The relay’s name is not found']);
});

test('the finding for a response without a relay gives the reason', () => {
  const degraded = (reason) => ({ status: 200, body: { iceServers: [], source: 'stun', degraded: true, reason } });
  const [only] = findings(degraded('BUDGET_EXHAUSTED'), [works(STUN)]);
  assert.equal(only.title, 'Only STUN: no relay was offered');
  assert.match(only.text, /budget is spent/);
  const second = { status: 200, body: { ...minted.body, source: 'manual', degraded: true, reason: 'PROVIDER_UNAVAILABLE' } };
  assert.deepEqual(titles([works(UDP)], second), ['The relay works over UDP', 'The response is degraded (PROVIDER_UNAVAILABLE)']);
});

test('a revoked credential is listed with the time of its revocation', () => {
  const revoked = [{ grant: 'g1', source: 'coturn', revokedAt: '2026-11-20T14:00:00.000Z', expiresAt: '2026-11-21T14:00:00.000Z' }];
  assert.deepEqual(revocations(revoked), ['g1 (coturn): revoked 2026-11-20T14:00:00.000Z, expires 2026-11-21T14:00:00.000Z']);
  assert.deepEqual(revocations([]), []);
});

test('an error of the broker has its own finding', () => {
  const title = (status, body) => titles([], { status, body })[0];
  assert.equal(title(0, null), 'The broker does not answer');
  assert.equal(title(429, { code: 'RATE_LIMITED', error: 'Too many', retryAfter: 30 }), 'Too many requests from this address');
  assert.equal(title(429, { code: 'BUDGET_EXHAUSTED', error: 'Bandwidth limit reached' }), 'The budget has no room');
  assert.equal(title(429, { code: 'USER_LIMIT_REACHED', error: 'User limit reached' }), 'This user has reached the limit');
  assert.equal(title(403, { code: 'USER_BLOCKED', error: 'User blocked' }), 'This user is blocked');
  assert.equal(title(403, { code: 'ORIGIN_NOT_ALLOWED', error: 'Origin not allowed' }), 'The broker rejects this page');
  assert.equal(title(401, { code: 'UNAUTHORIZED', error: 'Unauthorized' }), 'The broker requires a sign-in');
  assert.equal(title(503, { error: 'Overloaded' }), 'The broker answered 503');
});

test('each attempt has an outcome', () => {
  const word = (made) => outcome(made).word;
  assert.equal(word(works(UDP)), 'works');
  assert.equal(word(attempt(UDP, { state: 'waiting' })), 'waiting');
  assert.equal(word(attempt(UDP, { state: 'running' })), 'gathering');
  assert.equal(word(attempt(UDP, { state: 'timeout' })), 'no answer');
  assert.equal(word(attempt(UDP, { state: 'unusable' })), 'rejected by this browser');
  assert.equal(word(fails(UDP, 441)), 'refused');
  assert.equal(word(fails(UDP, 437)), 'failed');
  assert.equal(word(attempt(STUN, { candidates: [{ type: 'host', protocol: 'udp', ms: 3 }] })), 'no new address');
});

test('a row waits, then shows how long it has been gathering, then its result', () => {
  const [{ attempt: made }] = attempts([{ urls: UDP }]);
  const word = (more) => progressWord({ ...made, ...more }, 5_999);
  assert.equal(word({}), 'waiting');
  assert.equal(word({ state: 'running', startedAt: 1_000 }), 'gathering, 4 s');
  assert.equal(word({ state: 'running', startedAt: 1_000, candidates: works(UDP).candidates }), 'sending, 4 s', 'an allocation is no result');
  assert.equal(word({ state: 'timeout', startedAt: 1_000 }), 'no answer');
  assert.equal(word(works(UDP)), 'works');
});

test('every attempt runs once, at most 8 at the same time', async () => {
  const planned = attempts(Array.from({ length: 20 }, () => ({ urls: UDP })));
  const runs = [];
  let [running, most] = [0, 0];
  const run = async ({ attempt }, changed) => {
    running += 1;
    most = Math.max(most, running);
    runs.push(attempt);
    await null;
    Object.assign(attempt, { state: 'done' });
    changed();
    running -= 1;
  };
  const changes = [];
  await gatherAll(planned, (attempt) => changes.push(attempt), run);
  assert.deepEqual(runs, planned.map(({ attempt }) => attempt));
  assert.deepEqual([most, changes.length], [8, 20]);
  assert.ok(planned.every(({ attempt }) => hasEnded(attempt)));
  assert.deepEqual([1, 8, 9, 24].map(secondsMax), [25, 25, 50, 75]);
});

test('a browser without WebRTC is told so, as Node is here', async () => {
  const planned = attempts([{ urls: UDP }]);
  await gatherAll(planned, () => {});
  const tried = planned.map((one) => one.attempt);
  assert.deepEqual([titles(tried), errorLines(tried[0])], [['This browser has no WebRTC'], ['no WebRTC']]);
});

test('the progress is said after each result', () => {
  const list = [works(UDP), attempt(TCP, { state: 'running' }), attempt(TLS, { state: 'waiting' })];
  assert.equal(progressLine(list, list[0]), `1 of 3 tested. ${UDP}: works`);
  assert.equal(progressLine(list), '1 of 3 tested');
});

test('a report contains the findings and no secret', () => {
  const body = { ...minted.body, grant: 'GRANT-SECRET', iceServers: [{ urls: UDP, username: 'USER-SECRET', credential: 'CREDENTIAL-SECRET' }] };
  const answer = { status: 200, body };
  const tried = attempts(body.iceServers).map(({ attempt }) => ({ ...attempt, state: 'timeout' }));
  const text = report(answer, tried, findings(answer, tried), { at: new Date(0), page: 'http://b.example', agent: 'browser' });
  assert.match(text, /Relay check, 1970-01-01T00:00:00\.000Z/);
  assert.match(text, /turn:r\.example\?transport=udp: no answer\n {4}error: no answer within 15 s/);
  assert.ok(!/SECRET/.test(text), text);
  assert.deepEqual(answerRows({ status: 403, body: { code: 'ORIGIN_NOT_ALLOWED', error: 'no', requestId: '7' } }), [['status', '403'], ['code', 'ORIGIN_NOT_ALLOWED'], ['error', 'no'], ['requestId', '7']]);
});
