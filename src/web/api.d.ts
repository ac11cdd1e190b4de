// Responses of the broker. Generated from /openapi.json by tests/it/web/api_types.rs. Not sent to browsers.

export interface AlertBody {
  advice: string;
  at: string;
  event: "budget.used_50" | "budget.used_80" | "budget.used_95" | "budget.used_100" | "provider.down" | "provider.up" | "assumption.broken" | "assumption.holds" | "analytics.stale" | "analytics.fresh" | "coturn.unreachable" | "coturn.reachable" | "counts.late" | "counts.settled" | "rotation.failing" | "rotation.works" | "test";
  id: string;
  limitGB: number;
  overshootBoundGB: string;
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
  source: "cloudflare" | "coturn" | "relay" | "manual" | "stun";
}

export interface BytesBody {
  committed: number;
  configuredLimit: number;
  limit: number;
  measured: number | null;
  overshootBound: number;
  used: number;
}

export interface CallTimesBody {
  calls: number;
  longestMs: number;
  medianMs: number;
  p95Ms: number;
}

export interface CallersBody {
  addressRefused: number;
  answers: Array<AnswersBody>;
  originsRefused: number;
  rateLimited: number;
  refused: number;
  shed: number;
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

export interface CredentialsBody {
  degraded: boolean;
  expiresAt?: string;
  grant?: string;
  iceServers: Array<IceServer>;
  issuedAt?: string;
  reason?: "NOT_CONFIGURED" | "DISABLED" | "PROVIDER_UNAVAILABLE" | "BUDGET_EXHAUSTED" | "LEDGER_UNAVAILABLE";
  refreshAfter?: string;
  source: "cloudflare" | "coturn" | "relay" | "manual" | "stun";
  ttl?: number;
}

export interface ErrorBody {
  bandwidthLimit?: number;
  bandwidthUsed?: string;
  code: "INVALID_REQUEST" | "UNAUTHORIZED" | "INVALID_GRANT" | "INVALID_TOKEN" | "ORIGIN_NOT_ALLOWED" | "NOT_FOUND" | "METHOD_NOT_ALLOWED" | "PAYLOAD_TOO_LARGE" | "MISDIRECTED_REQUEST" | "RATE_LIMITED" | "BUDGET_EXHAUSTED" | "LEDGER_UNAVAILABLE" | "OVERLOADED" | "SHUTTING_DOWN" | "INTERNAL";
  error: string;
  message?: string;
  requestId: string;
  resetDate?: string;
}

export interface FreezeOverride {
  frozen?: boolean;
}

export interface GrantsBody {
  issued: number;
  live: number;
  reported: number;
}

export interface HealthBody {
  status: string;
  uptimeSeconds: number;
  version: string;
}

export interface HintBody {
  code: string;
  message: string;
}

export interface IceServer {
  credential?: string;
  urls: string | Array<string>;
  username?: string;
}

export interface KeyBody {
  breaker: string;
  measuredBytes: number | null;
  name: string;
  up: boolean;
  weight: number;
}

export interface LimitOverride {
  limitGB: number | null;
}

export interface OpenConnectionBody {
  bytesReceived: number;
  bytesSent: number;
  chargedBytes: number;
  connectionId: string;
  grant: string | null;
  lastSeenAt: string;
  openedAt: string;
  relayed: boolean | null;
  source: "cloudflare" | "coturn" | "relay" | "manual" | "stun";
}

export interface OverviewBody {
  at: string;
  bytes: BytesBody;
  callers: CallersBody;
  connections: ConnectionCounts;
  ledgerFailing: boolean;
  provider: ProviderBody | null;
  revoked: Array<RevokedBody>;
  status: StatusBody;
  uptimeSeconds: number;
  version: string;
}

export interface PoolBody {
  handedOut: number;
  ready: number;
  wasted: number;
}

export interface PreviousPeriod {
  end: string;
  start: string;
  usedBytes: number;
}

export interface ProviderBody {
  breaker: string;
  keys: Array<KeyBody>;
  latest: CallTimesBody | null;
  outcomes: Record<string, number>;
  pool: PoolBody;
  rotation: RotationBody | null;
}

export interface ReadyBody {
  provider?: "up" | "down";
  status: string;
}

export interface RevocationBody {
  expiresAt: string;
  grant: string;
  message: string;
  provider: "revoked" | "unknown" | "failed" | "cut" | "unsupported";
  reservationReleased: boolean;
  revoked: boolean;
  revokedAt: string;
  source: "cloudflare" | "coturn" | "relay" | "manual" | "stun";
}

export interface RevokedBody {
  expiresAt: string;
  grant: string;
  revokedAt: string;
  source: "cloudflare" | "coturn" | "relay" | "manual" | "stun";
}

export interface RotationBody {
  ageSeconds: number | null;
  everySeconds: number;
  failures: number;
  key: string;
  retired: number;
  since: string;
  state: "waiting" | "creating" | "proving" | "failing";
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
  observedMbpsPerGrant: number | null;
  overshootBoundGB: string;
  percentage: number;
  periodStart: string;
  remainingGB: string;
  reservedGB: string;
  resetDate: string;
  source: "estimate" | "measured+estimate";
  stale: boolean;
  status: "OK" | "LIMIT_EXCEEDED";
  usedBytes: number;
}

export interface UsageBody {
  periodStart: string;
  points: Array<UsagePoint>;
  previousPeriod: PreviousPeriod | null;
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

/** Bodies of responses to `GET`, by path below the broker's URL. */
export interface Got {
  'api/alerts': AlertsBody;
  'api/bandwidth-status': StatusBody;
  'api/connections': ConnectionsBody;
  'api/overview': OverviewBody;
  'api/turn-credentials': CredentialsBody;
  [path: `api/turn-credentials?${string}`]: CredentialsBody;
  'api/usage': UsageBody;
  [path: `api/usage?${string}`]: UsageBody;
  'health': HealthBody;
  'ready': ReadyBody;
}

/** Bodies of responses to `POST`, by path below the broker's URL. */
export interface Posted {
  'api/budget/drop-reading': StatusBody;
  'api/budget/freeze': StatusBody;
  'api/budget/limit': StatusBody;
  'api/connections': ConnectionBody;
  [path: `api/connections/${string}/heartbeat`]: ConnectionBody;
  [path: `api/credentials/${string}/revoke`]: RevocationBody;
}
