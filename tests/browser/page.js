// Runs in the browser as a frontend without turn-client.js does: fetches credentials, connects through the relay, and reports the connection.
// A `Peer` reports the getStats figures of its own transport.

/**
 * @typedef {{bytesSent: number, bytesReceived: number, relayed: boolean}} Reading
 *     Bytes since the peer connection began; `relayed` is that of the selected pair.
 */

/** One end of the call: its grant, its peer connection, and its connection at the broker. */
class Peer {
  static #CHUNK_BYTES = 16_384;

  #arrived = 0;

  /** @param {string} broker Origin of the broker. */
  static async join(broker) {
    const answer = await fetch(`${broker}/api/turn-credentials`);
    return new Peer(broker, await read(answer));
  }

  constructor(broker, minted) {
    this.broker = broker;
    this.minted = minted;
    this.peerConnection = new RTCPeerConnection({ iceServers: minted.iceServers, iceTransportPolicy: 'relay' });
    this.channel = this.peerConnection.createDataChannel('load', { negotiated: true, id: 0 });
    this.channel.binaryType = 'arraybuffer';
    this.channel.onmessage = ({ data }) => {
      this.#arrived += data.byteLength;
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

  /** Opens the connection at the broker, and sends heartbeats at the broker's interval. */
  async open() {
    const { relayed } = await this.look();
    const { connectionId, heartbeatSeconds } = await this.#report('/api/connections', { relayed });
    const beat = async () => this.#report(`/api/connections/${connectionId}/heartbeat`, await this.look());
    setInterval(() => beat().catch(() => {}), heartbeatSeconds * 1000);
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

  /** Bytes that have arrived so far. */
  get arrived() {
    return this.#arrived;
  }

  /** @returns {Promise<Reading>} */
  async look() {
    const stats = await this.peerConnection.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const local = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
    const { bytesSent, bytesReceived } = transport;
    return { bytesSent, bytesReceived, relayed: local.candidateType === 'relay' };
  }

  async #report(path, body) {
    const headers = { Authorization: `Bearer ${this.minted.grant}`, 'Content-Type': 'application/json' };
    return read(await fetch(this.broker + path, { method: 'POST', headers, body: JSON.stringify(body) }));
  }
}

/** The JSON of a response. */
async function read(answer) {
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

/* exported call */
/** The two ends of one call. Each function is one step of relay.mjs, in this order. */
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
  },

  async negotiate(caller, callee) {
    await caller.setLocalDescription();
    await callee.setRemoteDescription(caller.localDescription);
    await callee.setLocalDescription();
    await caller.setRemoteDescription(callee.localDescription);
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
};
