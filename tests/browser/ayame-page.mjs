// Runs in the browser: one end of a call over Ayame, as a page writes it with the SDK. What happens is in `call.events`.
import { createConnection } from '/ayame.mjs';

const OFF = { direction: 'sendrecv', enabled: false };

globalThis.call = {
  /** @type {string[]} Names of callbacks, with what they were given. */
  events: [],
  /** @type {string[]} Texts that arrived over the data channel. */
  arrived: [],

  /** Resolves with the result of the SDK's `connect()`. */
  async connect({ url, room, isRelayed = true, signalingKey = null, metadata = null }) {
    const options = { audio: OFF, video: OFF, iceServers: [], clientId: crypto.randomUUID(), signalingKey };
    this.connection = createConnection(url, room, options, false, isRelayed);
    const { connection, events } = this;
    connection.on('open', async ({ authzMetadata }) => {
      events.push('open');
      this.authzMetadata = authzMetadata;
      this.servers = connection.peerConnection.getConfiguration().iceServers;
      const channel = await connection.createDataChannel('data'); // null on the side that waits
      if (channel) this.use(channel);
    });
    connection.on('datachannel', (channel) => this.use(channel));
    connection.on('connect', () => events.push('connect'));
    connection.on('bye', () => events.push('bye'));
    connection.on('disconnect', ({ reason }) => events.push(`disconnect ${reason}`));
    return connection.connect(null, metadata && { authnMetadata: metadata }).then(() => 'connected', (reason) => String(reason));
  },

  use(channel) {
    this.channel = channel;
    channel.addEventListener('message', ({ data }) => this.arrived.push(data));
  },

  look() {
    const { events, arrived, servers, authzMetadata, channel, connection } = this;
    return { events, arrived, servers, authzMetadata, isOpen: channel?.readyState === 'open', isExistUser: connection?.isExistUser };
  },
};
