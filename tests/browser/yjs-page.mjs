// Runs in the browser: documents that are shared with the y-webrtc package from npm, one for each room.
import { WebrtcProvider } from 'y-webrtc';
import * as Y from 'yjs';

const rooms = new Map();

globalThis.shared = {
  /** Enters a room. Connections are relayed unless told otherwise, so none opens without the credentials of the broker. */
  async enter({ broker, room, name, password = null, isRelayed = true }) {
    const doc = new Y.Doc();
    doc.getMap('names').set(name, 'before');
    const peerOpts = { config: await this.config(broker, room, isRelayed) };
    const signaling = [`${broker.replace('http', 'ws')}/yjs`];
    const provider = new WebrtcProvider(room, doc, { signaling, password, peerOpts });
    provider.awareness.setLocalStateField('name', name);
    rooms.set(room, { doc, provider });
  },

  async config(broker, label, isRelayed = true) {
    const answer = await fetch(`${broker}/api/turn-credentials?label=${label}`);
    return { iceServers: (await answer.json()).iceServers, iceTransportPolicy: isRelayed ? 'relay' : 'all' };
  },

  /** The servers of later connections. Returns the new user name. */
  async renew(broker, room) {
    const { provider } = rooms.get(room);
    provider.peerOpts.config = await this.config(broker, room);
    return provider.peerOpts.config.iceServers.find(({ username }) => username).username;
  },

  write(room, name, value) { rooms.get(room).doc.getMap('names').set(name, value); },
  /** A provider that is only destroyed keeps its socket. */
  leave(room) {
    const { provider } = rooms.get(room);
    provider.disconnect();
    provider.destroy();
  },

  look(room) {
    const { doc, provider } = rooms.get(room);
    const connections = [...(provider.room?.webrtcConns.values() ?? [])];
    return {
      names: doc.getMap('names').toJSON(),
      aware: [...provider.awareness.getStates().values()].map(({ name }) => name).sort(),
      peers: connections.filter(({ connected }) => connected).length,
      isSynced: provider.room?.synced ?? false,
      broadcastPeers: provider.room?.bcConns.size ?? 0,
      isSignaling: provider.signalingConns.some(({ connected }) => connected),
      usernames: connections.map(({ peer }) => peer._pc.getConfiguration().iceServers.find(({ username }) => username)?.username),
    };
  },
};
