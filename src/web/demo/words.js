// The demo's texts, and the positions of the labels on its chart. Pure.
import { assumed, mbps as rateOf } from '../dashboard/format.js';
import { cost } from '../dashboard/spending.js';

const MB = 1e6;

/** @param {number} bytes */
export const mb = (bytes) => (bytes / MB).toFixed(1);

/**
 * @typedef {'idle' | 'waiting' | 'starting' | 'running' | 'over' | 'left' | 'cut' | 'rejected'} Phase `waiting`: alone in the room. `left`: the
 *     room ended, because the other end left or the operator ended it.
 * @typedef {'spent' | 'revoked' | 'expired' | 'lost'} Why The reason why a call ended by itself.
 * @typedef {{code: string | null, message: string}} Rejection
 * @typedef {import('./api.d.ts').Schemas['OverviewBody']} Overview
 * @typedef {{mark: string, text: string}} Story The kind of note, and the text.
 */

/**
 * Why the broker does not mint now, regardless of its earlier responses.
 * @param {Overview | null} overview @returns {'stopped' | 'spent' | null}
 */
export function obstacle(overview) {
  if (overview?.status.frozen) return 'stopped';
  return overview?.status.status === 'LIMIT_EXCEEDED' ? 'spent' : null;
}

/** Rejections that an override can lift. */
const TEMPORARY = ['BUDGET_EXHAUSTED', 'DISABLED'];
/** @param {Rejection | null} rejection */
const isTemporary = (rejection) => TEMPORARY.includes(rejection?.code ?? '');
/** @param {Rejection | null} rejection @param {Overview | null} overview */
const isLifted = (rejection, overview) => isTemporary(rejection) && obstacle(overview) === null;

/** The mark at the top. @param {Omit<Now, 'secondsLeft' | 'inUse'>} now */
export function phaseMark({ phase, why, rejection, overview }) {
  switch (phase) {
    case 'idle': return { mark: 'quiet', word: 'no call' };
    case 'waiting': return { mark: 'quiet', word: 'waiting' };
    case 'starting': return { mark: 'quiet', word: 'connecting' };
    case 'running': return { mark: 'good', word: 'in call, relayed' };
    case 'over': return { mark: 'quiet', word: 'hung up' };
    case 'left': return { mark: 'quiet', word: 'the room has ended' };
    case 'rejected': return isLifted(rejection, overview) ? { mark: 'quiet', word: 'no call' } : { mark: 'bad', word: 'rejected' };
    default: return { mark: 'bad', word: why === 'lost' ? 'path lost' : 'cut by the relay' };
  }
}

/** Why a call receives nothing any more, as far as the page can know. @param {{isSpent: boolean, isRevoked: boolean, hasExpired: boolean}} known @returns {Why} */
export function whyCut({ isSpent, isRevoked, hasExpired }) {
  if (isRevoked) return 'revoked';
  if (isSpent) return 'spent';
  return hasExpired ? 'expired' : 'lost';
}

/** Why there is no call, for the list of events. @param {string | null} code From the broker. */
export function rejectionReason(code) {
  /** @type {Record<string, string>} */
  const known = { BUDGET_EXHAUSTED: 'the budget is spent', DISABLED: 'minting is stopped', full: 'two others are in the room', NETWORK: 'the broker does not answer' };
  return known[code ?? ''] ?? `the broker says ${code}`;
}

const NEXT = {
  stopped: 'Minting is stopped. Allow minting again, then start again.',
  spent: 'Raise the limit, then start again.',
  none: 'Start again.',
};
/** What to do before the next call. @param {Overview | null} overview */
const next = (overview) => NEXT[obstacle(overview) ?? 'none'];

/**
 * @typedef {{phase: Phase, why: Why | null, rejection: Rejection | null, overview: Overview | null,
 *     secondsLeft: number | null, inUse: number}} Now `inUse`: credentials that the call uses.
 */

/**
 * What happens now, in a few sentences. An earlier rejection counts only while its reason lasts.
 * @param {Now} now @returns {Story}
 */
export function story(now) {
  switch (now.phase) {
    case 'rejected': return rejected(now);
    case 'cut': return cut(now);
    case 'waiting': return { mark: '', text: 'Ann is in the room, with a credential that came over the signaling. The call starts when the second window is there too.' };
    case 'starting': return { mark: '', text: 'Both windows are in the room. Each makes an allocation at the relay, and they exchange offer and answer through the broker.' };
    case 'running': return running(now);
    case 'over': return { mark: '', text: 'Hung up. Leaving a room revokes its credentials, and this relay releases what they had reserved. The second window waits with a new one. Start again.' };
    case 'left': return { mark: '', text: 'The room has ended: the second window left, or the operator ended it in the dashboard. Both credentials are revoked. Start again.' };
    default: return { mark: '', text: 'Open a second window. The two find each other through the broker’s signaling, which gives each a credential, and send each other video. All of it goes through the relay in the broker’s process.' };
  }
}

