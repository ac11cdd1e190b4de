/** Options of `createTurnClient`. All are optional. */
export interface TurnClientOptions {
  /** Origin (and path, if any) of the broker. Default: the page's own origin. */
  baseUrl?: string | URL | null;
  /**
   * Lifetime of the credentials in seconds, from 60 to the broker's `TURN_TTL_SECONDS`; default: an hour, or that if it is less. They are
   * renewed. If the broker rejects the value, `onError` gets `INVALID_REQUEST` and `TURN_TTL_SECONDS` applies.
   */
  ttl?: number;
  /**
   * Returns a token of your sign-in (a JWT), for a broker that knows users. Called before each request that needs one, so it should
   * return a token that has not expired; null or undefined asks without a user. If it throws, or takes longer than 8 s, `onError` gets `TOKEN`.
   */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>;
  /**
   * Your own name for what the credentials are used for, such as a room: up to 64 characters of `A-Z a-z 0-9 . _ : @ / -`. The operator
   * sees usage by label. If the broker rejects it, `onError` gets `INVALID_REQUEST` and no label is sent.
   */
  label?: string;
  /**
   * Keeps the last response across a reload, **including the TURN credential and the grant token**: every script in the page can
   * read it. Default: `sessionStorage`. `null` keeps it in memory only.
   */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null;
  /**
   * Public STUN servers, used without a broker and by `iceServers({ when: 'needed' })`. Default: two of Google's. Most relays answer
   * STUN too: `['stun:coturn.example.com:3478']`.
   */
  stunUrls?: string[];
  /** Replaces the global `fetch`. */
  fetch?: (url: string, init?: RequestInit) => Promise<Response>;
  /** Called for every error. Nothing needs to be done: the client retries, and the call continues. Default: `console.warn`. */
  onError?: (error: TurnClientError) => void;
  /** Called after each attempt to get credentials, whether it succeeded or not, and by `iceServers()` while it waits for the next one. */
  onStatus?: (status: TurnStatus) => void;
}

/** An error that the client has handled. */
export class TurnClientError extends Error {
  constructor(code: string, message: string, more?: { status?: number; retryAfterSeconds?: number; cause?: unknown });
  readonly name: 'TurnClientError';
  /**
   * The broker's code (`RATE_LIMITED`, `BUDGET_EXHAUSTED`, `INVALID_GRANT`, …) or reason (`PROVIDER_UNAVAILABLE`, …). Otherwise `NETWORK`
   * (no response, or a request with a token from an origin that is not in `CLIENT_URL`), `BAD_ANSWER` (not a broker's), `STALE_ANSWER` (an
   * old one, kept by a service worker or cache), `HTTP_<status>`, `PEER_CONNECTION` (the browser), `TOKEN` (`getToken` gave none),
   * `TURN_REFUSED` (a relay rejected the credentials), `TURN_UNREACHED` (the browser reached no URL of the relay).
   */
  readonly code: string;
  /** HTTP status of the response, if there was one. */
  readonly status?: number;
  /** `Retry-After` of the response. */
  readonly retryAfterSeconds?: number;
}

/** What `iceServers()` returns now. */
export interface TurnStatus {
  /** `cloudflare`, `coturn`, …; `stun` for public STUN servers; null before the first response. */
  readonly source: string | null;
  /** The credentials come from a fallback source, a relay or the broker refuses them, or there is no relay: calls that need one may fail. */
  readonly degraded: boolean;
  /** Code or reason of the last failed attempt, or the broker's reason for a fallback source. */
  readonly reason: string | null;
  /** If `degraded`: why, in a sentence for your user. For other words or languages, use `reason`. */
  readonly message: string | null;
  /** Expiry of the credentials by this machine's clock; null without credentials. */
  readonly expiresAt: Date | null;
}

/**
 * When credentials are requested: `now` (the default), or when a peer connection has not connected without them. The latter needs
 * `watch(pc)`, and an app that makes an offer when `negotiationneeded` fires.
 */
export type When = 'now' | 'needed';

export interface IceServersOptions {
  when?: When;
}

export interface WatchOptions {
  /** Default: that of the last call of `iceServers()`. */
  when?: When;
  /**
   * Seconds from a lost path until ICE restarts. With `needed` also from the end of offer and answer, and then credentials are requested.
   * Default: 3. The end that answered waits half as long again. If ICE fails, it does not wait for the rest.
   */
  relayAfterSeconds?: number;
  /**
   * Id of the connection at the broker, 1 to 128 visible ASCII characters, different for each call. Default: a random id, null until
   * the first report.
   */
  connectionId?: string;
  /**
   * Called when the peer connection has new credentials, or has lost its path. If `restart` is true, its packets are relayed, or it needs
   * a relay to connect. `restartIce()` follows: at once, or for a relayed path within a minute unless the other end
   * restarts first. That fires `negotiationneeded`: answer it with an offer as usual. Return `false` to prevent the restart, and make
   * an offer with `iceRestart` yourself, or ask the other end to.
   */
  onRenew?: (renewal: Renewal) => boolean | void;
}

export interface CallOptions extends WatchOptions {
  /** The rest of the peer connection's configuration, such as `{ iceTransportPolicy: 'relay' }`. Its `iceServers` are not used. */
  configuration?: RTCConfiguration;
}

export interface Renewal {
  readonly pc: RTCPeerConnection;
  readonly iceServers: RTCIceServer[];
  readonly relayed: boolean | null;
  readonly restart: boolean;
}

/** Figures of the last read of the statistics, at most some seconds old. */
export interface WatchHandle {
  /** Id at the broker; null while no connection is open there. It changes after each renewal that takes effect. */
  readonly connectionId: string | null;
  /** Whether the selected pair uses a relay, even one of the page's own; null until there is a pair. */
  readonly relayed: boolean | null;
  /** Transport to the relay: `udp`, `tcp`, `tls`; null if not relayed or unknown. */
  readonly relayProtocol: string | null;
  /** Bytes of the peer connection since it started. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /**
   * Removes all listeners and timers and closes the connection at the broker. Resolves within milliseconds, when the last counts are
   * read (after 2 s if the browser gives none). Then close the peer connection. The request to the broker continues in the
   * background. Never rejects.
   */
  stop(): Promise<void>;
}

/** The calls of one component, one at a time. A component calls `end` when it goes. */
export interface TurnCall {
  /**
   * Fetches ICE servers, makes a peer connection and watches it. Ends the last call first. Resolves with null if the call was ended
   * meanwhile. Rejects only if the browser makes no peer connection.
   */
  start(): Promise<RTCPeerConnection | null>;
  /** Stops the watch, then closes the peer connection. Also ends a call that has not started yet. Never rejects. */
  end(): Promise<void>;
}

export interface TurnClient {
  /**
   * ICE servers for `new RTCPeerConnection({ iceServers })`. Never rejects: without a broker it returns the last credentials until they
   * expire, then public STUN servers. Sends one request for all callers, and none before the last response is due for renewal.
   * With `when: 'needed'`, sends none at all: returns fresh credentials if there are any, otherwise `stunUrls`.
   */
  iceServers(options?: IceServersOptions): Promise<RTCIceServer[]>;
  /** Reports the peer connection while it is connected and renews its credentials. A second call returns the same handle. */
  watch(pc: RTCPeerConnection, options?: WatchOptions): WatchHandle;
  /** For a component whose call ends with it. Sends no request before `start`. */
  call(options?: CallOptions): TurnCall;
  status(): TurnStatus;
  /** Stops all watches. */
  close(): Promise<void>;
}

export function createTurnClient(options?: TurnClientOptions): TurnClient;
