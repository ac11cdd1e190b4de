// turn-client: ICE servers from a turn-broker, and word to it of what was relayed with them. One module, no dependency.
//
// Nothing here throws into the page or waits for long: without a broker there are the last credentials while they live, then
// public STUN servers, and calls go on. Three parts: `Broker` asks, `Credentials` keeps one answer and renews it, `Watch` speaks
// for one peer connection. A connection at the broker belongs to the grant whose credential its relay allocation was made with.
//
// Time is counted from the moment of an answer, in durations that the answer holds: the page's clock may be hours off.

const PUBLIC_STUN = [{ urls: 'stun:stun.l.google.com:19302' }, { urls: 'stun:stun1.l.google.com:19302' }];
const MINT = '/api/turn-credentials';
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const REQUEST_MAX = 8 * SECOND;
/** Browsers have left `getStats()` unanswered where a peer connection was closed meanwhile: nobody's hanging up waits for that. */
const STATISTICS_MAX = 2 * SECOND;
/** How often statistics are read: as much may go uncounted when a peer connection is closed, or its page, without `stop()`. */
const SAMPLE = 5 * SECOND;
/** How long a peer connection may have failed before its connection at the broker is closed. */
const FAILED_MAX = 30 * SECOND;
/** Longest time that one end of a call leaves to the other to restart ICE for both: in Firefox two at once can end the flow. */
const RESTART_TURN_MAX = 30 * SECOND;
const HEARTBEAT_DEFAULT = 30;
/** Longest pause between attempts, without and with the broker's `Retry-After`. */
const MINT_PAUSE_MAX = 5 * MINUTE;
const RETRY_AFTER_MAX = 15 * MINUTE;
const REPORT_PAUSE_MAX = MINUTE;
/** Why there is no relay, where another try right away would not help. */
const LASTING_REASONS = ['NOT_CONFIGURED', 'DISABLED', 'BUDGET_EXHAUSTED'];
/** Answers that are remembered, to tell which of them a peer connection was made with. */
const ISSUED_MAX = 8;

/** What went wrong, for `onError`. `code` is the broker's, or `NETWORK`, `BAD_ANSWER`, `HTTP_<status>`, `PEER_CONNECTION`. */
export class TurnClientError extends Error {
  constructor(code, message, { status, retryAfterSeconds, cause } = {}) {
    super(message, { cause });
    Object.assign(this, { name: 'TurnClientError', code, status, retryAfterSeconds });
  }
}

/** @returns {import('./turn-client.js').TurnClient} Options and methods are described in turn-client.d.ts. */
export function createTurnClient(options = {}) {
  const broker = new Broker(options);
  const credentials = new Credentials(broker, options);
  /** @type {Map<RTCPeerConnection, Watch>} */
  const watches = new Map();
  /** What was counted of a peer connection, should it be watched again. @type {WeakMap<RTCPeerConnection, Meter>} */
  const meters = new WeakMap();
  return {
    iceServers: () => credentials.iceServers(),
    status: () => credentials.status(),
    watch(pc, watchOptions = {}) {
      if (!meters.has(pc)) meters.set(pc, new Meter());
      if (!watches.has(pc)) {
        const watch = new Watch({ pc, meter: meters.get(pc), broker, credentials, options: watchOptions });
        watches.set(pc, watch);
        watch.begin(() => watches.delete(pc));
      }
      return watches.get(pc);
    },
    async close() {
      await Promise.all([...watches.values()].map((watch) => watch.stop()));
    },
  };
}

/** Asks the broker. Every fault becomes a TurnClientError. */
class Broker {
  #baseUrl;
  #fetch;
  #onError;

  constructor({ baseUrl = '', fetch = (...request) => globalThis.fetch(...request), onError }) {
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#fetch = fetch;
    this.#onError = onError;
  }

  get url() {
    return this.#baseUrl;
  }

