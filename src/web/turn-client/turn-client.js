// turn-client: fetches ICE servers from a turn-broker and reports relayed bytes to it. One module without dependencies.
//
// Nothing here throws into the page or waits for long. Without a broker, the last credentials are used until they expire, then
// public STUN servers, and calls continue. `Broker` sends requests, `Credentials` keeps and renews one response, and `Watch`
// reports one peer connection. A connection at the broker belongs to the grant that its relay allocation was made with.
//
// Ages are measured from the arrival of a response, so the page's clock may be wrong by hours.

/** @import { CallOptions, IceServersOptions, TurnCall, TurnClientOptions, TurnStatus, WatchHandle, WatchOptions, When } from './turn-client.js' */
/**
 * A response of the mint.
 * @typedef {{ iceServers: RTCIceServer[], ttl: number, issuedAt: string, expiresAt: string, refreshAfter: string, source: string,
 *   degraded: boolean, reason?: string, grant?: string }} Answer
 * @typedef {{ sent: number, received: number }} Bytes
 * @typedef {{ id: string | undefined, grant: string, base: Bytes, isOpen: boolean }} Connection
 * @typedef {{ method?: string, token?: string | null, userToken?: string | null, body?: object, keepalive?: boolean }} Request
 */

const PUBLIC_STUN = ['stun:stun.l.google.com:19302', 'stun:stun1.l.google.com:19302'];
const MINT = '/api/turn-credentials';
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const REQUEST_MAX = 8 * SECOND;
/** Some browsers never resolve `getStats()` if the peer connection is closed meanwhile. `stop()` must not wait longer. */
const STATISTICS_MAX = 2 * SECOND;
/** How often statistics are read. If a page or peer connection closes without `stop()`, the last bytes are not counted. */
const SAMPLE = 5 * SECOND;
/** A peer connection may be in state `failed` for this long before its connection at the broker is closed. */
const FAILED_MAX = 30 * SECOND;
/**
 * The longest time that one end waits for the other to restart ICE for both. In Firefox two restarts at once can stop the
 * media.
 */
const RESTART_TURN_MAX = 30 * SECOND;
/** How long ICE may take without a relay before one is fetched. Most direct paths connect within a second or two. */
const RELAY_AFTER_SECONDS = 3;
/** How long the end that answered waits for the other end to restart ICE with credentials in place of failed ones. */
const ANSWERER_RESTARTS_AFTER = 1.5 * SECOND;
/**
 * How long credentials in place of failed ones have to connect until ICE restarts again: on a busy machine, Chromium sometimes gathers no
 * candidate and says no error.
 */
const CONNECTS_WITHIN = 8 * SECOND;
/**
 * So long after new credentials, a description or an error may be of those before: a browser gathers for a description before the page
 * sees it.
 */
const OLD_ONES_MAX = SECOND;
/** Such an error counts only if nothing is relayed so long after that: by then the end that answered has restarted too. */
const DOUBT_MAX = 4 * SECOND;
const HEARTBEAT_DEFAULT = 30;
/** A leaked credential works for so long. Calls go on: credentials are renewed. */
const LIFE_SECONDS = 3_600;
/** The longest pauses between attempts, without and with `Retry-After`. */
const MINT_PAUSE_MAX = 5 * MINUTE;
const RETRY_AFTER_MAX = 15 * MINUTE;
const REPORT_PAUSE_MAX = MINUTE;
/** The refusals that last, so that an early retry would not help, and what the person reads. @type {Record<string, string>} */
const REFUSALS = {
  NOT_CONFIGURED: 'The relay is switched off.',
  DISABLED: 'The relay is switched off.',
  BUDGET_EXHAUSTED: 'The monthly limit of the relay is used up or reserved.',
  KEY_LIMIT_REACHED: 'The monthly limit of the relay is used up or reserved.',
  USER_LIMIT_REACHED: 'Your monthly limit is used up or reserved.',
  GRANT_LIMIT_REACHED: 'This call has used what it may.',
  ADDRESS_LIMIT_REACHED: 'Your network has used its limit of today.',
  USER_BLOCKED: 'The operator has blocked you.',
  ADDRESS_BLOCKED: 'The operator has blocked your network.',
  BLOCKED: 'The operator has blocked this app.',
};
/** What the person reads while there is no relay, or the one that there is may fail. @param {string | null} reason */
const messageOf = (reason) => {
  const why = isOffline() ? 'You are offline.' : 'The relay has a fault.';
  return `${REFUSALS[reason ?? ''] ?? why} Calls may fail on some networks.`;
};
/** The code of a grant that the broker does not know or has revoked. */
const UNKNOWN_GRANT = 'INVALID_GRANT';
/** Responses that are kept, to find the one that a peer connection was made with. */
const ISSUED_MAX = 8;

/** An error for `onError`. Its codes are described in turn-client.d.ts. */
export class TurnClientError extends Error {
  /** @type {'TurnClientError'} */
  name = 'TurnClientError';

