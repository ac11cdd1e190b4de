// Runs in the browser: calls that relay at a given rate and report nothing. A call continues to send until the test stops it,
// whether or not anything arrives.

/**
 * @typedef {{arrived: number, lastAt: number, offered: number, bytesReceived: number, relayed: boolean}} End
 *     One end: bytes of messages that arrived, time of the last one (ms since 1970), bytes that it tried to send, and bytes
 *     that its transport received.
 */

const CHUNK_BYTES = 16_384;
/** The most bytes in the channel's buffer. In a call that was cut, the buffer is full. */
const BUFFER_BYTES_MAX = 1_000_000;

class Peer {
  arrived = 0;
  lastAt = 0;
  offered = 0;
  sent = 0;
  isStopped = false;
  #last = { bytesReceived: 0, relayed: false };

  constructor(iceServers) {
    this.peerConnection = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    this.channel = this.peerConnection.createDataChannel('load', { negotiated: true, id: 0 });
    this.channel.binaryType = 'arraybuffer';
    this.channel.onmessage = ({ data }) => {
      this.arrived += data.byteLength;
      this.lastAt = Date.now();
    };
    this.opened = new Promise((resolve) => { this.channel.onopen = resolve; });
  }

  trickleTo(other, described) {
    this.peerConnection.onicecandidate = ({ candidate }) => described.then(() => other.peerConnection.addIceCandidate(candidate));
  }

  /** Sends at a steady rate until the channel has taken this many bytes. Drops data that does not fit into the buffer. */
  async send(bytes, mbps) {
    const begun = performance.now();
    const chunk = new Uint8Array(CHUNK_BYTES);
    while (this.sent < bytes && !this.isStopped) {
      const due = begun + (this.offered * 8) / (mbps * 1000);
      await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
      this.offered += chunk.length;
      if (this.channel.readyState !== 'open' || this.channel.bufferedAmount > BUFFER_BYTES_MAX) continue;
      this.channel.send(chunk);
      this.sent += chunk.length;
    }
  }

  /** @returns {Promise<End>} A closed end keeps its last figures. */
  async look() {
    const stats = [...(await this.peerConnection.getStats()).values()];
    const transport = stats.find(({ type }) => type === 'transport');
    const pair = stats.find(({ id }) => id === transport?.selectedCandidatePairId);
    const local = stats.find(({ id }) => id === pair?.localCandidateId);
    const { bytesReceived, relayed } = this.#last;
    this.#last = {
      bytesReceived: Math.max(bytesReceived, transport?.bytesReceived ?? 0),
      relayed: relayed || local?.candidateType === 'relay',
    };
    const { arrived, lastAt, offered } = this;
    return { arrived, lastAt, offered, ...this.#last };
  }
}

/** The calls by name. Each function is a step of cut.mjs. */
globalThis.calls = {
  /** @type {Record<string, object[]>} */
  minted: {},
  /** @type {Record<string, Peer[]>} */
  peers: {},

  /** Mints a credential for each end of a later call. */
  async mint(name, url) {
    const mint = () => fetch(url).then((answer) => answer.json());
    this.minted[name] = [await mint(), await mint()];
    return this.minted[name];
  },

  /** Starts a call with the credentials that were minted for `from`. */
  async begin(name, from = name) {
    const [a, b] = this.minted[from].map(({ iceServers }) => new Peer(iceServers));
    this.peers[name] = [a, b];
    const described = this.negotiate(a.peerConnection, b.peerConnection);
    a.trickleTo(b, described);
    b.trickleTo(a, described);
    await described;
  },

  async negotiate(caller, callee) {
    await caller.setLocalDescription();
    await callee.setRemoteDescription(caller.localDescription);
    await callee.setLocalDescription();
    await caller.setRemoteDescription(callee.localDescription);
  },

  /** Resolves when both ends can send. */
  async opened(name) {
    await Promise.all(this.peers[name].map(({ opened }) => opened));
  },

  /** Sends both ways as soon as the call is connected: this many bytes each way, or until the call is closed. */
  send(name, mbps, bytes = Infinity) {
    for (const peer of this.peers[name]) void peer.opened.then(() => peer.send(bytes, mbps));
  },

  /** @returns {Promise<End[]>} */
  look(name) {
    return Promise.all(this.peers[name].map((peer) => peer.look()));
  },

  close(name) {
    for (const peer of this.peers[name]) {
      peer.isStopped = true;
      peer.peerConnection.close();
    }
  },
};
