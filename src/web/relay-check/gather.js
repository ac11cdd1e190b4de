// Tests of single ICE servers, each with its own peer connection. A candidate proves that a STUN server works. With a TURN server, only
// relayed candidates are allowed; one proves an allocation, and then a message must come through the server. Gathering ends by itself,
// soon after the candidate or an error from the server, or at a deadline. A few attempts run at once; the others wait.

/**
 * @typedef {{type: string, protocol: string, ms: number}} Candidate The first of its type.
 * @typedef {{code: number, text: string, ms: number, times: number}} GatherError
 * @typedef {'unknown' | 'any' | 'clients' | 'only clients' | 'nobody'} Reach Whose messages come to a relayed address. `clients`: those of
 *     other clients of the server; others could not be tried. `only clients`: this browser's own do not come.
 * @typedef {{url: string, kind: 'stun' | 'turn', transport: 'udp' | 'tcp' | 'tls' | 'dtls', candidates: Candidate[], errors: GatherError[], reach: Reach,
 *     state: 'waiting' | 'running' | 'done' | 'timeout' | 'unusable', startedAt: number}} Attempt `startedAt` by `performance.now()`.
 * @typedef {{attempt: Attempt, server: RTCIceServer, stun: RTCIceServer[]}} Planned `stun`: for the other end of its test.
 */

/** The deadline of gathering. Without a deadline, Chromium waits 40 s for a response over UDP. */
export const ATTEMPT_SECONDS_MAX = 15;
/** The deadline of a message. There are two at most. */
const MESSAGE_SECONDS_MAX = 5;
/** How long gathering continues after the proof or the error, to collect further candidates and errors. */
const LINGER_MS = 400;
const ERRORS_MAX = 6;
const URLS_MAX = 24;
/** The error of every attempt where `RTCPeerConnection` does not exist. */
export const NO_WEBRTC = 'no WebRTC';
/** STUN servers for the other end of a test. */
const STUN_MAX = 3;
/** Attempts at once, so that a long list does not slow down each of them. */
const AT_ONCE_MAX = 8;

/** One attempt for each URL, before its start. @param {RTCIceServer[]} iceServers @returns {Planned[]} */
export function attempts(iceServers) {
  const single = iceServers.flatMap(({ urls, ...credentials }) => [urls].flat().map((url) => ({ urls: url, ...credentials })));
  const stun = single.filter(({ urls }) => parse(urls).kind === 'stun');
  return single.slice(0, URLS_MAX).map((server) => ({
    server,
    stun: [...asStun(server.urls), ...stun].slice(0, STUN_MAX),
    attempt: { url: server.urls, ...parse(server.urls), candidates: [], errors: [], reach: 'unknown', state: 'waiting', startedAt: 0 },
  }));
}

/** A TURN server answers STUN too. @param {string} url @returns {RTCIceServer[]} */
function asStun(url) {
  const { kind, transport } = parse(url);
  return kind === 'turn' && transport === 'udp' ? [{ urls: url.replace(/^turn/i, 'stun').replace(/\?.*/, '') }] : [];
}

/** @param {string} url @returns {Pick<Attempt, 'kind' | 'transport'>} */
export function parse(url) {
  const [, scheme] = /^(stuns?|turns?):/i.exec(url) ?? [];
  const isTcp = /[?&]transport=tcp\b/i.test(url);
  const isUdp = /[?&]transport=udp\b/i.test(url);
  const isSecure = /^(stuns|turns)$/i.test(scheme ?? '');
  const kind = /^turn/i.test(scheme ?? '') ? 'turn' : 'stun';
  const transport = isSecure ? (isUdp ? 'dtls' : 'tls') : isTcp ? 'tcp' : 'udp';
  return { kind, transport };
}

/** The type of candidate that the server gives. @param {Pick<Attempt, 'kind'>} attempt */
const given = ({ kind }) => (kind === 'turn' ? 'relay' : 'srflx');
/** Whether the server has given a candidate. @param {Attempt} attempt */
export const gives = (attempt) => attempt.candidates.some(({ type }) => type === given(attempt));

/** How long all attempts take at most, in seconds. @param {number} count */
export const secondsMax = (count) => Math.ceil(count / AT_ONCE_MAX) * (ATTEMPT_SECONDS_MAX + 2 * MESSAGE_SECONDS_MAX);
/** Whether the attempt has a result. @param {Attempt} attempt */
export const hasEnded = ({ state }) => state !== 'waiting' && state !== 'running';

/**
 * Runs all attempts, in the order of the list.
 * @param {Planned[]} planned
 * @param {(attempt: Attempt) => void} changed Called after each event.
 * @param {typeof gather} run
 */
export async function gatherAll(planned, changed, run = gather) {
  const next = planned.values(); // shared, so that each attempt runs once
  const oneByOne = async () => {
    for (const one of next) await run(one, () => changed(one.attempt));
  };
  await Promise.all(Array.from({ length: AT_ONCE_MAX }, oneByOne));
}

/**
 * @param {Planned} planned
 * @param {() => void} changed Called after each event.
 */