  /**
   * @param {string} code
   * @param {string} message
   * @param {{ status?: number, retryAfterSeconds?: number | undefined, cause?: unknown }} [more]
   */
  constructor(code, message, { status, retryAfterSeconds, cause } = {}) {
    super(message, { cause });
    this.code = code;
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** @type {import('./turn-client.js').WatchHandle} */
const NOTHING_WATCHED = { connectionId: null, relayed: null, relayProtocol: null, bytesSent: 0, bytesReceived: 0, stop: async () => {} };

/**
 * @param {TurnClientOptions} [options]
 * @returns {import('./turn-client.js').TurnClient} Options and methods are described in turn-client.d.ts.
 */
export function createTurnClient(options = {}) {
  const broker = new Broker(options);
  const credentials = new Credentials(broker, options);
  /** @type {Map<RTCPeerConnection, Watch>} */
  const watches = new Map();
  /** Counts by peer connection. They outlive a watch, since a peer connection may be watched again. @type {WeakMap<RTCPeerConnection, Meter>} */
  const meters = new WeakMap();
  /** @type {import('./turn-client.js').TurnClient} */
  const client = {
    iceServers: (iceOptions) => credentials.iceServers(iceOptions),
    status: () => credentials.status(),
    watch(pc, watchOptions = {}) {
      if (!pc) {
        broker.report(new TurnClientError('PEER_CONNECTION', 'call watch() when there is a peer connection: PeerJS makes it in answer()'));
        return NOTHING_WATCHED;
      }
      const watched = watches.get(pc);
      if (watched) return watched;
      const meter = meters.get(pc) ?? new Meter();
      meters.set(pc, meter);
      const watch = new Watch({ pc, meter, broker, credentials, options: { ...watchOptions, when: watchOptions.when ?? credentials.when } });
      watches.set(pc, watch);
      watch.begin(() => watches.delete(pc));
      return watch;
    },
    call: (callOptions) => callOf(client, callOptions),
    async close() {
      await Promise.all([...watches.values()].map((watch) => watch.stop()));
    },
  };
  return client;
}

/**
 * The calls of one component, one at a time. A call that ends while it waits for ICE servers never gets a peer connection.
 * @param {import('./turn-client.js').TurnClient} client
 * @param {CallOptions} [options]
 * @returns {TurnCall}
 */
function callOf(client, options = {}) {
  let endLast = async () => {};
  const end = () => {
    const last = endLast;
    endLast = async () => {};
    return last();
  };
  const start = async () => {
    void end();
    let hasEnded = false;
    endLast = async () => { hasEnded = true; };
    const iceServers = await client.iceServers(options);
    if (hasEnded) return null;
    const pc = new RTCPeerConnection({ ...options.configuration, iceServers });
    const watch = client.watch(pc, options);
    endLast = async () => {
      await watch.stop();
      pc.close();
    };
    return pc;
  };
  return { start, end };
}

/** Sends requests to the broker. Every error becomes a TurnClientError. */
class Broker {
  #baseUrl;
  #fetch;
  #onError;

  /** @param {TurnClientOptions} options */
  constructor({ baseUrl, fetch = (url, request) => globalThis.fetch(url, request), onError = warn }) {
    this.#baseUrl = String(baseUrl ?? '').replace(/\/+$/, '');
    this.#fetch = fetch;
    this.#onError = onError;
  }

  get url() {
    return this.#baseUrl;
  }

  /** What to do if another server, or none, answers at the broker's address. */
  get remedy() {
    return this.#baseUrl ? 'check that baseUrl is the address of the broker' : 'set baseUrl to the address of the broker';
  }

  /** The whole URL of a path, also where `baseUrl` is the page's own origin. @param {string} path @returns {string} */
  urlOf(path) {
    return harmless(() => new URL(this.#baseUrl + path, globalThis.location?.href).href) ?? this.#baseUrl + path;
  }

  /**
   * Resolves with the JSON of a 2xx response.
   * @param {string} path
   * @param {Request} request
   * @returns {Promise<any>}
   * @throws {TurnClientError}
   */
  async ask(path, { method = 'GET', token, userToken, body, keepalive = false } = {}) {
    const headers = {
      ...(token && { Authorization: `Bearer ${token}` }), ...(userToken && { 'X-Auth-Token': userToken }),
      ...(body && { 'Content-Type': 'application/json' }),
    };
    const deadline = new AbortController();
    const request = { method, headers, ...(body && { body: JSON.stringify(body) }), signal: deadline.signal, keepalive };
    try {
      const [response, text] = await within(REQUEST_MAX, this.#exchange(path, request), () => deadline.abort());
      const json = parse(text);
      if (response.ok) return json;
      const retryAfterSeconds = Number(response.headers.get('Retry-After')) || undefined;
      const code = json?.code ?? `HTTP_${response.status}`;
      const remedy = [502, 503, 504].includes(response.status) ? 'the broker, or the proxy in front of it, does not answer' : this.remedy;
      const message = json?.message ?? json?.error ?? `${this.urlOf(path)} answered ${response.status}: ${remedy}`;
      throw new TurnClientError(code, message, { status: response.status, retryAfterSeconds });
    } catch (cause) {
      if (cause instanceof TurnClientError) throw cause;
      if (isOffline()) throw new TurnClientError('NETWORK', 'the device is offline', { cause });
      // A refused origin looks the same if the request had a token: the browser hides the answer to its preflight.
      const needed = 'The broker must run, its CLIENT_URL must have this origin, and a CSP of the page must allow it in connect-src';
      const message = `no response from ${this.urlOf(path)}: ${this.remedy}. ${needed}`;
      throw new TurnClientError('NETWORK', message, { cause });
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} request
   * @returns {Promise<[Response, string]>}
   */
  async #exchange(path, request) {
    const fetch = this.#fetch;
    const response = await fetch(this.#baseUrl + path, request);
    return [response, await response.text()];
  }

  /**
   * Sends a last report when the page closes. A beacon has no headers, so the token is in its body.
   * @param {string} path
   * @param {object} body
   */
  beacon(path, body) {
    const [url, text] = [this.#baseUrl + path, JSON.stringify(body)];
    if (harmless(() => globalThis.navigator?.sendBeacon?.(url, text))) return;
    const fetch = this.#fetch;
    harmless(() => fetch(url, { method: 'POST', body: text, keepalive: true })?.catch(() => {}));
  }

  /** @param {unknown} error */
  report(error) {
    harmless(this.#onError, error instanceof TurnClientError ? error : new TurnClientError('PEER_CONNECTION', String(error), { cause: error }));
  }
}

/** One minted response, or a STUN response that is not degraded. The latter has no grant and no expiry. */
class Credential {
  /** Why there must be another one: a relay rejects it or is not reached, or the broker does not know its grant or ends its calls. @type {string | null} */
  failure = null;
  /** The relay of a page's error: the broker names another one, if it has one. @type {string | null} */
  failedUrl = null;
  /** URLs that the browser did not reach. @type {Set<string>} */
  unreached = new Set();
  /** It was minted in place of one that failed. */
  replacesFailed = false;
  /** When the response came, by two clocks: the monotonic clock may stop during sleep, the wall clock may be set. */
  #bornWall;
  #bornTicks;
  #lifeMax;
  #refreshAt;
  /** Spreads the renewals of clients that started together. It only delays: a renewal before `refreshAfter` counts as a mint. */
  #jitter = 0.01 + 0.05 * Math.random();

  /**
   * @param {Answer} answer
   * @param {number} bornWall
   * @param {number} tookMs
   */
  constructor(answer, bornWall, tookMs) {
    this.answer = answer;
    this.iceServers = answer.iceServers;
    this.grant = answer.grant ?? null;
    this.#bornWall = bornWall;
    this.#bornTicks = performance.now() - (Date.now() - bornWall);
    const life = answer.grant === undefined ? Infinity : answer.ttl * SECOND;
    const beforeEnd = Date.parse(answer.expiresAt) - Date.parse(answer.refreshAfter);
    const refreshAt = life === Infinity ? 60 * MINUTE : life - (Number.isFinite(beforeEnd) ? beforeEnd : life / 4);
    this.#refreshAt = Math.min(Math.max(refreshAt, life === Infinity ? 0 : life / 2), life);
    this.#lifeMax = life - tookMs;
    this.tookMs = tookMs;
  }

  /** By the clock that moved more. It decides only when to ask for another one. */
  get age() {
    return Math.max(performance.now() - this.#bornTicks, Date.now() - this.#bornWall);
  }

  get lifeLeft() {
    return this.#lifeMax - this.age;
  }

  /** By the monotonic clock alone: a wall clock that is set takes no relay away. */
  get isAlive() {
    return performance.now() - this.#bornTicks < this.#lifeMax;
  }

  /** Must be replaced before a new call uses it. Without a grant that the broker knows, it cannot be renewed. */
  get isDue() {
    return this.failure !== null || this.age >= this.#refreshAt || (this.grant === null && this.#lifeMax < Infinity);
  }

  /** The broker renews it from now on. */
  get isRenewable() {
    return this.age >= this.#refreshAt;
  }

  /** Must be replaced in a running call. */
  get isDueInCall() {
    return this.isDue && (this.failure !== null || this.grant === null || this.age >= this.#refreshAt + this.#jitter * (this.#lifeMax - this.#refreshAt));
  }

  /** By the page's clock. */
  get expiresAt() {
    return this.#lifeMax < Infinity ? new Date(Date.now() + this.lifeLeft) : null;
  }

  get stored() {
    return JSON.stringify({ answer: this.answer, bornWall: this.#bornWall, tookMs: this.tookMs });
  }
}

/** Keeps the newest credential, also across a reload. Fetches the next one when it is due, with one request for all callers. */
class Credentials {
  /** @type {Credential | null} */
  current = null;
  /** What the page asked for last. A watch follows it. @type {When} */
  when = 'now';
  #broker;
  #getToken;
  /** The first one that the broker does not reject is used. @type {string[]} */
  #paths;
  #storage;
  #key;
  #onStatus;
  /** @type {Credential[]} */
  #issued = [];
  /** @type {RTCIceServer[]} */
  #stun;
  /** @type {string | null} */
  #reason = null;
  #failures = 0;
  #mintedAt = -Infinity;
  /** No request is sent before this time. */
  #retryAt = -Infinity;
  /** @type {Promise<void> | null} */
  #refreshing = null;
  /** The broker's time when this page's monotonic clock was 0, or earlier: as its answers say. */
  #brokerStart = -Infinity;

  /**
   * @param {Broker} broker
   * @param {TurnClientOptions} options
   */
  constructor(broker, { storage, ttl, label, getToken, stunUrls = PUBLIC_STUN, onStatus }) {
    this.#broker = broker;
    this.#getToken = getToken;
    this.#stun = stunUrls.map((urls) => ({ urls }));
    const labels = label ? [['label', label]] : [];
    const path = (/** @type {string[][]} */ query) => `${MINT}?${new URLSearchParams(query)}`.replace(/\?$/, '');
    const life = ttl === undefined ? ['ttlAtMost', String(LIFE_SECONDS)] : ['ttl', String(ttl)];
    const whole = path([life, ...labels]);
    this.#paths = [...new Set([whole, MINT])];
    this.#storage = storage === undefined ? sessionStorageIfAny() : storage;
    this.#key = `turn-client ${broker.url}${whole}`;
    this.#onStatus = onStatus;
    const stored = parse(harmless(() => this.#storage?.getItem(this.#key)));
    const isValid = stored && isAnswer(stored.answer) && stored.bornWall <= Date.now();
    if (isValid) this.#keep(new Credential(stored.answer, stored.bornWall, stored.tookMs));
    if (!this.current?.isAlive) this.current = null;
  }

  /**
   * With `needed`, nothing is requested. Fresh credentials are used all the same, since their share of the budget is reserved.
   * @param {IceServersOptions} [options]
   */
  async iceServers({ when = 'now' } = {}) {
    this.when = when;
    const isFresh = () => this.current !== null && !this.current.isDue;
    if (when === 'now' && !isFresh()) {
      if (this.#isPaused) this.#tell();
      await this.refresh();
    }
    const isUsed = when === 'now' ? this.current?.isAlive : isFresh();
    return copied(isUsed && this.current ? this.current.iceServers : this.#stun);
  }

  /** @returns {TurnStatus} */
  status() {
    const credential = this.current;
    const reason = credential?.answer.reason ?? this.#reason ?? credential?.failure ?? null;
    const living = credential?.isAlive ? credential : null;
    const isRefused = reason !== null && reason in REFUSALS;
    const degraded = living ? living.answer.degraded === true || living.failure !== null || isRefused : reason !== null;
    const source = living ? living.answer.source : reason && 'stun';
    return { source, degraded, reason, message: degraded ? messageOf(reason) : null, expiresAt: living?.expiresAt ?? null };
  }

  #tell() {
    harmless(this.#onStatus, this.status());
  }

  /**
   * The credential that a peer connection was made with; null if it is not kept any more.
   * @param {RTCPeerConnection} pc
   */
  of(pc) {
    const configured = pc.getConfiguration().iceServers ?? [];
    const names = configured.map(({ username }) => username).filter(Boolean);
    const keys = configured.map(keyOf);
    /** @param {RTCIceServer} server */
    const isUsed = ({ username }) => names.includes(username);
    /** @param {RTCIceServer} server */
    const isThere = (server) => !server.username && keys.includes(keyOf(server));
    return this.#issued.findLast(({ iceServers }) => iceServers.some(isUsed) || iceServers.every(isThere)) ?? null;
  }

  /**
   * The credential stays in use until there is another one. The broker is asked once at once, and after that at a limited rate. So the
   * page of a user who is blocked learns that from the broker.
   * @param {Credential} credential
   * @param {string} code
   * @param {string | null} [url] Of the relay.
   */
  markFailed(credential, code, url = null) {
    if (credential.failure !== null) return;
    credential.failure = code;
    credential.failedUrl = url;
    if (credential !== this.current) return;
    harmless(() => this.#storage?.removeItem(this.#key));
    if (credential.replacesFailed) this.#retryAt = Math.max(this.#retryAt, this.#mintedAt + MINT_PAUSE_MAX);
    if (this.#isPaused) this.#tell();
  }

  get #isPaused() {
    return performance.now() < this.#retryAt;
  }

  /** Never rejects. */
  refresh() {
    if (this.#isPaused) return Promise.resolve();
    this.#refreshing ??= this.#mint()
      .catch((error) => this.#failed(error))
      .finally(() => {
        this.#refreshing = null;
        this.#tell();
      });
    return this.#refreshing;
  }

  async #mint() {
    const startedAt = performance.now();
    const answer = await this.#ask();
    if (!isAnswer(answer)) {
      throw new TurnClientError('BAD_ANSWER', `the answer of ${this.#broker.urlOf(this.#path)} has no ICE servers: ${this.#broker.remedy}`);
    }
    if (this.#isOld(answer)) {
      throw new TurnClientError('STALE_ANSWER', `the answer of ${this.#broker.urlOf(this.#path)} is an old one: let service workers and caches pass it by`);
    }
    if (answer.grant === undefined && answer.degraded) {
      this.#stun = answer.iceServers;
      const reason = answer.reason ?? 'BAD_ANSWER';
      throw new TurnClientError(reason, messageOf(reason), { status: 200 });
    }
    this.#failures = 0;
    this.#reason = null;
    this.#mintedAt = performance.now();
    const credential = new Credential(answer, Date.now(), this.#mintedAt - startedAt);
    credential.replacesFailed = this.current !== null && this.current.failure !== null;
    this.#keep(credential);
    if (answer.grant !== undefined) harmless(() => this.#storage?.setItem(this.#key, credential.stored));
  }

  /** A grant that is due renews itself and keeps its user. Otherwise the broker gets the user's token, if there is one. */
  async #ask() {
    const { current } = this;
    const grant = current?.isAlive ? current.grant : null;
    if (!this.#getToken) return this.#send(grant);
    if (grant && current?.isRenewable) {
      try {
        return await this.#send(grant);
      } catch (error) {
        if (!(error instanceof TurnClientError) || error.status !== 401) throw error;
      }
      // Its sign-in is over. With a token of the user beside it, it renews.
      const userToken = await this.#userToken(this.#getToken);
      return this.#send(userToken && grant, userToken);
    }
    return this.#send(await this.#userToken(this.#getToken));
  }

  /**
   * @param {NonNullable<TurnClientOptions['getToken']>} getToken
   * @returns {Promise<string | null>}
   */
  async #userToken(getToken) {
    try {
      return (await within(REQUEST_MAX, Promise.resolve(getToken()))) ?? null;
    } catch (cause) {
      throw new TurnClientError('TOKEN', 'getToken gave no token: check the sign-in of your page', { cause });
    }
  }

  get #path() {
    return this.#paths[0] ?? MINT;
  }

  /**
   * If the broker rejects the requested ttl or label, the default is better than no relay.
   * @param {string | null} token
   * @param {string | null} [userToken] Beside a grant.
   * @returns {Promise<Answer>}
   */
  async #send(token, userToken = null) {
    const failed = this.current?.failedUrl;
    const more = failed ? `${this.#path === MINT ? '?' : '&'}${new URLSearchParams({ failed })}` : '';
    try {
      return await this.#broker.ask(this.#path + more, { token, userToken });
    } catch (error) {
      if (!(error instanceof TurnClientError) || error.status !== 400 || this.#path === MINT) throw error;
      this.#broker.report(error);
      this.#paths.shift();
      return this.#send(token, userToken);
    }
  }

  /** It came before, or had expired by the time of the answers before. @param {Answer} answer */
  #isOld({ grant, expiresAt }) {
    const cameBefore = grant !== undefined && this.#issued.some(({ answer }) => answer.grant === grant);
    return cameBefore || Date.parse(expiresAt) <= this.#brokerStart + performance.now();
  }

  /** @param {Credential} credential */
  #keep(credential) {
    this.current = credential;
    const start = Date.parse(credential.answer.issuedAt) - performance.now();
    if (start > this.#brokerStart) this.#brokerStart = start;
    this.#issued = [...this.#issued.filter(({ isAlive }) => isAlive), credential].slice(-ISSUED_MAX);
  }

  /** @param {TurnClientError} error */
  #failed(error) {
    this.#failures += 1;
    this.#reason = error.code;
    const secondsMin = error.code in REFUSALS ? MINT_PAUSE_MAX / SECOND : 0;
    const pauseMs = pause(this.#failures, MINT_PAUSE_MAX, Math.max(secondsMin, error.retryAfterSeconds ?? 0));
    this.#retryAt = performance.now() + pauseMs;
    globalThis.addEventListener?.('online', this.#onOnline, { once: true });
    this.#broker.report(error);
  }

  /** A pause that has another cause than the network stays. */
  #onOnline = () => {
    if (this.#reason !== 'NETWORK' && this.#reason !== 'TOKEN') return;
    this.#failures = 0;
    this.#retryAt = Math.min(this.#retryAt, soon());
  };
}

/** Bytes and path of one peer connection. The sums never fall, even if pairs and transports go. */
class Meter {
  sent = 0;
  received = 0;
  /** Bytes that the broker has acknowledged. */
  reported = { sent: 0, received: 0 };
  /** Whether the selected pair is relayed; null until there is one. @type {boolean | null} */
  relayed = null;
  /** @type {string | null} */
  relayProtocol = null;
  /** @type {string | null} */
  iceRole = null;
  /** Resolves when the last watch has sent its last report. */
  released = Promise.resolve();
  /** The ICE generation of the selected local candidate. Each ICE restart starts one. @type {string | null} */
  generation = null;
  /** All generations so far. @type {Set<string>} */
  generations = new Set();
  /** @type {Map<string, number>} */
  #last = new Map();

  /** @param {RTCStatsReport} stats */
  add(stats) {
    const all = [...stats.values()];
    const transports = all.filter(({ type }) => type === 'transport');
    const pairs = all.filter(({ type }) => type === 'candidate-pair');
    // Firefox counts by pair only.
    const counted = transports.some(({ bytesReceived }) => bytesReceived !== undefined) ? transports : pairs;
    for (const { id, bytesSent = 0, bytesReceived = 0 } of counted) {
      this.sent += this.#increase(`${id} sent`, bytesSent);
      this.received += this.#increase(`${id} received`, bytesReceived);
    }
    /** @param {{ usernameFragment?: string, id: string }} candidate */
    const generationOf = ({ usernameFragment, id }) => usernameFragment ?? id;
    all.filter(({ type }) => type === 'local-candidate').forEach((candidate) => this.generations.add(generationOf(candidate)));
    this.iceRole = transports.find(({ iceRole }) => iceRole)?.iceRole ?? null;
    const selected = transports.map(({ selectedCandidatePairId }) => stats.get(selectedCandidatePairId)).filter(Boolean);
    const chosen = selected.length > 0 ? selected : pairs.filter((pair) => pair.selected ?? (pair.nominated && pair.state === 'succeeded'));
    const locals = chosen.map(({ localCandidateId }) => stats.get(localCandidateId)).filter(Boolean);
    if (locals.length === 0) return;
    const local = locals.find(({ candidateType }) => candidateType === 'relay') ?? locals[0];
    this.relayed = local.candidateType === 'relay';
    this.relayProtocol = this.relayed ? (local.relayProtocol ?? null) : null;
    this.generation = generationOf(local);
  }

  /**
   * The increase of a count. A count that fell has restarted at zero.
   * @param {string} key
   * @param {number} value
   */
  #increase(key, value) {
    const last = this.#last.get(key) ?? 0;
    this.#last.set(key, value);
    return value >= last ? value - last : value;
  }

  get totals() {
    return { sent: this.sent, received: this.received };
  }

  /**
   * The report of a connection that was opened at `base`.
   * @param {Bytes} base
   */
  since(base) {
    const relayed = this.relayed ?? undefined;
    return { bytesSent: this.sent - base.sent, bytesReceived: this.received - base.received, relayed };
  }
}

/**
 * Reports one peer connection and renews its credentials. All waiting happens in rounds, one at a time, so reports keep their
 * order.
 */
class Watch {
  #pc;
  #meter;
  #broker;
  #credentials;
  #options;
  /** The credential whose grant is charged: of the allocation that carries the packets, or a newer one. @type {Credential | null} */
  #credential = null;
  /** The newest credential of the peer connection. @type {Credential | null} */
  #given = null;
  /** It was made without a relay: on demand, or while the broker gave none. */
  #hadNoRelay = false;
  /** The newest credential is in place of one that the relay does not serve. */
  #replacesFailed = false;
  /** A credential that is used from the next ICE generation on. @type {{credential: Credential, generations: Set<string>} | null} */
  #pending = null;
  /** When to restart ICE for the pending credential. */
  #restartAt = Infinity;
  /** Until then, descriptions and errors may be of the credentials before. */
  #sureAt = -Infinity;
  /** The last error before then. @type {RTCPeerConnectionIceErrorEvent | null} */
  #doubtfulError = null;
  /** The connection at the broker, from the first attempt to open it. @type {Connection | null} */
  #connection = null;
  #failures = 0;
  /** When to send the next report. */
  #dueAt = -Infinity;
  #heartbeatMs = HEARTBEAT_DEFAULT * SECOND;
  /** @type {number | null} */
  #failedSince = null;
  /** Since when both ends are described and ICE is not connected. @type {number | null} */
  #waitingSince = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** When something happened last, and when the last round began. */
  #calledAt = -Infinity;
  #lookedAt = -Infinity;
  /** @type {Promise<void> | null} */
  #round = null;
  /** @type {Promise<void> | null} */
  #stopped = null;
  #isAway = false;
  /** @type {() => void} */
  #onEnd = () => {};
  /** Resolves when the previous watch has sent its last report. */
  #previous;
  /** @type {[EventTarget, string, (event: any) => void][]} */
  #listeners = [];

  /** @param {{ pc: RTCPeerConnection, meter: Meter, broker: Broker, credentials: Credentials, options: WatchOptions }} parts */
  constructor({ pc, meter, broker, credentials, options }) {
    this.#pc = pc;
    this.#meter = meter;
    this.#previous = meter.released;
    this.#broker = broker;
    this.#credentials = credentials;
    this.#options = options;
  }

  /** @param {() => void} onEnd */
  begin(onEnd) {
    this.#onEnd = onEnd;
    harmless(() => {
      this.#credential = this.#credentials.of(this.#pc);
      this.#given = this.#credential;
    });
    this.#hadNoRelay = !this.#given?.iceServers.some(({ username }) => username);
    this.#listen(this.#pc, 'iceconnectionstatechange', () => this.#run());
    this.#listen(this.#pc, 'connectionstatechange', () => this.#run());
    // Reads the counts before offer and answer remove a pair. Some browsers count by pair only.
    this.#listen(this.#pc, 'signalingstatechange', () => this.#run());
    this.#listen(this.#pc, 'icecandidateerror', (event) => this.#onCandidateError(event));
    this.#listen(globalThis, 'pagehide', () => this.#onPageHide());
    this.#listen(globalThis, 'pageshow', () => this.#onPageShow());
    this.#listen(globalThis, 'online', () => this.#onOnline());
    this.#run();
  }

  get connectionId() {
    return (this.#connection?.isOpen && this.#connection.id) || null;
  }

  get relayed() {
    return this.#meter.relayed;
  }

  get relayProtocol() {
    return this.#meter.relayProtocol;
  }

  get bytesSent() {
    return this.#meter.sent;
  }

  get bytesReceived() {
    return this.#meter.received;
  }

  /** Resolves when the last counts are read. Hanging up need not wait for the request to the broker. */
  stop() {
    if (this.#stopped === null) {
      this.#stopped = this.#end();
      this.#meter.released = this.#stopped.then(() => this.#round).then(() => this.#close());
    }
    return this.#stopped;
  }

  async #end() {
    clearTimeout(this.#timer);
    for (const [target, type, listener] of this.#listeners) target.removeEventListener?.(type, listener);
    this.#onEnd();
    if (this.#connection) await this.#read();
  }

  /**
   * Relays reject credentials at each of their URLs: coturn and Cloudflare with 401, the broker's relay with 400. Browsers say 701 for each
   * URL that they do not reach, also of one network of several: only if none is reached and ICE has no path, another relay may help.
   * @param {RTCPeerConnectionIceErrorEvent} event
   */
  #onCandidateError(event) {
    const { errorCode, url } = event;
    const credential = this.#given;
    if (!credential) return;
    if (credential.failure !== null) return this.#run();
    const relays = credential.iceServers.filter(({ username }) => username).flatMap(({ urls }) => urls);
    if (!relays.includes(url) || !this.#hasGathered) return;
    if (errorCode === 701) credential.unreached.add(url);
    const isUnreached = !isConnected(this.#pc) && relays.every((relay) => credential.unreached.has(relay));
    if (![400, 401].includes(errorCode) && !isUnreached) return;
    if (this.#replacesFailed && performance.now() < this.#sureAt) {
      this.#doubtfulError = event;
      return this.#run();
    }
    const unreached = new TurnClientError('TURN_UNREACHED', 'no URL of the relay was reached', { status: errorCode });
    const refused = new TurnClientError('TURN_REFUSED', 'a relay rejected the credentials', { status: errorCode });
    const error = isUnreached ? unreached : refused;
    this.#credentials.markFailed(credential, error.code, url);
    this.#broker.report(error);
    this.#run();
  }

  /**
   * @param {EventTarget} target
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  #listen(target, type, listener) {
    target.addEventListener?.(type, listener);
    this.#listeners.push([target, type, listener]);
  }

  #run() {
    clearTimeout(this.#timer);
    this.#calledAt = performance.now();
    this.#round ??= this.#work()
      .catch((error) => this.#broker.report(error))
      .finally(() => {
        this.#round = null;
        if (!this.#isOver) this.#timer = setTimeout(() => this.#run(), this.#pauseLeft);
      });
  }

  get #isOver() {
    return this.#stopped !== null || this.#isAway;
  }

  /** What happened or became due while the round ran is looked at right after it. */
  get #pauseLeft() {
    const due = [this.#calledAt, this.#dueAt, this.#restartAt, this.#relayAt, this.#judgedAt].filter((at) => at > this.#lookedAt);
    return Math.min(SAMPLE, ...due.map((at) => Math.max(0, at - performance.now())));
  }

  async #work() {
    await this.#previous;
    if (this.#isOver) return;
    if (isClosed(this.#pc)) return void this.stop();
    this.#lookedAt = performance.now();
    const state = this.#pc.iceConnectionState;
    this.#failedSince = state === 'failed' ? (this.#failedSince ?? performance.now()) : null;
    const isLost = this.#failedSince !== null && performance.now() - this.#failedSince >= FAILED_MAX;
    const hasPath = isConnected(this.#pc);
    this.#waitingSince = hasPath || !isDescribed(this.#pc) ? null : (this.#waitingSince ?? performance.now());
    if (hasPath || this.#connection) await this.#read();
    if (this.#isOver) return;
    if (isClosed(this.#pc)) return void this.stop();
    this.#judgeError();
    if (this.#needsRelay && !isLost) this.#renew();
    this.#restart();
    if (isLost && this.#failures === 0) return this.#close();
    const pending = this.#pending;
    if (pending && this.#hasMoved && !(this.#connection?.isOpen && this.#failures > 0)) {
      if (this.#credential !== pending.credential) {
        await this.#close();
        if (this.#connection?.isOpen) return;
        this.#connection = null;
      }
      this.#credential = pending.credential;
      this.#pending = null;
      this.#restartAt = Infinity;
    }
    if (this.#isOver || performance.now() < this.#dueAt) return;
    if (this.#connection?.isOpen) await this.#heartbeat();
    else if (hasPath) await this.#open();
  }

  get #judgedAt() {
    return this.#doubtfulError ? this.#sureAt + DOUBT_MAX : Infinity;
  }

  /** An error of the credentials before says nothing about those that relay the call now. */
  #judgeError() {
    const error = this.#doubtfulError;
    if (!error || performance.now() < this.#judgedAt) return;
    this.#doubtfulError = null;
    if (this.#meter.relayed !== true || (this.#pending && !this.#hasMoved)) this.#onCandidateError(error);
  }

  /** Keeps the last counts if the browser gives none. */
  async #read() {
    try {
      if (!isClosed(this.#pc)) this.#meter.add(await within(STATISTICS_MAX, this.#pc.getStats()));
    } catch (error) {
      if (!isClosed(this.#pc)) this.#broker.report(error);
    }
  }

  get #isOnDemand() {
    return this.#options.when === 'needed';
  }

  /**
   * On demand, a peer connection needs a relay while it uses one, and when ICE has failed or has not connected in time.
   * Credentials that it does not use are not renewed. Otherwise it needs one once ICE runs, and in place of failed credentials at once:
   * ICE that may use only a relay stays in `new` without one.
   */
  get #needsRelay() {
    if (performance.now() >= this.#relayAt) return true;
    if (!this.#isOnDemand) return this.#pc.iceConnectionState !== 'new' || (this.#given !== null && this.#given.failure !== null);
    return this.#given !== null && this.#meter.relayed === true;
  }

  /**
   * When a relay is needed unless ICE connects before: where there was none, or in place of a path that is lost. One relay connects
   * most calls, so the end that answered waits half as long again: the relay of the other end then spares it a credential.
   */
  get #relayAt() {
    if (this.#waitingSince === null || !(this.#isOnDemand || this.#hadNoRelay || this.#meter.relayed !== null)) return Infinity;
    const after = (this.#options.relayAfterSeconds ?? RELAY_AFTER_SECONDS) * SECOND;
    return Math.min(this.#waitingSince + after, this.#failedSince ?? Infinity) + (this.#isAnswerer ? after / 2 : 0);
  }

  get #isAnswerer() {
    return this.#pc.currentLocalDescription?.type === 'answer';
  }

  /** Fetches the next credential when it is due, and sets it on the peer connection. */
  #renew() {
    const { current } = this.#credentials;
    if (!current || current.isDueInCall) {
      void this.#credentials.refresh().then(() => this.#credentials.current !== current && this.#run());
    }
    if (!current?.isAlive) return;
    if (current !== this.#given || this.#mustGiveAgain) this.#give(current);
    if (!this.#credential?.grant) this.#credential = current;
  }

  /**
   * The path is lost, and the same credentials may give another one. Chromium keeps no relay beside a direct path, and does not see that
   * a relay which was started again has lost its allocations: without a restart, ICE stays `disconnected` for good. A call that the
   * broker has ended, or whose credentials are refused, needs others.
   */
  get #mustGiveAgain() {
    const now = performance.now();
    if (![null, 'TURN_UNREACHED'].includes(this.#given?.failure ?? null)) return false;
    return this.#meter.relayed !== null && now >= this.#relayAt && this.#sureAt < Math.max(this.#waitingSince ?? now, now - RESTART_TURN_MAX);
  }

  /**
   * Sets new credentials. They take effect with an ICE restart. Only a relayed pair needs one, and an end that waits for a relay.
   * @param {Credential} credential
   */
  #give(credential) {
    const before = this.#given?.iceServers ?? [];
    const failure = this.#given?.failure ?? null;
    // The relay may know a credential that the broker does not know.
    this.#replacesFailed = failure !== null && (failure !== UNKNOWN_GRANT || !isConnected(this.#pc));
    const isSame = credential !== this.#given && JSON.stringify(before) === JSON.stringify(credential.iceServers);
    this.#sureAt = performance.now() + (credential === this.#given ? 0 : OLD_ONES_MAX);
    this.#given = credential;
    this.#doubtfulError = null;
    if (!isSame) {
      const configuration = this.#pc.getConfiguration();
      const known = new Set(before.map(keyOf));
      const own = (configuration.iceServers ?? []).filter((server) => !known.has(keyOf(server)));
      this.#pc.setConfiguration({ ...configuration, iceServers: [...own, ...credential.iceServers] });
    }
    this.#pending = { credential, generations: new Set(isSame ? [] : this.#generations) };
    const restart = !isSame && this.#mustGatherAgain && credential.iceServers.some(({ username }) => username);
    const iceServers = copied(credential.iceServers);
    const answer = harmless(this.#options.onRenew, { pc: this.#pc, iceServers, relayed: this.#meter.relayed, restart });
    this.#restartAt = restart && answer !== false ? performance.now() + this.#restartTurn : Infinity;
  }

  /** All ICE generations of this end, even if they have no candidate yet. */
  get #generations() {
    const [, ...described] = this.#pc.localDescription?.sdp?.split('a=ice-ufrag:') ?? [];
    return [...this.#meter.generations, ...described.map((rest) => rest.split(/\s/, 1)[0])];
  }

  /** The packets are relayed, or there is no path and a relay may give one. */
  get #mustGatherAgain() {
    return this.#meter.relayed === true || this.#isWaiting;
  }

  /** ICE is not connected, and what it had failed, or it had no relay, or a path that is lost. */
  get #isWaiting() {
    return this.#relayAt < Infinity || (this.#replacesFailed && !isConnected(this.#pc));
  }

  /**
   * How long to wait before the restart. Both ends renew at about the same time and need one restart, so the controlling end
   * goes first. Ends without a path took turns before.
   */
  get #restartTurn() {
    if (this.#replacesFailed) return this.#isAnswerer ? ANSWERER_RESTARTS_AFTER : 0;
    if (this.#relayAt < Infinity) return Math.max(0, this.#relayAt - performance.now());
    const turn = Math.max(0, Math.min(RESTART_TURN_MAX, (this.#credential?.lifeLeft ?? 0) / 4));
    return this.#meter.iceRole === 'controlling' ? turn / 2 : turn * (1 + Math.random() / 2);
  }

  /** Refused credentials connect nothing, so a connection shows the new ones. Those that are renewed would still do. */
  #restart() {
    const generations = this.#restartAt < Infinity && this.#pending?.generations;
    if (!generations) return;
    if (!this.#replacesFailed && performance.now() < this.#sureAt) this.#generations.forEach((generation) => generations.add(generation));
    if (performance.now() < this.#restartAt) return;
    const isServed = this.#replacesFailed ? this.#hasMoved : this.#hasGathered;
    const isNeeded = !isServed && this.#mustGatherAgain;
    if (isNeeded && this.#pc.signalingState !== 'stable') return;
    this.#restartAt = isNeeded && this.#replacesFailed ? performance.now() + CONNECTS_WITHIN : Infinity;
    if (isNeeded) this.#pc.restartIce();
  }

  /** With the newest credentials, or with those before if their description was under way. An error before this is of those before. */
  get #hasGathered() {
    return this.#pending === null || this.#generations.some((generation) => !this.#pending?.generations.has(generation));
  }

  /** The selected pair was gathered with the new credentials, so their grant is charged. */
  get #hasMoved() {
    const { generation } = this.#meter;
    return this.#pending !== null && generation !== null && !this.#pending.generations.has(generation);
  }

  /**
   * Opens the connection. The id is made here, so that an attempt can be repeated. Counts start with the unreported bytes. The
   * broker opens nothing on a grant that was renewed or has expired, so a connection that is opened late is the newest grant's.
   */
  async #open() {
    const { current } = this.#credentials;
    if (this.#credential && current?.grant) this.#credential = current;
    if (!this.#credential?.grant || this.#credential.lifeLeft <= 0) return;
    const { grant } = this.#credential;
    const id = this.#options.connectionId ?? globalThis.crypto?.randomUUID?.();
    const connection = (this.#connection ??= { id, grant, base: this.#meter.reported, isOpen: false });
    connection.grant = grant;
    const { relayed } = this.#meter.since(connection.base);
    await this.#send(connection, '', { connectionId: connection.id, relayed }, (answer) => {
      connection.isOpen = true;
      connection.id = answer?.connectionId ?? connection.id;
      const seconds = answer?.heartbeatSeconds ?? 0;
      this.#heartbeatMs = (seconds > 0 ? seconds : HEARTBEAT_DEFAULT) * SECOND;
    });
  }

  async #heartbeat() {
    const { totals } = this.#meter;
    const connection = this.#connection;
    if (connection?.id === undefined) return;
    await this.#send(connection, `/${encodeURIComponent(connection.id)}/heartbeat`, this.#meter.since(connection.base), () => {
      this.#meter.reported = totals;
    });
  }

  /**
   * Sends a report. An unknown connection is opened again, on another grant if the broker does not know this one. Other errors
   * are retried.
   * @param {Connection} connection
   * @param {string} path
   * @param {object} body
   * @param {(answer: { connectionId?: string, heartbeatSeconds?: number, code?: string } | null) => void} onAnswer
   * @param {boolean} [keepalive] It outlives the page.
   */
  async #send(connection, path, body, onAnswer, keepalive = false) {
    try {
      const answer = await this.#broker.ask(`/api/connections${path}`, { method: 'POST', token: connection.grant, body, keepalive });
      onAnswer(answer);
      // The relay ends the calls of this grant.
      if (answer?.code && this.#credential?.grant === connection.grant) this.#credentials.markFailed(this.#credential, answer.code);
      if (this.#connection !== connection) return; // the page was hidden meanwhile and is back: the next report is due
      this.#failures = 0;
      this.#dueAt = performance.now() + this.#heartbeatMs;
    } catch (error) {
      const { status = 0, retryAfterSeconds } = error instanceof TurnClientError ? error : {};
      if (this.#connection === connection) {
        const isUnknown = [401, 404].includes(status);
        this.#failures = isUnknown ? 1 : this.#failures + 1;
        const pauseMax = connection.isOpen ? Math.min(this.#heartbeatMs, REPORT_PAUSE_MAX) : REPORT_PAUSE_MAX;
        this.#dueAt = performance.now() + pause(this.#failures, pauseMax, retryAfterSeconds);
        if (isUnknown) this.#connection = null;
      }
      if (status === 401 && this.#credential?.grant === connection.grant) {
        this.#credential.grant = null;
        this.#credentials.markFailed(this.#credential, UNKNOWN_GRANT);
        this.#credential = null;
      }
      this.#broker.report(error);
    }
  }

  /**
   * Closes the connection. If the request fails, heartbeats continue, so that no byte counts twice, and after `stop()` the broker closes
   * it after missed heartbeats. A connection that may not be open has no bytes.
   */
  async #close() {
    const connection = this.#connection;
    if (connection?.id === undefined) return void (this.#connection = null);
    const { totals } = this.#meter;
    await this.#send(connection, `/${encodeURIComponent(connection.id)}/close`, this.#meter.since(connection.base), () => {
      this.#connection = null;
      this.#dueAt = -Infinity;
      if (connection.isOpen) this.#meter.reported = totals;
    }, true);
  }

  /** Sends the last counts. There is no time to read new ones. */
  #onPageHide() {
    clearTimeout(this.#timer);
    this.#isAway = true;
    const connection = this.#connection;
    this.#connection = null;
    this.#dueAt = -Infinity;
    if (connection?.id === undefined) return;
    const body = { token: connection.grant, ...this.#meter.since(connection.base) };
    this.#broker.beacon(`/api/connections/${encodeURIComponent(connection.id)}/close`, body);
    if (connection.isOpen) this.#meter.reported = this.#meter.totals;
  }

  /** A report that failed is due again, before the broker misses too many heartbeats. */
  #onOnline() {
    if (this.#failures > 0) this.#dueAt = Math.min(this.#dueAt, soon());
    this.#run();
  }

  /** The page is back from the back/forward cache. */
  #onPageShow() {
    this.#isAway = false;
    this.#run();
  }
}

/** When to ask once the network is back, maybe for many pages at once. */
const soon = () => performance.now() + 2 * SECOND * Math.random();

/** `close()` fires no event at its own end. @param {RTCPeerConnection} pc */
const isClosed = (pc) => pc.signalingState === 'closed' || pc.connectionState === 'closed';

/** @param {RTCPeerConnection} pc */
const isConnected = (pc) => ['connected', 'completed'].includes(pc.iceConnectionState);

/** Offer and answer are set, or ICE runs, so it can connect. @param {RTCPeerConnection} pc */
const isDescribed = (pc) => pc.iceConnectionState !== 'new' || Boolean(pc.currentLocalDescription && pc.currentRemoteDescription);

/** @param {RTCIceServer} server */
const keyOf = ({ urls, username }) => JSON.stringify([[urls].flat(), username ?? '']);

/** A copy that the page may change. @param {RTCIceServer[]} servers */
const copied = (servers) => servers.map((server) => ({ ...server, urls: [server.urls].flat() }));

/** @param {any} answer */
const isAnswer = (answer) =>
  Array.isArray(answer?.iceServers) && answer.iceServers.length > 0 && answer.iceServers.every((/** @type {any} */ server) => server?.urls?.length > 0)
  && (answer.grant === undefined || (typeof answer.grant === 'string' && answer.ttl > 0));

/**
 * A pause that doubles with every failure, with a random part.
 * @param {number} failures
 * @param {number} pauseMax
 */
function pause(failures, pauseMax, retryAfterSeconds = 0) {
  const backOff = Math.min(pauseMax, SECOND * 2 ** Math.min(failures, 20)) * (0.5 + 0.5 * Math.random());
  return Math.max(backOff, Math.min(retryAfterSeconds * SECOND, RETRY_AFTER_MAX) * (1 + 0.1 * Math.random()));
}

/**
 * The promise with a deadline. `late` is called if it passes.
 * @template T
 * @param {number} ms
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function within(ms, promise, late = () => {}) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<never>} */
  const end = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no response within ${ms / SECOND} s`));
      late();
    }, ms);
  });
  try {
    return await Promise.race([promise, end]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {string | null | undefined} text
 * @returns {any}
 */
function parse(text) {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return null;
  }
}

/**
 * Calls foreign code. An error in it is ignored.
 * @template {unknown[]} P
 * @template R
 * @param {((...parameters: P) => R) | undefined} call
 * @param {P} parameters
 * @returns {R | undefined}
 */
function harmless(call, ...parameters) {
  try {
    return call?.(...parameters);
  } catch {
    return undefined;
  }
}

const isOffline = () => globalThis.navigator?.onLine === false;

/** The default of `onError`. @param {{ code: string, message: string }} error */
const warn = ({ code, message }) => console.warn(`turn-client: ${code}: ${message}`);

/** Access throws if cookies are blocked. */
const sessionStorageIfAny = () => harmless(() => globalThis.sessionStorage) ?? null;
