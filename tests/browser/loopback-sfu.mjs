// An SFU on loopback with the API of Cloudflare's, and werift as its media engine: it really forwards what a session sends to the
// sessions that take it. Every request is in `requests` before it is answered.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { MediaStreamTrack, RTCPeerConnection, RtpPacket, useOPUS, usePLI, useSdesMid, useVP8 } from 'werift';

const HOST = '127.0.0.1';
/** A second request for a key frame within this time is dropped. */
const KEY_FRAME_MS = 300;
/** A page that has sent nothing for this time has gone: a browser that takes video reports on it every second. Cloudflare's SFU waits longer. */
const SILENT_MS = 6_000;
const BUNDLE = /^a=group:BUNDLE.*$/m;
const PEER = {
  codecs: { audio: [useOPUS()], video: [useVP8({ rtcpFeedback: [usePLI()] })] },
  headerExtensions: { audio: [useSdesMid()], video: [useSdesMid()] },
  bundlePolicy: 'max-bundle', iceServers: [], iceUseIpv6: false, iceAdditionalHostAddresses: [HOST],
};

export class LoopbackSfu {
  /** @type {{method: string, path: string, headers: Record<string, string>, body: any, status: number}[]} */
  requests = [];
  /** @type {Map<string, Session>} */
  sessions = new Map();
  /** Answers instead of the SFU while it is set. @type {null | ((path: string) => null | [status: number, type: string, body: string])} */
  fault = null;

  constructor(app, secret) {
    this.root = `/v1/apps/${app}/sessions/`;
    this.authorization = `Bearer ${secret}`;
    this.server = createServer((request, response) => this.#respond(request, response));
  }

  /** @param {number} port */
  async start(port) {
    await new Promise((resolve) => { this.server.listen(port, HOST, resolve); });
    this.url = `http://${HOST}:${port}/v1`;
    return this;
  }

  /** The requests whose path, without the query, ends so. @param {string} end */
  of(end) {
    return this.requests.filter(({ path }) => path.split('?')[0].endsWith(end));
  }

  async stop() {
    for (const session of this.sessions.values()) await session.pc.close();
    this.server.closeAllConnections();
    await new Promise((resolve) => { this.server.close(resolve); });
  }

  async #respond(request, response) {
    const text = Buffer.concat(await request.toArray()).toString();
    const { method, url: path, headers } = request;
    const entry = { method, path, headers, body: text && JSON.parse(text), status: 0 };
    this.requests.push(entry);
    const [status, type, body] = this.fault?.(path) ?? await this.#answer(entry).catch(failed);
    entry.status = status;
    response.writeHead(status, { 'Content-Type': type }).end(body);
  }

  async #answer({ method, path, headers, body }) {
    if (headers.authorization !== this.authorization) return refused(401, 'unauthorized');
    const { pathname } = new URL(path, this.url);
    assert.ok(pathname.startsWith(this.root), pathname);
    const [id, ...rest] = pathname.slice(this.root.length).split('/');
    const call = `${method} ${rest.join('/')}`;
    if (id === 'new') return this.#open();
    const session = this.sessions.get(id);
    if (!session) return refused(404, 'session_not_found');
    if (call === 'GET ') return json(200, session.state());
    if (call === 'POST tracks/new') return json(200, await (body.sessionDescription ? session.push(body) : session.pull(body, this.sessions)));
    if (call === 'PUT renegotiate') return json(200, await session.renegotiate(body));
    if (call === 'PUT tracks/close') return json(200, await session.close(body));
    return refused(404, 'no_such_call');
  }

  #open() {
    const id = randomBytes(16).toString('hex');
    this.sessions.set(id, new Session(id));
    return json(201, { sessionId: id });
  }
}

/** A browser's connection, with what it sends and takes. */
class Session {
  /** By mid. @type {Map<string, {location: 'local' | 'remote', trackName: string, sessionId?: string, end?: () => void}>} */
  tracks = new Map();

  constructor(id) {
    this.id = id;
    this.pc = new RTCPeerConnection(PEER);
    this.heardAt = 0;
    const hear = () => { this.heardAt = Date.now(); };
    this.pc.connectionStateChange.subscribe((state) => {
      if (state !== 'connected' || this.heardAt) return;
      hear();
      for (const { connection } of this.pc.iceTransports) connection.onData.subscribe(hear);
    });
  }

