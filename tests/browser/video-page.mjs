// Runs in the browser: a video call like that of the demo, with the broker on another origin and a test picture each way.
import { createTurnClient } from 'http://127.0.0.1:3001/turn-client.js';
import { Call } from '/call.js';
import { sceneTrack } from '/scene.js';

/** Each function is one step of video.mjs. */
globalThis.video = {
  faults: [],

  async begin(mbps) {
    const seats = [['Ann', 212], ['Ben', 22]].map(([name, hue]) => {
      const screen = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
      document.body.append(screen);
      return { track: sceneTrack(name, hue), video: screen };
    });
    const client = () => createTurnClient({ baseUrl: 'http://127.0.0.1:3001', storage: null, onError: ({ code }) => this.faults.push(code) });
    this.call = await Call.begin(() => [client(), () => null], seats, mbps, () => {});
  },

  async look() {
    const { ends, received } = await this.call.sample();
    return { ends, received, faults: this.faults };
  },

  /** The TURN usernames of both ends. */
  usernames() {
    return this.call.ends.map(({ pc }) => pc.getConfiguration().iceServers.find(({ username }) => username).username);
  },

  /** Ends the call. Resolves with the bytes that both ends received, including handshakes. */
  async end() {
    await this.call.end();
    return this.call.received;
  },
};
