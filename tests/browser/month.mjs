// Made-up responses of a broker in the middle of a month, for pictures that a short test cannot produce. All values come from a fixed time and a formula, so every run looks the same.

const NOW = Date.parse('2026-11-20T14:24:00Z');
const START = Date.parse('2026-11-01T00:00:00Z');
const RESET = Date.parse('2026-12-01T00:00:00Z');
const HOUR = 3_600_000;
const GB = 1e9;
const LIMIT = 1000 * GB;
const AS_OF = NOW - 14 * 60_000;

const instant = (ms) => new Date(ms).toISOString();

/** Bytes per second: quiet nights and weekends, some noise, growth from week to week. */
function rate(ms) {
  const at = new Date(ms);
  const day = Math.max(0, Math.sin(((at.getUTCHours() + at.getUTCMinutes() / 60 - 6) / 24) * 2 * Math.PI) + 0.25);
  const weekend = [0, 6].includes(at.getUTCDay()) ? 0.35 : 1;
  const noise = 0.75 + 0.25 * Math.sin(ms / 1_237_000) + 0.2 * Math.sin(ms / 411_000);
  return 580_000 * (0.06 + day * weekend * noise) * (1 + (ms - START) / (RESET - START) / 2);
}

/** For two days of the month the broker did not run: of these, only the sum is known. */
const [STOPPED, STARTED] = [START + 7 * 24 * HOUR + 9 * HOUR, START + 9 * 24 * HOUR + 14 * HOUR];
const wasStopped = (ms) => STOPPED <= ms && ms < STARTED;

function points(from, step) {
  const made = [];
  for (let at = from; at < NOW; at += step) {
    const bytes = (wasStopped(at) ? 190_000 : rate(at)) * (Math.min(step, NOW - at) / 1000);
    const liveGrants = wasStopped(at) ? 0 : Math.round(8 + (rate(at - 2 * HOUR) + rate(at - HOUR) + rate(at)) / 90_000);
    made.push({ at: instant(at), usedBytes: Math.round(bytes), liveGrants });
  }
  return made;
}

export function usage(from, step) {
  return {
    periodStart: instant(START), resetDate: instant(RESET), stepSeconds: step / 1000, points: points(from, step),
    pastPeriods: [
      { start: '2026-10-01T00:00:00.000Z', end: instant(START), usedBytes: 702_450_000_000, cost: '22.63', currency: 'USD' },
      { start: '2026-09-01T00:00:00.000Z', end: '2026-10-01T00:00:00.000Z', usedBytes: 655_120_000_000, cost: '20.26', currency: 'USD' },
    ],
  };
}

function figures() {
  const whole = usage(START, HOUR);
  const used = whole.points.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  return { whole, measured: used - Math.round(rate(NOW) * 14 * 60), used };
}

