// This window's end of a call: it joins a room, gets the relay's credentials there, and sends a picture to the other window. The
// transport policy is `relay`, so all media goes through the relay. States: joining, waiting (alone in the room), connecting,
// connected, ended.
import { SignalingConnection } from './signaling.js';

/** Why a call ended, if the broker gave no credentials for its relay. */
export const NO_RELAY = 'no relay';

export class Call {
  /** @type {'joining' | 'waiting' | 'connecting' | 'connected' | 'ended'} */
  state = 'joining';
  /** Why it ended: `left` by this window, `NO_RELAY`, or what the signaling says. */
  why = '';
  /** The id of its credential at the broker, and when it expires. @type {{grant: string, expiresAt: Date} | null} */
  credential = null;
  /** The last sample of the browser's statistics. */
  last = { received: 0, sent: 0, framesPerSecond: 0, path: '', isLost: false };
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  #inbox = Promise.resolve();
  #options;
  #signaling;

  /** @param {{room: string, track: MediaStreamTrack, mbps: number, seen: (track: MediaStreamTrack) => void, changed: (call: Call) => void}} options */
  constructor(options) {
    this.#options = options;
    this.#signaling = new SignalingConnection(options.room, {
      accepted: (isSecond, iceServers) => this.#accepted(isSecond, iceServers),
      heard: (message) => this.#take(() => this.#heard(message)),
      ended: (why) => this.leave(why),
    });
  }

  /** @param {boolean} isSecond @param {RTCIceServer[]} iceServers */
  #accepted(isSecond, iceServers) {
    if (this.state === 'ended') return;
    const username = iceServers.find(({ username }) => username)?.username;
    if (!username) return this.#end(NO_RELAY);
    // The relay's user names are those of TURN REST: `EXPIRY:GRANT`.
    const [seconds, grant] = username.split(':');
    this.credential = { grant, expiresAt: new Date(Number(seconds) * 1_000) };
    const { track, mbps, seen } = this.#options;
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    this.#pc = pc;
    pc.ontrack = (event) => seen(event.track);
    pc.onicecandidate = ({ candidate }) => candidate && this.#signaling.say({ type: 'candidate', ice: candidate.toJSON() });
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'connected') this.#enter('connected');
    };
    this.#sender = pc.addTrack(track, new MediaStream([track]));
    void this.limit(mbps);
    this.#enter(isSecond ? 'connecting' : 'waiting');
    if (isSecond) this.#take(() => this.#describe());
  }

  /** Runs one task after the other. Tasks after the end of the call are dropped. @param {() => Promise<void>} does */
  #take(does) {
    this.#inbox = this.#inbox.then(does).catch((error) => {
      if (this.state !== 'ended') throw error;
    });
  }

  /** @param {import('./signaling.js').Description | import('./signaling.js').Candidate} message */
  async #heard(message) {
    if (message.type === 'candidate') return this.#pc?.addIceCandidate(message.ice);
    if (message.type === 'offer') this.#enter('connecting');
    await this.#pc?.setRemoteDescription(message);
    if (message.type === 'offer') await this.#describe();
  }

  /** Makes an offer, or an answer to one. */
  async #describe() {
    await this.#pc?.setLocalDescription();
    const { type, sdp } = this.#pc?.localDescription ?? {};
    if (sdp && (type === 'offer' || type === 'answer')) this.#signaling.say({ type, sdp });
  }

  /** @param {Call['state']} state */
  #enter(state) {
    if (this.state === 'ended') return;
    this.state = state;
    this.#options.changed(this);
  }

  /** @param {string} why */
  #end(why) {
    if (this.state === 'ended') return;
    this.why = why;
    this.#pc?.close();
    this.#signaling.leave();
    this.#enter('ended');
  }

  /** Reads the last counts, then ends. */
  async leave(why = 'left') {
    await this.sample().catch(() => {});
    this.#end(why);
  }

  /** @param {number} mbps */
  async limit(mbps) {
    const parameters = this.#sender?.getParameters();
    if (!parameters?.encodings?.length) return;
    parameters.encodings[0].maxBitrate = mbps * 1e6;
    await this.#sender?.setParameters(parameters);
  }

  /** @param {MediaStreamTrack} track */
  async send(track) {
    this.#options.track = track;
    await this.#sender?.replaceTrack(track);
  }

  async sample() {
    const stats = await this.#pc?.getStats();
    const all = [...(stats?.values() ?? [])];
    const transport = all.find(({ type }) => type === 'transport');
    const pair = stats?.get(transport?.selectedCandidatePairId) ?? all.find(({ type, selected }) => type === 'candidate-pair' && selected);
    // In Firefox only the pair has counts.
    const counted = [transport, pair].find((one) => one?.bytesReceived !== undefined);
    const local = stats?.get(pair?.localCandidateId);
    const video = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    this.last = {
      received: counted?.bytesReceived ?? this.last.received,
      sent: counted?.bytesSent ?? this.last.sent,
      framesPerSecond: video?.framesPerSecond ?? 0,
      path: local ? `${local.candidateType}/${local.relayProtocol ?? local.protocol}` : this.last.path,
      isLost: this.#pc?.connectionState === 'failed',
    };
    return this.last;
  }
}
