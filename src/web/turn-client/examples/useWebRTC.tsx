// A React hook for calls of two, and a notice when there is no relay. Nothing is requested before a call starts: an unused
// credential reserves a part of the budget. A running call is reported and renewed, and the cleanup removes everything.
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
// From `npm install https://broker.example/turn-client.tgz`.
import { createTurnClient, type TurnStatus, type WatchHandle } from 'turn-broker-client';

/** A message between the two ends, as JSON. */
export interface Signal {
  description?: RTCSessionDescriptionInit;
  candidate?: RTCIceCandidateInit;
}

interface Call {
  pc: RTCPeerConnection;
  watch: WatchHandle;
  makingOffer: boolean;
  ignoresOffer: boolean;
}

let latest: TurnStatus | null = null;
const listeners = new Set<() => void>();
const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => { listeners.delete(listener); };
};

// One client for the app, outside the hook: it keeps the credentials, and all components share one request.
const turn = createTurnClient({
  baseUrl: import.meta.env.VITE_BROKER_URL,
  onStatus: (status) => {
    latest = status;
    for (const listener of listeners) listener();
  },
});

/**
 * @param send Sends a description or a candidate to the other end.
 * @param isPolite True at one of the two ends, which yields when offers collide.
 */
export function useWebRTC(send: (message: Signal) => void, isPolite: boolean) {
  const [connectionState, setConnectionState] = useState<RTCPeerConnectionState>('new');
  const call = useRef<Call | null>(null);

  /** Begins a call. Add your tracks or channels to the peer connection that it returns. */
  const start = useCallback(async () => {
    const pc = new RTCPeerConnection({ iceServers: await turn.iceServers() });
    const current: Call = { pc, watch: turn.watch(pc), makingOffer: false, ignoresOffer: false };
    call.current = current;
    pc.onconnectionstatechange = () => setConnectionState(pc.connectionState);
    pc.onicecandidate = ({ candidate }) => { if (candidate) send({ candidate }); };
    // Also fires when a renewal restarts ICE.
    pc.onnegotiationneeded = async () => {
      try {
        current.makingOffer = true;
        await pc.setLocalDescription();
        if (pc.localDescription) send({ description: pc.localDescription });
      } finally {
        current.makingOffer = false;
      }
    };
    return pc;
  }, [send]);

  /** Handles messages from the other end by "perfect negotiation". */
  const receive = useCallback(async ({ description, candidate }: Signal) => {
    const current = call.current;
    if (!current) return;
    const { pc } = current;
    if (candidate) {
      await pc.addIceCandidate(candidate).catch((error: unknown) => { if (!current.ignoresOffer) throw error; });
    }
    if (!description) return;
    const collides = description.type === 'offer' && (current.makingOffer || pc.signalingState !== 'stable');
    current.ignoresOffer = !isPolite && collides;
    if (current.ignoresOffer) return;
    await pc.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await pc.setLocalDescription();
    if (pc.localDescription) send({ description: pc.localDescription });
  }, [send, isPolite]);

  /** Calls `stop` first, because it reads the last counts. */
  const hangUp = useCallback(async () => {
    const current = call.current;
    call.current = null;
    await current?.watch.stop();
    current?.pc.close();
  }, []);

  useEffect(() => () => { void hangUp(); }, [hangUp]);

  return { connectionState, start, receive, hangUp };
}

/** Warns the user if calls may fail on closed networks. */
export function RelayNotice() {
  const status = useSyncExternalStore(subscribe, () => latest, () => null);
  return status?.degraded ? <p role="status">No relay now ({status.reason}). Calls may fail on some networks.</p> : null;
}