/** @param {'calm' | 'trouble'} mood */
export function month(mood) {
  const { whole, measured, used } = figures();
  const trouble = mood === 'trouble';
  const limit = Math.round(trouble ? used * 0.998 : LIMIT);
  const committed = used + (trouble ? 43 : 187.4) * GB;
  const gb = (bytes) => (bytes / GB).toFixed(2);
  const bound = Math.max(0, committed - limit);
  const status = {
    bandwidthUsedGB: gb(used), bandwidthLimitGB: Math.round(limit / GB), percentage: Math.round((used / limit) * 10_000) / 100,
    remainingGB: gb(Math.max(0, limit - used)), resetDate: instant(RESET), activeConnections: 14, status: trouble ? 'LIMIT_EXCEEDED' : 'OK',
    periodStart: instant(START), source: 'measured+estimate', asOf: instant(AS_OF), stale: trouble, reservedGB: gb(committed - used),
    samplingMarginGB: gb(measured / 19), overshootBoundGB: gb(bound), likelyOvershootGB: gb(bound / 4), boundAssumes: trouble ? '3.4 Mbps per grant (observed; 2 Mbps were assumed) until 7200 s after expiry' : '2 Mbps per grant until 7200 s after expiry',
    boundHolds: !trouble, observedMbpsPerGrant: trouble ? 3.4 : 0.712,
    grants: { issued: 5120, live: 48, relaying: 11, reported: 2231 }, rateGBPerHour: '3.50', limitReachedAt: null, usedBytes: used,
    durable: true, frozen: false,
    minting: trouble ? { on: false, code: 'BUDGET_EXHAUSTED', message: 'The limit is reached. Raise the limit, or find out who spends: run turn-broker spenders.', until: instant(RESET) } : { on: true, code: null, message: null, until: null },
    hints: trouble ? [
      { code: 'ANALYTICS_STALE', severity: 'warning', message: 'The provider\'s count could not be read for more than 10 minutes: usage after asOf is estimated. See the log.' },
      { code: 'ASSUMPTION_BROKEN', severity: 'critical', message: 'The bound is unreliable: live credentials of cloudflare relay 3.4 Mbps each on average, more than the assumed 2 Mbps. If your calls need that rate, set LIABILITY_MBPS_PER_GRANT above it. If not, revoke the one that relays most (turn-broker grants), and check who else uses the TURN key or secret.' },
      { code: 'BOUND_ABOVE_LIMIT', severity: 'warning', message: `Live credentials take usage ${gb(bound / 4)} GB past the limit if each relays 0.85 Mbps, the highest hourly average of this period. Raise the limit, or shorten TURN_TTL_SECONDS.` },
    ] : [],
  };
  return {
    'api/overview': {
      at: instant(NOW), version: '0.1.0', uptimeSeconds: 812_345, status,
      bytes: { used, committed, limit, configuredLimit: limit, overshootBound: bound, likelyOvershoot: bound / 4, measured }, 
      rate: { mbps: 7.84, until: trouble ? instant(AS_OF) : instant(NOW), limitAt: null },
      ending: { isAtLimit: trouble, left: trouble ? 28 : 0, revoked: trouble ? 20 : 0 },
      signIn: true, usable: 41, replicas: [], relays: [], alertPercents: [50, 80, 95, 100],
      cost: {
        currency: 'USD', pricePerGB: 0.05, freeGB: 250, averagePerGB: (money(used - 250 * GB) / used) * GB, soFar: money(used - 250 * GB),
        bySource: [{ source: 'cloudflare', usedBytes: used, cost: money(used - 250 * GB) }],
        forecast: { usedBytes: atReset(used), cost: money(atReset(used) - 250 * GB), since: instant(START) },
      },
      callers: {
        answers: [
          { source: 'cloudflare', reason: null, count: 5120 },
          ...(trouble ? [{ source: 'stun', reason: 'PROVIDER_UNAVAILABLE', count: 61 }, { source: 'stun', reason: 'DISABLED', count: 3 }] : []),
        ],
        refusals: [{ code: 'ORIGIN_NOT_ALLOWED', count: 4 }, { code: 'RATE_LIMITED', count: 37 }, ...(trouble ? [{ code: 'BUDGET_EXHAUSTED', count: 214 }] : [])], addressRefused: trouble ? 9 : 0,
      },
      provider: {
        breaker: trouble ? 'open' : 'closed', failure: trouble ? { what: 'answered 503 Service Unavailable', remedy: 'wait; if the error continues, see https://www.cloudflarestatus.com' } : null, outcomes: trouble ? { minted: 5120, breaker_open: 44, status_5xx: 15, timeout: 2 } : { minted: 5120 },
        keys: [{ name: 'default', weight: 1, up: !trouble, breaker: trouble ? 'open' : 'closed', measuredBytes: null }],
        pool: trouble ? { ready: 0, handedOut: 0, wasted: 0 } : { ready: 6, handedOut: 1876, wasted: 31 },
      },
      connections: { opened: 4410, closed: 4102, givenUp: 294, claimsClamped: trouble ? 12 : 0 },
      revoked: trouble ? [{ grant: 'AQIDBAUGBwgJCgsMDQ4PEA', source: 'cloudflare', revokedAt: instant(NOW - HOUR), expiresAt: instant(NOW + HOUR) }] : [],
    },
    'api/calls-live': { calls: calls(), total: 3 },
    'api/connections': { connections: connections(), total: 14 },
    'api/usage': whole,
    'api/alerts': { alerts: alerts(status), webhook: true },
  };
}

