// What the figures amount to, in a word, a mark and a reason. Pure.
import { amounts, assumed, count, date, plain, signed, size, some, span, time } from './format.js';

/** @typedef {{mark: 'good' | 'warn' | 'bad' | 'quiet', word: string, why: string}} Verdict */

const verdict = (mark, word, why = '') => ({ mark, word, why });
const hasHint = ({ status }, code) => status.hints.some((hint) => hint.code === code);

/** Whether credentials are handed out. @returns {Verdict} */
export function minting(overview) {
  const { status, provider, ledgerFailing } = overview;
  if (status.frozen) return verdict('bad', 'Minting is stopped by order');
  if (hasHint(overview, 'DISABLED')) return verdict('bad', 'Minting is switched off (TURN_ENABLED)');
  if (ledgerFailing) return verdict('bad', 'The ledger cannot be written: nothing is minted');
  if (status.status === 'LIMIT_EXCEEDED') return verdict('bad', 'Limit reached: nothing metered is minted');
  if (hasHint(overview, 'PROMISED_IN_FULL')) return verdict('bad', 'The limit is promised in full: nothing metered is minted');
  if (provider && provider.breaker !== 'closed') return verdict('warn', 'The provider fails: answers are degraded');
  return verdict('good', 'Minting');
}

/** Who counts usage: without a provider it can only be a relay. */
const counter = (overview) => (overview.provider === null || hasHint(overview, 'NO_ANALYTICS') ? 'relay' : 'provider');

/** Whether the used figure can be believed. @returns {Verdict} */
export function belief(overview) {
  const { status, bytes, at } = overview;
  const forgets = status.durable ? '' : ' A restart forgets it.';
  if (status.asOf === null && hasHint(overview, 'NO_REPORTS')) {
    return verdict('bad', 'No: nobody reports', `No client has reported a connection, and no provider’s count is read.${forgets}`);
  }
  if (status.asOf === null) return verdict('warn', 'In part: an estimate', `From what connections report. No provider’s count is read.${forgets}`);
  const [asOf, now] = [new Date(status.asOf), new Date(at)];
  const measured = `The ${counter(overview)} counted ${size(bytes.measured)} up to ${time(asOf, now)}, ${span((now - asOf) / 1000)} ago; ${size(Math.max(0, bytes.used - bytes.measured))} since are estimated.${forgets}`;
  if (status.stale) return verdict('warn', 'In part: the count is stale', measured);
  return status.durable ? verdict('good', 'Yes: measured', measured) : verdict('warn', 'Yes: measured, but in memory only', measured);
}

const GRAVE = ['ASSUMPTION_BROKEN', 'FROZEN', 'DISABLED', 'PROMISED_IN_FULL'];

