// Made-up spenders of the month in month.mjs, as the contract words /api/spenders, /api/grants and the calls on users. Blocking
// and revoking change them, as at the broker.

const NOW = Date.parse('2026-11-20T14:24:00Z');
const MINUTE = 60_000;
const instant = (ms) => new Date(ms).toISOString();

const USERS = ['mallory@example.com', 'user-1042', 'user-77', 'ann@example.com', 'user-3', null, 'user-512', 'user-9', 'ben@example.com', 'user-2048', 'user-31', 'user-6'];
const KEYS = {
  user: USERS,
  label: ['room-1', 'standup', 'support/berlin', 'room-29', null],
  origin: ['https://app.example.com', 'https://staging.example.com', null],
  address: ['203.0.113.0/24', '198.51.100.0/24', '2001:db8:7::/48'],
  call: ['rooms/standup', 'ayame/9f86d081884c7d659a2feaa0c55ad015', null],
};

/** Each spender has half of what the one before it has. */
const bytesOf = (rank, used) => Math.round(used / 2 ** (rank + 1));
/** Each path from the broker's URL, as `METHOD path`, with the JSON that answers it. */
export class Spenders {
  /** @param {number} used Bytes of the period. */
  constructor(used) {
    this.used = used;
    this.blocked = new Set(['spent-nothing@example.com']);
    this.revoked = new Set();
  }

  /** @returns {[number, object | null]} Status and body. */
  answer(method, path, query) {
    const [, user, verb] = /^api\/users\/([^/]+)\/(block|revoke)$/.exec(path) ?? [];
    if (user) return this.#change(method, decodeURIComponent(user), verb);
    const [, grant] = /^api\/credentials\/([^/]+)\/revoke$/.exec(path) ?? [];
    if (grant) {
      this.revoked.add(grant);
      return [200, { message: 'The provider has revoked the credential.' }];
    }
    return [200, path === 'api/spenders' ? this.#spenders(query.get('by')) : this.#grants(query)];
  }

  #change(method, user, verb) {
    if (verb === 'revoke') {
      const theirs = this.#all().filter((one) => one.user === user && one.live);
      for (const { id } of theirs) this.revoked.add(id);
      const message = `${this.blocked.has(user) ? `${user} is blocked and gets no credentials. ` : ''}Live credentials of ${user}: ${theirs.length}, all revoked.`;
      return [200, { user, revoked: theirs.length, ended: theirs.length, left: 0, cut: 0, callsUntil: null, message }];
    }
    const blocked = method !== 'DELETE';
    if (blocked) this.blocked.add(user);
    else this.blocked.delete(user);
    return [200, { user, blocked, message: blocked ? `${user} is blocked and gets no credentials.` : `${user} is not blocked. What was revoked stays revoked.` }];
  }

  #spenders(by) {
    const spenders = KEYS[by].map((key, rank) => {
      const bytes = bytesOf(rank, this.used);
      const isMeasured = rank % 4 !== 3;
      return {
        key, bytes, measuredBytes: isMeasured ? bytes : 0, claimedBytes: bytes, evidence: isMeasured ? 'measured' : 'claimed',
        ...(by === 'user' && key && { blocked: this.blocked.has(key) }), grants: 40 - rank * 3, live: key === null || rank % 3 === 2 ? 0 : 3 - (rank % 3), usable: key === null || rank % 3 === 2 ? 0 : 3 - (rank % 3), firstSeen: instant(NOW - 9 * 1440 * MINUTE), lastSeen: instant(NOW - (rank * rank * 7 + 2) * MINUTE),
      };
    });
    return { by, asOf: instant(NOW - MINUTE), unknownBytes: 3_200_000_000, blockedUsers: { count: this.blocked.size, names: [...this.blocked].sort() }, spenders, next: null };
  }

  #all() {
    return USERS.flatMap((user, rank) => Array.from({ length: rank ? 3 : 7 }, (_, n) => {
      const id = `${'AbQ3kV0pT7yHn2sLxWcE'.slice(rank)}${String(rank * 7 + n).padStart(2, '0')}`;
      const bytes = Math.round(bytesOf(rank, this.used) / 2 ** (n + 1));
      const expires = NOW + (n < 3 ? 600 - n * 60 : -n * 90) * MINUTE;
      return {
        id, user, label: KEYS.label[(rank + n) % 5], origin: KEYS.origin[n % 3], address: KEYS.address[n % 3], call: KEYS.call[n % 3], source: 'cloudflare',
        issuedAt: instant(expires - 1440 * MINUTE), expiresAt: instant(expires), revokedAt: this.revoked.has(id) ? instant(NOW - MINUTE) : null, live: n < 4,
        bytes, measuredBytes: n % 2 ? 0 : bytes, claimedBytes: bytes, evidence: n % 2 ? 'claimed' : 'measured',
      };
    }));
  }

  #grants(query) {
    const grants = this.#all().filter((grant) => ['user', 'label', 'origin', 'address', 'call'].every((name) => !query.has(name) || grant[name] === query.get(name)));
    return { grants, next: null };
  }
}
