// Fakes of everything that a page uses: clocks, timers, broker, peer connections, storage. Nothing here waits in real time.
import { mock } from 'node:test';

const SECOND = 1_000;
/** The server's clock. The page's clock is hours off. */
const SERVER_EPOCH = Date.parse('2026-01-15T12:00:00Z');
const PAGE_EPOCH = SERVER_EPOCH - 7 * 3_600 * SECOND;

/** Lets promises settle. No chain of promises in these tests is longer. */
export async function settle() {
  for (let turn = 0; turn < 60; turn += 1) await Promise.resolve();
}

/** Clocks and timers of the page. */
export class Time {
  elapsed = 0;
  wallOffset = 0;
  /** Time that the machine slept; the monotonic clock stops meanwhile. */
  slept = 0;
  /** @type {Map<number, {at: number, run: () => void}>} */
  timers = new Map();
  #lastTimer = 0;

  constructor() {
    mock.method(globalThis, 'setTimeout', (run, ms = 0) => {
      this.#lastTimer += 1;
      this.timers.set(this.#lastTimer, { at: this.elapsed + ms, run });
      return this.#lastTimer;
    });
    mock.method(globalThis, 'clearTimeout', (timer) => this.timers.delete(timer));
    mock.method(performance, 'now', () => this.elapsed - this.slept);
    mock.method(Date, 'now', () => PAGE_EPOCH + this.elapsed + this.wallOffset);
    mock.method(Math, 'random', () => 0.5);
  }

  get server() {
    return SERVER_EPOCH + this.elapsed;
  }

  /** Advances in steps, since timers set timers. They fire at the end of a step, so a long step simulates throttled timers. */
  async pass(seconds, step = 0.5) {
    await settle();
    for (let left = seconds; left > 0; left -= step) {
      this.elapsed += Math.min(step, left) * SECOND;
      for (const [timer, { at, run }] of [...this.timers]) {
        if (at <= this.elapsed && this.timers.delete(timer)) run();
      }
      await settle();
    }
  }

  sleep(seconds) {
    this.elapsed += seconds * SECOND;
    this.slept += seconds * SECOND;
  }
}

/** An event target that counts its listeners. */
export class Target {
  listeners = new Map();

  addEventListener(type, listener) {
    if (!this.listeners.has(type)) this.listeners.set(type, new Set());
    this.listeners.get(type).add(listener);
  }

  removeEventListener(type, listener) {
    this.listeners.get(type)?.delete(listener);
  }

