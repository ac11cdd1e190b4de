// Runs in the browser: one end of a call as a frontend writes it with turn-client.js and "perfect negotiation". The other end is
// in another browser, and the test carries the messages between them.
/** Given by the test: takes a message to the other end. */
const { carry } = globalThis;
const broker = `http://${location.hostname}:3001`;
const { createTurnClient } = await import(`${broker}/turn-client.js`);

globalThis.call = {
  /** @type {string[]} Errors of the client and of this page. */
  faults: [],
  offers: 0,
  connectMs: null,

  /** Gets ICE servers and waits for messages. The caller makes an offer. */
  async begin({ isCaller, when, relayAfterSeconds, iceTransportPolicy = 'all' }) {
    const begun = performance.now();
    const client = createTurnClient({
      baseUrl: broker, storage: null, stunUrls: [`stun:${location.hostname}:3478`], onError: ({ code, message }) => this.faults.push(`${code}: ${message}`),
    });
    const pc = new RTCPeerConnection({ iceServers: await client.iceServers({ when }), iceTransportPolicy });
    this.watch = client.watch(pc, relayAfterSeconds === undefined ? {} : { relayAfterSeconds });
    Object.assign(this, { pc, isCaller });
    pc.onicecandidate = ({ candidate }) => candidate && carry({ candidate: candidate.toJSON() });
    pc.onnegotiationneeded = () => this.offer();
    const channel = pc.createDataChannel('load', { negotiated: true, id: 0 });
    channel.onopen = () => { this.connectMs = performance.now() - begun; };
    this.begun();
  },

  /** At first, only the caller makes an offer. */
  async offer() {
    if (!this.isCaller && !this.pc.remoteDescription) return;
    this.offers += 1;
    this.isMakingOffer = true;
    await this.pc.setLocalDescription();
    this.isMakingOffer = false;
    carry({ description: this.pc.localDescription.toJSON() });
  },

  /** Handles messages one after the other. */
  take(message) {
    this.inbox = this.inbox.then(() => this.handle(message)).catch((error) => this.faults.push(`page: ${error.message}`));
  },

  async handle({ candidate, description }) {
    const { pc } = this;
    if (candidate) {
      await pc.addIceCandidate(candidate).catch((error) => { if (!this.isIgnoring) throw error; });
      return;
    }
    const collides = description.type === 'offer' && (this.isMakingOffer || pc.signalingState !== 'stable');
    this.isIgnoring = this.isCaller && collides;
    if (this.isIgnoring) return;
    await pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await pc.setLocalDescription();
    carry({ description: pc.localDescription.toJSON() });
  },

  look() {
    const { faults, offers, connectMs, pc, watch } = this;
    const isMinted = pc.getConfiguration().iceServers.some(({ username }) => username);
    return { faults, offers, connectMs, isMinted, relayed: watch.relayed, state: pc.iceConnectionState };
  },

  async hangUp() {
    await this.watch.stop();
    this.pc.close();
  },
};
globalThis.call.inbox = new Promise((resolve) => { globalThis.call.begun = resolve; });
