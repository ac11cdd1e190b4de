// An app server that knows its calls (a socket server, a signalling server) reports when they begin and end, with the reporter token.
// Node 18 or later, no package. Use this where pages do not report themselves: a call that both report is counted twice.
//
//   TURN_BROKER=http://127.0.0.1:3001 REPORTER_TOKEN=... node reporter.mjs
//   begin room-9.alice
//   end room-9.alice
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const REQUEST_MS_MAX = 10_000;
const HEARTBEAT_SECONDS_DEFAULT = 30;

/** Keeps the broker told of the calls that are under way. Nothing here rejects: a broker that is away is told later. */
export class CallReporter {
  #broker;
  #token;
  #fetch;
  #onError;
  /**
   * What is known of each call, what the broker has heard of it, and where the connection that is open there began to count.
   * @type {Map<string, {isOpen: boolean, relayed?: boolean, counts: object, heard: object, base: object}>}
   */
  #calls = new Map();
  #heartbeatSeconds = HEARTBEAT_SECONDS_DEFAULT;
  #timer = null;

  constructor({ broker, token, fetch = globalThis.fetch, onError = complain }) {
    this.#broker = broker.replace(/\/+$/, '');
    this.#token = token;
    this.#fetch = fetch;
    this.#onError = onError;
  }

  /**
   * A client's part of a call begins. Report each client that may use the relay under an id of its own.
   * @param {string} id 1 to 128 visible ASCII characters.
   * @param {boolean} [relayed] If you know; without it a call is taken to be relayed, and charged by time unless it counts.
   */
  async begin(id, relayed) {
    this.#calls.set(id, { isOpen: false, relayed, counts: {}, heard: {}, base: {} });
    await this.#speak(id);
    this.#schedule();
  }

  /** What a client says of itself, if it does; bytes since the call began. Sent with the next heartbeat. */
  note(id, { relayed, ...counts }) {
    const call = this.#calls.get(id);
    if (call) Object.assign(call, { relayed: relayed ?? call.relayed, counts });
  }

  /** It is over. Call it on every way out, a socket that closes among them; the broker itself gives up after three heartbeats. */
  async end(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (call) await this.#ask('DELETE', `/${encodeURIComponent(id)}`, report(call));
  }

  /** At the end of the server. */
  async close() {
    clearTimeout(this.#timer);
    await Promise.all([...this.#calls.keys()].map((id) => this.end(id)));
  }

  #schedule() {
    this.#timer ??= setTimeout(async () => {
      await Promise.all([...this.#calls.keys()].map((id) => this.#speak(id)));
      this.#timer = null;
      if (this.#calls.size > 0) this.#schedule();
    }, this.#heartbeatSeconds * 1_000);
  }

  /** Opens it, or keeps it open. One that the broker does not know any more is opened again, and counts on from what was heard. */
  async #speak(id) {
    const call = this.#calls.get(id);
    if (!call) return;
    const { counts, isOpen } = call;
    const { status, answer } = isOpen
      ? await this.#ask('POST', `/${encodeURIComponent(id)}/heartbeat`, report(call))
      : await this.#ask('POST', '', { connectionId: id, relayed: call.relayed });
    if (answer?.heartbeatSeconds > 0) this.#heartbeatSeconds = answer.heartbeatSeconds;
    if (answer && isOpen) call.heard = counts;
    if (answer) call.isOpen = true;
    if (status !== 404 || !isOpen) return;
    Object.assign(call, { isOpen: false, base: call.heard });
    await this.#speak(id);
  }

  async #ask(method, path, body) {
    try {
      const fetch = this.#fetch;
      const response = await fetch(`${this.#broker}/api/connections${path}`, {
        method,
        headers: { Authorization: `Bearer ${this.#token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
      });
      const text = await response.text();
      if (!response.ok && response.status !== 404) this.#onError(new Error(`the broker answered ${response.status} to ${method}: ${text}`));
      return { status: response.status, answer: response.ok && text ? JSON.parse(text) : undefined };
    } catch (error) {
      this.#onError(error);
      return {};
    }
  }
}

/** In a line, with what is behind a failed fetch. */
function complain({ message, cause }) {
  console.error(cause?.message ? `${message}: ${cause.message}` : message);
}

/** Counts since the connection that is open at the broker began. */
function report({ relayed, counts, base }) {
  const since = (name) => (counts[name] === undefined ? undefined : counts[name] - (base[name] ?? 0));
  return { relayed, bytesReceived: since('bytesReceived'), bytesSent: since('bytesSent') };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { TURN_BROKER: broker = 'http://127.0.0.1:3001', REPORTER_TOKEN: token } = process.env;
  if (!token) {
    console.error('set REPORTER_TOKEN to what the broker has');
    process.exit(78);
  }
  const reporter = new CallReporter({ broker, token });
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, id] = line.trim().split(/\s+/);
    if (id && verb === 'begin') await reporter.begin(id);
    else if (id && verb === 'end') await reporter.end(id);
    else console.error('begin <id> | end <id>');
  }
  await reporter.close();
}
