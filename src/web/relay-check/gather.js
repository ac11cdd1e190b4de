// Tests of single ICE servers, each with its own peer connection. With a TURN server, only relayed candidates are allowed, so any
// candidate proves that the server works. An attempt ends when gathering ends, soon after the proof or an error from the server,
// or at a deadline. A few run at once; the others wait.

/**
 * @typedef {{type: string, protocol: string, ms: number}} Candidate The first of its type.
 * @typedef {{code: number, text: string, ms: number, times: number}} GatherError
 * @typedef {{url: string, kind: 'stun' | 'turn', transport: 'udp' | 'tcp' | 'tls' | 'dtls', candidates: Candidate[], errors: GatherError[],
 *     state: 'waiting' | 'running' | 'done' | 'timeout' | 'unusable', startedAt: number}} Attempt `startedAt` by `performance.now()`.
 * @typedef {{attempt: Attempt, server: RTCIceServer}} Planned
 */

/** The deadline of an attempt. Without a deadline, Chromium waits 40 s for a response over UDP. */
export const ATTEMPT_SECONDS_MAX = 15;
/** How long an attempt continues after the proof or the error, to collect further candidates and errors. */
const LINGER_MS = 400;
const ERRORS_MAX = 6;
const URLS_MAX = 24;
/** Attempts at once, so that a long list does not slow down each of them. */
const AT_ONCE_MAX = 8;

/** One attempt for each URL, before its start. @param {RTCIceServer[]} iceServers @returns {Planned[]} */
export function attempts(iceServers) {
  const single = iceServers.flatMap(({ urls, ...credentials }) => [urls].flat().map((url) => ({ urls: url, ...credentials })));
  return single.slice(0, URLS_MAX).map((server) => ({ server, attempt: { url: server.urls, ...parse(server.urls), candidates: [], errors: [], state: 'waiting', startedAt: 0 } }));
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

/** The type of candidate that proves that the server works. @param {Attempt} attempt */
export const proof = ({ kind }) => (kind === 'turn' ? 'relay' : 'srflx');

/** How long all attempts take at most, in seconds. @param {number} count */
export const secondsMax = (count) => Math.ceil(count / AT_ONCE_MAX) * ATTEMPT_SECONDS_MAX;
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
export async function gather({ attempt, server }, changed) {
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
        if (candidate.type === proof(attempt)) setTimeout(() => resolve('done'), LINGER_MS);
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
    attempt.state = await ended;
  } catch (error) {
    attempt.errors.push({ code: 0, text: error instanceof Error ? error.name : String(error), ms: ms(), times: 1 });
    attempt.state = 'unusable';
  }
  clearTimeout(timer);
  opened?.close();
  changed();
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
