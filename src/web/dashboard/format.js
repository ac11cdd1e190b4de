// Formats of figures. Times are UTC, GB = 10^9 bytes. Pure.

const GB = 1e9;
const MINUS = '\u2212';
/** @param {number} digits */
const number = (digits) => new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const whole = number(0);

/** The unit of a size, as in alerts, and its decimals. Small sizes are in MB or kB: the first call is visible. @param {number} bytes */
function unitOf(bytes) {
  if (bytes >= 0.095 * GB || bytes === 0) return { unit: 'GB', one: GB, digits: 2 };
  return bytes >= 1e6 ? { unit: 'MB', one: 1e6, digits: 1 } : { unit: 'kB', one: 1e3, digits: 1 };
}

/** "12.30 GB". Sizes that are compared, as in a column, have the unit of the largest one. @param {number} bytes @param {number} [largest] */
export function size(bytes, largest = bytes) {
  const { unit, one, digits } = unitOf(largest);
  const least = 10 ** -digits;
  return bytes > 0 && bytes < (least / 2) * one ? `< ${least} ${unit}` : `${number(digits).format(bytes / one)} ${unit}`;
}

/** "4.91 Mbps", "42 Mbps". @param {number} value */
export const mbps = (value) => `${new Intl.NumberFormat('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 }).format(value)} Mbps`;

/** "1,234". @param {number} value */
export const count = (value) => whole.format(value);

/** "1,000" or "0.5", with at most three decimals. @param {number} value */
export const plain = (value) => new Intl.NumberFormat('en-US', { maximumFractionDigits: 3 }).format(value);

/** "-3.2", with a minus sign instead of the hyphen. @param {number} value @param {number} digits */
export const signed = (value, digits) => number(digits).format(value).replace('-', MINUS);

/** "$12.35". Prices below a hundredth keep their decimals. @param {number} amount @param {string} currency */
export const money = (amount, currency) =>
  new Intl.NumberFormat('en-US', { style: 'currency', currency, maximumFractionDigits: amount > 0 && amount < 0.01 ? 6 : 2 }).format(amount);

/** @param {Intl.DateTimeFormatOptions} options */
const part = (options) => new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', ...options });
const [clock, day, dayClock] = [
  part({ hour: '2-digit', minute: '2-digit' }),
  part({ day: 'numeric', month: 'short' }),
  part({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }),
];

/** Rewords `boundAssumes`: what each credential is assumed to relay, and until when. @param {string} text */
export function assumed(text) {
  return text
    .replace(' per grant', ' for each credential')
    .replace(/ until 0 s after expiry/, ', until it expires')
    .replace(/ until (.+?) after expiry/, (_, /** @type {string} */ tails) => `, until ${tails.replace(/\d+ s/g, (seconds) => span(parseInt(seconds, 10)))} after it expires`);
}

/** The assumed rate in `boundAssumes`; null if no source is metered. @param {string} text */
export function assumedMbps(text) {
  const found = /^([\d.]+) Mbps/.exec(text);
  return found && Number(found[1]);
}

/**
 * The budget in one unit: MB if it is smaller than 1 GB. Used is rounded to the nearest; reserved and overshoot are rounded up.
 * @param {Pick<import('./api.d.ts').Schemas['OverviewBody'], 'bytes' | 'status'>} overview
 * @returns {{unit: string, used: string, limit: string, reserved: string, past: string}}
 */
export function amounts({ bytes, status }) {
  if (Math.max(bytes.limit, bytes.used, bytes.committed) >= GB) {
    return { unit: 'GB', used: status.bandwidthUsedGB, limit: String(status.bandwidthLimitGB), reserved: status.reservedGB, past: status.overshootBoundGB };
  }
  /** @param {number} value */
  const up = (value) => (Math.ceil(value / 1e5) / 10).toFixed(1);
  return {
    unit: 'MB',
    used: (bytes.used / 1e6).toFixed(1),
    limit: String(+(bytes.limit / 1e6).toFixed(3)),
    reserved: up(Math.max(0, bytes.committed - bytes.used)),
    past: up(bytes.overshootBound),
  };
}

/**
 * The number that a person typed; null if it is none, or if a comma makes it ambiguous.
 * @param {string} text @returns {number | null}
 */
export function typedNumber(text) {
  return /^(\d+\.?\d*|\.\d+)$/.test(text.trim()) ? Number(text) : null;
}

/** Rewrites the timestamps in a sentence of the broker. @param {string} text @param {Date} now */
export const withTimes = (text, now) => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (instant) => time(new Date(instant), now));

/** "14:05", or "19 Nov, 14:05" if `now` is another day. @param {Date} at @param {Date} now */
export function time(at, now) {
  return at.toISOString().slice(0, 10) === now.toISOString().slice(0, 10) ? clock.format(at) : dayClock.format(at);
}

/** "1 Nov". @param {Date} at */
export const date = (at) => day.format(at);

/** "45 s", "12 min", "3 h 20 min", "9 d 4 h". @param {number} seconds */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

/** "3 connections", "1 connection". @param {number} value @param {string} thing */
export const some = (value, thing) => `${count(value)} ${thing}${value === 1 ? '' : 's'}`;
