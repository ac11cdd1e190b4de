// How figures are written. Times are UTC, GB = 10^9 bytes, as everywhere in the service. Pure.

const GB = 1e9;
const MINUS = '\u2212';
const number = (digits) => new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const [whole, two] = [number(0), number(2)];

/** @param {number} bytes "12.30 GB"; small ones in MB, so that a first call shows. */
export function size(bytes) {
  if (bytes >= 0.095 * GB || bytes === 0) return `${two.format(bytes / GB)} GB`;
  if (bytes >= 1e6) return `${number(1).format(bytes / 1e6)} MB`;
  return `${number(1).format(bytes / 1e3)} kB`;
}

/** "1,234". */
export const count = (value) => whole.format(value);

/** "1,000" or "0.5": as many decimals as it has, three at most. */
export const plain = (value) => new Intl.NumberFormat('en-US', { maximumFractionDigits: 3 }).format(value);

/** "-3.2" with a real minus. */
export const signed = (value, digits) => number(digits).format(value).replace('-', MINUS);

const part = (options) => new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', ...options });
const [clock, day, dayClock] = [
  part({ hour: '2-digit', minute: '2-digit' }),
  part({ day: 'numeric', month: 'short' }),
  part({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }),
];

/** "14:05", with the day where it is another one than that of `now`. @param {Date} at @param {Date} now */
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

/** "3 connections", "1 connection". */
export const some = (value, thing) => `${count(value)} ${thing}${value === 1 ? '' : 's'}`;
