// Runs in the browser: a peer with the PeerJS package from npm. What happens is in `peer.events`.
import '/peerjs.min.js';
import { restlessVideo } from '/picture.mjs';

globalThis.peer = {
  /** @type {string[]} Names of events, with what they say. */
  events: [],
  /** @type {unknown[]} What arrived over data connections. */
  arrived: [],
  /** @type {unknown[]} The metadata of incoming connections. */
  metadata: [],
  /** Data connections and calls in both directions. */
  connections: [],
  calls: [],

  /** Every connection is relayed, so none opens without the credentials of the broker. */
  async begin({ broker, id, key = 'peerjs' }) {
    const { hostname, port } = new URL(broker);
    const options = { host: hostname, port, path: '/peerjs', key, config: await this.config(broker) };
    this.it = id === undefined ? new globalThis.Peer(options) : new globalThis.Peer(id, options);
    for (const name of ['open', 'disconnected', 'close']) this.it.on(name, () => this.events.push(name));
    this.it.on('error', ({ type }) => this.events.push(`error ${type}`));
    this.it.on('connection', (connection) => this.use(connection));
    this.it.on('call', (call) => { call.answer(new MediaStream([restlessVideo()])); this.show(call); });
  },

  async config(broker) {
    const answer = await fetch(`${broker}/api/turn-credentials?label=peerjs`);
    return { iceServers: (await answer.json()).iceServers, iceTransportPolicy: 'relay' };
  },

  /** The servers of later connections. */
  async renew(broker) {
    this.it.options.config = await this.config(broker);
    return this.it.options.config.iceServers.find(({ username }) => username).username;
  },

  connect(id, metadata) { this.use(this.it.connect(id, { metadata, reliable: true })); },
  call(id) { this.show(this.it.call(id, new MediaStream([restlessVideo()]))); },

  use(connection) {
    this.connections.push(connection);
    this.metadata.push(connection.metadata);
    connection.on('data', (data) => this.arrived.push(typeof data === 'string' ? data : summary(data)));
    connection.on('close', () => this.events.push('connection closed'));
  },

  show(call) {
    this.calls.push(call);
    call.on('stream', (stream) => {
      const video = document.createElement('video');
      Object.assign(video, { muted: true, srcObject: stream });
      document.body.append(video);
      video.play();
      video.requestVideoFrameCallback(() => this.events.push('frame'));
    });
    call.on('close', () => this.events.push('call closed'));
  },

  /** Sends bytes with a sum that the other side can check. */
  sendBytes(count) {
    this.connections.at(-1).send(Uint8Array.from({ length: count }, (_, index) => index % 251).buffer);
  },

  look() {
    const { events, arrived, metadata, it, connections } = this;
    const last = connections.at(-1);
    const username = last?.peerConnection?.getConfiguration().iceServers.find(({ username }) => username)?.username;
    return { events, arrived, metadata, id: it?.id, isOpen: last?.open ?? false, username };
  },
};

/** @param {ArrayBuffer | Uint8Array} data */
const summary = (data) => {
  const bytes = new Uint8Array(data);
  return { bytes: bytes.length, isWhole: bytes.every((byte, index) => byte === index % 251) };
};
