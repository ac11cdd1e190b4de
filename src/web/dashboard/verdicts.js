// Verdicts: what the figures mean, as a mark, a few words and a reason. Pure.
import { amounts, assumed, assumedMbps, count, date, mbps, money, plain, signed, size, some, span, time } from './format.js';

/**
 * @typedef {import('./api.d.ts').Schemas['OverviewBody']} Overview
 * @typedef {import('./api.d.ts').Schemas['ProviderBody']} Provider
 * @typedef {{mark: 'good' | 'warn' | 'bad' | 'quiet', word: string, why: string}} Verdict
 */

/** @param {Verdict['mark']} mark @param {string} word @returns {Verdict} */
const verdict = (mark, word, why = '') => ({ mark, word, why });
/** @param {Overview} overview @param {string} code */
const hasHint = ({ status }, code) => status.hints.some((hint) => hint.code === code);

/** Whether metered credentials are minted, as the broker states it. @param {Overview} overview @returns {Verdict} */
export function minting({ status: { minting: { on, code, message } } }) {
  return on ? verdict('good', 'Minting') : verdict('bad', `Not minting: ${code}`, message ?? '');
}

/** What the broker ends by itself now; empty if nothing. @param {Pick<Overview, 'ending'>} overview */
export function ending({ ending: { isAtLimit, left, revoked } }) {
  if (!isAtLimit && left === 0) return '';
  const why = isAtLimit ? 'The limit is reached by counted and vouched bytes: all live credentials are being revoked (AT_LIMIT)' : 'Revoked credentials wait for an answer of Cloudflare';
  return `${why}, ${count(left)} left, ${count(revoked)} done since the start.`;
}

/** @param {Pick<Overview, 'replicas'>} overview */
export const replicas = (overview) => overview.replicas.map(({ url, leads }) => `${url}${leads ? ' (leads)' : ''} · `).join('');

/** Who counts usage. Without Cloudflare it can only be a relay. @param {Overview} overview */
const counter = ({ provider }) => (provider === null ? 'the relay' : 'Cloudflare');
/** @param {Overview} overview */
const isUnread = (overview) => hasHint(overview, 'NO_ANALYTICS');
/** The last count may be that of a relay, or an old one of Cloudflare. The page cannot tell which. */
const UNREAD = 'Cloudflare’s count is not read.';

/** A figure of which more is estimated is reliable in part. */
const ESTIMATED_PART_MAX = 0.1;

/** Whether the figure of used bytes is reliable. @param {Overview} overview @returns {Verdict} */
export function reliability(overview) {
  const { status, bytes, at } = overview;
  const forgets = status.durable ? '' : ' A restart forgets it.';
  if (status.asOf === null) {
    const uncounted = isUnread(overview) ? UNREAD : `No count of ${counter(overview)} has been read yet.`;
    if (hasHint(overview, 'NO_REPORTS')) return verdict('bad', 'No: no reports', `No client has reported a connection. ${uncounted}${forgets}`);
    return verdict('warn', 'Partly: an estimate', `Based on reported connections. ${uncounted}${forgets}`);
  }
  const [asOf, now] = [new Date(status.asOf), new Date(at)];
  const last = bytes.measured ?? 0;
  const lag = (now.getTime() - asOf.getTime()) / 1000;
  const counted = isUnread(overview) ? `${UNREAD} The last count is ${size(last)}` : `${sentence(counter(overview))} counted ${size(last)}`;
  const measured = `${counted} up to ${time(asOf, now)}, ${span(lag)} ago. ${size(Math.max(0, bytes.used - last), bytes.used)} since then are estimated.${forgets}`;
  if (status.stale) return verdict('warn', 'Partly: the count is stale', measured);
  const estimated = bytes.used > 0 ? (bytes.used - last) / bytes.used : 0;
  if (estimated >= 0.995) return verdict('warn', 'No: all of it is estimated', measured);
  // Who reports nothing is only in the next count.
  const coming = overview.rate.until === at ? 0 : overview.rate.mbps * 125_000 * lag - Math.max(0, bytes.used - last);
  if (coming > ESTIMATED_PART_MAX * bytes.used) return verdict('warn', `Partly: ${span(lag)} are not counted yet`, `${measured} At the counted rate, ${size(coming)} more flowed.`);
  if (estimated > ESTIMATED_PART_MAX) return verdict('warn', `Partly: ${signed(estimated * 100, 0)} % is estimated`, measured);
  return status.durable ? verdict('good', 'Yes: measured', measured) : verdict('warn', 'Yes: measured, but in memory only', measured);
}

const MARKS = { critical: 'bad', warning: 'warn', info: 'quiet' };
const BY_GRAVITY = Object.values(MARKS);

