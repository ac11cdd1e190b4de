// Runs in the browser as a frontend does: fetches credentials, connects through the relay, and reports the connection.
// A `Peer` reports the getStats figures of its own transport until it closes its connection.

/**
 * @typedef {{bytesSent: number, bytesReceived: number, relayed: boolean, relayProtocol: string}} Reading
 *     Bytes since the peer connection began; `relayed` and the protocol (to the relay) are those of the selected pair.
 */

/** One end of the call: its grant, its peer connection, and its connection at the broker. */
class Peer {
  static #CHUNK_BYTES = 16_384;

  /** @type {string[]} Errors of failed heartbeats. */
  faults = [];
  heartbeats = 0;
  #arrived = 0;
  #onArrival = () => {};
  #lastBeat = Promise.resolve();
  #timer;

  /** @param {string} broker Origin of the broker. */
  static async join(broker) {
    const answer = await fetch(`${broker}/api/turn-credentials`);
    return new Peer(broker, await read(answer, 200));
  }

  constructor(broker, minted) {
    this.broker = broker;
    this.minted = minted;
    this.peerConnection = new RTCPeerConnection({ iceServers: minted.iceServers, iceTransportPolicy: 'relay' });
    this.channel = this.peerConnection.createDataChannel('load', { negotiated: true, id: 0 });
    this.channel.binaryType = 'arraybuffer';
    this.channel.onmessage = ({ data }) => {
      this.#arrived += data.byteLength;
      this.#onArrival();
    };
  }

  /** Sends candidates to the other end once it has the description. Gathering on `lo` alone never becomes `complete`. */
  trickleTo(other, described) {
    this.peerConnection.onicecandidate = ({ candidate }) => described.then(() => other.peerConnection.addIceCandidate(candidate));
  }

  /** Resolves when the channel to the other peer is open. Rejects at once if the relay rejects the credential. */
  connected() {
    const { channel, peerConnection } = this;
    return new Promise((resolve, reject) => {
      channel.onopen = resolve;
      peerConnection.onicecandidateerror = ({ errorCode, errorText, url }) => reject(new Error(`${url}: ${errorCode} ${errorText}`));
      peerConnection.onconnectionstatechange = () => {
        if (peerConnection.connectionState === 'failed') reject(new Error('no relayed path'));
      };
    });
  }

  /** Opens the connection at the broker and sends heartbeats at the broker's interval. */
  async open() {
    const { relayed } = await this.#read();
    const opened = await this.#report('POST', '/api/connections', 201, { relayed });
    this.connectionId = opened.connectionId;
    this.heartbeatSeconds = opened.heartbeatSeconds;
    this.#keepAlive();
  }

  /** Heartbeats are sent one after the other, so that an older reading never arrives after a newer one. */
  heartbeat() {
    this.#lastBeat = this.#lastBeat.then(() => this.#beat());
    return this.#lastBeat;
  }

