// Responses of the broker. Generated from /openapi.json by tests/it/web/api_types.rs. Not sent to browsers.

export interface AlertBody {
  advice: string;
  at: string;
  event: string;
  id: string;
  limitGB: number;
  overshootBoundGB: string;
  section: string;
  severity: "info" | "warning" | "critical";
  usedGB: string;
  waiting: boolean;
  what: string;
}

export interface AlertsBody {
  alerts: Array<AlertBody>;
  webhook: boolean;
}

export interface AnswersBody {
  count: number;
  reason: string | null;
  source: "cloudflare" | "coturn" | "http" | "relay" | "manual" | "stun";
}

export interface BlockedUsersBody {
  count: number;
  names: Array<string>;
}

export interface BytesBody {
  committed: number;
  configuredLimit: number;
  likelyOvershoot: number | null;
  limit: number;
  measured: number | null;
  overshootBound: number;
  used: number;
}

export interface CallersBody {
  addressRefused: number;
  answers: Array<AnswersBody>;
  originsRefused: number;
  rateLimited: number;
  refused: number;
  shed: number;
}

export interface CloudflareMintRequest {
  customIdentifier?: string | null;
  ttl?: number | null;
}

export interface CloudflareServerBody {
  iceServers: IceServer;
}

export interface CloudflareServersBody {
  iceServers: Array<IceServer>;
}

export interface ConnectionBody {
  connectionId: string;
  heartbeatSeconds: number;
}

export interface ConnectionCounts {
  claimsClamped: number;
  closed: number;
  givenUp: number;
  opened: number;
}

export interface ConnectionRequest {
  bytesReceived?: number | null;
  bytesSent?: number | null;
  connectionId?: string | null;
  label?: string | null;
  relayed?: boolean | null;
  token?: string | null;
  user?: string | null;
}

export interface ConnectionsBody {
  connections: Array<OpenConnectionBody>;
  total: number;
}

export interface CostBody {
  currency: string;
  forecast: ForecastBody | null;
  freeGB: number;
  pricePerGB: number;
  soFar: string;
}

export interface CredentialsBody {
  degraded: boolean;
  expiresAt?: string;
  grant?: string;
  iceServers: Array<IceServer>;
  issuedAt?: string;
  reason?: "NOT_CONFIGURED" | "DISABLED" | "PROVIDER_UNAVAILABLE" | "BUDGET_EXHAUSTED" | "LEDGER_UNAVAILABLE";
  refreshAfter?: string;
  source: "cloudflare" | "coturn" | "http" | "relay" | "manual" | "stun";
  ttl?: number;
}

export interface EndedCallBody {
  members: number;
  protocol: "ayame" | "p2pcf" | "rooms" | "sfu" | "peerjs" | "yjs";
}

export interface EndedRoomBody {
  ended: Array<EndedCallBody>;
  revoked: number;
  room: string;
}

export interface EndingBody {
  isAtLimit: boolean;
  left: number;
  revoked: number;
}

export interface ErrorBody {
  bandwidthLimit?: number;
  bandwidthUsed?: string;
  code: "INVALID_REQUEST" | "UNAUTHORIZED" | "INVALID_GRANT" | "INVALID_TOKEN" | "ORIGIN_NOT_ALLOWED" | "USER_BLOCKED" | "USER_LIMIT_REACHED" | "GRANT_LIMIT_REACHED" | "KEY_LIMIT_REACHED" | "NOT_FOUND" | "METHOD_NOT_ALLOWED" | "PAYLOAD_TOO_LARGE" | "UPGRADE_REQUIRED" | "MISDIRECTED_REQUEST" | "RATE_LIMITED" | "BUDGET_EXHAUSTED" | "LEDGER_UNAVAILABLE" | "NO_LEADER" | "OVERLOADED" | "SHUTTING_DOWN" | "INTERNAL";
  errcode?: string;
  error: string;
  errorCode?: string;
  errorDescription?: string;
  errors?: Array<ProviderError>;
  message?: string;
  requestId: string;
  resetDate?: string;
  retry_after_ms?: number;
}

export interface FailureBody {
  remedy: string;
  what: string;
}

export interface ForecastBody {
  cost: string;
  since: string;
  usedBytes: number;
}

export interface FreezeOverride {
  frozen?: boolean;
}

