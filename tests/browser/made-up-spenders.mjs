// Made-up spenders of the month in month.mjs, as the contract words /api/spenders and /api/grants.

const NOW = Date.parse('2026-11-20T14:24:00Z');
const MINUTE = 60_000;
const instant = (ms) => new Date(ms).toISOString();

const USERS = ['mallory@example.com', 'user-1042', 'user-77', 'ann@example.com', 'user-3', null, 'user-512', 'user-9', 'ben@example.com', 'user-2048', 'user-31', 'user-6'];
const BLOCKED = 'spent-nothing@example.com';

/** Each spender has half of what the one before it has. @param {number} used Bytes of the period. */
export function spenders(used) {
  const rows = USERS.map((key, rank) => {
    const bytes = Math.round(used / 2 ** (rank + 1));
    const [isMeasured, live] = [rank % 4 !== 3, key === null || rank % 3 === 2 ? 0 : 3 - (rank % 3)];
    return {
      key, bytes, measuredBytes: isMeasured ? bytes : 0, claimedBytes: bytes, evidence: isMeasured ? 'measured' : 'claimed', ...(key && { blocked: false }),
      grants: 40 - rank * 3, live, usable: live, firstSeen: instant(NOW - 9 * 1440 * MINUTE), lastSeen: instant(NOW - (rank * rank * 7 + 2) * MINUTE),
    };
  });
  return { by: 'user', since: null, seconds: null, period: '2026-11', usedBytes: used, asOf: instant(NOW - MINUTE), unknownBytes: 3_200_000_000, blocked: { count: 2, blocks: [{ by: 'user', key: BLOCKED, until: null }, { by: 'address', key: '203.0.113.77', until: instant(NOW + 37 * MINUTE) }] }, spenders: rows, next: null };
}

/** Three of them relay now: 12, 3 and 0.4 Mbps. */
export function spendersNow() {
  const list = spenders(1e9);
  const mbps = new Map([['user-77', 12], ['mallory@example.com', 3], [null, 0.4]]);
  const rows = list.spenders.filter(({ key }) => mbps.has(key)).map((row) => ({ ...row, bytes: mbps.get(row.key) * 37.5e6 }));
  return { ...list, since: '5m', seconds: 300, unknownBytes: 0, spenders: rows };
}

/** Three grants of this user. @param {string} user */
export function grants(user) {
  const made = [0, 1, 2].map((n) => {
    const expires = NOW + (600 - n * 60) * MINUTE;
    return {
      id: `AbQ3kV0pT7yHn2sLxWcE${10 + n}`, user, label: 'room-1', origin: 'https://app.example.com', address: '203.0.113.0/24', call: 'rooms/standup', source: 'cloudflare',
      issuedAt: instant(expires - 1440 * MINUTE), expiresAt: instant(expires), revokedAt: n === 2 ? instant(NOW - MINUTE) : null, live: true,
      bytes: 2_000_000 >> n, measuredBytes: 2_000_000 >> n, claimedBytes: 0, evidence: 'measured',
    };
  });
  return { grants: made, next: null };
}
