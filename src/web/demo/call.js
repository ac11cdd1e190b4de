// A call between two peers on this page. They connect as two separate pages would: each has its own client and credentials, and
// uses "perfect negotiation". The transport policy is `relay`, so all media goes through the relay.

/** The broker gave no relay credentials. `code` is the code of its error, or the reason in its response. */
export class Refused extends Error {
  /** @param {string | null} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @typedef {import('../turn-client.js').TurnClient} TurnClient
 * @typedef {{track: MediaStreamTrack, video: HTMLVideoElement}} Seat The track to send, and where to show the other's.
 * @typedef {(end: End) => void} OnRenew
 * @typedef {{candidate?: RTCIceCandidate, description?: RTCSessionDescription | null}} Message
 */

/** One end of the call: Ann, who calls, or Ben. */
class End {
  renewals = 0;
  #isPolite;
  #isMakingOffer = false;
  #isIgnoring = false;
  #inbox = Promise.resolve();

  /** @param {string} name @param {TurnClient} client @param {RTCIceServer[]} iceServers @param {Seat & {onRenew: OnRenew}} seat */
  constructor(name, client, iceServers, { track, video, onRenew }) {
    this.name = name;
    this.client = client;
    /** @type {(description: RTCSessionDescription | null) => void} */
    this.answer = () => {};
    this.#isPolite = name === 'Ben';
    this.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    this.pc.ontrack = ({ track: theirs }) => {
      video.srcObject = new MediaStream([theirs]);
    };
    this.sender = this.pc.addTrack(track, new MediaStream([track]));
    this.watch = client.watch(this.pc, {
      onRenew: () => {
        this.renewals += 1;
        onRenew(this);
      },
    });
  }

  /** @param {End} other Gets descriptions and candidates directly, without a signaling server. */
  signalTo(other) {
    this.pc.onicecandidate = ({ candidate }) => candidate && other.take({ candidate });
    this.pc.onnegotiationneeded = async () => {
      // The callee waits for the first offer.
      if (this.#isPolite && !this.pc.remoteDescription) return;
      this.#isMakingOffer = true;
      await this.pc.setLocalDescription();
      this.#isMakingOffer = false;
      other.take({ description: this.pc.localDescription });
    };
    this.answer = (description) => other.take({ description });
  }

  /** Handles messages one after the other, as from a socket. Messages after the end of the call are dropped. @param {Message} message */
  take(message) {
    this.#inbox = this.#inbox.then(() => this.#handle(message)).catch((error) => {
      if (this.pc.signalingState !== 'closed') throw error;
    });
  }

  /** @param {Message} message */
  async #handle({ candidate, description }) {
    if (candidate) {
      await this.pc.addIceCandidate(candidate).catch((error) => {
        if (!this.#isIgnoring) throw error;
      });
      return;
    }
    if (!description) return;
    const collides = description.type === 'offer' && (this.#isMakingOffer || this.pc.signalingState !== 'stable');
    this.#isIgnoring = !this.#isPolite && collides;
    if (this.#isIgnoring) return;
    await this.pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await this.pc.setLocalDescription();
    this.answer(this.pc.localDescription);
  }

  /** @param {number} mbps */
  async limit(mbps) {
    const parameters = this.sender.getParameters();
    if (!parameters.encodings?.length) return;
    parameters.encodings[0].maxBitrate = mbps * 1e6;
    await this.sender.setParameters(parameters);
  }

  /** A sample of the browser's statistics. */
  async sample() {
    const stats = await this.pc.getStats();
    const all = [...stats.values()];
    const transport = all.find(({ type }) => type === 'transport');
    const local = stats.get(stats.get(transport?.selectedCandidatePairId)?.localCandidateId);
    const video = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return {
      bytesReceived: transport?.bytesReceived ?? 0,
      framesPerSecond: video?.framesPerSecond ?? 0,
      path: local ? `${local.candidateType}/${local.relayProtocol ?? local.protocol}` : null,
      state: this.pc.connectionState,
    };
  }
}

export class Call {
  /** @type {End[]} */
  ends = [];
  /** @type {Map<End, number>} */
  #bytes = new Map();

  /**
   * Mints credentials for each end and connects them.
   * @param {() => [TurnClient, () => {code: string, message: string} | null]} makeClient A turn-client, and its last error.
   * @param {Seat[]} seats Ann's and Ben's.
   * @param {number} mbps
   * @param {OnRenew} onRenew
   * @throws {Refused}
   */
  static async begin(makeClient, seats, mbps, onRenew) {
    const call = new Call();
    const minted = [];
    for (const name of ['Ann', 'Ben']) {
      const [client, fault] = makeClient();
      const iceServers = await client.iceServers();
      const { source, reason } = client.status();
      if (source === null || source === 'stun') throw new Refused(fault()?.code ?? reason, fault()?.message ?? 'the response has no relay');
      minted.push({ name, client, iceServers });
    }
    call.ends = minted.map(({ name, client, iceServers }, index) => new End(name, client, iceServers, { ...seats[index], onRenew }));
    const [ann, ben] = call.ends;
    ann.signalTo(ben);
    ben.signalTo(ann);
    await call.limit(mbps);
    return call;
  }

  /** @param {number} mbps */
  limit(mbps) {
    return Promise.all(this.ends.map((end) => end.limit(mbps)));
  }

  /** Samples of both ends, and the bytes that both have received since the call began. */
  async sample() {
    const ends = await Promise.all(this.ends.map((end) => end.sample()));
    this.ends.forEach((end, index) => this.#bytes.set(end, ends[index].bytesReceived));
    return { ends, received: this.received };
  }

  get received() {
    return [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** The expiry of each end's credentials, and how often they were renewed. */
  get credentials() {
    return this.ends.map(({ name, client, renewals }) => ({ name, renewals, expiresAt: client.status().expiresAt }));
  }

  /** Reads the last counts, then closes. */
  async end() {
    await this.sample().catch(() => {});
    await Promise.all(this.ends.map(({ watch }) => watch.stop()));
    this.ends.forEach(({ pc }) => pc.close());
  }
}
