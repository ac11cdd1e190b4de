// Runs in the browser: a page in a room of the SFU, with the partytracks package from npm. The package has no option for the path of
// its connections, so the page forces it: with a relay, or without one.
import { of } from 'rxjs';
import { restlessVideo } from '/picture.mjs';

globalThis.process = { env: { NODE_ENV: 'production' } }; // the package leaves this to a bundler
const { PartyTracks } = await import('partytracks/client');

let isRelayed = true;
/** Every connection that the package has made. @type {RTCPeerConnection[]} */
const connections = [];

globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(config) {
    super(isRelayed ? { ...config, iceTransportPolicy: 'relay' } : { ...config, iceServers: [] });
    this.given = config.iceServers;
    connections.push(this);
  }
};

globalThis.room = {
  /** Ids of sessions, in order. @type {string[]} */
  sessions: [],
  /** What was pushed, as the package says it. @type {object[]} */
  pushed: [],
  /** What was pulled. @type {{track: MediaStreamTrack, frames: number, subscription: object}[]} */
  pulled: [],

  join(room, withRelay) {
    isRelayed = withRelay;
    this.tracks = new PartyTracks({ apiExtraParams: `correlationId=${room}` });
    this.tracks.session$.subscribe(({ sessionId }) => this.sessions.push(sessionId));
  },

  push() {
    this.tracks.push(of(restlessVideo())).subscribe((metadata) => this.pushed.push(metadata));
  },

  /** Returns the number of the pull. @param {object} metadata */
  pull(metadata) {
    const pull = { frames: 0 };
    this.pulled.push(pull);
    pull.subscription = this.tracks.pull(of(metadata)).subscribe((track) => show(pull, track));
    return this.pulled.length - 1;
  },

  /** @param {number} number */
  drop(number) {
    this.pulled[number].subscription.unsubscribe();
  },

  async look() {
    const { sessions, pushed } = this;
    const pulled = this.pulled.map(({ frames, track }) => ({ frames, state: track?.readyState }));
    const last = connections.at(-1);
    const servers = last?.getConfiguration().iceServers;
    return { sessions, pushed, pulled, servers, given: last?.given, path: await path(last) };
  },

  /** Ends the connections, so that a relay is told. Returns the bytes that they have received. */
  async leave() {
    const bytes = await received();
    for (const connection of connections) connection.close();
    return bytes;
  },
};

/** Bytes that the transports have received, with handshakes. */
async function received() {
  const reports = await Promise.all(connections.map((connection) => connection.getStats()));
  const transports = reports.flatMap((report) => [...report.values()].filter(({ type }) => type === 'transport'));
  return transports.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
}

/** The local end of the path in use, such as `relay/udp`. */
async function path(connection) {
  const report = await connection?.getStats();
  const transport = [...report?.values() ?? []].find(({ type }) => type === 'transport');
  const local = report?.get(report.get(transport?.selectedCandidatePairId)?.localCandidateId);
  return local && `${local.candidateType}/${local.relayProtocol ?? local.protocol}`;
}

function show(pull, track) {
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, srcObject: new MediaStream([track]) });
  document.body.append(video);
  pull.track = track;
  const count = () => {
    pull.frames += 1;
    video.requestVideoFrameCallback(count);
  };
  video.requestVideoFrameCallback(count);
}