  get isConnected() {
    return this.pc.connectionState === 'connected' && Date.now() - this.heardAt < SILENT_MS;
  }

  state() {
    const status = this.isConnected ? 'active' : 'inactive';
    return { tracks: [...this.tracks].map(([mid, { location, trackName, sessionId }]) => ({ location, mid, trackName, sessionId, status })) };
  }

  async push({ sessionDescription, tracks }) {
    await this.pc.setRemoteDescription(sessionDescription);
    for (const { mid, trackName } of tracks) this.tracks.set(mid, { location: 'local', trackName });
    return { sessionDescription: await this.#answer(), tracks: tracks.map(({ mid, trackName }) => ({ mid, trackName })) };
  }

  async pull({ tracks }, sessions) {
    const answered = tracks.map(({ sessionId, trackName }) => this.#take(sessions.get(sessionId), sessionId, trackName));
    if (answered.every(({ errorCode }) => errorCode)) return { tracks: answered, requiresImmediateRenegotiation: false };
    await this.pc.setLocalDescription(await this.pc.createOffer());
    for (const answer of answered.filter(({ transceiver }) => transceiver)) {
      const { transceiver, end, trackName, sessionId } = answer;
      delete answer.transceiver;
      delete answer.end;
      answer.mid = transceiver.mid;
      this.tracks.set(transceiver.mid, { location: 'remote', trackName, sessionId, end });
    }
    return { tracks: answered, sessionDescription: this.#description(), requiresImmediateRenegotiation: true };
  }

  async renegotiate({ sessionDescription }) {
    await this.pc.setRemoteDescription(sessionDescription);
    return {};
  }

  async close({ tracks, sessionDescription, force }) {
    assert.ok(force || sessionDescription, 'without force the browser makes an offer');
    for (const { mid } of tracks) {
      this.tracks.get(mid)?.end?.();
      this.tracks.delete(mid);
    }
    const closed = { tracks: tracks.map(({ mid }) => ({ mid })), requiresImmediateRenegotiation: false };
    if (!sessionDescription) return closed;
    await this.pc.setRemoteDescription(sessionDescription);
    return { ...closed, sessionDescription: await this.#answer() };
  }

  /** Begins to forward a track of another session. */
  #take(from, sessionId, trackName) {
    const [mid] = [...from?.tracks ?? []].find(([, track]) => track.location === 'local' && track.trackName === trackName) ?? [];
    if (mid === undefined) return { sessionId, trackName, errorCode: 'not_found_track_error', errorDescription: 'No such track' };
    const { receiver, kind } = from.pc.getTransceivers().find((transceiver) => transceiver.mid === mid);
    const track = new MediaStreamTrack({ kind });
    const transceiver = this.pc.addTransceiver(track, { direction: 'sendonly' });
    let askedAt = 0;
    transceiver.sender.onPictureLossIndication.subscribe(() => {
      if (Date.now() - askedAt < KEY_FRAME_MS) return;
      askedAt = Date.now();
      receiver.sendRtcpPLI(receiver.track.ssrc);
    });
    const { unSubscribe } = receiver.track.onReceiveRtp.subscribe((packet) => {
      const copy = RtpPacket.deSerialize(packet.serialize());
      copy.header.extensions = []; // their numbers are those of the sending session
      track.writeRtp(copy);
    });
    return { sessionId, trackName, transceiver, end: unSubscribe };
  }

  /** Answers the browser's offer. What the offer has stopped is in no bundle, which werift does not see to. */
  async #answer() {
    await this.pc.setLocalDescription(await this.pc.createAnswer());
    const { type, sdp } = this.#description();
    return { type, sdp: sdp.replace(BUNDLE, BUNDLE.exec(this.pc.remoteDescription.sdp)[0]) };
  }

  #description() {
    const { type, sdp } = this.pc.localDescription;
    return { type, sdp };
  }
}

const json = (status, body) => [status, 'application/json', JSON.stringify(body)];
const refused = (status, errorCode) => json(status, { errorCode, errorDescription: 'As the SFU says it' });
const failed = (error) => {
  console.error(error);
  return refused(500, 'loopback_sfu');
};