  #keepAlive() {
    const beat = () => this.heartbeat().catch((error) => this.faults.push(error.message));
    this.#timer = setInterval(beat, this.heartbeatSeconds * 1000);
  }

  /** Reports the bytes so far. A closed peer connection keeps its last reading. */
  async #beat() {
    if (this.peerConnection.connectionState !== 'closed') this.reading = await this.#read();
    await this.#report('POST', `/api/connections/${this.connectionId}/heartbeat`, null, this.#lastCounts());
    this.heartbeats += 1;
  }

  /** Sends at a steady rate. At full speed, SCTP would resend much of it. */
  async send(bytes, mbps) {
    const begun = performance.now();
    const chunk = new Uint8Array(Peer.#CHUNK_BYTES);
    for (let sent = 0; sent < bytes; sent += chunk.length) {
      const due = begun + (sent * 8) / (mbps * 1000);
      await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
      this.channel.send(chunk);
    }
  }

  /** Resolves when that many bytes have arrived from the other peer. */
  received(bytes) {
    return new Promise((resolve) => {
      this.#onArrival = () => {
        if (this.#arrived >= bytes) resolve(this.#arrived);
      };
      this.#onArrival();
    });
  }

  /** Bytes that have arrived so far. */
  get arrived() {
    return this.#arrived;
  }

  /** The current getStats figures. */
  look() {
    return this.#read();
  }

  /**
   * Closes the peer connection right after a report, so that the broker has all counts. The connection at the broker stays
   * open.
   */
  async hangUp() {
    clearInterval(this.#timer);
    await this.heartbeat();
    this.peerConnection.close();
    this.#keepAlive();
  }

  async closeByDelete() {
    clearInterval(this.#timer);
    await this.#report('DELETE', `/api/connections/${this.connectionId}`, 204, this.#lastCounts());
  }

  /** A beacon cannot have an Authorization header, so the grant token is in the body, as text/plain. */
  closeByBeacon() {
    clearInterval(this.#timer);
    const body = JSON.stringify({ token: this.minted.grant, ...this.#lastCounts() });
    navigator.sendBeacon(`${this.broker}/api/connections/${this.connectionId}/close`, body);
  }

  /** Without the last counts, the time since the last heartbeat would be charged by the estimated rate. */
  #lastCounts() {
    const { bytesSent, bytesReceived, relayed } = this.reading;
    return { bytesSent, bytesReceived, relayed };
  }

  /** @returns {Promise<Reading>} */
  async #read() {
    const stats = await this.peerConnection.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const local = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
    const { bytesSent, bytesReceived } = transport;
    return { bytesSent, bytesReceived, relayed: local.candidateType === 'relay', relayProtocol: local.relayProtocol };
  }

  async #report(method, path, status, body) {
    const headers = { Authorization: `Bearer ${this.minted.grant}`, ...(body && { 'Content-Type': 'application/json' }) };
    return read(await fetch(this.broker + path, { method, headers, body: body && JSON.stringify(body) }), status);
  }
}

/** The JSON of a response with the expected status (null: any 2xx), or undefined without a body. */
async function read(answer, status) {
  const text = await answer.text();
  if (status === null ? !answer.ok : answer.status !== status) throw new Error(`${answer.url}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

/* exported call */
/** The two ends of one call. Each function is one step of test.mjs, in this order. */
const call = {
  async fetchCredentials(broker) {
    this.peers = [await Peer.join(broker), await Peer.join(broker)];
    return this.peers.map(({ minted }) => minted);
  },

  async connect() {
    const [a, b] = this.peers;
    const connected = [a.connected(), b.connected()];
    const described = this.negotiate(a.peerConnection, b.peerConnection);
    a.trickleTo(b, described);
    b.trickleTo(a, described);
    await Promise.all([described, ...connected]);
    await Promise.all(this.peers.map((peer) => peer.open()));
    return this.peers.map(({ connectionId, heartbeatSeconds }) => ({ connectionId, heartbeatSeconds }));
  },

  async negotiate(caller, callee) {
    await caller.setLocalDescription();
    await callee.setRemoteDescription(caller.localDescription);
    await callee.setLocalDescription();
    await caller.setRemoteDescription(callee.localDescription);
  },

  /** Sends both ways at once. Resolves with the bytes that arrived at each end. */
  async exchange(bytes, mbps) {
    const arrivals = this.peers.map((peer) => peer.received(bytes));
    await Promise.all(this.peers.map((peer) => peer.send(bytes, mbps)));
    return Promise.all(arrivals);
  },

  /** Starts to send both ways, and continues even if the path is cut. */
  startSending(bytes, mbps) {
    this.sending = this.peers.map((peer) => peer.send(bytes, mbps).catch(({ message }) => message));
  },

  /** For each end: bytes that arrived, bytes waiting to be sent, and getStats. */
  look() {
    return Promise.all(this.peers.map(async (peer) => {
      return { arrived: peer.arrived, waiting: peer.channel.bufferedAmount, ...await peer.look() };
    }));
  },

  async hangUp() {
    await Promise.all(this.peers.map((peer) => peer.hangUp()));
    return this.peers.map(({ reading, heartbeats, faults }) => ({ ...reading, heartbeats, faults }));
  },

  /** One end closes while its page stays open, the other when its page closes. */
  async close() {
    const [a, b] = this.peers;
    await a.closeByDelete();
    addEventListener('pagehide', () => b.closeByBeacon());
  },
};