/** The gravest first. @param {Overview} overview @returns {{code: string, mark: string, text: string}[]} */
export function hintNotes(overview) {
  const notes = overview.status.hints.map(({ code, severity, message }) => ({ code, mark: MARKS[severity], text: message }));
  return notes.sort((a, b) => BY_GRAVITY.indexOf(a.mark) - BY_GRAVITY.indexOf(b.mark));
}

/** @param {string} text */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {Pick<Overview['status'], 'frozen'>} status */
export const freezeNote = ({ frozen }) => (frozen
  ? 'New callers now get STUN only. Once allowed, they get credentials within the limit.'
  : 'If stopped, new callers get STUN only. This ends no call.');

/** @param {Pick<Overview, 'status' | 'bytes'>} overview */
export const limitNote = ({ status: { bandwidthLimitGB }, bytes: { limit, configuredLimit } }) =>
  `Now ${bandwidthLimitGB} GB, ${limit === configuredLimit ? 'as configured' : `by an override; the configured limit is ${configuredLimit / 1e9} GB`}.`;

/** How far usage can pass the limit. @param {Overview} overview @returns {Verdict} */
export function bound(overview) {
  const { status, bytes } = overview;
  const { past, unit } = amounts(overview);
  const limit = assumedMbps(status.boundAssumes);
  const mark = hasHint(overview, 'BOUND_ABOVE_LIMIT') ? 'warn' : bytes.overshootBound > 0 ? 'quiet' : 'good';
  if (limit === null) return verdict(mark, `${past} ${unit}`, `${sentence(status.boundAssumes)}.`);
  const likely = bytes.overshootBound > 0 && bytes.likelyOvershoot !== null && status.observedMbpsPerGrant !== null ? ` At the highest hourly rate that was counted, ${size(bytes.likelyOvershoot)}.` : '';
  const assumes = `Assumes ${assumed(status.boundAssumes)}.${likely}`;
  if (!status.boundHolds) return verdict('bad', `${past} ${unit}, unreliable`, `${assumes} The hints say why it is unreliable.`);
  return verdict(mark, `${past} ${unit}`, `${assumes} ${evidence(overview, limit)}`);
}

/** A short time may average more than is assumed without a contradiction. @param {Overview} overview @param {number} limit */
function evidence(overview, limit) {
  const observed = overview.status.observedMbpsPerGrant;
  if (observed === null) return isUnread(overview) ? `Not tested: ${UNREAD}` : `Not yet tested against ${counter(overview)}’s count.`;
  if (observed > limit) return `The recent average is ${mbps(observed)}, within the margin of the counts.`;
  return `It holds: ${mbps(observed)} were observed on average.`;
}

/** How near usage is to the limit, in the steps of the alerts and with their severity. @param {Pick<Overview, 'at' | 'bytes' | 'alertPercents' | 'rate'>} overview @returns {Verdict} */
export function level({ at, bytes: { used, limit }, alertPercents, rate: { limitAt: instant } }) {
  if (used >= limit) return verdict('bad', 'the limit is reached');
  const left = instant === null ? Infinity : (Date.parse(instant) - Date.parse(at)) / 1000;
  const next = alertPercents.find((percent) => used * 100 < percent * limit);
  const passed = alertPercents.findLast((percent) => used * 100 >= percent * limit) ?? 0;
  const mark = passed >= 95 || left < HOUR ? 'bad' : passed >= 80 || left < DAY ? 'warn' : 'good';
  if (left < HOUR) return verdict(mark, 'the limit is near at the present rate');
  return verdict(mark, passed < 80 && next ? `below ${next} % of the limit` : `above ${passed} % of the limit`);
}

/**
 * The parts of the bar, in percent of its width, which is the limit; and those of the part beyond the limit, in percent of that.
 * @param {Pick<Overview['bytes'], 'used' | 'committed' | 'limit' | 'overshootBound'>} bytes
 */
export function bar({ used, committed, limit, overshootBound: over }) {
  /** @param {number} part @param {number} whole */
  const percent = (part, whole) => (whole > 0 ? Math.min(100, (part / whole) * 100) : 100);
  return { used: percent(used, limit), worst: percent(Math.max(used, committed), limit), usedOver: over ? percent(Math.max(0, used - limit), over) : 0, over };
}

const DAY = 86_400;
const HOUR = 3600;
const SOON = 6 * 3600;

/** The present rate, and what it is the average of. @param {Overview} overview */
export function rate(overview) {
  const { rate: { mbps: present, until }, at } = overview;
  const minutes = until === at ? 'The last five minutes.' : `The five minutes up to ${time(new Date(until), new Date(at))}, by ${counter(overview)}’s count. Less was reported since.`;
  return { word: mbps(present), why: `${minutes} ${size((present * 1e6 * 3600) / 8)} an hour.` };
}

