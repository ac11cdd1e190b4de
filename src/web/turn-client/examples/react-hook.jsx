// A React hook in the shape that many apps have: `iceServers` in state, public STUN when the broker cannot be reached. What is new
// against a plain fetch: nothing is fetched twice, a running call is reported and renewed, and the cleanup leaves nothing behind.
import { useCallback, useEffect, useRef, useState } from 'react';
// The module's folder, copied beside this file (it is on no registry), or the URL of your broker's /turn-client.js.
import { createTurnClient } from './turn-client/turn-client.js';

// One for the app, outside of the hook: it keeps the credentials, and one request serves all components that ask.
const turn = createTurnClient({
  baseUrl: 'http://localhost:3001',
  onError: ({ code, message }) => console.warn(`[WebRTC] ${code}: ${message}`),
});

/** As before: resolves to an array, and never rejects. */
export async function fetchIceServers() {
  const iceServers = await turn.iceServers();
  console.log(`[WebRTC] ${iceServers.length} ICE servers from ${turn.status().source}`);
  return iceServers;
}

/**
 * @param {(message: object) => void} send Takes a description or a candidate to the other end.
 * @param {boolean} isPolite True at one of the two ends: it gives way when offers cross.
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

  /** Ask again when the call begins: that costs nothing while the credentials are fresh, and mends what failed on mount. */
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

  /** Whatever comes from the other end: "perfect negotiation". */
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

  /** `stop` first: it sends the last counts. */
  const hangUp = useCallback(async () => {
    const { pc, watch } = call.current ?? {};
    call.current = null;
    await watch?.stop();
    pc?.close();
  }, []);

  useEffect(() => () => void hangUp(), [hangUp]);

  return { iceServers, connectionState, start, receive, hangUp };
}

/** Says when a call may fail on closed networks. */
export function RelayNotice() {
  const { degraded, reason } = turn.status();
  return degraded ? <p role="status">No relay right now ({reason}): calls may fail on some networks.</p> : null;
}
