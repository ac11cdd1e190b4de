// An app server (a socket or signaling server) that reports when calls start and end, with the reporter token. Requires Node 18
// and no package. Use it only if pages do not report: a call that both report is counted twice.
//
//   TURN_BROKER=http://127.0.0.1:3001 REPORTER_TOKEN=... node reporter.mjs
//   begin room-9.17
//   end room-9.17
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const REQUEST_MS_MAX = 10_000;
const HEARTBEAT_SECONDS_DEFAULT = 30;

/** Reports running calls to the broker. Nothing here rejects: if the broker is down, the next heartbeat reports again. */
export class CallReporter {
  #broker;
  #token;
  #fetch;
  #onError;
  /**
   * Each call with its counts, the counts that the broker acknowledged, and the counts when the open connection started.
   * @type {Map<string, {isOpen: boolean, hasEnded?: boolean, relayed?: boolean, counts: object, reported: object, base: object}>}
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
   * Reports that a client joined a call. Each client that may use the relay needs its own id.
   * @param {string} id 1 to 128 visible ASCII characters.
   * @param {boolean} [relayed] If unknown, the call counts as relayed and is charged by time unless bytes are reported.
   */
  async begin(id, relayed) {
    this.#calls.set(id, { isOpen: false, relayed, counts: {}, reported: {}, base: {} });
    await this.#report(id);
    this.#schedule();
  }

  /** Takes a client's own figures, with bytes since the call began. They are sent with the next heartbeat. */
  note(id, { relayed, ...counts }) {
    const call = this.#calls.get(id);
    if (call) Object.assign(call, { relayed: relayed ?? call.relayed, counts });
  }

  /**
   * Reports that a client left, again with each heartbeat until the broker has taken it. Call it on every exit, such as a
   * closed socket; otherwise the broker waits for three heartbeats.
   */
  async end(id) {
    const call = this.#calls.get(id);
    if (!call) return;
    call.hasEnded = true;
    const { status } = await this.#ask('DELETE', `/${encodeURIComponent(id)}`, countsOf(call));
    // What the broker refuses, it refuses again. It may take a call later if the token was wrong, or too much was asked.
    const isOver = status < 500 && ![401, 408, 429].includes(status);
    if (isOver && this.#calls.get(id) === call) this.#calls.delete(id);
  }

  /** Ends all calls. For the shutdown of the server. */
  async close() {
    clearTimeout(this.#timer);
    await Promise.all([...this.#calls.keys()].map((id) => this.end(id)));
  }

  #schedule() {
    this.#timer ??= setTimeout(async () => {
      await Promise.all([...this.#calls.keys()].map((id) => this.#report(id)));
      this.#timer = null;
      if (this.#calls.size > 0) this.#schedule();
    }, this.#heartbeatSeconds * 1_000);
  }

  /**
   * Opens a connection or keeps it open. One that the broker has forgotten is opened again and starts at the acknowledged
   * counts.
   */
  async #report(id) {
    const call = this.#calls.get(id);
    if (!call) return;
    if (call.hasEnded) {
      await this.end(id);
      return;
    }
    const { counts, isOpen } = call;
    const { status, answer } = isOpen
      ? await this.#ask('POST', `/${encodeURIComponent(id)}/heartbeat`, countsOf(call))
      : await this.#ask('POST', '', { connectionId: id, relayed: call.relayed });
    if (answer?.heartbeatSeconds > 0) this.#heartbeatSeconds = answer.heartbeatSeconds;
    if (answer && isOpen) call.reported = counts;
    if (answer) call.isOpen = true;
    if (status !== 404 || !isOpen) return;
    Object.assign(call, { isOpen: false, base: call.reported });
    await this.#report(id);
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

/** Logs an error in one line, with the cause of a failed fetch. */
function complain({ message, cause }) {
  console.error(cause?.message ? `${message}: ${cause.message}` : message);
}

/** The counts since the open connection started. */
function countsOf({ relayed, counts, base }) {
  const since = (name) => (counts[name] === undefined ? undefined : counts[name] - (base[name] ?? 0));
  return { relayed, bytesReceived: since('bytesReceived'), bytesSent: since('bytesSent') };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { TURN_BROKER: broker = 'http://127.0.0.1:3001', REPORTER_TOKEN: token } = process.env;
  if (!token) {
    console.error('set REPORTER_TOKEN to the value of the broker');
    process.exit(78);
  }
  const reporter = new CallReporter({ broker, token });
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, id] = line.trim().split(/\s+/);
    if (id && verb === 'begin') await reporter.begin(id);
    else if (id && verb === 'end') await reporter.end(id);
    else console.error('enter: begin <id> | end <id>');
  }
  await reporter.close();
}