/** What the present rate makes in an hour, and what that costs. A count says nothing about the time after its end. @param {Pick<Overview, 'at' | 'bytes' | 'rate' | 'cost'>} overview */
function hourly({ at, bytes, rate: { mbps: present, until }, cost }) {
  const hour = (present * 1e6 * 3600) / 8;
  const ofCloudflare = bytes.used >= cost.freeGB * 1e9 ? cost.pricePerGB : 0;
  const price = cost.bySource.every(isCloudflares) ? ofCloudflare : cost.averagePerGB;
  const flow = until === at ? 'still flow' : `flowed up to ${time(new Date(until), new Date(at))}, as counted`;
  return `${size(hour)} an hour ${flow}, at ${money((hour / 1e9) * price, cost.currency)} an hour.`;
}

/** When usage reaches the limit at the present rate. @param {Pick<Overview, 'at' | 'bytes' | 'rate' | 'cost'>} overview @returns {Verdict} */
export function limitAt(overview) {
  const { at, bytes, rate: { limitAt: instant }, cost: { forecast } } = overview;
  if (bytes.used >= bytes.limit) return verdict('bad', 'it is reached', hourly(overview));
  const why = forecast ? `The average since ${date(new Date(forecast.since))} leads to ${size(forecast.usedBytes)} at the reset.` : '';
  if (instant === null) return verdict('good', 'not before the reset', why);
  const left = (Date.parse(instant) - Date.parse(at)) / 1000;
  const word = left < 60 ? 'within a minute, if not already' : left < DAY ? `in about ${span(left)}` : `about ${time(new Date(instant), new Date(at))}`;
  return verdict(left < SOON ? 'bad' : 'warn', word, why);
}

/** Whose price and free GB the settings have without a source. @param {Overview['cost']['bySource'][number]} of */
const isCloudflares = ({ source }) => source === 'cloudflare' || source === 'sfu';

/** Cost so far and at the reset. @param {Pick<Overview, 'cost'>} overview @returns {{soFar: string, rows: Row[], note: string}} */
export function costs({ cost }) {
  const price = (/** @type {string | number} */ amount) => money(Number(amount), cost.currency);
  const ofCloudflare = cost.bySource.filter(isCloudflares);
  const left = ofCloudflare.reduce((rest, { usedBytes }) => Math.max(0, rest - usedBytes), cost.freeGB * 1e9);
  const paid = cost.bySource.filter((of) => Number(of.cost) > 0);
  const largest = Math.max(left, cost.forecast?.usedBytes ?? 0);
  const rows = [
    row('forecast at the reset', cost.forecast ? price(cost.forecast.cost) : '–'),
    row('usage by then', cost.forecast ? size(cost.forecast.usedBytes, largest) : '–'),
    ...(ofCloudflare.length > 0 ? [row('price of a GB', price(cost.pricePerGB)), row(`left of ${plain(cost.freeGB)} free GB`, size(left, largest))] : []),
    ...(paid.every(isCloudflares) ? [] : paid.map((of) => row(`so far at ${of.source}`, price(of.cost)))),
  ];
  const note = cost.forecast
    ? `The forecast continues the average rate since ${date(new Date(cost.forecast.since))}.`
    : 'There is no forecast in the first day of use.';
  return { soFar: price(cost.soFar), rows, note };
}

/** Whether the provider mints; if not, what it answered and what to do. @param {Pick<Provider, 'keys' | 'failure'> | null} provider @returns {Verdict} */
export function providerState(provider) {
  if (!provider) return verdict('quiet', 'no network provider');
  const { keys, failure } = provider;
  // Without a key, the first one is being created.
  if (keys.length === 0 || keys.some(({ up }) => up)) return verdict('good', 'Cloudflare mints');
  return verdict('bad', 'Cloudflare does not mint', failure ? `${sentence(failure.what)}. ${sentence(failure.remedy)}.` : '');
}

/** @typedef {{name: string, value: string, isSub?: boolean, isWarning?: boolean}} Row */

/** @param {string} name @param {string | number} value @param {Partial<Row>} [more] @returns {Row} */
const row = (name, value, more) => ({ name, value: typeof value === 'number' ? count(value) : value, ...more });

/**
 * Responses to callers since the start. Callers get `DISABLED` also while an operator has stopped minting. Here it has the code of the
 * headline: the setting stays as it is while the process runs, so all others were by an operator.
 * @param {Pick<Overview, 'callers' | 'status'>} overview @returns {Row[]}
 */