/** @param {Now} now @returns {Story} */
function rejected({ rejection, overview }) {
  if (rejection?.code === 'full') return { mark: 'bad', text: 'Two others are in this room. Close one of their windows, then start again.' };
  if (!isTemporary(rejection)) return { mark: 'bad', text: `The broker gives no relay credentials (${rejection?.code}): ${rejection?.message}.` };
  switch (obstacle(overview)) {
    case 'stopped': return { mark: 'warn', text: 'Minting is stopped. The broker returns public STUN servers only, so a call that needs a relay cannot start. Allow minting again, then start again.' };
    case 'spent': {
      const quote = rejection?.code === 'BUDGET_EXHAUSTED' ? ` (429 ${rejection.code}): “${rejection.message}”` : '.';
      return { mark: 'bad', text: `The budget is spent, so the broker gives no credentials${quote} Raise the limit, then start again.` };
    }
    default: return { mark: 'good', text: 'Minting works again. Start again.' };
  }
}

/** @param {Now} now @returns {Story} */
function cut({ why, rejection, overview }) {
  if (why === 'spent') {
    if (obstacle(overview) === null) return { mark: 'good', text: 'The budget was spent, so the relay cut the call. Minting works again. Start again.' };
    const quote = rejection ? ` The broker gives no new credentials (${rejection.code}): “${rejection.message}”` : '';
    return { mark: 'bad', text: `The budget is spent. The relay cut the call after the packet that reached the limit.${quote} ${next(overview)}` };
  }
  const todo = next(overview);
  if (why === 'revoked') return { mark: 'warn', text: `Ann’s credential was revoked. The relay deleted her allocation, so Ben receives nothing. ${todo}` };
  if (why === 'expired') return { mark: 'warn', text: `The credentials expired and there were no new ones, so the relay cut the call. ${todo}` };
  return { mark: 'warn', text: `No packets arrive, and the broker does not know why. ${todo}` };
}

/** @param {Now} now @returns {Story} */
function running({ overview, secondsLeft, inUse }) {
  const { overshootBound, used, limit } = overview?.bytes ?? { overshootBound: 0, used: 0, limit: 1 };
  if (overview?.status.frozen) return { mark: 'warn', text: `Minting is stopped. Running calls continue, but nobody gets a new credential. The relay will cut this call when its credentials expire${secondsLeft === null ? '' : `, in about ${secondsLeft} s`}.` };
  if (limit - used < 0.1 * limit || limit - used < 12 * MB) return { mark: 'warn', text: `${mb(Math.max(0, limit - used))} MB are left. The relay counts every packet and drops all packets after the one that reaches the limit.` };
  if (overview?.status.boundHolds === false) return { mark: 'warn', text: 'The call relays more than the assumed rate per credential. The ledger now uses the observed rate, so the worst case is larger.' };
  if (overview && overshootBound > 0) {
    const earlier = overview.status.grants.live > inUse ? ' Older credentials count until they expire.' : '';
    return { mark: 'warn', text: `Live credentials could take usage ${mb(overshootBound)} MB past the limit. This is the overshoot bound.${earlier} This relay cuts calls at the limit. For providers that do not, strict mode keeps the bound at zero.` };
  }
  return { mark: 'good', text: 'The relay counts every byte of the call. The worst case adds what live credentials could still use before they expire. It rises when both join again for new ones.' };
}

/** The worst case ends where the relay has stopped: it passes no packet after the one that reached the limit. @param {Overview} overview */
export const worst = ({ bytes, status }) => (status.status === 'LIMIT_EXCEEDED' ? bytes.used : bytes.committed);

/** How far usage is past the limit, or can still get. @param {Overview} overview */
function pastTheLimit({ bytes, status }) {
  if (status.status === 'LIMIT_EXCEEDED') return { of: 'Past the limit', past: bytes.used - bytes.limit, why: 'The relay stopped at the packet that reached it.' };
  const reserved = `${mb(Math.max(0, bytes.committed - bytes.used))} MB are reserved: ${assumed(status.boundAssumes)}`;
  return { of: 'Past the limit in the worst case', past: bytes.overshootBound, why: reserved };
}

/** @param {Overview} overview @param {number | null} mbps The billed rate of the last seconds. */
export function figures(overview, mbps) {
  const { bytes } = overview;
  const minting = {
    stopped: { mark: 'warn', word: 'minting is stopped' },
    spent: { mark: 'bad', word: 'rejected: the limit is reached' },
    none: { mark: 'good', word: 'minting' },
  }[obstacle(overview) ?? 'none'];
  const { past, why, of } = pastTheLimit(overview);
  return {
    used: mb(bytes.used),
    limit: String(+(bytes.limit / MB).toFixed(1)),
    rate: mbps === null ? '–' : `${rateOf(mbps)} to both ends`,
    boundOf: of,
    worst: { mark: past > MB / 20 ? 'warn' : 'good', word: `${mb(worst(overview))} MB` },
    bound: `${mb(past)} MB`,
    boundWhy: why,
    minting,
  };
}

/**
 * Bytes at a time, interpolated between two samples, or those of the nearest sample.
 * @param {[number, number][]} samples Time and bytes, sorted by time.
 * @param {number} instant
 */
