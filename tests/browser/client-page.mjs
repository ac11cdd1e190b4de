// Runs in the browser: a call as a frontend writes it with turn-client.js, imported from the broker on another origin.
// The peers use "perfect negotiation" and nothing else, so renewals must work with it.
import { createTurnClient } from 'http://127.0.0.1:3001/turn-client.js';

const MESSAGE_BYTES = 1_000;

/** One end of the call. */
class Peer {
  /** @type {string[]} Errors of the client. */
  faults = [];
  renewals = [];
  negotiations = 0;
  /** Ids of the connections at the broker, in order. @type {Set<string>} */
  connections = new Set();
  /** The number of messages out of order, and the longest time without a message in ms. */
  disorder = 0;
  silence = 0;
  arrived = 0;
  sent = 0;
  #lastAt = performance.now();
  #makingOffer = false;

  static async join(name, isPolite, storage, options) {
    const client = createTurnClient({
      baseUrl: 'http://127.0.0.1:3001', storage, onError: ({ code, message }) => peer.faults.push(`${code}: ${message}`), ...options,
    });
    const peer = new Peer(name, isPolite, client, await client.iceServers());
    return peer;
  }

  constructor(name, isPolite, client, iceServers) {
    Object.assign(this, { name, isPolite, client });
    this.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    this.watch = client.watch(this.pc, { onRenew: ({ relayed, restart }) => void this.renewals.push({ relayed, restart }) });
    this.channel = this.pc.createDataChannel('load', { negotiated: true, id: 0 });
    this.channel.binaryType = 'arraybuffer';
    this.channel.onmessage = ({ data }) => this.#arrive(new DataView(data).getUint32(0));
  }

  #arrive(number) {
    if (number !== this.arrived) this.disorder += 1;
    const now = performance.now();
    if (this.arrived > 0) this.silence = Math.max(this.silence, now - this.#lastAt);
    this.#lastAt = now;
    this.arrived += 1;
  }

  /** @param {Peer} other Gets descriptions and candidates. */
  signalTo(other) {
    this.pc.onicecandidate = ({ candidate }) => candidate && void other.take({ candidate: candidate.toJSON() });
    this.pc.onnegotiationneeded = async () => {
      this.negotiations += 1;
      this.#makingOffer = true;
      await this.pc.setLocalDescription();
      this.#makingOffer = false;
      await other.take({ description: this.pc.localDescription.toJSON() });
    };
    this.answer = (description) => void other.take({ description });
  }

  /** Handles messages one after the other, as from a socket. */
  #inbox = Promise.resolve();
  take(message) {
    this.#inbox = this.#inbox.then(() => this.#handle(message)).catch((error) => this.faults.push(`page: ${error.message}`));
  }

  #isIgnoring = false;
  async #handle({ candidate, description }) {
    if (candidate) {
      await this.pc.addIceCandidate(candidate).catch((error) => {
        if (!this.#isIgnoring) throw error;
      });
      return;
    }
    const collides = description.type === 'offer' && (this.#makingOffer || this.pc.signalingState !== 'stable');
    this.#isIgnoring = !this.isPolite && collides;
    if (this.#isIgnoring) return;
    await this.pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await this.pc.setLocalDescription();
    this.answer(this.pc.localDescription.toJSON());
  }

  isOpen() {
    return new Promise((resolve) => {
      this.channel.onopen = resolve;
    });
  }

  /** Sends numbered messages at a steady rate until `until()` is true. */
  async send(perSecond, until) {
    const begun = performance.now();
    const message = new Uint8Array(MESSAGE_BYTES);
    while (!until()) {
      const due = begun + (this.sent * 1_000) / perSecond;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
      new DataView(message.buffer).setUint32(0, this.sent);
      this.channel.send(message);
      this.sent += 1;
    }
  }

  /** The current state. */
  look() {
    const { faults, renewals, negotiations, disorder, arrived, sent } = this;
    const { connectionId, relayed, relayProtocol, bytesSent, bytesReceived } = this.watch;
    if (connectionId) this.connections.add(connectionId);
    const connections = [...this.connections];
    const username = this.pc.getConfiguration().iceServers.find((server) => server.username)?.username;
    return {
      faults, renewals, negotiations, disorder, silence: Math.round(this.silence), arrived, sent, connectionId, relayed, relayProtocol,
      bytesSent, bytesReceived, connections, username, iceState: this.pc.iceConnectionState, status: this.client.status(),
    };
  }
}

/** What the second end keeps for its next call, as `sessionStorage` does for the first. */
const kept = new Map();
const memory = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };

/** The two ends of one call. Each function is one step of renewal.mjs. */
globalThis.call = {
  /** @param {{token?: string, label?: string}} [user] */
  async connect({ token, label } = {}) {
    const options = { label, getToken: token && (() => token) };
    this.peers = [await Peer.join('a', true, sessionStorage, options), await Peer.join('b', false, memory, options)];
    const [a, b] = this.peers;
    const open = Promise.all([a.isOpen(), b.isOpen()]);
    a.signalTo(b);
    b.signalTo(a);
    await open;
  },

  startSending(perSecond) {
    this.isDone = false;
    this.sending = Promise.all(this.peers.map((peer) => peer.send(perSecond, () => this.isDone)));
  },

  async stopSending() {
    this.isDone = true;
    await this.sending;
  },

  look() {
    return this.peers.map((peer) => peer.look());
  },

  /** Bytes that the transports of both ends have received, now. */
  async received() {
    const stats = await Promise.all(this.peers.map(({ pc }) => pc.getStats()));
    const transports = stats.flatMap((report) => [...report.values()].filter(({ type }) => type === 'transport'));
    return transports.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
  },

  /** One end stops its watch, the other only closes, as some pages do. */
  async hangUp() {
    const [a, b] = this.peers;
    await a.watch.stop();
    a.pc.close();
    b.pc.close();
  },
};