function calls() {
  const call = (protocol, room, seconds, bytes, users) => ({
    protocol, room, startedAt: instant(NOW - seconds * 1000), connected: true, bytes,
    members: users.map((user, n) => ({ id: `01JHN4V8ZP4M6Q2TB1Y5RC3XK${n}`, user, grants: bytes === null ? [] : ['nT3k1s0wQ2Gv8Zb5yXhJ4A'], joinedAt: instant(NOW - seconds * 1000) })),
  });
  return [
    call('ayame', '9f86d081884c7d659a2feaa0c55ad015', 420, 380_100_000, [null, null]),
    call('p2pcf', 'support/berlin', 40, null, [null, null]),
    call('rooms', 'standup', 1440, 1_930_000_000, ['ann@example.com', null, 'ben@example.com', null, null]),
  ];
}

function connections() {
  const ids = ['AbQ3kV0pT7yHn2sLxWcE9g', 'mZ81rQvD4uPjKfXo6NyBtA', 'w5GhI2eCzYlRk9OVbSxTqM', 'H0aUdF7nJpWm3LgEiKrXsQ'];
  return Array.from({ length: 14 }, (_, n) => ({
    connectionId: n % 5 === 4 ? `room-${20 + n}.alice` : `3f1c9a52-7d0e-4b86-9c1${n % 10}-${String(n * 7919 + 104_729).padStart(12, 'a')}`,
    grant: n % 5 === 4 ? null : ids[n % 4], source: 'cloudflare', relayed: [true, true, false, null][n % 4],
    user: [`user-${n % 5}`, null][n % 2], label: n % 3 === 0 ? 'support' : null,
    openedAt: instant(NOW - (n * 317 + 40) * 1000), lastSeenAt: instant(NOW - ((n * 7) % 29) * 1000),
    bytesSent: n * 9_400_000, bytesReceived: n * 21_700_000 + 51_000, chargedBytes: n % 4 === 2 ? 0 : n * 21_700_000 + 51_000,
  }));
}

const atReset = (used) => Math.ceil(used * ((RESET - START) / (NOW - START)));
const money = (bytes) => (Math.ceil((Math.max(0, bytes) / GB) * 5) / 100).toFixed(2);

function alerts({ bandwidthUsedGB, bandwidthLimitGB, overshootBoundGB }) {
  const alert = (event, severity, hoursAgo, what, advice, waiting = false) => ({
    id: `2026-11-01/${event.replace(/[._]/g, '-')}/1`, event, severity, at: instant(NOW - hoursAgo * HOUR), what, advice, section: 'spenders',
    usedGB: bandwidthUsedGB, limitGB: bandwidthLimitGB, overshootBoundGB, waiting,
  });
  return [
    alert('provider.up', 'info', 5.2, 'The TURN provider issues credentials again; it had been down since 2026-11-20T09:08Z.', 'Nothing to do.'),
    alert('provider.down', 'critical', 5.3, "The TURN provider issues no credentials, or none of your relays answers the broker's probes.", 'Run turn-broker doctor. Do what the line provider says; if that is ok, restart the service.', true),
    alert('budget.used_50', 'info', 71, '50 % of the bandwidth limit is used: 500.01 of 1000 GB, and the period ends at 2026-12-01T00:00Z.', 'Compare the forecast with the limit; nothing needs to happen now.'),
  ];
}