export interface GrantBody {
  address: string | null;
  bytes: number;
  call: string | null;
  claimedBytes: number;
  evidence: "measured" | "claimed";
  expiresAt: string;
  id: string;
  issuedAt: string;
  label: string | null;
  live: boolean;
  measuredBytes: number;
  origin: string | null;
  revokedAt: string | null;
  source: "cloudflare" | "coturn" | "http" | "relay" | "manual" | "stun" | "sfu";
  user: string | null;
}

export interface GrantPageBody {
  grants: Array<GrantBody>;
  next: string | null;
}

export interface GrantsBody {
  issued: number;
  live: number;
  reported: number;
}

export interface HealthBody {
  role?: "leader" | "standby";
  status: string;
  uptimeSeconds: number;
  version: string;
}

export interface HintBody {
  code: string;
  message: string;
  severity: "info" | "warning" | "critical";
}

export interface IceServer {
  credential?: string;
  urls: Array<string>;
  username?: string;
}

export interface KeyBody {
  breaker: string;
  measuredBytes: number | null;
  name: string;
  up: boolean;
  weight: number;
}

export interface LeaderBody {
  role: string;
}

export interface LimitOverride {
  limitGB: number | null;
}

export interface LiveCallBody {
  bytes: number | null;
  connected: boolean;
  members: Array<MemberBody>;
  protocol: "ayame" | "p2pcf" | "rooms" | "sfu" | "peerjs" | "yjs";
  room: string;
  startedAt: string;
}

export interface LiveCallsBody {
  calls: Array<LiveCallBody>;
  total: number;
}

export interface MemberBody {
  grants: Array<string>;
  id: string;
  joinedAt: string;
  user: string | null;
}

export interface OpenConnectionBody {
  bytesReceived: number;
  bytesSent: number;
  chargedBytes: number;
  connectionId: string;
  grant: string | null;
  label: string | null;
  lastSeenAt: string;
  openedAt: string;
  relayed: boolean | null;
  source: "cloudflare" | "coturn" | "http" | "relay" | "manual" | "stun";
  user: string | null;
}

export interface OverviewBody {
  alertPercents: Array<number>;
  at: string;
  bytes: BytesBody;
  callers: CallersBody;
  connections: ConnectionCounts;
  cost: CostBody;
  ending: EndingBody;
  ledgerFailing: boolean;
  provider: ProviderBody | null;
  rate: RateBody;
  replicas: Array<ReplicaBody>;
  revoked: Array<RevokedBody>;
  serverKeys: Array<ServerKeyBody>;
  signIn: boolean;
  status: StatusBody;
  uptimeSeconds: number;
  usable: number;
  version: string;
}

export interface PastPeriod {
  end: string;
  start: string;
  usedBytes: number;
}

export interface PoolBody {
  handedOut: number;
  ready: number;
  wasted: number;
}

export interface ProviderBody {
  breaker: string;
  failure: FailureBody | null;
  keys: Array<KeyBody>;
  outcomes: Record<string, number>;
  pool: PoolBody;
}

export interface ProviderError {
  code: number;
  message: string;
}

export interface RateBody {
  limitAt: string | null;
  mbps: number;
  until: string;
}

export interface ReadyBody {
  provider?: "up" | "down";
  status: string;
  warning?: string;
}

export interface ReplicaBody {
  leads: boolean;
  seenAt: string;
  url: string;
  version: string;
}

export interface RevocationBody {
  expiresAt: string;
  grant: string;
  message: string;
  provider: "revoked" | "unknown" | "failed" | "cut" | "unsupported";
  reservationReleased: boolean;
  revoked: boolean;
  revokedAt: string;
  source: "cloudflare" | "coturn" | "http" | "relay" | "manual" | "stun" | "sfu";
}

export interface RevokedBody {
  expiresAt: string;
  grant: string;
  revokedAt: string;
  source: "cloudflare" | "coturn" | "http" | "relay" | "manual" | "stun";
}

export interface ServerKeyBody {
  limit: number | null;
  name: string;
  used: number;
}

export interface SpenderBody {
  blocked?: boolean;
  bytes: number;
  claimedBytes: number;
  evidence: "measured" | "claimed";
  firstSeen: string;
  grants: number;
  key: string | null;
  lastSeen: string;
  live: number;
  measuredBytes: number;
  usable: number;
}