export function bytesAt(samples, instant) {
  const next = samples.findIndex(([at]) => at >= instant);
  if (next <= 0) return (next === 0 ? samples[0] : samples.at(-1) ?? [0, 0])[1];
  const [[from, least], [to, most]] = [samples[next - 1], samples[next]];
  return least + ((most - least) * (instant - from)) / (to - from);
}

/** The measured bytes of this period; without a reading, the estimate. @param {Overview} overview */
export const counted = ({ bytes }) => bytes.measured ?? bytes.used;

/**
 * The origin of the figure, and the page's own count of the same bytes up to the same time.
 * @param {Overview} overview @param {[number, number][]} samples
 * @param {number} before The ledger's count before the page received its first byte.
 */
export function known(overview, samples, before) {
  const { status, at } = overview;
  const age = (/** @type {string} */ asOf) => Math.max(0, Math.round((Date.parse(at) - Date.parse(asOf)) / 1_000));
  const how = status.asOf ? `measured at the relay, ${age(status.asOf)} s ago` : 'estimated';
  const since = counted(overview) - before;
  const pageBytes = bytesAt(samples, Date.parse(status.asOf ?? at));
  if (pageBytes < MB || since <= 0) return { how, page: 'The browser’s own count appears during the first call.' };
  const percent = (since / pageBytes - 1) * 100;
  const sign = percent < 0 ? '\u2212' : '+';
  return { how, page: `${mb(pageBytes)} MB sent and received by this window since it was loaded, by the browser’s own statistics. The ledger differs by ${sign}${Math.abs(percent).toFixed(1)}\u00a0%` };
}

/** @param {{name: string, expiresAt: Date}[]} held In the room. @param {number} live All. @param {number} now */
export function credentials(held, live, now) {
  if (held.length === 0) return live ? `${live} live, from earlier calls; they count until they expire` : 'none live';
  const each = held.map(({ name, expiresAt }) => `${name}’s expires in ${Math.max(0, Math.round((expiresAt.getTime() - now) / 1_000))} s`);
  const earlier = live > held.length ? [`${live - held.length} older ones count until they expire`] : [];
  return [`${live} live`, ...each.sort(), ...earlier].join('; ');
}

/** Both join again this long before a credential of theirs expires. */
const AGAIN_SECONDS = 15;
/** Whether a credential in the room is about to expire. @param {{expiresAt: Date}[]} held @param {Date} now */
export const isDue = (held, now) => held.some(({ expiresAt }) => {
  const seconds = (expiresAt.getTime() - now.getTime()) / 1_000;
  return seconds > 0 && seconds < AGAIN_SECONDS;
});

/** What the room has used and costs. @param {number | null} bytes @param {Overview} overview */
export const callWords = (bytes, overview) => (bytes ? `${mb(bytes)} MB in this room, ${cost(bytes, overview.cost)}` : 'nothing in this room yet');

/**
 * What the second window says.
 * @param {import('./call.js').Call['state']} state @param {string} why
 * @returns {{mark: 'good' | 'warn' | 'quiet', word: string, text: string}}
 */
export function guestStory(state, why) {
  switch (state) {
    case 'joining': return { mark: 'quiet', word: 'joining', text: 'This window asks the broker’s signaling for a place in the room.' };
    case 'waiting': return { mark: 'quiet', word: 'waiting', text: 'This window is in the room, and waits for the first one.' };
    case 'connecting': return { mark: 'quiet', word: 'connecting', text: 'Both windows are in the room, and exchange offer and answer through the broker.' };
    case 'connected': return { mark: 'good', word: 'in call, relayed', text: 'All media goes through the relay in the broker’s process. The first window shows what it uses.' };
  }
  switch (why) {
    case 'no relay': return { mark: 'warn', word: 'no relay', text: 'The broker gives no relay credentials now. This window asks again every two seconds. The first one says why.' };
    case 'full': return { mark: 'warn', word: 'full', text: 'Two others are in this room. This window tries again every two seconds.' };
    case 'closed': return { mark: 'warn', word: 'no answer', text: 'The demo does not answer. This window tries again every two seconds.' };
    default: return { mark: 'quiet', word: 'the room has ended', text: 'The call is over. This window joins the room again.' };
  }
}

/**
 * Places words in rows above the chart without overlap; null if there is no room. The latest words are placed first.
 * @param {{x: number, width: number}[]} words Sorted by `x`. A word extends to the right, or to the left at the edge.
 * @param {{right: number, rows: number}} room
 * @returns {({row: number, isLeft: boolean} | null)[]}
 */
export function placed(words, { right, rows }) {
  /** The start of the leftmost word in each row. */
  const free = Array.from({ length: rows }, () => Infinity);
  return [...words].reverse().map(({ x, width }) => {
    const isLeft = x + width > right;
    const [from, to] = isLeft ? [x - width, x] : [x, x + width];
    const row = free.findIndex((begin) => to <= begin);
    if (row < 0) return null;
    free[row] = from;
    return { row, isLeft };
  }).reverse();
}
