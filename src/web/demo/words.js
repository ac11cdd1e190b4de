// The figures and what goes on, in words, and where words stand on the chart. Pure.
import { assumed } from '../dashboard/format.js';

const MB = 1e6;

export const mb = (bytes) => (bytes / MB).toFixed(1);

/**
 * @typedef {'idle' | 'starting' | 'running' | 'over' | 'cut' | 'refused'} Phase
 * @typedef {'spent' | 'revoked' | 'expired' | 'lost'} Why A call that ended by itself.
 */

/**
 * What keeps the broker from minting now, whatever it answered before.
 * @param {object | null} overview @returns {'stopped' | 'spent' | null}
 */
export function hindrance(overview) {
  if (overview?.status.frozen) return 'stopped';
  return overview?.status.status === 'LIMIT_EXCEEDED' ? 'spent' : null;
}

/** Refusals that an order takes back. */
const PASSING = ['BUDGET_EXHAUSTED', 'DISABLED'];
const isOver = (refusal, overview) => PASSING.includes(refusal?.code) && hindrance(overview) === null;

/** The mark at the top. @param {{phase: Phase, why: Why | null, refusal: {code: string} | null, overview: object | null}} now */
export function phaseMark({ phase, why, refusal, overview }) {
  switch (phase) {
    case 'idle': return { mark: 'quiet', word: 'no call' };
    case 'starting': return { mark: 'quiet', word: 'connecting' };
    case 'running': return { mark: 'good', word: 'in call, relayed' };
    case 'over': return { mark: 'quiet', word: 'hung up' };
    case 'refused': return isOver(refusal, overview) ? { mark: 'quiet', word: 'no call' } : { mark: 'bad', word: 'refused' };
    default: return { mark: 'bad', word: why === 'lost' ? 'path lost' : 'cut by the relay' };
  }
}

/** Why a call that has fallen silent did so, as far as the broker tells. */
export function whyCut({ isSpent, isRevoked, hasExpired }) {
  if (isRevoked) return 'revoked';
  if (isSpent) return 'spent';
  return hasExpired ? 'expired' : 'lost';
}

/** Why there was no credential, for the list of events. @param {string} code The broker’s, or the module’s. */
export function refusedBecause(code) {
  const known = { BUDGET_EXHAUSTED: 'the budget is spent', DISABLED: 'minting is stopped', RATE_LIMITED: 'too many were asked for', NETWORK: 'the broker does not answer' };
  return known[code] ?? `the broker says ${code}`;
}

/** What is to be done before a call can begin. */
const NEXT = {
  stopped: 'Minting is stopped: allow it again, and start again.',
  spent: 'Raise the limit, and start again.',
};
const next = (overview) => NEXT[hindrance(overview)] ?? 'Start again.';

/**
 * @typedef {{phase: Phase, why: Why | null, refusal: {code: string, message: string} | null, overview: object | null,
 *     secondsLeft: number | null, inUse: number}} Now `inUse`: credentials that the call uses.
 */

/**
 * One or two sentences on what can be seen now. What was refused before says nothing of what would be refused now.
 * @param {Now} now
 * @returns {{mark: string, text: string}} The kind of note, and the text.
 */
export function story(now) {
  switch (now.phase) {
    case 'refused': return refused(now);
    case 'cut': return cut(now);
    case 'starting': return { mark: '', text: 'Each end asks the broker for credentials, and the relay for an allocation with them.' };
    case 'running': return running(now);
    case 'over': return { mark: '', text: 'Hung up. What was promised to its credentials stays promised until they expire: the worst case falls by itself.' };
    default: return { mark: '', text: 'Start the call: two ends on this page get credentials from the broker and send each other video through the relay in its process. Nothing goes from one to the other directly.' };
  }
}

function refused({ refusal, overview }) {
  if (!PASSING.includes(refusal?.code)) return { mark: 'bad', text: `There are no credentials for a relay (${refusal?.code}): ${refusal?.message}.` };
  switch (hindrance(overview)) {
    case 'stopped': return { mark: 'warn', text: 'Minting is stopped: the broker answers with public STUN servers only, and a call that needs a relay cannot begin. Allow minting again, and start again.' };
    case 'spent': {
      const told = refusal.code === 'BUDGET_EXHAUSTED' ? ` (429 ${refusal.code}): “${refusal.message}”` : '.';
      return { mark: 'bad', text: `The budget is spent, so the broker gives no credential${told} Raise the limit, and start again.` };
    }
    default: return { mark: 'good', text: 'Minting again: start the call.' };
  }
}

function cut({ why, refusal, overview }) {
  if (why === 'spent') {
    if (hindrance(overview) === null) return { mark: 'good', text: 'The budget was spent, and the relay cut the call. Minting again: start the call.' };
    const told = refusal ? ` A new credential is refused (${refusal.code}): “${refusal.message}”` : '';
    return { mark: 'bad', text: `The budget is spent. The packet that reached the limit was the last one: the relay has cut the call.${told} The worst case counts on no cut, and melts as the credentials expire. ${next(overview)}` };
  }
  const begin = next(overview);
  if (why === 'revoked') return { mark: 'warn', text: `Ann’s credential was revoked: the relay has deleted what was allocated with it, and Ben talks to nobody. ${begin === 'Start again.' ? 'Start again, and each end gets a new one.' : begin}` };
  if (why === 'expired') return { mark: 'warn', text: `The credentials expired and none had come in their place, so the relay has cut the call. ${begin}` };
  return { mark: 'warn', text: `No more packets arrive, and the broker does not say why. ${begin}` };
}

