// A React hook for calls of two, and a notice when there is no relay. Nothing is requested before a call starts: an unused
// credential reserves a part of the budget. A running call is reported and renewed, and the cleanup removes everything.
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
// From `npm install https://turn.example.com/turn-client.tgz`.
import { createTurnClient } from 'turn-broker-client';

/** A message between the two ends, as JSON. */
export interface Signal {
  description?: RTCSessionDescriptionInit;
  candidate?: RTCIceCandidateInit;
  /** The sender has hung up. */
  bye?: true;
}

interface Negotiation {
  pc: RTCPeerConnection;
  makingOffer: boolean;
  ignoresOffer: boolean;
}

/** What the user should know now: why there is no relay. */
let notice: string | null = null;
const listeners = new Set<() => void>();
function note(text: string | null) {
  notice = text;
  for (const listener of listeners) listener();
}
const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => { listeners.delete(listener); };
};

// One client for the app, outside the hook: it keeps the credentials, and all components share one request.
const turn = createTurnClient({
  baseUrl: import.meta.env.VITE_BROKER_URL,
  onStatus: ({ message }) => note(message),
});

/**
 * @param send Sends a message to the other end, which gives it to `receive`.
 * @param isPolite True at one of the two ends, which yields when offers collide.
 */
export function useWebRTC(send: (message: Signal) => void, isPolite: boolean) {
  const [connectionState, setConnectionState] = useState<RTCPeerConnectionState>('new');
  const [call] = useState(() => turn.call());
  const negotiation = useRef<Negotiation | null>(null);
  /** An offer that came before `start` had finished, and what followed it. */
  const early = useRef<Signal[]>([]);

  const end = useCallback(() => {
    negotiation.current = null;
    early.current = [];
    return call.end();
  }, [call]);

  /** Handles messages from the other end by "perfect negotiation". Those before `start` wait for it. */
  const receive = useCallback(async (message: Signal) => {
    const { description, candidate, bye } = message;
    if (bye) {
      setConnectionState('closed');
      return end();
    }
    const current = negotiation.current;
    if (!current) {
      if (description?.type === 'offer') early.current = [message];
      else if (early.current.length > 0) early.current.push(message);
      return;
    }
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
  }, [end, send, isPolite]);

  /** Begins a call. Add your tracks or channels to the peer connection that it returns: null if the call was ended meanwhile. */
  const start = useCallback(async () => {
    negotiation.current = null;
    const pc = await call.start();
    if (!pc) return null;
    const current: Negotiation = { pc, makingOffer: false, ignoresOffer: false };
    negotiation.current = current;
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
    for (const message of early.current.splice(0)) void receive(message);
    return pc;
  }, [call, receive, send]);

  /** Ends the call here and at the other end. */
  const hangUp = useCallback(async () => {
    send({ bye: true });
    setConnectionState('closed');
    await end();
  }, [end, send]);

  // In development, StrictMode runs this once before the component is used, so it changes no state.
  useEffect(() => () => { void end(); }, [end]);

  return { connectionState, start, receive, hangUp };
}

/** Tells the user why calls may fail: no relay on closed networks, a spent budget, a block. */
export function RelayNotice() {
  const text = useSyncExternalStore(subscribe, () => notice, () => null);
  return text === null ? null : <p role="status">{text}</p>;
}
