// Runs in the browser: a page in a room, with the p2pcf package as npm has it.
import P2PCF from './p2pcf.js';

/** The messages that have arrived, each with its sender. @type {{from: string, text: string}[]} */
const messages = [];
let room;

globalThis.room = {
  /** @param {string} workerUrl @param {string} name @param {RTCIceServer[]} stunIceServers */
  join(workerUrl, name, stunIceServers) {
    room = new P2PCF(name, 'room-1', { workerUrl, stunIceServers });
    room.on('msg', (peer, data) => messages.push({ from: peer.client_id, text: new TextDecoder().decode(data) }));
    return room.start();
  },

  /** The names of the pages that this one is connected to. */
  peers: () => [...room.peers.values()].filter(({ connected }) => connected).map((peer) => peer.client_id).sort(),

  say: (text) => room.broadcast(new TextEncoder().encode(text)),
  heard: () => messages,
  leave: () => room.destroy(),
};