function running({ overview, secondsLeft, inUse }) {
  const { overshootBound, used, limit } = overview?.bytes ?? { overshootBound: 0, used: 0, limit: 1 };
  if (overview?.status.frozen) return { mark: 'warn', text: `Minting is stopped, what runs goes on. No credential is renewed, so the relay will cut this call when its credentials expire${secondsLeft === null ? '' : `, in about ${secondsLeft} s`}.` };
  if (limit - used < 0.1 * limit || limit - used < 12 * MB) return { mark: 'warn', text: `${mb(Math.max(0, limit - used))} MB are left. The relay counts every packet, and lets none pass after the one that reaches the limit.` };
  if (overview?.status.boundHolds === false) return { mark: 'warn', text: 'The call relays more than each credential was assumed to. The ledger has noticed: it takes the rate that it has seen from now on, and the worst case is the larger for it.' };
  if (overshootBound > 0) {
    const earlier = overview.status.grants.live > inUse ? ' Those of a call before, and those that were renewed, still count, until they expire.' : '';
    return { mark: 'warn', text: `Credentials that are out could take usage ${mb(overshootBound)} MB past the limit: that is the bound.${earlier} This relay will cut at the limit; at a provider that lets them run, strict mode mints only what keeps the bound at zero.` };
  }
  return { mark: 'good', text: 'Every byte of the call goes through the relay, which counts it. Above what is used stands the worst case: what credentials that are out could still use before they expire. It rises in steps when they are renewed.' };
}

/** @param {object} overview Of `/api/overview`. @param {number | null} mbps What the last seconds were billed. */
export function figures(overview, mbps) {
  const { bytes, status } = overview;
  const minting = {
    stopped: { mark: 'warn', word: 'minting is stopped' },
    spent: { mark: 'bad', word: 'refused: the limit is reached' },
  }[hindrance(overview)] ?? { mark: 'good', word: 'minting' };
  const bound = bytes.overshootBound;
  return {
    used: mb(bytes.used),
    limit: String(+(bytes.limit / MB).toFixed(1)),
    rate: mbps === null ? '–' : `${mbps.toFixed(1)} Mbps to both ends`,
    bound: { mark: bound > 0 ? 'warn' : 'good', word: `${mb(bound)} MB` },
    boundWhy: `${mb(Math.max(0, bytes.committed - bytes.used))} MB are promised: ${assumed(status.boundAssumes)}`,
    minting,
  };
}

/**
 * How many bytes there were at an instant, between two looks or at the nearest one.
 * @param {[number, number][]} looks Instant and bytes, in order.
 */
export function bytesAt(looks, instant) {
  const next = looks.findIndex(([at]) => at >= instant);
  if (next <= 0) return (next === 0 ? looks[0] : looks.at(-1) ?? [0, 0])[1];
  const [[from, least], [to, most]] = [looks[next - 1], looks[next]];
  return least + ((most - least) * (instant - from)) / (to - from);
}

/** What the ledger has of this period, as far as it was counted. */
export const counted = ({ bytes }) => bytes.measured ?? bytes.used;

/**
 * How the figure is known, and what the page's own statistics say of the same bytes up to the same instant.
 * @param {object} overview @param {[number, number][]} looks
 * @param {number} before What the ledger had counted before the page received its first byte: that was not for this page.
 */
export function known(overview, looks, before) {
  const { status, at } = overview;
  const seconds = Math.max(0, Math.round((Date.parse(at) - Date.parse(status.asOf)) / 1_000));
  const how = status.asOf ? `measured at the relay, ${seconds} s ago` : 'estimated';
  const since = counted(overview) - before;
  const pageBytes = bytesAt(looks, Date.parse(status.asOf ?? at));
  if (pageBytes < MB || since <= 0) return { how, page: 'The two browsers’ own count appears with the first call.' };
  const percent = (since / pageBytes - 1) * 100;
  const sign = percent < 0 ? '\u2212' : '+';
  return { how, page: `${mb(pageBytes)} MB since this page was loaded, by the browser’s own statistics: the ledger has ${sign}${Math.abs(percent).toFixed(1)}\u00a0%` };
}

/** @param {{name: string, renewals: number, expiresAt: Date | null}[]} held By the call. @param {number} live All. @param {number} now */
export function credentials(held, live, now) {
  if (held.length === 0) return live ? `${live} alive, of calls before: they still count, until they expire` : 'none alive';
  const each = held.filter(({ expiresAt }) => expiresAt).map(({ name, renewals, expiresAt }) => {
    const seconds = Math.max(0, Math.round((expiresAt - now) / 1_000));
    return `${name}’s expires in ${seconds} s${renewals ? `, renewed ${renewals}×` : ''}`;
  });
  const earlier = live > held.length ? [`${live - held.length} given before still count, until they expire`] : [];
  return [`${live} alive`, ...each, ...earlier].join('; ');
}

/**
 * In which row above the chart each word stands, so that none meets another; null where there is no room. The latest come first.
 * @param {{x: number, width: number}[]} words In order of `x`; a word goes from there to the right, or to the left at the edge.
 * @returns {({row: number, isLeft: boolean} | null)[]}
 */
export function placed(words, { right, rows }) {
  /** Where the leftmost word of each row begins. */
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
