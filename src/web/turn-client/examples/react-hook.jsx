// A React hook as many apps have it: `iceServers` in state, and public STUN if the broker cannot be reached. Compared to a plain
// fetch, nothing is fetched twice, a running call is reported and renewed, and the cleanup removes everything.
import { useCallback, useEffect, useRef, useState } from 'react';
// A copy of the module's folder (it is not on npm), or the URL of your broker's /turn-client.js.
import { createTurnClient } from './turn-client/turn-client.js';

// One client for the app, outside the hook: it keeps the credentials, and all components share one request.
const turn = createTurnClient({
  baseUrl: 'http://localhost:3001',
  onError: ({ code, message }) => console.warn(`[WebRTC] ${code}: ${message}`),
});

/** Resolves to an array and never rejects. */
export async function fetchIceServers() {
  const iceServers = await turn.iceServers();
  console.log(`[WebRTC] ${iceServers.length} ICE servers from ${turn.status().source}`);
  return iceServers;
}

/**
 * @param {(message: object) => void} send Sends a description or a candidate to the other end.
 * @param {boolean} isPolite True at one of the two ends, which yields when offers collide.
 */
export function useWebRTC(send, isPolite) {
  const [iceServers, setIceServers] = useState([]);
  const [connectionState, setConnectionState] = useState('new');
  const call = useRef(null);

  useEffect(() => {
    let isMounted = true;
    fetchIceServers().then((servers) => isMounted && setIceServers(servers));
    return () => { isMounted = false; };
  }, []);

  /** Fetches again when the call starts. This costs nothing with fresh credentials, and retries if the fetch on mount failed. */
  const start = useCallback(async () => {
    const pc = new RTCPeerConnection({ iceServers: await fetchIceServers() });
    const current = { pc, watch: turn.watch(pc), makingOffer: false, ignoresOffer: false };
    call.current = current;
    pc.onconnectionstatechange = () => setConnectionState(pc.connectionState);
    pc.onicecandidate = ({ candidate }) => candidate && send({ candidate });
    // Also fires when a renewal restarts ICE.
    pc.onnegotiationneeded = async () => {
      try {
        current.makingOffer = true;
        await pc.setLocalDescription();
        send({ description: pc.localDescription });
      } finally {
        current.makingOffer = false;
      }
    };
    return pc;
  }, [send]);

  /** Handles messages from the other end by "perfect negotiation". */
  const receive = useCallback(async ({ description, candidate }) => {
    const current = call.current;
    if (!current) return;
    const { pc } = current;
    if (candidate) {
      await pc.addIceCandidate(candidate).catch((error) => { if (!current.ignoresOffer) throw error; });
      return;
    }
    const collides = description.type === 'offer' && (current.makingOffer || pc.signalingState !== 'stable');
    current.ignoresOffer = !isPolite && collides;
    if (current.ignoresOffer) return;
    await pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await pc.setLocalDescription();
    send({ description: pc.localDescription });
  }, [send, isPolite]);

  /** Calls `stop` first, because it reads the last counts. */
  const hangUp = useCallback(async () => {
    const { pc, watch } = call.current ?? {};
    call.current = null;
    await watch?.stop();
    pc?.close();
  }, []);

  useEffect(() => () => void hangUp(), [hangUp]);

  return { iceServers, connectionState, start, receive, hangUp };
}

/** Warns the user if calls may fail on closed networks. */
export function RelayNotice() {
  const { degraded, reason } = turn.status();
  return degraded ? <p role="status">No relay now ({reason}). Calls may fail on some networks.</p> : null;
}