  get listenerCount() {
    return [...this.listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  dispatch(type, event = {}) {
    for (const listener of [...(this.listeners.get(type) ?? [])]) listener({ type, ...event });
  }
}

export class Peer extends Target {
  iceConnectionState = 'new';
  connectionState = 'new';
  signalingState = 'stable';
  restarts = 0;
  configurations = [];
  statistics = new Statistics();

  constructor(configuration = { iceServers: [] }) {
    super();
    this.configuration = configuration;
  }

  getConfiguration() {
    return this.configuration;
  }

  setConfiguration(configuration) {
    if (this.signalingState === 'closed') throw new Error('InvalidStateError');
    this.configurations.push(configuration);
    this.configuration = configuration;
  }

  restartIce() {
    this.restarts += 1;
  }

  async getStats() {
    if (this.signalingState === 'closed') throw new Error('InvalidStateError');
    return this.statistics.report();
  }

  become(state) {
    this.iceConnectionState = state;
    this.connectionState = { completed: 'connected', checking: 'connecting' }[state] ?? state;
    this.dispatch('iceconnectionstatechange');
    this.dispatch('connectionstatechange');
  }

  /** Offer and answer are set. Another `ufrag` is an ICE restart. */
  describe(type = 'offer', ufrag = 'g1') {
    const other = type === 'offer' ? 'answer' : 'offer';
    this.currentLocalDescription = { type, sdp: `v=0\r\na=ice-ufrag:${ufrag}\r\na=ice-pwd:x\r\n` };
    this.currentRemoteDescription = { type: other, sdp: `v=0\r\na=ice-ufrag:r${ufrag}\r\na=ice-pwd:x\r\n` };
    this.localDescription = this.currentLocalDescription;
    this.dispatch('signalingstatechange');
  }

  /** Fires no event, as in a browser. */
  close() {
    this.signalingState = 'closed';
    this.iceConnectionState = 'closed';
    this.connectionState = 'closed';
  }
}

/** The result of `getStats`. */
export class Statistics {
  type = 'relay';
  generation = 'g1';
  iceRole = 'controlling';
  sent = 0;
  received = 0;
  others = [];

  flow(sent, received) {
    this.sent += sent;
    this.received += received;
  }

  report() {
    const entries = [
      { id: 'T', type: 'transport', selectedCandidatePairId: 'P', bytesSent: this.sent, bytesReceived: this.received, iceRole: this.iceRole },
      { id: 'P', type: 'candidate-pair', localCandidateId: `L${this.generation}`, state: 'succeeded', nominated: true },
      {
        id: `L${this.generation}`, type: 'local-candidate', candidateType: this.type, usernameFragment: this.generation,
        ...(this.type === 'relay' && { relayProtocol: 'tls' }),
      },
      ...this.others,
    ];
    return new Map(entries.map((entry) => [entry.id, entry]));
  }
}

/** A broker that records requests. It responds normally unless a test plans a response for a kind of request. */
export class FakeBroker {
  asked = [];
  beacons = [];
  ttl = 600;
  heartbeatSeconds = 30;
  /** Ids of open connections. @type {Map<string, object>} */
  open = new Map();
  grants = 0;
  #plans = { mint: [], open: [], heartbeat: [], close: [] };
  #standing = {};

  constructor(time) {
    this.time = time;
    this.fetch = mock.fn((url, init) => this.#answer(url, init));
  }

  /** Plans the next response of a kind: an object (status, body, headers), a function of the request, or an Error. */
  next(kind, answer) {
    this.#plans[kind].push(answer);
  }

  /** Plans all responses of a kind; undefined ends that. */
  always(kind, answer) {
    this.#standing[kind] = answer;
  }

  of(kind) {
    return this.asked.filter((request) => request.kind === kind);
  }

  async #answer(url, { method = 'GET', headers = {}, body, signal } = {}) {
    const path = new URL(url, 'https://page.example').pathname;
    const kind = path === '/api/turn-credentials' ? 'mint' : path === '/api/connections' ? 'open' : path.split('/').at(-1);
    const fields = body === undefined ? undefined : JSON.parse(body);
    const token = headers.Authorization?.replace('Bearer ', '') ?? fields?.token;
    const request = { kind, url, path, method, headers, token, body: fields, signal, at: this.time.elapsed / SECOND };
    this.asked.push(request);
    const planned = this.#plans[kind]?.shift() ?? this.#standing[kind];
    const answer = typeof planned === 'function' ? await planned(request) : (planned ?? this.#normally(request));
    if (answer instanceof Error) throw answer;
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? '');
    return new Response(answer.status === 204 ? null : text, { status: answer.status ?? 200, headers: answer.headers });
  }

  #normally({ kind, path, body, token }) {
    const id = decodeURIComponent(path.split('/')[3] ?? '');
    if (kind === 'mint') return { body: this.minted() };
    if (kind === 'open') {
      const isNew = !this.open.has(body.connectionId);
      this.open.set(body.connectionId, { token, ...body });
      return { status: isNew ? 201 : 200, body: { connectionId: body.connectionId, heartbeatSeconds: this.heartbeatSeconds } };
    }
    if (kind === 'close') return this.open.delete(id), { status: 204 };
    if (!this.open.has(id)) return error(404, 'NOT_FOUND');
    Object.assign(this.open.get(id), body);
    return { body: { connectionId: id, heartbeatSeconds: this.heartbeatSeconds } };
  }

  minted(changes = {}) {
    this.grants += 1;
    const { server } = this.time;
    const at = (seconds) => new Date(server + seconds * SECOND).toISOString();
    const relay = { urls: ['turn:relay.example:3478'], username: `user-${this.grants}`, credential: 'secret' };
    return {
      iceServers: [{ urls: ['stun:relay.example:3478'] }, relay], ttl: this.ttl, issuedAt: at(0), expiresAt: at(this.ttl),
      refreshAfter: at(this.ttl * 0.75), source: 'cloudflare', degraded: false, grant: `grant-${this.grants}`, ...changes,
    };
  }
}

export const error = (status, code, headers = {}) => ({ status, headers, body: { error: code, message: `${code}, in words`, code } });

export const degraded = (reason) => ({
  body: { iceServers: [{ urls: 'stun:own.example:3478' }], source: 'stun', degraded: true, reason },
});

export class Store {
  items = new Map();

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, value);
  }

  removeItem(key) {
    this.items.delete(key);
  }
}
