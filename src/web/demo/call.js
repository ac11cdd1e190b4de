// A call between two ends on this page, as two frontends would make it: each with a client of its own, credentials from the
// broker and "perfect negotiation". `relay` alone as transport policy: nothing goes from one to the other but through it.

/** There were no credentials for a relay; `code` is the broker's. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** One end: Ann, who begins, or Ben. */
class End {
  renewals = 0;
  #isPolite;
  #isMakingOffer = false;
  #isIgnoring = false;
  #inbox = Promise.resolve();

  constructor(name, client, iceServers, { track, video, onRenew }) {
    Object.assign(this, { name, client });
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

  /** @param {End} other Whom descriptions and candidates go to; here without a server between. */
  signalTo(other) {
    this.pc.onicecandidate = ({ candidate }) => candidate && other.take({ candidate });
    this.pc.onnegotiationneeded = async () => {
      // Who is called waits for the first offer.
      if (this.#isPolite && !this.pc.remoteDescription) return;
      this.#isMakingOffer = true;
      await this.pc.setLocalDescription();
      this.#isMakingOffer = false;
      other.take({ description: this.pc.localDescription });
    };
    this.answer = (description) => other.take({ description });
  }

  /** One after the other, as from a socket. What comes after the end is nobody's. */
  take(message) {
    this.#inbox = this.#inbox.then(() => this.#takeNow(message)).catch((error) => {
      if (this.pc.signalingState !== 'closed') throw error;
    });
  }

  async #takeNow({ candidate, description }) {
    if (candidate) {
      await this.pc.addIceCandidate(candidate).catch((error) => {
        if (!this.#isIgnoring) throw error;
      });
      return;
    }
    const collides = description.type === 'offer' && (this.#isMakingOffer || this.pc.signalingState !== 'stable');
    this.#isIgnoring = !this.#isPolite && collides;
    if (this.#isIgnoring) return;
    await this.pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await this.pc.setLocalDescription();
    this.answer(this.pc.localDescription);
  }

  async limit(mbps) {
    const parameters = this.sender.getParameters();
    if (!parameters.encodings?.length) return;
    parameters.encodings[0].maxBitrate = mbps * 1e6;
    await this.sender.setParameters(parameters);
  }

  /** What the browser's statistics say of it. */
  async look() {
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
  #bytes = new Map();

  /**
   * Asks for credentials, one answer for each end.
   * @param {() => [object, () => {code: string, message: string} | null]} makeClient A turn-client, and what went wrong last.
   * @param {{track: MediaStreamTrack, video: HTMLVideoElement}[]} seats Ann's, Ben's: what is sent, where is shown what comes.
   * @throws {Refused}
   */
  static async begin(makeClient, seats, mbps, onRenew) {
    const call = new Call();
    const clients = [];
    for (const name of ['Ann', 'Ben']) {
      const [client, fault] = makeClient();
      const iceServers = await client.iceServers();
      const { source, reason } = client.status();
      if (source === null || source === 'stun') throw new Refused(fault()?.code ?? reason, fault()?.message ?? 'the answer has no relay');
      clients.push([name, client, iceServers]);
    }
    call.ends = clients.map(([name, client, iceServers], index) => new End(name, client, iceServers, { ...seats[index], onRenew }));
    const [ann, ben] = call.ends;
    ann.signalTo(ben);
    ben.signalTo(ann);
    await call.limit(mbps);
    return call;
  }

  limit(mbps) {
    return Promise.all(this.ends.map((end) => end.limit(mbps)));
  }

  /** Both ends' statistics, and what both have received since the call began. */
  async look() {
    const ends = await Promise.all(this.ends.map((end) => end.look()));
    this.ends.forEach((end, index) => this.#bytes.set(end, ends[index].bytesReceived));
    return { ends, received: this.received };
  }

  get received() {
    return [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** When the credentials that are used end, and how often they were renewed. */
  get credentials() {
    return this.ends.map(({ name, client, renewals }) => ({ name, renewals, expiresAt: client.status().expiresAt }));
  }

  /** The last counts are read first. */
  async end() {
    await this.look().catch(() => {});
    await Promise.all(this.ends.map(({ watch }) => watch.stop()));
    this.ends.forEach(({ pc }) => pc.close());
  }
}
