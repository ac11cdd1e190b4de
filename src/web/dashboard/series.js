// Curves and rates, computed from the broker's series. Pure: times are seconds since 1970, sizes are bytes.

const HOUR = 3600;
/** A stretch that is shorter counts as known. */
const UNKNOWN_SECONDS_MIN = 3 * HOUR;

/**
 * @typedef {{at: number, usedBytes: number, liveGrants: number}} Point One step of the series.
 * @typedef {{start: number, reset: number, now: number, step: number, points: Point[], isMeasured: boolean, used: number,
 *     limit: number, startedAt: number, recordedFrom: number}} Period `points` from `start` to `now`; `isMeasured`: the provider
 *     has counted; `used` is the best figure. The broker started at `startedAt`. `recordedFrom`: the ledger existed at this time
 *     at the latest.
 * @typedef {{from: number, to: number}} Stretch
 * @typedef {{at: number, text: string}} Mark Something that happened.
 */

/** @param {import('./api.d.ts').Schemas['UsageBody']} usage @param {{at: string, uptimeSeconds: number, bytes: {used: number, limit: number}, status: {asOf: string | null}}} overview @returns {Period} */
export function period(usage, overview) {
  const startedAt = seconds(overview.at) - overview.uptimeSeconds;
  return {
    start: seconds(usage.periodStart),
    reset: seconds(usage.resetDate),
    now: seconds(overview.at),
    step: usage.stepSeconds,
    points: usage.points.map((point) => ({ ...point, at: seconds(point.at) })),
    isMeasured: overview.status.asOf !== null,
    used: overview.bytes.used,
    limit: overview.bytes.limit,
    startedAt,
    recordedFrom: usage.pastPeriods.length > 0 ? seconds(usage.periodStart) : startedAt,
  };
}

const YOUNG_SECONDS = 6 * HOUR;

/**
 * The range of rates until a person chooses one: the last hour while there is a fault, and in the first hours of traffic.
 * @param {Pick<Period, 'now' | 'points'>} day
 * @param {{minting: {on: boolean}, hints: {severity: string}[]}} status
 */
export function firstRange({ now, points }, { minting, hints }) {
  const hasFault = !minting.on || hints.some(({ severity }) => severity === 'critical');
  const first = points.find(({ usedBytes, liveGrants }) => usedBytes > 0 || liveGrants > 0);
  return hasFault || first === undefined || now - first.at < YOUNG_SECONDS ? 'hour' : 'day';
}

/** The alerts and the start of the process, in order of time. @param {{at: string, event: string}[]} alerts @param {{startedAt: number}} period @returns {Mark[]} */
export function marks(alerts, { startedAt }) {
  const ofAlerts = alerts.map(({ at, event }) => ({ at: seconds(at), text: event.replace(/[._]/g, ' ') }));
  return [{ at: startedAt, text: 'start' }, ...ofAlerts].sort((a, b) => a.at - b.at);
}

/**
 * The lane of each name, the first one in which it touches no earlier name; -1 where none has room.
 * @param {{left: number, right: number}[]} names @param {number} count The number of lanes.
 */
export function lanes(names, count) {
  /** @type {(typeof names)[]} */
  const taken = Array.from({ length: Math.max(0, count) }, () => []);
  return names.map((name) => {
    const lane = taken.findIndex((others) => others.every(({ left, right }) => right < name.left || name.right < left));
    taken[lane]?.push(name);
    return lane;
  });
}

/** @param {string} instant */
export const seconds = (instant) => Date.parse(instant) / 1000;

/**
 * The stretches of the period whose hours are not known. If the provider has counted: the hours with usage before the start in which
 * no credential was live. Else the time before the first credential, unless the ledger existed then.
 * @param {Pick<Period, 'points' | 'isMeasured' | 'step' | 'now' | 'startedAt' | 'recordedFrom'>} period
 * @returns {Stretch[]}
 */
