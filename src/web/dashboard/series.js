// Curves and forecast, computed from the broker's series. Pure: times are seconds since 1970, sizes are bytes.

const HOUR = 3600;
/** The forecast uses at most this much of the past. */
export const WINDOW_SECONDS = 72 * HOUR;
/** With less data than this there is no forecast. */
export const WINDOW_SECONDS_MIN = 6 * HOUR;

/**
 * @typedef {{at: number, usedBytes: number, liveGrants: number}} Point One step of the series.
 * @typedef {{asOf: number, bytes: number}} Reading The provider's own count since the period's start.
 * @typedef {{start: number, reset: number, now: number, step: number, points: Point[], readings: Reading[], used: number,
 *     limit: number}} Period `points` from `start` to `now`; `used` is the best figure.
 * @typedef {{rate: number, basis: 'measured' | 'estimate', seconds: number, atReset: number, limitAt: number | null}} Forecast
 */

/** @param {import('./api.d.ts').UsageBody} usage @param {{at: string, bytes: {used: number, limit: number}}} overview @returns {Period} */
export function period(usage, overview) {
  return {
    start: seconds(usage.periodStart),
    reset: seconds(usage.resetDate),
    now: seconds(overview.at),
    step: usage.stepSeconds,
    points: usage.points.map((point) => ({ ...point, at: seconds(point.at) })),
    readings: usage.readings.map(({ asOf, bytes }) => ({ asOf: seconds(asOf), bytes })),
    used: overview.bytes.used,
    limit: overview.bytes.limit,
  };
}

/** @param {string} instant */
export const seconds = (instant) => Date.parse(instant) / 1000;

/**
 * Extends the average rate of the latest days. The rate is that of the readings if they span enough time, otherwise that of the
 * estimate.
 * @param {Period} period
 * @returns {Forecast | null} Null without enough data.
 */
export function forecast({ reset, now, step, points, readings, used, limit }) {
  const past = measuredPast(readings, now) ?? estimatedPast(points, step, now);
  if (!past) return null;
  const rate = past.bytes / past.seconds;
  const left = Math.max(0, limit - used);
  const limitAt = left === 0 ? now : rate > 0 ? now + left / rate : null;
  return {
    rate,
    basis: past.basis,
    seconds: past.seconds,
    atReset: used + rate * Math.max(0, reset - now),
    limitAt: limitAt !== null && limitAt < reset ? limitAt : null,
  };
}

/**
 * @typedef {{basis: Forecast['basis'], seconds: number, bytes: number}} Past
 * @param {Reading[]} readings @param {number} now @returns {Past | null}
 */
function measuredPast(readings, now) {
  const window = readings.filter(({ asOf }) => asOf >= now - WINDOW_SECONDS);
  const [first, last] = [window[0], window.at(-1)];
  if (!first || !last) return null;
  const span = last.asOf - first.asOf;
  return span < WINDOW_SECONDS_MIN ? null : { basis: 'measured', seconds: span, bytes: last.bytes - first.bytes };
}

/** @param {Point[]} points @param {number} step @param {number} now @returns {Past | null} */
function estimatedPast(points, step, now) {
  const window = points.filter(({ at }) => at >= now - WINDOW_SECONDS);
  // Empty hours at the start may be hours without reports, so they do not lower the rate.
  const begin = window.findIndex(({ usedBytes, liveGrants }) => usedBytes > 0 || liveGrants > 0);
  if (begin < 0) return null;
  const span = now - window[begin].at;
  const bytes = window.slice(begin).reduce((sum, point) => sum + point.usedBytes, 0);
  return span < Math.max(WINDOW_SECONDS_MIN, step) ? null : { basis: 'estimate', seconds: span, bytes };
}

/**
 * Curves over the whole period, on common x values.
 * @param {Period} period
 * @param {Forecast | null} expected
 * @returns {{x: number[], used: (number | null)[], estimate: (number | null)[], expected: (number | null)[], limit: number[]}}
 *     `used` follows the readings, then the estimate. Before the first reading it is a straight line from zero at the start
 *     of the period.
 */
export function curves(period, expected) {
  const { start, reset, now, readings, used } = period;
  const estimateAt = estimated(period);
  const latest = readings.at(-1) ?? null;
  const asOf = latest?.asOf ?? -Infinity;
  const counts = latest && readings[0].asOf > start ? [{ asOf: start, bytes: 0 }, ...readings] : readings;
  const ends = period.points.map(({ at }) => Math.min(at + period.step, now));
  const x = [...new Set([start, ...ends, ...(asOf > start ? [asOf] : []), now, reset])].sort((a, b) => a - b);
  /** @param {number} at */
  const usedAt = (at) => {
    if (at === now) return used;
    if (!latest) return estimateAt(at);
    return at <= asOf ? between(counts, at) : latest.bytes + estimateAt(at) - estimateAt(asOf);
  };
  /** @param {(at: number) => number | null} value */
  const past = (value) => x.map((at) => (at <= now ? value(at) : null));
  return {
    x,
    used: past(usedAt),
    estimate: past(estimateAt),
    expected: x.map((at) => (at === now ? used : at === reset && expected ? expected.atReset : null)),
    limit: x.map(() => period.limit),
  };
}

/** Returns a function of time: the estimated bytes from the start of the period to that time. @param {Period} period */
function estimated({ start, step, points, now }) {
  const sums = [0];
  let sum = 0;
  for (const { usedBytes } of points) sums.push((sum += usedBytes));
  return (/** @type {number} */ at) => {
    const index = Math.min(Math.max(0, Math.floor((at - start) / step)), points.length);
    const point = points[index];
    if (!point) return sums[index];
    const length = Math.max(1, Math.min(step, now - point.at));
    return sums[index] + point.usedBytes * Math.min(1, Math.max(0, at - point.at) / length);
  };
}

/** Interpolates between two readings; null before the first. @param {Reading[]} readings @param {number} at */
function between(readings, at) {
  const next = readings.findIndex(({ asOf }) => asOf >= at);
  const [before, after] = [readings[next - 1], readings[next]];
  if (after.asOf === at) return after.bytes;
  if (!before) return null;
  return before.bytes + (after.bytes - before.bytes) * ((at - before.asOf) / (after.asOf - before.asOf));
}

/**
 * The average rate and the number of live credentials in each step.
 * @param {Pick<Period, 'points' | 'step' | 'now'>} period
 * @returns {{x: number[], mbps: number[], live: number[]}}
 */
export function rates({ points, step, now }) {
  /** @param {Point} point */
  const length = ({ at }) => Math.max(1, Math.min(step, now - at));
  return {
    x: points.map(({ at }) => at),
    mbps: points.map((point) => (point.usedBytes * 8) / length(point) / 1e6),
    live: points.map(({ liveGrants }) => liveGrants),
  };
}
