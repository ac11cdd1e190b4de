// Who spends, as texts for the table of spenders and for that of one spender's grants. Pure.
import { count, mbps, money, signed, size, some, span, time } from './format.js';

/**
 * @typedef {import('./api.d.ts').Schemas['OverviewBody']} Overview
 * @typedef {import('./api.d.ts').Schemas['SpendersBody']} Spenders
 * @typedef {import('./api.d.ts').Schemas['PastPeriod']} Past
 * @typedef {import('./api.d.ts').Schemas['SpenderBody']} Spender
 * @typedef {import('./api.d.ts').Schemas['GrantBody']} Grant
 * @typedef {Exclude<Spenders['by'], 'grant'>} By What a spender is.
 */

/** Spenders, or credentials of one, that are asked for at once. */
export const ROWS_ASKED = 200;

/** What the column "Now" is of, in minutes. */
const NOW_MINUTES = 5;

/** @typedef {Spender & {nowMbps: number, isListed: boolean}} SpenderNow With the rate of the last minutes. Not listed: its bytes of the period are not known. */

/** What a spender can be: the list of the broker, with a title for each. @type {Record<By, string>} */
export const TITLES = { user: 'Users', label: 'Labels', origin: 'Origins', address: 'Addresses', call: 'Calls', key: 'Server keys' };

/** The tab of whom an alert of the last hour names. @param {{at: string, section: string}[]} alerts The newest first. @param {string} now */
export const namedLately = (alerts, now) => alerts.find(({ section, at }) => section.includes('=') && Date.parse(now) - Date.parse(at) < 3.6e6)?.section.split('=')[0];

/** Whether earlier periods are known by it. @param {By} by */
export const isKept = (by) => by === 'user' || by === 'label' || by === 'key';

