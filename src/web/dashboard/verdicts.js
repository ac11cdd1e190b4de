// What the figures amount to, in a word, a mark and a reason. Pure.
import { amounts, assumed, assumedMbps, count, date, plain, signed, size, some, span, time } from './format.js';

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

/** Who counts usage. Without Cloudflare it can only be a relay. */
const counter = ({ provider }) => (provider === null ? 'the relay' : 'Cloudflare');
const isUnread = (overview) => hasHint(overview, 'NO_ANALYTICS');
/** Then a count can be that of a relay, or an old one of Cloudflare: the page cannot tell. */
const UNREAD = 'Cloudflare’s count is not read.';

/** Whether the used figure can be believed. @returns {Verdict} */
export function belief(overview) {
  const { status, bytes, at } = overview;
  const forgets = status.durable ? '' : ' A restart forgets it.';
  if (status.asOf === null) {
    const uncounted = isUnread(overview) ? UNREAD : `No count of ${counter(overview)} has been read yet.`;
    if (hasHint(overview, 'NO_REPORTS')) return verdict('bad', 'No: nobody reports', `No client has reported a connection. ${uncounted}${forgets}`);
    return verdict('warn', 'In part: an estimate', `From what connections report. ${uncounted}${forgets}`);
  }
  const [asOf, now] = [new Date(status.asOf), new Date(at)];
  const counted = isUnread(overview) ? `${UNREAD} The last count is ${size(bytes.measured)}` : `${sentence(counter(overview))} counted ${size(bytes.measured)}`;
  const measured = `${counted} up to ${time(asOf, now)}, ${span((now - asOf) / 1000)} ago; ${size(Math.max(0, bytes.used - bytes.measured))} since are estimated.${forgets}`;
  if (status.stale) return verdict('warn', 'In part: the count is stale', measured);
  return status.durable ? verdict('good', 'Yes: measured', measured) : verdict('warn', 'Yes: measured, but in memory only', measured);
}

const GRAVE = ['ASSUMPTION_BROKEN', 'FROZEN', 'DISABLED', 'PROMISED_IN_FULL'];

/** What weakens the figure, or keeps from minting; red is what is broken or stands still. @returns {{code: string, mark: string, text: string}[]} */
export function hintNotes(overview) {
  const isMeasured = overview.status.asOf !== null && !isUnread(overview);
  return overview.status.hints.map(({ code, message }) => {
    if (code !== 'NO_REPORTS') return { code, mark: GRAVE.includes(code) ? 'bad' : 'warn', text: sentence(message) };
    if (!isMeasured) return { code, mark: 'bad', text: sentence(message) };
    // The count misses nothing; it comes late.
    return { code, mark: '', text: `No client has reported a connection: usage shows when ${counter(overview)} has counted it, not before.` };
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
  const limit = assumedMbps(status.boundAssumes);
  if (limit === null) return verdict(bytes.overshootBound > 0 ? 'warn' : 'good', `${past} ${unit}`, `${sentence(status.boundAssumes)}.`);
  const assumes = `Assumes ${assumed(status.boundAssumes)}.`;
  if (!status.boundHolds) {
    const contradiction = isUnread(overview) ? 'The count contradicts it.' : `${sentence(counter(overview))}’s count contradicts it.`;
    return verdict('bad', `${past} ${unit}, not to be relied on`, `${assumes} ${contradiction}`);
  }
  return verdict(bytes.overshootBound > 0 ? 'warn' : 'good', `${past} ${unit}`, `${assumes} ${evidence(overview, limit)}`);
}

/** What the observed rate says about the assumed one. A short stretch may average more, and contradict nothing. */
function evidence(overview, limit) {
  const observed = overview.status.observedMbpsPerGrant;
  if (observed === null) return isUnread(overview) ? `Not tested: ${UNREAD}` : `Not yet tested against ${counter(overview)}’s count.`;
  if (observed > limit) return `The recent average is ${plain(observed)} Mbps, within the margin of the counts.`;
  return `It holds: ${plain(observed)} Mbps were observed on average.`;
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
