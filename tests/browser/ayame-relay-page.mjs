// Runs in the browser: one end of a video call over Ayame, as a page writes it with the SDK. Everything is relayed.
import { createConnection } from '/ayame.mjs';
import { restlessVideo } from '/picture.mjs';

const ON = { direction: 'sendrecv', enabled: true };
const OFF = { direction: 'sendrecv', enabled: false };
const CHUNK_BYTES = 16_384;
/** The most bytes in the channel's buffer. */
const BUFFER_BYTES_MAX = 1_000_000;

/**
 * @typedef {{events: string[], turnServers: number, isSocketClosed: boolean, isRelayed: boolean, bytesReceived: number, packetsSent: number, lastAt: number, arrived: number}} End
 *     What has happened at one end. `bytesReceived`: by its transport. `lastAt`: when its last video packet came (ms since 1970).
 *     `arrived`: bytes over the data channel.
 */

globalThis.call = {
  /** @type {string[]} */
  events: [],
  arrived: 0,

  /** Resolves with the result of the SDK's `connect()`. */
  async connect({ url, room, standalone = false }) {
    this.stream = new MediaStream([restlessVideo()]);
    const options = { audio: OFF, video: ON, iceServers: [], clientId: crypto.randomUUID(), standalone, signalingKey: null };
    const connection = createConnection(url, room, options, false, true);
    connection.on('open', async () => {
      this.peerConnection = connection.peerConnection;
      this.socket = connection.webSocket;
      const channel = await connection.createDataChannel('data'); // null on the side that waits
      if (channel) this.use(channel);
    });
    connection.on('datachannel', (channel) => this.use(channel));
    for (const name of ['connect', 'bye']) connection.on(name, () => this.events.push(name));
    connection.on('disconnect', ({ reason }) => this.events.push(`disconnect ${reason}`));
    this.connection = connection;
    return connection.connect(this.stream).then(() => 'connected', String);
  },

  use(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.addEventListener('message', ({ data }) => { this.arrived += data.byteLength; });
  },

  /** Sends over the data channel at a steady rate, beside the video. */
  async send(bytes, mbps) {
    const begun = performance.now();
    const chunk = new Uint8Array(CHUNK_BYTES);
    for (let sent = 0; sent < bytes;) {
      const due = begun + (sent * 8) / (mbps * 1_000);
      await new Promise((resolve) => { setTimeout(resolve, due - performance.now()); });
      if (this.channel.bufferedAmount > BUFFER_BYTES_MAX) continue;
      this.channel.send(chunk);
      sent += chunk.length;
    }
  },

  /** Ends the video, but not the call. */
  stopSending() {
    for (const track of this.stream.getTracks()) track.stop();
  },

  /** From now on nothing in the page closes its end of the media. */
  keepMedia() {
    this.peerConnection.close = () => {};
  },

  /** Leaves the room, and nothing else: the media go on. Returns when (ms since 1970). */
  leave() {
    this.socket.onclose = null; // the SDK would close the media
    this.socket.close();
    return Date.now();
  },

  hangUp() {
    return this.connection.disconnect();
  },

  /** @returns {Promise<End>} */
  async look() {
    const { events, arrived, peerConnection, socket } = this;
    const stats = [...(await peerConnection.getStats()).values()];
    const transport = stats.find(({ type }) => type === 'transport');
    const pair = stats.find(({ id }) => id === transport?.selectedCandidatePairId);
    const local = stats.find(({ id }) => id === pair?.localCandidateId);
    const inbound = stats.find(({ type }) => type === 'inbound-rtp');
    const outbound = stats.find(({ type }) => type === 'outbound-rtp');
    const urls = peerConnection.getConfiguration().iceServers.flatMap((server) => server.urls);
    return {
      events, arrived, turnServers: urls.filter((url) => url.startsWith('turn')).length, isSocketClosed: socket.readyState === WebSocket.CLOSED,
      isRelayed: local?.candidateType === 'relay', bytesReceived: transport?.bytesReceived ?? 0, packetsSent: outbound?.packetsSent ?? 0, lastAt: inbound?.lastPacketReceivedTimestamp ?? 0,
    };
  },
};