export function callerRows({ callers, status }) {
  const stopped = status.minting.code === 'DISABLED' ? 'DISABLED' : 'FROZEN';
  /** @typedef {typeof callers.answers} Answers */
  const sum = (/** @type {{count: number}[]} */ answers) => answers.reduce((total, { count }) => total + count, 0);
  const isDegraded = (/** @type {Answers[number]} */ { reason }) => reason !== null;
  const degraded = callers.answers.filter(isDegraded);
  const refused = sum(callers.refusals);
  const reasons = new Set(degraded.map(({ reason }) => reason));
  return [
    row('from the first source', sum(callers.answers.filter((answer) => !isDegraded(answer)))),
    row('degraded', sum(degraded), { isWarning: degraded.length > 0 }),
    ...[...reasons].map((reason) => row(reason === 'DISABLED' ? stopped : String(reason), sum(degraded.filter((answer) => answer.reason === reason)), { isSub: true })),
    row('refused', refused, { isWarning: refused > 0 }),
    ...callers.refusals.map(({ code, count }) => row(code, count, { isSub: true })),
    ...(callers.addressRefused ? [row('because of one address', callers.addressRefused, { isSub: true })] : []),
  ];
}

/** @param {Pick<Overview, 'status' | 'connections' | 'usable'>} overview @returns {{rows: Row[], note: string}} */
export function grants({ status, connections, usable }) {
  const { issued, live, reported } = status.grants;
  const share = issued ? `${plain(Math.round((reported / issued) * 1000) / 10)} %` : '–';
  const rows = [
    row('issued', issued),
    row('reported a connection', reported),
    row('reported / issued', share),
    row('usable', usable),
    row('live, with revoked ones and the tail', live, { isSub: true }),
    row('connections timed out', connections.givenUp, { isWarning: connections.givenUp > connections.closed }),
    row('reports capped', connections.claimsClamped, { isWarning: connections.claimsClamped > 0 }),
  ];
  const note = issued && reported / issued < 0.5
    ? 'Many credentials are unused or unreported. Each one reserves part of the budget: mint when a call starts.'
    : '';
  return { rows, note };
}

/** @param {Overview['revoked']} revoked @returns {string[]} One line for each revoked credential. */
export function revocations(revoked) {
  return revoked.map(({ grant, source, revokedAt, expiresAt }) => `${grant} (${source}): revoked ${revokedAt}, expires ${expiresAt}`);
}

/** @param {Provider | null} provider @returns {Row[]} */
export function providerRows(provider) {
  if (!provider) return [];
  const { outcomes, pool } = provider;
  const { minted = 0, ...failed } = outcomes;
  const counts = Object.entries(failed).map(([name, value]) => row(name, value, { isWarning: true }));
  const pooled = [
    row('minted ahead, ready', pool.ready),
    row('minted ahead, used', pool.handedOut),
    row('minted ahead, discarded', pool.wasted),
  ];
  const isUsed = pool.ready + pool.handedOut + pool.wasted > 0;
  return [row('minted', minted), ...(isUsed ? pooled : []), ...counts];
}

/** The operator's own relays. @param {Overview['relays']} relays @returns {Row[]} */
export function relayRows(relays) {
  return relays.map(({ host, state, since, sessions, bytesPerSecond, used }) => {
    const age = since ? ` since ${since.slice(0, 16).replace('T', ' ')}` : '';
    const load = `${some(sessions, 'session')}, ${plain(Math.round(bytesPerSecond / 12_500) / 10)} Mbps, ${size(used, used)}`;
    return row(`relay ${host}`, `${state}${age}, ${load}`, { isWarning: state !== 'up' });
  });
}

/** "1 Nov – 1 Dec, reset in 9 d 4 h". @param {Pick<Overview, 'at' | 'status'>} overview */
export function periodWords({ at, status }) {
  const [start, reset] = [new Date(status.periodStart), new Date(status.resetDate)];
  return `${date(start)} – ${date(reset)}, reset in ${span((reset.getTime() - Date.parse(at)) / 1000)}`;
}

/** @param {import('./api.d.ts').Schemas['PastPeriod'][]} past */
export function pastRows(past) {
  const largest = Math.max(...past.map(({ usedBytes }) => usedBytes));
  return past.map(({ start, end, usedBytes }) => ({ name: `${date(new Date(start))} – ${date(new Date(end))}`, value: size(usedBytes, largest) }));
}

/** @param {unknown[]} listed A part of all. @param {number} total @param {string} thing */
export const listed = (listed, total, thing) =>
  (listed.length === total ? some(total, thing) : `the first ${count(listed.length)} of ${count(total)}`);
