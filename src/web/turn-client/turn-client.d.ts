/** What `createTurnClient` takes; all of it may be left out. */
export interface TurnClientOptions {
  /** Origin (and path, if any) of the broker. The page's own origin unless said otherwise. */
  baseUrl?: string;
  /**
   * Life of the credentials in seconds, 60 up to the broker's `TURN_TTL_SECONDS`, which is the default, and what is taken, with an
   * `INVALID_REQUEST` for `onError`, where the broker does not give this one.
   */
  ttl?: number;
  /**
   * Where the last answer is kept over a reload, **TURN credential and grant token included**: whoever runs script in the page can
   * read it. `sessionStorage` unless said otherwise; `null` keeps it in memory only.
   */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null;
  /** Instead of the global one. */
  fetch?: (url: string, init?: RequestInit) => Promise<Response>;
  /** Told of every fault. Nothing has to be done: the client goes on by itself, and the call goes on without it. */
  onError?: (error: TurnClientError) => void;
  /** Told after each attempt to get credentials, the good and the bad ones. */
  onStatus?: (status: TurnStatus) => void;
}

/** A fault that the client has dealt with. */
export class TurnClientError extends Error {
  constructor(code: string, message: string, more?: { status?: number; retryAfterSeconds?: number; cause?: unknown });
  readonly name: 'TurnClientError';
  /**
   * The broker's code (`RATE_LIMITED`, `BUDGET_EXHAUSTED`, `INVALID_GRANT`, …) or reason (`PROVIDER_UNAVAILABLE`, …), else `NETWORK` (no
   * answer, or an origin that the broker does not know), `BAD_ANSWER`, `HTTP_<status>`, `PEER_CONNECTION`, `TURN_REFUSED`.
   */
  readonly code: string;
  /** Of the answer, where there was one. */
  readonly status?: number;
  /** What the broker asked for. */
  readonly retryAfterSeconds?: number;
}

/** What `iceServers()` answers from now. */
export interface TurnStatus {
  /** `cloudflare`, `coturn`, …; `stun` for public STUN servers; null before the first answer. */
  readonly source: string | null;
  /** Calls may fail that need a relay, or the credentials come from a source of second choice. */
  readonly degraded: boolean;
  /** Why: the code or reason of the last attempt that failed, or the broker's reason for its second choice. */
  readonly reason: string | null;
  /** End of the credentials, by this machine's clock; null if there are none. */
  readonly expiresAt: Date | null;
}

export interface WatchOptions {
  /**
   * The call's name at the broker, 1 to 128 visible ASCII characters, the same for no two calls. A random one if left out, or as long
   * as no report is sent.
   */
  connectionId?: string;
  /**
   * The peer connection has been given new credentials. If `restart` is true its packets go through a relay, and `restartIce()` follows
   * within a minute, unless the other end's came first. It fires `negotiationneeded`: answer that with an offer as usual. Return `false`
   * to have it left out, and make an offer with `iceRestart` yourself before the old credentials end.
   */
  onRenew?: (renewal: Renewal) => boolean | void;
}

export interface Renewal {
  readonly pc: RTCPeerConnection;
  readonly iceServers: RTCIceServer[];
  readonly relayed: boolean | null;
  readonly restart: boolean;
}

/** Figures are those of the last look at the statistics, at most some seconds old. */
export interface WatchHandle {
  /** At the broker; null while none is open there. Another one after each renewal that took effect. */
  readonly connectionId: string | null;
  /** Whether the selected pair goes through a relay, be it one of the page's own; null until there is one. */
  readonly relayed: boolean | null;
  /** How the relay is reached: `udp`, `tcp`, `tls`; null if not relayed, or unknown. */
  readonly relayProtocol: string | null;
  /** Of the peer connection, since it began. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /**
   * Takes all listeners and timers away and closes the connection at the broker. Resolves, within milliseconds, when the last counts
   * are read (2 s where the browser does not give them): then close the peer connection. Telling the broker goes on behind. Never
   * rejects.
   */
  stop(): Promise<void>;
}

export interface TurnClient {
  /**
   * For `new RTCPeerConnection({ iceServers })`. Never rejects: without a broker it is the last good credentials while they live, then
   * public STUN servers. Asks the broker once for all who wait, and not at all before the last answer is due to be renewed.
   */
  iceServers(): Promise<RTCIceServer[]>;
  /** Reports the peer connection while it is connected, and renews its credentials. Again for the same one: the same handle. */
  watch(pc: RTCPeerConnection, options?: WatchOptions): WatchHandle;
  status(): TurnStatus;
  /** Stops all watches. */
  close(): Promise<void>;
}

export function createTurnClient(options?: TurnClientOptions): TurnClient;
