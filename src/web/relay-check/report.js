// The report as text. It contains named fields only, so it cannot contain a credential or a token.
import { outcome, works } from './findings.js';
import { ATTEMPT_SECONDS_MAX, gives, hasEnded } from './gather.js';

/** "relay/udp 83 ms". @param {import('./gather.js').Candidate} candidate */
export const candidateWords = ({ type, protocol, ms }) => `${type}${protocol ? `/${protocol}` : ''} ${ms} ms`;

/** "701 STUN host lookup received error, after 12 ms". @param {import('./gather.js').GatherError} error */
const errorWords = ({ code, text, ms, times }) => `${code || ''} ${text.replace(/\.$/, '') || 'no text'}${times > 1 ? ` (${times} times)` : ''}, after ${ms} ms`.trim();

/** The outcome, or how long the attempt has been running. @param {import('./gather.js').Attempt} attempt @param {number} now As `startedAt`. */
export function progressWord(attempt, now) {
  const { word } = outcome(attempt);
  return attempt.state === 'running' && !works(attempt) ? `${word}, ${Math.floor((now - attempt.startedAt) / 1000)} s` : word;
}

/** How far the check is, for people who cannot see the rows. `last` has just ended. @param {import('./gather.js').Attempt[]} attempts @param {import('./gather.js').Attempt} [last] */
export function progressLine(attempts, last) {
  const line = `${attempts.filter(hasEnded).length} of ${attempts.length} tested`;
  return last ? `${line}. ${last.url}: ${outcome(last).word}` : line;
}

/** @param {import('./gather.js').Attempt} attempt @returns {string[]} */
export function errorLines(attempt) {
  const timedOut = attempt.state === 'timeout' && !gives(attempt) && !attempt.errors.length ? [`no answer within ${ATTEMPT_SECONDS_MAX} s`] : [];
  // What a browser rejects, it has not tried.
  return [...attempt.errors.map(attempt.state === 'unusable' ? ({ text }) => text : errorWords), ...timedOut];
}

/** The fields of the response that contain no secret. @param {import('./findings.js').Answer} answer @returns {[string, string][]} */
export function answerRows({ status, body }) {
  if (status !== 200) {
    return [['status', status ? String(status) : 'no answer'], ...fields(body, ['code', 'error', 'message', 'requestId']).filter(([, value]) => value)];
  }
  const rows = fields(body, ['source', 'degraded', 'reason', 'ttl', 'issuedAt', 'expiresAt']);
  const shown = rows.map(([name, value]) => /** @type {[string, string]} */ ([name, name === 'ttl' ? `${value} s (requested: 300 s)` : value]));
  return [['status', '200'], ...shown, ['servers', String(body?.iceServers?.length ?? 0)]];
}

/**
 * The fields of these names that are present, as text.
 * @param {import('./findings.js').Body | null} body
 * @param {(keyof import('./findings.js').Body)[]} names
 * @returns {[string, string][]}
 */
const fields = (body, names) => names.flatMap((name) => (body?.[name] == null ? [] : [[name, String(body[name])]]));

/**
 * @param {import('./findings.js').Answer} answer
 * @param {import('./gather.js').Attempt[]} attempts
 * @param {import('./findings.js').Finding[]} findings
 * @param {{at: Date, page: string, agent: string}} context
 */
export function report(answer, attempts, findings, { at, page, agent }) {
  const lines = [`Relay check, ${at.toISOString()}`, `page: ${page}`, `browser: ${agent}`, '', 'Findings'];
  for (const { title, text } of findings) lines.push(`- ${title}. ${text}`);
  lines.push('', 'Broker');
  for (const [name, value] of answerRows(answer)) lines.push(`- ${name}: ${value}`);
  if (attempts.length) lines.push('', 'ICE servers, tested one by one');
  for (const attempt of attempts) {
    lines.push(`- ${attempt.url}: ${outcome(attempt).word}`);
    for (const candidate of attempt.candidates) lines.push(`    ${candidateWords(candidate)}`);
    for (const line of errorLines(attempt)) lines.push(`    error: ${line}`);
  }
  return `${lines.join('\n')}\n`;
}
