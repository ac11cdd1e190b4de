// The figures and what goes on, in words. Pure.

const MB = 1e6;

export const mb = (bytes) => (bytes / MB).toFixed(1);

/**
 * @typedef {'idle' | 'starting' | 'running' | 'over' | 'cut' | 'refused'} Phase
 * @typedef {'spent' | 'revoked' | 'expired' | 'lost'} Why A call that ended by itself.
 */

/** The mark at the top. @param {Phase} phase @param {Why | null} why */
export function phaseMark(phase, why) {
  switch (phase) {
    case 'idle': return { mark: 'quiet', word: 'no call' };
    case 'starting': return { mark: 'quiet', word: 'connecting' };
    case 'running': return { mark: 'good', word: 'in call, relayed' };
    case 'over': return { mark: 'quiet', word: 'hung up' };
    case 'refused': return { mark: 'bad', word: 'refused' };
    default: return { mark: 'bad', word: why === 'lost' ? 'path lost' : 'cut by the relay' };
  }
}

/** Why a call that has fallen silent did so, as far as the broker tells. */
export function whyCut({ isSpent, isRevoked, hasExpired }) {
  if (isRevoked) return 'revoked';
  if (isSpent) return 'spent';
  return hasExpired ? 'expired' : 'lost';
}

/**
 * One or two sentences on what can be seen now.
 * @param {{phase: Phase, why: Why | null, refusal: {code: string, message: string} | null, overview: object | null, secondsLeft: number | null}} now
 * @returns {{mark: string, text: string}} The kind of note, and the text.
 */
export function story({ phase, why, refusal, overview, secondsLeft }) {
  const isFrozen = overview?.status.frozen ?? false;
  const told = refusal ? ` A new credential is refused (${refusal.code}): “${refusal.message}”` : '';
  if (phase === 'refused') {
    if (refusal?.code === 'BUDGET_EXHAUSTED') return { mark: 'bad', text: `The budget is spent, so the broker gives no credential (429 ${refusal.code}): “${refusal.message}” Raise the limit, and start again.` };
    if (refusal?.code === 'DISABLED') return { mark: 'warn', text: 'Minting is frozen: the broker answers with public STUN servers only, and a call that needs a relay cannot begin. Thaw it, and start again.' };
    return { mark: 'bad', text: `There are no credentials for a relay (${refusal?.code}): ${refusal?.message}.` };
  }
  if (phase === 'cut') {
    if (why === 'spent') return { mark: 'bad', text: `The budget is spent. The packet that reached the limit was the last one: the relay has cut the call.${told} The worst case counts on no cut, and melts as the credentials end. Raise the limit, and start again.` };
    if (why === 'revoked') return { mark: 'warn', text: 'Ann’s credential was revoked: the relay has deleted what was allocated with it, and Ben talks to nobody. Start again, and each end gets a new one.' };
    if (why === 'expired') return { mark: 'warn', text: `The credentials ended and none had come in their place, so the relay has cut the call.${isFrozen ? ' Minting is frozen: thaw it, and start again.' : ''}` };
    return { mark: 'warn', text: 'No more packets arrive, and the broker does not say why. Start again.' };
  }
  if (phase === 'starting') return { mark: '', text: 'Each end asks the broker for credentials, and the relay for an allocation with them.' };
  if (phase === 'running') return running(overview, secondsLeft, isFrozen);
  const before = phase === 'over' ? 'Hung up. What was promised to its credentials stays promised until they end: the worst case falls by itself. ' : '';
  const begin = 'Start the call: two ends on this page get credentials from the broker and send each other video through the relay in its process. Nothing goes from one to the other directly.';
  return { mark: '', text: before || begin };
}

function running(overview, secondsLeft, isFrozen) {
  const { overshootBound, used, limit } = overview?.bytes ?? { overshootBound: 0, used: 0, limit: 1 };
  if (isFrozen) return { mark: 'warn', text: `Minting is frozen, what runs goes on. No credential is renewed, so the relay will cut this call when its credentials end${secondsLeft === null ? '' : `, in about ${secondsLeft} s`}.` };
  if (limit - used < 0.1 * limit || limit - used < 12 * MB) return { mark: 'warn', text: `${mb(Math.max(0, limit - used))} MB are left. The relay counts every packet, and lets none pass after the one that reaches the limit.` };
  if (overview?.status.boundHolds === false) return { mark: 'warn', text: 'The call relays more than each credential was assumed to. The ledger has noticed: it takes the rate that it has seen from now on, and the worst case is the larger for it.' };
  if (overshootBound > 0) return { mark: 'warn', text: `Credentials that are out could take the limit ${mb(overshootBound)} MB too far: that is the bound. This relay will cut at the limit; at a provider that lets them run, strict mode mints only what keeps the bound at zero.` };
  return { mark: 'good', text: 'Every byte of the call goes through the relay, which counts it. Above what is used stands the worst case: what credentials that are out could still use before they end. It rises in steps when they are renewed.' };
}

/** @param {object} overview Of `/api/overview`. @param {number | null} mbps What the last seconds were billed. */
export function figures(overview, mbps) {
  const { bytes, status } = overview;
  const isSpent = status.status === 'LIMIT_EXCEEDED';
  const minting = status.frozen
    ? { mark: 'warn', word: 'minting is frozen' }
    : isSpent ? { mark: 'bad', word: 'refused: the limit is reached' } : { mark: 'good', word: 'minting' };
  const bound = bytes.overshootBound;
  return {
    used: mb(bytes.used),
    limit: String(+(bytes.limit / MB).toFixed(1)),
    rate: mbps === null ? '–' : `${mbps.toFixed(1)} Mbps to both ends`,
    bound: { mark: bound > 0 ? 'warn' : 'good', word: `${mb(bound)} MB` },
    boundWhy: `${mb(Math.max(0, bytes.committed - bytes.used))} MB are promised: ${status.boundAssumes}`,
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

/**
 * How the figure is known, and what the page's own statistics say of the same bytes up to the same instant.
 * @param {object} overview @param {[number, number][]} looks
 */
export function known({ status, bytes, at }, looks) {
  const seconds = Math.max(0, Math.round((Date.parse(at) - Date.parse(status.asOf)) / 1_000));
  const how = status.asOf ? `measured at the relay, ${seconds} s ago` : 'estimated';
  const counted = bytes.measured ?? bytes.used;
  const pageBytes = bytesAt(looks, Date.parse(status.asOf ?? at));
  if (pageBytes < MB || counted === 0) return { how, page: 'The two browsers’ own count appears with the first call.' };
  const percent = (counted / pageBytes - 1) * 100;
  const sign = percent < 0 ? '\u2212' : '+';
  return { how, page: `${mb(pageBytes)} MB by the browser’s own statistics: the ledger has ${sign}${Math.abs(percent).toFixed(1)} %` };
}

/** @param {{name: string, renewals: number, expiresAt: Date | null}[]} held @param {number} live @param {number} now */
export function credentials(held, live, now) {
  const out = `${live} alive`;
  const each = held.filter(({ expiresAt }) => expiresAt).map(({ name, renewals, expiresAt }) => {
    const seconds = Math.max(0, Math.round((expiresAt - now) / 1_000));
    return `${name}’s ends in ${seconds} s${renewals ? `, renewed ${renewals}×` : ''}`;
  });
  return [out, ...each].join('; ');
}