export async function gather({ attempt, server, stun }, changed) {
  const startedAt = performance.now();
  Object.assign(attempt, { state: 'running', startedAt });
  changed();
  const ms = () => Math.round(performance.now() - startedAt);
  const policy = attempt.kind === 'turn' ? 'relay' : 'all';
  /** @type {RTCPeerConnection | undefined} */
  let opened;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    const connection = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: policy });
    opened = connection;
    const ended = new Promise((/** @type {(state: 'done' | 'timeout') => void} */ resolve) => {
      timer = setTimeout(() => resolve('timeout'), ATTEMPT_SECONDS_MAX * 1000);
      connection.onicecandidate = ({ candidate }) => {
        if (!candidate) return resolve('done'); // Firefox and Safari also signal the end like this
        addCandidate(attempt, candidate, ms());
        if (candidate.type === given(attempt)) setTimeout(() => resolve('done'), LINGER_MS);
        changed();
      };
      connection.onicecandidateerror = (event) => {
        addError(attempt, event, ms());
        if (isFinal(event)) setTimeout(() => resolve('done'), LINGER_MS);
        changed();
      };
      connection.onicegatheringstatechange = () => {
        if (connection.iceGatheringState === 'complete') resolve('done');
      };
    });
    connection.createDataChannel('check');
    await connection.setLocalDescription();
    const state = await ended;
    if (attempt.kind === 'turn' && gives(attempt)) attempt.reach = await reach(server, stun);
    attempt.state = state;
  } catch (error) {
    const text = error instanceof ReferenceError ? NO_WEBRTC : error instanceof Error ? error.name : String(error);
    attempt.errors.push({ code: 0, text, ms: ms(), times: 1 });
    attempt.state = 'unusable';
  }
  clearTimeout(timer);
  opened?.close();
  changed();
}

/**
 * Whose messages come through a TURN server: first those of a peer that does not use it, then those of one that does.
 * @param {RTCIceServer} server @param {RTCIceServer[]} stun
 * @param {typeof message} send
 * @returns {Promise<Reach>}
 */
export async function reach(server, stun, send = message) {
  const direct = await send(server, { iceServers: stun });
  if (direct.hasCome) return 'any';
  const { hasCome } = await send(server, { iceServers: [server], iceTransportPolicy: 'relay' });
  if (!hasCome) return 'nobody';
  return direct.isPublic ? 'only clients' : 'clients';
}

/**
 * Sends a message between two peer connections of this page, of which one has relayed addresses only.
 * @param {RTCIceServer} server @param {RTCConfiguration} peer Of the other one.
 * @returns {Promise<{hasCome: boolean, isPublic: boolean}>} `isPublic`: a STUN server told the other one its address.
 */
async function message(server, peer) {
  const relayed = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: 'relay' });
  const other = new RTCPeerConnection(peer);
  /** @type {unknown[]} The types of the other one's candidates. */
  const types = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const come = new Promise((/** @type {(hasCome: boolean) => void} */ resolve) => {
    timer = setTimeout(() => resolve(false), MESSAGE_SECONDS_MAX * 1000);
    const channel = other.createDataChannel('check');
    channel.onopen = () => channel.send('check');
    relayed.ondatachannel = (event) => {
      event.channel.onmessage = () => resolve(true);
    };
    /** A connection that is closed by now takes none. @param {RTCPeerConnection} to @param {RTCIceCandidate | null} candidate */
    const add = (to, candidate) => candidate && to.addIceCandidate(candidate).catch(() => {});
    relayed.onicecandidate = ({ candidate }) => add(other, candidate);
    other.onicecandidate = ({ candidate }) => {
      if (candidate) types.push(candidate.type);
      else if (!types.length) resolve(false); // it has no address
      add(relayed, candidate);
    };
  });
  try {
    // Each end has the other's description before its own candidates come.
    const offer = await other.createOffer();
    await relayed.setRemoteDescription(offer);
    const answer = await relayed.createAnswer();
    await other.setLocalDescription(offer);
    await other.setRemoteDescription(answer);
    await relayed.setLocalDescription(answer);
    return { hasCome: await come, isPublic: types.includes('srflx') };
  } finally {
    clearTimeout(timer);
    relayed.close();
    other.close();
  }
}

/** Whether the server sent the error. Codes from 701 on come from the browser, for one address of the device. @param {RTCPeerConnectionIceErrorEvent} event */
const isFinal = ({ errorCode }) => errorCode >= 400 && errorCode < 700;

/** @param {Attempt} attempt @param {RTCIceCandidate} candidate @param {number} ms */
function addCandidate(attempt, { type, protocol, candidate }, ms) {
  if (!candidate || attempt.candidates.some((known) => known.type === type)) return;
  attempt.candidates.push({ type: type ?? '', protocol: protocol ?? '', ms });
}

/** Browsers repeat an error for each address of the device. @param {Attempt} attempt @param {RTCPeerConnectionIceErrorEvent} event @param {number} ms */
function addError(attempt, { errorCode, errorText }, ms) {
  const known = attempt.errors.find(({ code, text }) => code === errorCode && text === errorText);
  if (known) known.times += 1;
  else if (attempt.errors.length < ERRORS_MAX) attempt.errors.push({ code: errorCode, text: errorText ?? '', ms, times: 1 });
}
