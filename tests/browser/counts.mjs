// Counts of the same bytes by browser, broker and relay: the egress from the relay to its two clients.
import { COTURN_REALM } from './processes.mjs';

/**
 * Bytes that coturn sent to the clients in the sessions of these users. Its `usage:` lines are deltas; `peer usage:` is the other leg.
 * @param {string} log
 * @param {string[]} usernames
 * @returns {number}
 */
export function coturnEgress(log, usernames) {
  const line = /session \d+: usage: realm=<[^>]*>, username=<([^>]*)>, rp=\d+, rb=\d+, sp=\d+, sb=(\d+)/g;
  let bytes = 0;
  for (const [, username, sent] of log.matchAll(line)) {
    if (usernames.includes(username)) bytes += Number(sent);
  }
  return bytes;
}

/** Whether coturn has closed every session of these users. */
export function coturnHasClosed(log, usernames) {
  const times = (text) => log.split(text).length - 1;
  return usernames.every((username) => {
    const opened = times(`new, realm=<${COTURN_REALM}>, username=<${username}>`);
    return opened > 0 && opened === times(`closed (2nd stage), user <${username}>`);
  });
}

/**
 * The ended allocations of the relay in the broker, from its log.
 * @param {string} log
 * @returns {{grant: string, received: number, sent: number, why: string}[]}
 */
export function endedAllocations(log) {
  const lines = log.split('\n').filter((line) => line.includes('an allocation of the relay has ended'));
  return lines.map((line) => {
    const { 'grant.id': grant, received, sent, why } = JSON.parse(line);
    return { grant, received, sent, why };
  });
}

/**
 * The sum of one metric over all labels, in the Prometheus text format.
 * @param {string} text
 * @param {string} name
 */
export function metric(text, name) {
  const values = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (values.length === 0) throw new Error(`no ${name} in /metrics`);
  return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/**
 * A table of counts of the same bytes, each with its ratio to the first.
 * @param {string} of
 * @param {[who: string, where: string, bytes: number][]} counts
 */
export function rows(of, counts) {
  const [[, , first]] = counts;
  const row = ([who, where, bytes]) =>
    `  ${who.padEnd(8)} ${where.padEnd(36)} ${bytes.toLocaleString('en').padStart(12)} ${(bytes / first).toFixed(4).padStart(8)}`;
  return [`  ${of.padEnd(45)} ${'bytes'.padStart(12)} ${'ratio'.padStart(8)}`, ...counts.map(row)].join('\n');
}