  /** The JSON of a good answer. @throws {TurnClientError} */
  async ask(path, { method = 'GET', token, body, keepalive = false } = {}) {
    const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': 'application/json' }) };
    const deadline = new AbortController();
    const request = { method, headers, body: body && JSON.stringify(body), signal: deadline.signal, keepalive };
    try {
      const [response, text] = await within(REQUEST_MAX, this.#exchange(path, request), () => deadline.abort());
      const json = parse(text);
      if (response.ok) return json;
      const retryAfterSeconds = Number(response.headers.get('Retry-After')) || undefined;
      const code = json?.code ?? `HTTP_${response.status}`;
      throw new TurnClientError(code, json?.message ?? json?.error ?? code, { status: response.status, retryAfterSeconds });
    } catch (cause) {
      if (cause instanceof TurnClientError) throw cause;
      // A refused origin looks the same to a page: the browser keeps the answer from it.
      throw new TurnClientError('NETWORK', 'no answer from the broker (is it up, and this origin in its CLIENT_URL?)', { cause });
    }
  }

  async #exchange(path, request) {
    const fetch = this.#fetch;
    const response = await fetch(this.#baseUrl + path, request);
    return [response, await response.text()];
  }

  /** For a page that goes away. A beacon has no headers, so the token travels in its body. */
  beacon(path, body) {
    const [url, text] = [this.#baseUrl + path, JSON.stringify(body)];
    if (harmless(() => globalThis.navigator?.sendBeacon?.(url, text))) return;
    const fetch = this.#fetch;
    harmless(() => fetch(url, { method: 'POST', body: text, keepalive: true })?.catch(() => {}));
  }

  report(error) {
    harmless(this.#onError, error instanceof TurnClientError ? error : new TurnClientError('PEER_CONNECTION', String(error), { cause: error }));
  }
}

/** One minted answer, or an undegraded STUN answer, which has no grant and no end. */
class Credential {
  /** A relay does not take it. */
  isRefused = false;
  /** When its answer came. By the monotonic clock or the wall's, whichever moved more: the one stops in sleep, the other is set. */
  #bornWall;
  #bornTicks;
  #lifeMax;
  #refreshAt;
  /** Clients that began together do not renew together; and never a moment early, when a renewal would not count as one. */
  #jitter = 0.01 + 0.05 * Math.random();

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

  get age() {
    return Math.max(performance.now() - this.#bornTicks, Date.now() - this.#bornWall);
  }

  get lifeLeft() {
    return this.#lifeMax - this.age;
  }

  get isAlive() {
    return this.lifeLeft > 0;
  }

  /** It is to be replaced before it is used for a new call. A grant that the broker does not know renews nothing. */
  get isDue() {
    return this.isRefused || this.age >= this.#refreshAt || (this.grant === null && this.#lifeMax < Infinity);
  }

  /** It is to be replaced under a running call. */
  get isDueInCall() {
    return this.isDue && (this.isRefused || this.grant === null || this.age >= this.#refreshAt + this.#jitter * (this.#lifeMax - this.#refreshAt));
  }

  /** By the page's clock. */
  get expiresAt() {
    return this.#lifeMax < Infinity ? new Date(Date.now() + this.lifeLeft) : null;
  }

  get stored() {
    return JSON.stringify({ answer: this.answer, bornWall: this.#bornWall, tookMs: this.tookMs });
  }
}

/** Keeps the newest credential, also over a reload; asks for the next one when it is due, once for all who want it. */
class Credentials {
  /** @type {Credential | null} */
  current = null;
  #broker;
  #path = MINT;
  #storage;
  #key;
  #onStatus;
  /** @type {Credential[]} */
  #issued = [];
  #stun = PUBLIC_STUN;
  #reason = null;
  #failures = 0;
  #mintedAt = -Infinity;
  /** Nobody is asked before that. */
  #retryAt = -Infinity;
  #underWay = null;

  constructor(broker, { storage, ttl, onStatus }) {
    this.#broker = broker;
    if (ttl !== undefined) this.#path = `${MINT}?ttl=${ttl}`;
    this.#storage = storage === undefined ? sessionStorageIfAny() : storage;
    this.#key = `turn-client ${broker.url}${this.#path}`;
    this.#onStatus = onStatus;
    const stored = parse(harmless(() => this.#storage?.getItem(this.#key)));
    const isOurs = stored && isAnswer(stored.answer) && stored.bornWall <= Date.now();
    if (isOurs) this.#keep(new Credential(stored.answer, stored.bornWall, stored.tookMs));
    if (!this.current?.isAlive) this.current = null;
  }

  async iceServers() {
    if (!this.current || this.current.isDue) await this.refresh();
    const servers = this.current?.isAlive ? this.current.iceServers : this.#stun;
    return copied(servers);
  }

  status() {
    const { answer, isAlive, expiresAt } = this.current ?? {};
    const reason = answer?.reason ?? this.#reason;
    if (isAlive) return { source: answer.source, degraded: answer.degraded === true, reason, expiresAt };
    return { source: reason && 'stun', degraded: reason !== null, reason, expiresAt: null };
  }

  /** Which answer a peer connection was made with; null if none that is remembered. */
  of(pc) {
    const configured = pc.getConfiguration().iceServers ?? [];
    const names = configured.map(({ username }) => username).filter(Boolean);
    const keys = configured.map(keyOf);
    const isUsed = ({ username }) => names.includes(username);
    const isThere = (server) => !server.username && keys.includes(keyOf(server));
    return this.#issued.findLast(({ iceServers }) => iceServers.some(isUsed) || iceServers.every(isThere)) ?? null;
  }

  /** The broker does not know its grant. The credential is as good as before, but has to be replaced; not again and again. */
  disown(credential) {
    credential.grant = null;
    this.#replace(credential);
  }

  /** It was revoked, or the relay has another secret. It stays until there is another one: a relay may be wrong, or one of several. */
  refused(credential) {
    credential.isRefused = true;
    this.#replace(credential);
  }

  #replace(credential) {
    if (credential !== this.current) return;
    harmless(() => this.#storage?.removeItem(this.#key));
    this.#retryAt = Math.max(this.#retryAt, this.#mintedAt + MINT_PAUSE_MAX);
  }

  /** Never rejects. */
  refresh() {
    if (performance.now() < this.#retryAt) return Promise.resolve();
    this.#underWay ??= this.#mint()
      .catch((error) => this.#failed(error))
      .finally(() => {
        this.#underWay = null;
        harmless(this.#onStatus, this.status());
      });
    return this.#underWay;
  }

  async #mint() {
    const asked = performance.now();
    const token = this.current?.isAlive ? this.current.grant : null;
    const answer = await this.#ask(token);
    if (!isAnswer(answer)) throw new TurnClientError('BAD_ANSWER', 'the answer holds no ICE servers');
    if (answer.grant === undefined && answer.degraded) {
      this.#stun = answer.iceServers;
      throw new TurnClientError(answer.reason ?? 'DEGRADED', 'the broker has no relay to offer', { status: 200 });
    }
    this.#failures = 0;
    this.#reason = null;
    this.#mintedAt = performance.now();
    this.#keep(new Credential(answer, Date.now(), this.#mintedAt - asked));
    if (answer.grant !== undefined) harmless(() => this.#storage?.setItem(this.#key, this.current.stored));
  }

  /** The broker's longest life may have become shorter than what the page asks for: then its own is better than no relay. */
  async #ask(token) {
    try {
      return await this.#broker.ask(this.#path, { token });
    } catch (error) {
      if (error.status !== 400 || this.#path === MINT) throw error;
      this.#broker.report(error);
      this.#path = MINT;
      return this.#broker.ask(this.#path, { token });
    }
  }

  #keep(credential) {
    this.current = credential;
    this.#issued = [...this.#issued.filter(({ isAlive }) => isAlive), credential].slice(-ISSUED_MAX);
  }

  #failed(error) {
    this.#failures += 1;
    this.#reason = error.code;
    const asked = LASTING_REASONS.includes(error.code) ? MINT_PAUSE_MAX / SECOND : 0;
    const pauseMs = pause(this.#failures, MINT_PAUSE_MAX, Math.max(asked, error.retryAfterSeconds ?? 0));
    this.#retryAt = performance.now() + pauseMs;
    this.#broker.report(error);
  }
}

/** Bytes of one peer connection: sums that never fall, whatever becomes of pairs and transports, and how its packets go. */
class Meter {
  sent = 0;
  received = 0;
  /** What the broker has heard of. */
  heard = { sent: 0, received: 0 };
  /** Of the selected pair; null until there is one. */
  relayed = null;
  relayProtocol = null;
  iceRole = null;
  /** When the last watch has told all it had to tell. */
  released = Promise.resolve();
  /** Which gathering the selected local candidate comes from, and all those there were: one for each ICE restart. */
  generation = null;
  generations = new Set();
  #last = new Map();

  /** @param {RTCStatsReport} stats */
  add(stats) {
    const all = [...stats.values()];
    const transports = all.filter(({ type }) => type === 'transport');
    const pairs = all.filter(({ type }) => type === 'candidate-pair');
    // Firefox counts by pair only.
    const counted = transports.some(({ bytesReceived }) => bytesReceived !== undefined) ? transports : pairs;
    for (const { id, bytesSent = 0, bytesReceived = 0 } of counted) {
      this.sent += this.#rise(`${id} sent`, bytesSent);
      this.received += this.#rise(`${id} received`, bytesReceived);
    }
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

  /** A count that went down began anew. */
  #rise(key, value) {
    const last = this.#last.get(key) ?? 0;
    this.#last.set(key, value);
    return value >= last ? value - last : value;
  }

  get totals() {
    return { sent: this.sent, received: this.received };
  }

  /** What a connection that was opened at `base` reports. */
  since(base) {
    const relayed = this.relayed ?? undefined;
    return { bytesSent: this.sent - base.sent, bytesReceived: this.received - base.received, relayed };
  }
}

/** Speaks for one peer connection. Everything that waits happens in rounds, one at a time, so reports keep their order. */
class Watch {
  #pc;
  #meter;
  #broker;
  #credentials;
  #options;
  /** Whose allocation the packets go through, as far as it is known. @type {Credential | null} */
  #credential = null;
  /** The newest credential that the peer connection was given. @type {Credential | null} */
  #given = null;
  /** A credential that counts from the next ICE generation on. @type {{credential: Credential, generations: Set<string>} | null} */
  #pending = null;
  /** When to restart ICE for it, unless it is no longer needed. */
  #restartAt = Infinity;
  /** At the broker, from the first attempt to open it on. @type {{id?: string, grant: string, base: object, isOpen: boolean} | null} */
  #connection = null;
  #failures = 0;
  /** When to speak to the broker again. */
  #dueAt = -Infinity;
  #beat = HEARTBEAT_DEFAULT * SECOND;
  #failedSince = null;
  #timer;
  #round = null;
  #stopped = null;
  #isAway = false;
  #onEnd = () => {};
  /** When the watch before this one has told all. */
  #before;
  #listeners = [];

  constructor({ pc, meter, broker, credentials, options }) {
    this.#pc = pc;
    this.#meter = meter;
    this.#before = meter.released;
    this.#broker = broker;
    this.#credentials = credentials;
    this.#options = options;
  }

  begin(onEnd) {
    this.#onEnd = onEnd;
    harmless(() => {
      this.#credential = this.#credentials.of(this.#pc);
      this.#given = this.#credential;
    });
    this.#listen(this.#pc, 'iceconnectionstatechange', () => this.#run());
    this.#listen(this.#pc, 'connectionstatechange', () => this.#run());
    // Before offer and answer take a pair away, and its counts with it where they are kept by pair.
    this.#listen(this.#pc, 'signalingstatechange', () => this.#run());
    this.#listen(this.#pc, 'icecandidateerror', (event) => this.#hearOfRefusal(event));
    this.#listen(globalThis, 'pagehide', () => this.#leave());
    this.#listen(globalThis, 'pageshow', () => this.#comeBack());
    this.#run();
  }

  get connectionId() {
    return this.#connection?.isOpen ? this.#connection.id : null;
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

  /** Resolves when the last counts are read: nobody is to wait with hanging up until the broker has heard of it. */
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

  /** A relay that refuses credentials says so at each of its URLs: coturn and Cloudflare by 401, the broker's own by 400. */
  #hearOfRefusal({ errorCode, url }) {
    const credential = this.#given;
    const isOurs = credential?.iceServers.some(({ urls }) => [urls].flat().includes(url));
    if (![400, 401].includes(errorCode) || !isOurs || credential.isRefused) return;
    this.#credentials.refused(credential);
    this.#broker.report(new TurnClientError('TURN_REFUSED', 'a relay does not take the credentials', { status: errorCode }));
    this.#run();
  }

  #listen(target, type, listener) {
    target.addEventListener?.(type, listener);
    this.#listeners.push([target, type, listener]);
  }

  #run() {
    clearTimeout(this.#timer);
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

  get #pauseLeft() {
    const left = [this.#dueAt, this.#restartAt].map((at) => at - performance.now());
    return Math.min(SAMPLE, ...left.filter((ms) => ms > 0));
  }

  async #work() {
    await this.#before;
    if (this.#isOver) return;
    if (isClosed(this.#pc)) return void this.stop();
    const state = this.#pc.iceConnectionState;
    this.#failedSince = state === 'failed' ? (this.#failedSince ?? performance.now()) : null;
    const isLost = this.#failedSince !== null && performance.now() - this.#failedSince >= FAILED_MAX;
    const isConnected = state === 'connected' || state === 'completed';
    if (isConnected || this.#connection) await this.#read();
    if (this.#isOver) return;
    if (isClosed(this.#pc)) return void this.stop();
    if (state !== 'new' && !isLost) this.#renew();
    this.#restart();
    if (isLost) return this.#close();
    if (this.#hasMovedOn) {
      await this.#close();
      this.#credential = this.#pending.credential;
      this.#pending = null;
      this.#restartAt = Infinity;
    }
    if (this.#isOver || performance.now() < this.#dueAt) return;
    if (this.#connection?.isOpen) await this.#heartbeat();
    else if (isConnected) await this.#open();
  }

  /** Last counts stay when there are none to be had. */
  async #read() {
    try {
      if (!isClosed(this.#pc)) this.#meter.add(await within(STATISTICS_MAX, this.#pc.getStats()));
    } catch (error) {
      if (!isClosed(this.#pc)) this.#broker.report(error);
    }
  }

  /** Asks for the next credential when it is time, and gives it to the peer connection once it is there. */
  #renew() {
    const { current } = this.#credentials;
    if (!current || current.isDueInCall) {
      void this.#credentials.refresh().then(() => this.#credentials.current !== current && this.#run());
    }
    if (!current?.isAlive) return;
    if (current !== this.#given) this.#give(current);
    if (this.#credential?.grant) return;
    this.#credential = current;
    this.#pending = null;
  }

  /** New credentials move nothing by themselves: only an ICE restart makes a new allocation, and only a relayed pair needs one. */
  #give(credential) {
    const before = this.#given?.iceServers ?? [];
    const isSame = JSON.stringify(before) === JSON.stringify(credential.iceServers);
    this.#given = credential;
    if (!isSame) {
      const configuration = this.#pc.getConfiguration();
      const known = new Set(before.map(keyOf));
      const own = (configuration.iceServers ?? []).filter((server) => !known.has(keyOf(server)));
      this.#pc.setConfiguration({ ...configuration, iceServers: [...own, ...credential.iceServers] });
    }
    const [, ...described] = this.#pc.localDescription?.sdp?.split('a=ice-ufrag:') ?? [];
    const generations = [...this.#meter.generations, ...described.map((rest) => rest.split(/\s/, 1)[0])];
    this.#pending = { credential, generations: new Set(isSame ? [] : generations) };
    const restart = !isSame && this.#meter.relayed === true;
    const iceServers = copied(credential.iceServers);
    const wish = harmless(this.#options.onRenew, { pc: this.#pc, iceServers, relayed: this.#meter.relayed, restart });
    this.#restartAt = restart && wish !== false ? performance.now() + this.#restartTurn : Infinity;
  }

  /** Both ends renew at about the same time, and one restart serves both: the controlling end goes first. */
  get #restartTurn() {
    const turn = Math.max(0, Math.min(RESTART_TURN_MAX, (this.#credential?.lifeLeft ?? 0) / 4));
    return this.#meter.iceRole === 'controlling' ? turn / 2 : turn * (1 + Math.random() / 2);
  }

  #restart() {
    if (performance.now() < this.#restartAt) return;
    const isNew = (generation) => this.#pending !== null && !this.#pending.generations.has(generation);
    const isServed = [...this.#meter.generations].some(isNew);
    if (!isServed && this.#meter.relayed && this.#pc.signalingState !== 'stable') return;
    this.#restartAt = Infinity;
    if (!isServed && this.#meter.relayed) this.#pc.restartIce();
  }

  /** The selected pair was gathered after the peer connection got its new credentials, so they pay for it. */
  get #hasMovedOn() {
    const { generation } = this.#meter;
    return this.#pending !== null && generation !== null && !this.#pending.generations.has(generation);
  }

  /** The id is made here, so that an attempt whose answer was lost can be repeated. Counts begin with what was not heard yet. */
  async #open() {
    const grant = this.#credential?.grant;
    if (!grant) return;
    const id = this.#options.connectionId ?? globalThis.crypto?.randomUUID?.();
    const connection = (this.#connection ??= { id, grant, base: this.#meter.heard, isOpen: false });
    const { relayed } = this.#meter.since(connection.base);
    await this.#tell(connection, '', { connectionId: connection.id, relayed }, (answer) => {
      connection.isOpen = true;
      connection.id = answer?.connectionId ?? connection.id;
      this.#beat = (answer?.heartbeatSeconds > 0 ? answer.heartbeatSeconds : HEARTBEAT_DEFAULT) * SECOND;
    });
  }

  async #heartbeat() {
    const { totals } = this.#meter;
    const connection = this.#connection;
    await this.#tell(connection, `/${encodeURIComponent(connection.id)}/heartbeat`, this.#meter.since(connection.base), () => {
      this.#meter.heard = totals;
    });
  }

  /** An unknown connection is opened anew, on another grant if the broker does not know this one; all else is tried again. */
  async #tell(connection, path, body, heard) {
    try {
      const answer = await this.#broker.ask(`/api/connections${path}`, { method: 'POST', token: connection.grant, body });
      heard(answer);
      if (this.#connection !== connection) return; // the page went away in between, and is back: the next one is due
      this.#failures = 0;
      this.#dueAt = performance.now() + this.#beat;
    } catch (error) {
      if (this.#connection === connection) {
        this.#failures += 1;
        const pauseMax = connection.isOpen ? Math.min(this.#beat, REPORT_PAUSE_MAX) : REPORT_PAUSE_MAX;
        this.#dueAt = performance.now() + pause(this.#failures, pauseMax, error.retryAfterSeconds);
        if ([401, 404].includes(error.status)) this.#connection = null;
      }
      if (error.status === 401 && this.#credential?.grant === connection.grant) {
        this.#credentials.disown(this.#credential);
        this.#credential = null;
      }
      this.#broker.report(error);
    }
  }

  /** The broker gives up by itself on a connection whose close it did not hear. One that it may not have opened counted nothing. */
  async #close() {
    const connection = this.#connection;
    this.#connection = null;
    this.#dueAt = -Infinity;
    if (connection?.id === undefined) return;
    const { totals } = this.#meter;
    const request = { method: 'POST', token: connection.grant, body: this.#meter.since(connection.base), keepalive: true };
    try {
      await this.#broker.ask(`/api/connections/${encodeURIComponent(connection.id)}/close`, request);
      if (connection.isOpen) this.#meter.heard = totals;
    } catch (error) {
      this.#broker.report(error);
    }
  }

  /** There is no time for statistics: the last counts have to do. */
  #leave() {
    clearTimeout(this.#timer);
    this.#isAway = true;
    const connection = this.#connection;
    this.#connection = null;
    this.#dueAt = -Infinity;
    if (connection?.id === undefined) return;
    const body = { token: connection.grant, ...this.#meter.since(connection.base) };
    this.#broker.beacon(`/api/connections/${encodeURIComponent(connection.id)}/close`, body);
    if (connection.isOpen) this.#meter.heard = this.#meter.totals;
  }

  /** From the back/forward cache. */
  #comeBack() {
    this.#isAway = false;
    this.#run();
  }
}

/** A close() of one's own fires no event. */
const isClosed = (pc) => pc.signalingState === 'closed' || pc.connectionState === 'closed';

const keyOf = ({ urls, username }) => JSON.stringify([[urls].flat(), username ?? '']);

/** The page may do with it what it likes. */
const copied = (servers) => servers.map((server) => ({ ...server, urls: [server.urls].flat() }));

const isAnswer = (answer) =>
  Array.isArray(answer?.iceServers) && answer.iceServers.length > 0 && answer.iceServers.every((server) => server?.urls?.length > 0)
  && (answer.grant === undefined || (typeof answer.grant === 'string' && answer.ttl > 0));

/** Doubled with every failure, and never the same for two clients. */
function pause(failures, pauseMax, retryAfterSeconds = 0) {
  const own = Math.min(pauseMax, SECOND * 2 ** Math.min(failures, 20)) * (0.5 + 0.5 * Math.random());
  return Math.max(own, Math.min(retryAfterSeconds * SECOND, RETRY_AFTER_MAX) * (1 + 0.1 * Math.random()));
}

/** As the promise, or a rejection when it takes longer; `late` is called after that. */
async function within(ms, promise, late = () => {}) {
  let timer;
  const end = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`nothing within ${ms / SECOND} s`));
      late();
    }, ms);
  });
  try {
    return await Promise.race([promise, end]);
  } finally {
    clearTimeout(timer);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Calls what is not ours: its faults are not the page's. */
function harmless(call, ...parameters) {
  try {
    return call?.(...parameters);
  } catch {
    return undefined;
  }
}

/** Asking for it throws where cookies are blocked. */
const sessionStorageIfAny = () => harmless(() => globalThis.sessionStorage) ?? null;
