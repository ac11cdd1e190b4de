// Runs in the browser: a video call between two ends of one page, with the broker on another origin and a test picture each way.
import { createTurnClient } from 'http://127.0.0.1:3001/turn-client.js';
import { sceneTrack } from '/scene.js';

/** One end: its picture, its connection, and turn-client, which reports its bytes. */
class End {
  static async open(name, hue, faults) {
    const client = createTurnClient({ baseUrl: 'http://127.0.0.1:3001', storage: null, onError: ({ code }) => faults.push(code) });
    return new End(client, await client.iceServers(), sceneTrack(name, hue));
  }

  constructor(client, iceServers, track) {
    const screen = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
    document.body.append(screen);
    this.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    this.pc.ontrack = ({ track }) => { screen.srcObject = new MediaStream([track]); };
    this.sender = this.pc.addTrack(track, new MediaStream([track]));
    this.watch = client.watch(this.pc);
  }

  /** @param {End} other @param {Promise<void>} described When both have their descriptions. */
  trickleTo(other, described) {
    this.pc.onicecandidate = ({ candidate }) => described.then(() => other.pc.addIceCandidate(candidate));
  }

  async limit(mbps) {
    const parameters = this.sender.getParameters();
    parameters.encodings[0].maxBitrate = mbps * 1e6;
    await this.sender.setParameters(parameters);
  }

  async look() {
    const stats = await this.pc.getStats();
    const all = [...stats.values()];
    const transport = all.find(({ type }) => type === 'transport');
    const local = stats.get(stats.get(transport?.selectedCandidatePairId)?.localCandidateId);
    const video = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return {
      state: this.pc.connectionState, framesPerSecond: video?.framesPerSecond ?? 0, received: transport?.bytesReceived ?? 0,
      path: local ? `${local.candidateType}/${local.relayProtocol}` : '',
    };
  }
}

/** Each function is one step of video.mjs. */
globalThis.video = {
  /** @type {string[]} Errors of turn-client. */
  faults: [],

  async begin(mbps) {
    const [a, b] = await Promise.all([['Ann', 212], ['Ben', 22]].map(([name, hue]) => End.open(name, hue, this.faults)));
    this.ends = [a, b];
    const described = this.negotiate(a.pc, b.pc);
    a.trickleTo(b, described);
    b.trickleTo(a, described);
    await described;
    await Promise.all(this.ends.map((end) => end.limit(mbps)));
  },

  async negotiate(caller, callee) {
    await caller.setLocalDescription();
    await callee.setRemoteDescription(caller.localDescription);
    await callee.setLocalDescription();
    await caller.setRemoteDescription(callee.localDescription);
  },

  async look() {
    return { ends: await Promise.all(this.ends.map((end) => end.look())), faults: this.faults };
  },

  /** The TURN usernames of both ends. */
  usernames() {
    return this.ends.map(({ pc }) => pc.getConfiguration().iceServers.find(({ username }) => username).username);
  },

  /** Ends the pictures, but not the call. */
  stopSending() {
    return Promise.all(this.ends.map(({ sender }) => sender.replaceTrack(null)));
  },

  /** Ends the call. Resolves with the bytes that both ends received, including handshakes. */
  async end() {
    await Promise.all(this.ends.map(({ watch }) => watch.stop()));
    const { ends } = await this.look();
    for (const { pc } of this.ends) pc.close();
    return ends.reduce((sum, { received }) => sum + received, 0);
  },
};