/** The query for a list of spenders. @param {By} by @param {string} [cursor] @param {string} [month] That of an earlier period. */
export const listPath = (by, cursor = '', month = '') => /** @type {const} */ (`api/spenders?by=${by}&limit=${ROWS_ASKED}${month && `&period=${month}`}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);

/** One line about cost: this period, its end, the one before, and the three largest. @param {Pick<Overview, 'bytes' | 'cost'>} overview @param {Pick<Past, 'usedBytes' | 'cost' | 'currency'>[]} past @param {{key: string | null, bytes: number}[]} rows Most bytes first. @param {By} by */
export function summary({ bytes: { used }, cost: { soFar, forecast, currency } }, past, rows, by) {
  // Those without a name are named if they are the largest.
  const largest = rows.filter(({ key }, rank) => key !== null || rank === 0).slice(0, 3).map((row) => `${nameOf(row, by)} ${share(row.bytes, ofAll(rows, used))}`);
  return [
    `This period so far ${size(used)} (${money(Number(soFar), currency)})`,
    forecast && `${size(forecast.usedBytes)} (${money(Number(forecast.cost), currency)}) at the reset`,
    past[0] && `last period ${size(past[0].usedBytes)} (${money(Number(past[0].cost), past[0].currency)})`,
    largest.length > 0 && `largest ${TITLES[by].toLowerCase()}: ${largest.join(', ')}`,
  ].filter(Boolean).join('; ') + '.';
}

/** The query for those who spend now. @param {By} by */
export const nowPath = (by) => /** @type {const} */ (`api/spenders?by=${by}&limit=${ROWS_ASKED}&since=${NOW_MINUTES}m`);

/** The spenders of the period with their rate of the last minutes, and then those who spend now and are not among the loaded ones. @param {Spender[]} listed @param {Pick<Spenders, 'spenders' | 'seconds'> | null} lately @returns {SpenderNow[]} */
export function withNow(listed, lately) {
  const [recent, seconds] = [lately?.spenders ?? [], lately?.seconds ?? 60];
  const now = new Map(recent.map(({ key, bytes }) => [key, (bytes * 8) / (seconds * 1e6)]));
  const keys = new Set(listed.map(({ key }) => key));
  const others = recent.filter(({ key }) => !keys.has(key)).map((row) => ({ ...row, nowMbps: now.get(row.key) ?? 0, bytes: 0, isListed: false }));
  return [...listed.map((row) => ({ ...row, nowMbps: now.get(row.key) ?? 0, isListed: true })), ...others];
}

/** The rate of the last minutes. @param {Pick<SpenderNow, 'nowMbps'>} spender */
export const rateNow = ({ nowMbps }) => (nowMbps > 0 ? mbps(nowMbps) : '–');

/** What a click ends. @param {Pick<SpenderNow, 'usable' | 'nowMbps'>} [spender] */
export const whatEnds = (spender) => (spender ? `${some(spender.usable, 'usable credential')}, now ${size((spender.nowMbps * 3600e6) / 8)} an hour.` : '');

/** Without a key: what is spent without one, and by those who have no row of their own. @param {Pick<Spender, 'key'>} spender @param {By} by */
export const nameOf = ({ key }, by) => key ?? `(no ${by})`;

/** Shown instead of an empty table. @param {By} by @param {boolean} [hasSignIn] Whether users' tokens are read. */
export const noneOf = (by, hasSignIn = false) => `No ${by} has spent anything in this period.${by === 'user' && !hasSignIn ? ' Users are known by AUTH_JWT_SECRET or AUTH_JWKS_URL, or where a server key names them with ?user=.' : by === 'label' ? ' A label is what a page names with ?label= when it asks for credentials.' : ''}`;

/** Measured by the source, or only claimed by a client. @param {{evidence: string}} of */
export const evidence = ({ evidence: known }) => (known === 'measured' ? { mark: 'good', word: 'measured' } : { mark: 'quiet', word: 'claimed' });

/** Of what the rows are shares. The list may be a little newer than the usage of the period. @param {{bytes: number}[]} rows @param {number} used */
export const ofAll = (rows, used) => Math.max(used, rows.reduce((sum, { bytes }) => sum + bytes, 0));

/** The share in percent. @param {number} bytes @param {number} all */
export const percent = (bytes, all) => (all > 0 ? Math.min(100, (bytes / all) * 100) : 0);

/** @param {number} bytes @param {number} all */
export function share(bytes, all) {
  if (all <= 0) return '–';
  const part = percent(bytes, all);
  return part > 0 && part < 0.1 ? '< 0.1 %' : `${signed(part, 1)} %`;
}

/** What a GB of an earlier period cost on average. @param {Pick<Past, 'cost' | 'usedBytes' | 'currency'>} past */
export const averageOf = ({ cost: all, usedBytes, currency }) => ({ averagePerGB: usedBytes > 0 ? Number(all) / (usedBytes / 1e9) : 0, currency });

/** A part of a period's cost: free GB lower the price of every byte. Two digits of less than a cent. @param {number} bytes @param {{averagePerGB: number, currency: string}} of */
export function cost(bytes, { averagePerGB, currency }) {
  const part = (bytes / 1e9) * averagePerGB;
  return money(part < 0.01 ? Number(part.toPrecision(2)) : part, currency);
}

/** "2: ann, ben": how many, and the users among them. @param {{user: string | null}[]} members */
export const members = (members) => [members.length, members.flatMap(({ user }) => user ?? []).join(', ')].filter(Boolean).join(': ');

/** Clients of P2PCF hold no socket that the broker could close. @param {string} protocol */
export const canEnd = (protocol) => protocol !== 'p2pcf';

/** How many of the others are usable is not known, and none is of a past period. @param {Pick<Spender, 'key' | 'grants' | 'usable'>} spender */
export const credentials = ({ key, grants, usable }, isPast = false) => (key === null || isPast ? count(grants) : `${count(usable)} usable of ${count(grants)}`);

/** The state of a grant. @param {Pick<Grant, 'revokedAt' | 'live' | 'expiresAt'>} grant @param {Date} now */
export function state({ revokedAt, live, expiresAt }, now) {
  if (revokedAt) return { mark: 'bad', word: `revoked ${time(new Date(revokedAt), now)}` };
  if (Date.parse(expiresAt) > now.getTime()) return { mark: 'good', word: 'live' };
  return live ? { mark: 'warn', word: 'in its tail' } : { mark: 'quiet', word: 'expired' };
}

/** Whether a revocation changes anything. @param {Pick<Grant, 'revokedAt' | 'live'>} grant */
export const isRevocable = ({ revokedAt, live }) => live && !revokedAt;

/** The line beside the title. @param {Spenders} list @param {Date} now @param {Pick<Spenders, 'countedUntil'> | null} [lately] Those who spend now. */
export function note({ asOf, unknownBytes, spenders, next }, now, lately = null) {
  const unknown = unknownBytes > 0 ? ` ${size(unknownBytes)} are of credentials that this ledger does not know.` : '';
  const part = next ? ` Search and order apply to the ${some(spenders.length, 'row')} loaded, the largest.` : '';
  const counted = lately?.countedUntil ? ` Now: the last five minutes, or those counted up to ${time(new Date(lately.countedUntil), now)} where they show more.` : '';
  return `as of ${time(new Date(asOf), now)}.${counted}${unknown}${part}`;
}

/** The line above the list of who is blocked. @param {Spenders['blocked']} blocked */
export function blockedNote({ count: all, blocks }) {
  if (all === 0) return 'Nobody is blocked.';
  return `${count(all)} blocked.${all > blocks.length ? ` These are the first ${count(blocks.length)}.` : ''}`;
}

/** The query for the grants of a spender. @param {By} by @param {string} key */
export const grantsPath = (by, key) => /** @type {const} */ (`api/grants?${by}=${encodeURIComponent(key)}&limit=${ROWS_ASKED}`);

/** The result of ending a room. @param {import('./api.d.ts').Schemas['EndedRoomBody']} ended */
export const whatEnded = ({ room, ended, revoked }) =>
  `${room} has ended: ${some(ended.reduce((sum, { members }) => sum + members, 0), 'member')} disconnected, ${some(revoked, 'credential')} revoked.`;

/** "3 min ago". @param {string} instant @param {Date} now */
export const ago = (instant, now) => `${span((now.getTime() - Date.parse(instant)) / 1000)} ago`;
