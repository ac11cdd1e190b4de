// Three counts of the same bytes: egress from the relay to its two clients. Each is read where its owner keeps it.
import { COTURN_REALM } from './processes.mjs';

/**
 * What coturn sent on the client legs of the sessions of these users. Its `usage:` lines are deltas; `peer usage:` is the other leg.
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

/** Whether coturn has said its last word on every session of each of these users. */
export function coturnHasClosed(log, usernames) {
  const times = (text) => log.split(text).length - 1;
  return usernames.every((username) => {
    const opened = times(`new, realm=<${COTURN_REALM}>, username=<${username}>`);
    return opened > 0 && opened === times(`closed (2nd stage), user <${username}>`);
  });
}

/**
 * What the relay in the broker says of each allocation that has ended, in its log.
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
 * The sum over all labels of one metric in Prometheus' text form.
 * @param {string} text
 * @param {string} name
 */
export function metric(text, name) {
  const values = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (values.length === 0) throw new Error(`no ${name} in /metrics`);
  return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/**
 * The table, with each count as a multiple of the browser's.
 * @param {{browser: number, broker: number, coturn?: number, relay?: number}} counts By what did the relaying.
 */
export function table({ browser, broker, coturn, relay }) {
  const row = (who, where, bytes) =>
    `  ${who.padEnd(8)} ${where.padEnd(36)} ${bytes.toLocaleString('en').padStart(12)} ${(bytes / browser).toFixed(4).padStart(8)}`;
  return [
    `  ${'egress to the two clients'.padEnd(45)} ${'bytes'.padStart(12)} ${'ratio'.padStart(8)}`,
    row('browser', 'getStats, transport.bytesReceived', browser),
    row('broker', '/metrics, turn_broker_used_bytes', broker),
    row(relay === undefined ? 'coturn' : 'relay', 'log, bytes sent on the client legs', relay ?? coturn),
  ].join('\n');
}