export interface SpendersBody {
  asOf: string;
  blockedUsers: BlockedUsersBody;
  by: "user" | "label" | "origin" | "address" | "call" | "key" | "grant";
  next: string | null;
  since: string | null;
  spenders: Array<SpenderBody>;
  unknownBytes: number;
}

export interface StatusBody {
  activeConnections: number;
  asOf: string | null;
  bandwidthLimitGB: number;
  bandwidthUsedGB: string;
  boundAssumes: string;
  boundHolds: boolean;
  durable: boolean;
  frozen: boolean;
  grants: GrantsBody;
  hints: Array<HintBody>;
  likelyOvershootGB: string | null;
  observedMbpsPerGrant: number | null;
  overshootBoundGB: string;
  percentage: number;
  periodStart: string;
  remainingGB: string;
  reservedGB: string;
  resetDate: string;
  samplingMarginGB: string;
  source: "measured+estimate" | "estimate";
  stale: boolean;
  status: "OK" | "LIMIT_EXCEEDED";
  usedBytes: number;
}

export interface StunnerBody {
  iceServers: Array<IceServer>;
  iceTransportPolicy: string;
}

export interface TurnRestBody {
  password: string;
  ttl: number;
  uris: Array<string>;
  username: string;
}

export interface UsageBody {
  pastPeriods: Array<PastPeriod>;
  periodStart: string;
  points: Array<UsagePoint>;
  readings: Array<UsageReading>;
  resetDate: string;
  stepSeconds: number;
}

export interface UsagePoint {
  at: string;
  liveGrants: number;
  usedBytes: number;
}

export interface UsageReading {
  asOf: string;
  bytes: number;
}

export interface UserBlockBody {
  blocked: boolean;
  message: string;
  user: string;
}

export interface UserRevocationBody {
  callsUntil: string | null;
  cut: number;
  ended: number;
  left: number;
  message: string;
  revoked: number;
  user: string;
}

/** Bodies of responses to `GET`, by path below the broker's URL. */
export interface Got {
  '_matrix/client/api/v1/voip/turnServer': TurnRestBody;
  [path: `_matrix/client/api/v1/voip/turnServer?${string}`]: TurnRestBody;
  '_matrix/client/r0/voip/turnServer': TurnRestBody;
  [path: `_matrix/client/r0/voip/turnServer?${string}`]: TurnRestBody;
  '_matrix/client/unstable/voip/turnServer': TurnRestBody;
  [path: `_matrix/client/unstable/voip/turnServer?${string}`]: TurnRestBody;
  '_matrix/client/v3/voip/turnServer': TurnRestBody;
  [path: `_matrix/client/v3/voip/turnServer?${string}`]: TurnRestBody;
  'api/alerts': AlertsBody;
  'api/bandwidth-status': StatusBody;
  'api/calls-live': LiveCallsBody;
  'api/connections': ConnectionsBody;
  'api/grants': GrantPageBody;
  [path: `api/grants?${string}`]: GrantPageBody;
  'api/overview': OverviewBody;
  'api/spenders': SpendersBody;
  [path: `api/spenders?${string}`]: SpendersBody;
  'api/turn-credentials': CredentialsBody;
  [path: `api/turn-credentials?${string}`]: CredentialsBody;
  'api/usage': UsageBody;
  [path: `api/usage?${string}`]: UsageBody;
  'health': HealthBody;
  'ice': StunnerBody;
  [path: `ice?${string}`]: StunnerBody;
  'leader': LeaderBody;
  'ready': ReadyBody;
  'turn': TurnRestBody;
  [path: `turn?${string}`]: TurnRestBody;
}

/** Bodies of responses to `POST`, by path below the broker's URL. */
export interface Posted {
  'api/budget/freeze': StatusBody;
  'api/budget/limit': StatusBody;
  'api/connections': ConnectionBody;
  [path: `api/connections/${string}/heartbeat`]: ConnectionBody;
  [path: `api/credentials/${string}/revoke`]: RevocationBody;
  [path: `api/rooms/${string}/end`]: EndedRoomBody;
  [path: `api/users/${string}/block`]: UserBlockBody;
  [path: `api/users/${string}/revoke`]: UserRevocationBody;
  'turn': TurnRestBody;
  [path: `turn?${string}`]: TurnRestBody;
}
