// Who spends, as texts for the table of spenders and for that of one spender's grants. Pure.
import { count, signed, size, some, span, time } from './format.js';

/**
 * @typedef {'user' | 'label' | 'origin' | 'address' | 'call'} By What a spender is.
 * @typedef {{key: string | null, bytes: number, measuredBytes: number, claimedBytes: number, evidence: string, grants: number, live: number,
 *     firstSeen: string, lastSeen: string, blocked?: boolean}} Spender
 * @typedef {{count: number, names: string[]}} BlockedUsers The names may be a part.
 * @typedef {{by: By, asOf: string, unknownBytes: number, blockedUsers: BlockedUsers, spenders: Spender[], next: string | null}} Spenders
 * @typedef {{id: string, user: string | null, label: string | null, origin: string | null, address: string | null, call: string | null,
 *     source: string, issuedAt: string, expiresAt: string, revokedAt: string | null, live: boolean, bytes: number, measuredBytes: number,
 *     claimedBytes: number, evidence: string}} Grant
 * @typedef {{grants: Grant[], next: string | null}} Grants
 */

/** Spenders, or credentials of one, that are asked for at once. */
export const ROWS_ASKED = 200;

/** Without a key: all that have no row of their own. @param {Pick<Spender, 'key'>} spender @param {By} by */
export const nameOf = ({ key }, by) => key ?? `all other ${by}${by === 'address' ? 'es' : 's'}`;

/** Shown instead of an empty table. @param {By} by */
export const noneOf = (by) => `No ${by} has spent anything in this period.${by === 'user' ? ' Users are known only with AUTH_JWT_SECRET or AUTH_JWKS_URL.' : by === 'label' ? ' A label is what a page names with ?label= when it asks for credentials.' : ''}`;

/** Measured by the source, or only claimed by a client. @param {{evidence: string}} of */
export const evidence = ({ evidence: known }) => (known === 'measured' ? { mark: 'good', word: 'measured' } : { mark: 'quiet', word: 'claimed' });

/** @param {number} bytes @param {number} used Of the period. */
export function share(bytes, used) {
  if (used <= 0) return '–';
  const percent = (bytes / used) * 100;
  return percent > 0 && percent < 0.1 ? '< 0.1 %' : `${signed(percent, 1)} %`;
}

/** How many of the others are live is not known. @param {Pick<Spender, 'key' | 'grants' | 'live'>} spender */
export const credentials = ({ key, grants, live }) => (key === null ? count(grants) : `${count(live)} live of ${count(grants)}`);

/** The state of a grant. @param {Pick<Grant, 'revokedAt' | 'live' | 'expiresAt'>} grant @param {Date} now */
export function state({ revokedAt, live, expiresAt }, now) {
  if (revokedAt) return { mark: 'bad', word: `revoked ${time(new Date(revokedAt), now)}` };
  if (Date.parse(expiresAt) > now.getTime()) return { mark: 'good', word: 'live' };
  return live ? { mark: 'warn', word: 'in its tail' } : { mark: 'quiet', word: 'expired' };
}

/** Whether a revocation changes anything. @param {Pick<Grant, 'revokedAt' | 'live'>} grant */
export const isRevocable = ({ revokedAt, live }) => live && !revokedAt;

/** The line beside the title. @param {Spenders} list @param {Date} now */
export function note({ asOf, unknownBytes, spenders, next }, now) {
  const unknown = unknownBytes > 0 ? ` ${size(unknownBytes)} are of credentials that this ledger does not know.` : '';
  const part = next ? ` Search and order apply to the ${some(spenders.length, 'row')} loaded, the largest.` : '';
  return `as of ${time(new Date(asOf), now)}.${unknown}${part}`;
}

/** The line above the list of blocked users. @param {BlockedUsers} blocked */
export function blockedNote({ count: all, names }) {
  if (all === 0) return 'No user is blocked.';
  const part = all > names.length ? ` These are the first ${count(names.length)} by name.` : '';
  return `${some(all, 'user')} blocked.${part}`;
}

/** The query for the grants of a spender. @param {By} by @param {string} key */
export const grantsPath = (by, key) => `api/grants?${by}=${encodeURIComponent(key)}&limit=${ROWS_ASKED}`;

/** The result of revoking a user's credentials. @param {{revoked: number, ended: number, left: number}} result */
export function whatWasRevoked({ revoked, ended, left }) {
  if (revoked === 0) return 'No live credentials.';
  const more = left > 0 ? ` ${count(left)} could not be ended in time: revoke all credentials again.` : '';
  return `${some(revoked, 'credential')} revoked, ${count(ended)} of them ended at the source.${more}`;
}

/** "3 min ago". @param {string} instant @param {Date} now */
export const ago = (instant, now) => `${span((now.getTime() - Date.parse(instant)) / 1000)} ago`;