/** What weakens the figure, or keeps from minting; red is what is broken or stands still. @returns {{code: string, mark: string, text: string}[]} */
export function hintNotes(overview) {
  const isMeasured = overview.status.asOf !== null;
  return overview.status.hints.map(({ code, message }) => {
    if (code !== 'NO_REPORTS') return { code, mark: GRAVE.includes(code) ? 'bad' : 'warn', text: sentence(message) };
    if (!isMeasured) return { code, mark: 'bad', text: sentence(message) };
    // The count misses nothing; it comes late.
    return { code, mark: '', text: `No client has reported a connection: usage shows when the ${counter(overview)} has counted it, not before.` };
  });
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Under the button that stops minting, or allows it again. */
export const freezeNote = ({ frozen }) => (frozen
  ? 'Every answer is STUN only now. Allowed again, callers get credentials as far as the limit lets them.'
  : 'Every answer is STUN only then. What runs goes on.');

/** Under the field for another limit. */
export const limitNote = ({ status: { bandwidthLimitGB }, bytes: { limit, configuredLimit } }) =>
  `In force: ${bandwidthLimitGB} GB, ${limit === configuredLimit ? 'as configured' : `by order; ${configuredLimit / 1e9} GB are configured`}.`;

/** How far the limit can be overshot. @returns {Verdict} */
export function bound(overview) {
  const { status, bytes } = overview;
  const { past, unit } = amounts(overview);
  const observed = status.observedMbpsPerGrant;
  const assumes = `Assumes ${assumed(status.boundAssumes)}.`;
  if (!status.boundHolds) {
    return verdict('bad', `${past} ${unit}, not to be relied on`, `${assumes} The ${counter(overview)}’s count contradicts it.`);
  }
  const held = observed === null ? `Not yet held against what the ${counter(overview)} counts.` : `It holds: ${plain(observed)} Mbps were observed.`;
  return verdict(bytes.overshootBound > 0 ? 'warn' : 'good', `${past} ${unit}`, `${assumes} ${held}`);
}

/** @param {import('./series.js').Forecast | null} ahead @returns {Verdict} */
export function outlook(ahead, { at, bytes }) {
  if (!ahead) return verdict('quiet', 'too early to say', 'A forecast needs six hours with traffic.');
  const now = new Date(at);
  const days = `${ahead.basis === 'measured' ? 'as counted' : 'as estimated'} over the last ${span(ahead.seconds)}: ${size(ahead.rate * 86400)} a day`;
  const word = `about ${size(ahead.atReset)}`;
  if (bytes.used >= bytes.limit) return verdict('bad', word, `The limit is reached already. If it goes on ${days}.`);
  if (ahead.limitAt === null) return verdict('good', word, `If it goes on ${days}. The limit holds out.`);
  return verdict('warn', word, `The limit is reached about ${time(new Date(ahead.limitAt * 1000), now)} if it goes on ${days}.`);
}

/** @returns {Verdict} */
export function breaker(provider) {
  if (!provider) return verdict('quiet', 'none that mints over the network');
  const words = { closed: ['good', 'answers'], 'half-open': ['warn', 'is being tried again'], open: ['bad', 'fails: not asked for a while'] };
  const [mark, word] = words[provider.breaker] ?? ['quiet', provider.breaker];
  return verdict(mark, `Cloudflare ${word}`);
}

/** @typedef {{name: string, value: string, isSub?: boolean, isWarning?: boolean}} Row */

/** What callers got since the start. @returns {Row[]} */
export function callerRows({ callers }) {
  const sum = (answers) => answers.reduce((total, { count }) => total + count, 0);
  const isDegraded = ({ reason }) => reason !== null;
  const degraded = callers.answers.filter(isDegraded);
  const row = (name, value, more) => ({ name, value: count(value), ...more });
  const reasons = new Set(degraded.map(({ reason }) => reason));
  return [
    row('from the first source', sum(callers.answers.filter((answer) => !isDegraded(answer)))),
    row('degraded', sum(degraded), { isWarning: degraded.length > 0 }),
    ...[...reasons].map((reason) => row(reason, sum(degraded.filter((answer) => answer.reason === reason)), { isSub: true })),
    row('refused: budget', callers.refused, { isWarning: callers.refused > 0 }),
    row('rate limited', callers.rateLimited),
    row('foreign origin', callers.originsRefused),
    row('turned away: overload', callers.shed, { isWarning: callers.shed > 0 }),
  ];
}

/** @returns {{rows: Row[], note: string}} */
export function grants({ status, connections }) {
  const { issued, live, reported } = status.grants;
  const share = issued ? `${plain(Math.round((reported / issued) * 1000) / 10)} %` : '–';
  const rows = [
    { name: 'issued', value: count(issued) },
    { name: 'used: reported a connection', value: count(reported) },
    { name: 'used / issued', value: share },
    { name: 'live now, tail included', value: count(live) },
    { name: 'connections given up', value: count(connections.givenUp), isWarning: connections.givenUp > connections.closed },
    { name: 'claims cut', value: count(connections.claimsClamped), isWarning: connections.claimsClamped > 0 },
  ];
  const note = issued && reported / issued < 0.5
    ? 'Many credentials are never used, or their use is not reported. Each holds a promise: mint when a call begins.'
    : '';
  return { rows, note };
}

/** @returns {Row[]} */
export function providerRows(provider) {
  if (!provider) return [];
  const { latest, outcomes, pool } = provider;
  const ms = (value) => `${signed(value, value < 10 ? 1 : 0)} ms`;
  const { minted = 0, ...failed } = outcomes;
  const times = latest
    ? [{ name: `median of the last ${latest.calls}`, value: ms(latest.medianMs) }, { name: '95 % within', value: ms(latest.p95Ms) }, { name: 'longest', value: ms(latest.longestMs) }]
    : [{ name: 'not asked yet', value: '' }];
  const counts = Object.entries(failed).map(([name, value]) => ({ name, value: count(value), isWarning: true }));
  const ahead = [['minted ahead, ready', pool.ready], ['minted ahead, handed out', pool.handedOut], ['minted ahead, in vain', pool.wasted]]
    .map(([name, value]) => ({ name, value: count(value) }));
  const isUsed = pool.ready + pool.handedOut + pool.wasted > 0;
  return [...times, { name: 'minted', value: count(minted) }, ...(isUsed ? ahead : []), ...counts];
}

/** "1 Nov – 1 Dec, reset in 9 d 4 h". */
export function periodWords({ at, status }) {
  const [start, reset] = [new Date(status.periodStart), new Date(status.resetDate)];
  return `${date(start)} – ${date(reset)}, reset in ${span((reset - new Date(at)) / 1000)}`;
}

/** The broker lists so many of all that there are, by their names. @returns {string} */
export function connectionWords(shown, listed, total) {
  if (shown === total) return some(total, 'connection');
  const among = listed < total ? ` of the ${count(listed)} that are listed` : '';
  return `${count(shown)} of ${count(total)} are shown, those that cost most${among} first`;
}