export function unknown({ points, isMeasured, step, now, startedAt, recordedFrom }) {
  /** @param {Point} point */
  const isKnown = ({ at, usedBytes, liveGrants }) => {
    if (liveGrants > 0) return true;
    return isMeasured ? usedBytes === 0 || at + step > startedAt : usedBytes > 0 || at + step > recordedFrom;
  };
  /** @type {Stretch[]} */
  const stretches = [];
  for (const point of points) {
    if (isKnown(point)) {
      if (!isMeasured) break;
      continue;
    }
    const last = stretches.at(-1);
    const to = Math.min(point.at + step, now);
    if (last?.to === point.at) last.to = to;
    else stretches.push({ from: point.at, to });
  }
  // A short stretch looks the same either way. Without any credential there is nothing to show.
  return stretches.filter(({ from, to }) => to - from >= UNKNOWN_SECONDS_MIN && (isMeasured || to < now));
}

/** @param {Stretch[]} stretches @param {number} from @param {number} to */
const isIn = (stretches, from, to) => stretches.some((stretch) => stretch.from <= from && to <= stretch.to);

/**
 * Curves over the whole period. `used` has a gap where the hours are unknown; `dashed` connects what is known around it.
 * @param {Period} period
 * @param {number | null} atReset The forecast.
 * @returns {{x: number[], used: (number | null)[], dashed: (number | null)[], expected: (number | null)[], limit: number[]}}
 */
export function curves(period, atReset) {
  const { start, reset, now, isMeasured, used, points, step } = period;
  const usedAt = summed(period);
  const stretches = unknown(period);
  const ends = points.map(({ at }) => Math.min(at + step, now));
  const x = [...new Set([start, ...ends, now, reset])].sort((a, b) => a - b);
  /** @param {number} at */
  const value = (at) => (at === now ? used : usedAt(at));
  /** Inside, or at an end that the period's end shares. @param {number} at */
  const isUnknown = (at) => stretches.some(({ from, to }) => from < at && at < to) || stretches.some(({ from, to }) => (from === start && at === start) || (to === now && at === now));
  const edges = new Set(stretches.flatMap(({ from, to }) => [from, to]));
  return {
    x,
    used: x.map((at) => (at <= now && !isUnknown(at) ? value(at) : null)),
    dashed: x.map((at) => (isMeasured && at <= now && (edges.has(at) || isUnknown(at)) ? value(at) : null)),
    expected: x.map((at) => (at === now ? used : at === reset ? atReset : null)),
    limit: x.map(() => period.limit),
  };
}

/** Returns a function of time: the bytes from the start of the period to that time. @param {Period} period */
function summed({ start, step, points, now }) {
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

/**
 * The average rate and the number of live credentials in each step; null where the hours are unknown.
 * @param {Pick<Period, 'points' | 'step' | 'now'>} period
 * @param {Stretch[]} stretches The unknown ones.
 * @returns {{x: number[], mbps: (number | null)[], live: (number | null)[]}}
 */
export function rates({ points, step, now }, stretches) {
  /** @param {Point} point */
  const length = ({ at }) => Math.max(1, Math.min(step, now - at));
  /** @param {(point: Point) => number} value */
  const known = (value) => points.map((point) => (isIn(stretches, point.at, point.at + length(point)) ? null : value(point)));
  return {
    x: points.map(({ at }) => at),
    mbps: known((point) => (point.usedBytes * 8) / length(point) / 1e6),
    live: known(({ liveGrants }) => liveGrants),
  };
}

/**
 * The chart as rows of a table, the latest first.
 * @param {{x: number[], mbps: (number | null)[], live: (number | null)[]}} rates @param {number} step @param {Mark[]} happened
 */
export function tableRows({ x, mbps, live }, step, happened) {
  return x.map((at, n) => ({
    at,
    mbps: mbps[n]?.toFixed(2) ?? '–',
    live: live[n] ?? '–',
    marks: happened.filter((mark) => mark.at >= at && mark.at < at + step).map(({ text }) => text).join(', '),
  })).reverse();
}
