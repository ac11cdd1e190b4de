// Findings of a relay check: what the network or the relay blocks, and what to do. Pure.
import { NO_WEBRTC, gives } from './gather.js';

/**
 * @typedef {import('./gather.js').Attempt} Attempt
 * @typedef {{mark: 'good' | 'warn' | 'bad', title: string, text: string}} Finding
 * @typedef {import('./api.d.ts').Schemas['CredentialsBody']} Credentials
 * @typedef {Partial<Credentials & import('./api.d.ts').Schemas['ErrorBody']> & {retryAfter?: number}} Body A proxy in front of the broker may send any.
 * @typedef {{status: number, body: Body | null}} Answer The broker's response; `status` 0 if there was none.
 */

const REFUSED = [401, 403, 431, 441];
const FULL = [486, 508];
/** Codes that browsers use when no server answered. */
const UNREACHED = [701, 0];

/** @param {Attempt} attempt */
export const works = (attempt) => (attempt.kind === 'stun' ? gives(attempt) : !['unknown', 'nobody'].includes(attempt.reach));
/** It has an allocation, but nothing comes through. @param {Attempt} attempt */
const isBarred = ({ reach }) => reach === 'nobody';
/** @param {number[]} codes @returns {(attempt: Attempt) => boolean} */
const hasError = (codes) => ({ errors }) => errors.some(({ code }) => codes.includes(code));
/** @param {Attempt} attempt */
const isRefused = (attempt) => !works(attempt) && hasError(REFUSED)(attempt);
/** @param {Attempt} attempt */
const isUnnamed = ({ errors }) => errors.length > 0 && errors.every(({ text }) => /lookup/i.test(text));
/** @param {Attempt} attempt */
const isFull = (attempt) => !works(attempt) && hasError(FULL)(attempt);
/** A server answered, if only with an error. @param {Attempt} attempt */
const isReached = (attempt) => gives(attempt) || attempt.errors.some(({ code }) => code >= 300 && code < 700);
/** The port refused the connection, so packets reach that machine. @param {Attempt} attempt */
const isShut = ({ errors }) => errors.some(({ text }) => /refused/i.test(text));
/** Nothing came back: the network may block it. @param {Attempt} attempt */
const isSilent = (attempt) => outcome(attempt).word === 'no answer' && !attempt.errors.some(({ text }) => /lookup/i.test(text)) && !isShut(attempt);
/** @param {Attempt} attempt */
const isUnanswered = (attempt) => outcome(attempt).word === 'no answer';
/** @param {Attempt} attempt */
const portOf = ({ url }) => Number(/:(\d+)(?=\?|$)/.exec(url)?.[1] ?? (/^(stuns|turns):/i.test(url) ? 5349 : 3478));

/** @param {Attempt} attempt @returns {{mark: 'good' | 'warn' | 'bad' | 'quiet', word: string}} */
export function outcome(attempt) {
  if (works(attempt)) return { mark: 'good', word: 'works' };
  if (attempt.state === 'waiting') return { mark: 'quiet', word: 'waiting' };
  if (attempt.state === 'running') return { mark: 'quiet', word: gives(attempt) ? 'sending' : 'gathering' };
  if (attempt.state === 'unusable') return { mark: 'bad', word: 'rejected by this browser' };
  if (isBarred(attempt)) return { mark: 'bad', word: 'nothing comes through' };
  if (isRefused(attempt)) return { mark: 'bad', word: 'refused' };
  if (isFull(attempt)) return { mark: 'bad', word: 'full' };
  if (isUnnamed(attempt)) return { mark: 'bad', word: 'name not found' };
  if (attempt.kind === 'stun' && !attempt.errors.length && attempt.candidates.length) return { mark: 'warn', word: 'no new address' };
  return { mark: 'bad', word: attempt.errors.some(({ code }) => !UNREACHED.includes(code)) ? 'failed' : 'no answer' };
}

/** @param {Finding['mark']} mark @param {string} title @param {string} text @returns {Finding} */
const finding = (mark, title, text) => ({ mark, title, text });

/** @param {Answer} answer @param {Attempt[]} attempts All have ended. @returns {Finding[]} */
export function findings(answer, attempts) {
  if (answer.status !== 200) return [refusal(answer)];
  if (attempts.some(({ errors }) => errors.some(({ text }) => text === NO_WEBRTC))) return [finding('bad', 'This browser has no WebRTC', 'A setting, an extension or a policy has switched it off, so calls fail whatever the relay does. Switch it on, or use another browser.')];
  const turn = attempts.filter(({ kind }) => kind === 'turn');
  const stun = attempts.filter(({ kind }) => kind === 'stun');
  return [
    ...(turn.length ? relayFindings(turn, stun) : [onlyStun(answer.body ?? {})]),
    ...(turn.length && answer.body?.degraded ? [degraded(answer.body)] : []),
    ...stunFindings(stun, turn),
  ];
}

/** The broker sent no ICE servers. @param {Answer} answer */
function refusal({ status, body }) {
  const said = [body?.error, body?.message].filter(Boolean).join('. ');
  /** @type {Record<string, string[]>} */
  const byCode = {
    UNAUTHORIZED: ['The broker requires a sign-in', `${said} This page has no user, so it cannot test the relay while AUTH_REQUIRED is set.`],
    USER_BLOCKED: ['This user is blocked', `${said} The operator can allow the user again.`],
    BLOCKED: ['The operator has blocked this', `${said} The operator can allow it again.`],
    ADDRESS_BLOCKED: ['This address is blocked', `${said} The operator can allow the address again.`],
    USER_LIMIT_REACHED: ['This user has reached the limit', `${said} There are no credentials for this user until the reset, or until the operator raises USER_LIMIT_GB.`],
  };
  /** @type {Record<number, string[]>} */
  const byStatus = {
    0: ['The broker does not answer', 'No response in time. Check that the broker runs and that this network can reach it.'],
    403: ['The broker rejects this page', `${said}. Open the check at the broker’s own address.`],
    429: body?.code === 'BUDGET_EXHAUSTED'
      ? ['The budget has no room', `${said} The operator can raise the limit.`]
      : ['Too many requests from this address', `${said}. Wait${body?.retryAfter ? ` ${body.retryAfter} s` : ' a few minutes'} and check again.`],
  };
  const [title, text] = byCode[body?.code ?? ''] ?? byStatus[status] ?? [`The broker answered ${status}`, `${said ? `${said} ` : ''}See the broker’s log${body?.requestId ? ` for request ${body.requestId}` : ''}.`];
  return finding('bad', title, text);
}

/** @type {Record<NonNullable<Credentials['reason']>, string>} */
const REASONS = {
  NOT_CONFIGURED: 'No TURN source is configured. Set the key of the provider, or COTURN_URLS and COTURN_SECRET.',
  DISABLED: 'Minting is stopped by TURN_ENABLED or by the operator.',
  PROVIDER_UNAVAILABLE: 'A TURN provider did not mint, or the relay fails the broker’s probes. See the broker’s log.',
  BUDGET_EXHAUSTED: 'The bandwidth budget is spent.',
  LEDGER_UNAVAILABLE: 'The broker cannot write its ledger. Check the disk of STATE_DIR.',
};

/** @param {Body} body */
const onlyStun = (body) => finding('bad', 'Only STUN: no relay was offered',
  `Calls that need a relay will fail. ${(body.reason && REASONS[body.reason]) ?? (body.source === 'stun' ? 'ICE_SOURCES begins with stun.' : '')}`.trim());

/** @param {Body} body */
const degraded = (body) => finding('warn', `The response is degraded (${body.reason})`, `It came from ${body.source}. ${(body.reason && REASONS[body.reason]) ?? ''}`.trim());

/** Which transports reach the relay. @param {Attempt[]} turn @param {Attempt[]} stun */
function relayFindings(turn, stun) {
  const good = turn.filter(works);
  if (!good.length) return [noRelay(turn, stun)];
  /** @param {Attempt['transport'][]} names */
  const over = (names) => turn.filter(({ transport }) => names.includes(transport));
  const [udp, tcp, tls] = [over(['udp', 'dtls']), over(['tcp']), over(['tls'])];
  const through = (/** @type {Attempt[]} */ list) => list.some(works);
  const fails = (/** @type {Attempt[]} */ list) => list.length > 0 && !through(list);
  const first = Math.min(...good.flatMap((attempt) => attempt.candidates.find(({ type }) => type === 'relay')?.ms ?? []));
  const found = [];
  const instead = `Calls work over ${through(tcp) ? 'TCP' : 'TLS'}, with more delay, and suffer more from packet loss.`;
  if (fails(udp) && !udp.every(isSilent)) {
    found.push(finding('warn', 'The relay does not work over UDP', `${udp.map(describe).join('; ')}. ${instead}`));
  } else if (fails(udp) && fails(tcp) && tcp.every(isSilent)) {
    found.push(finding('warn', 'Only TLS gets through', 'A strict firewall or proxy blocks UDP and plain TCP to the relay. Calls work over TLS, with more delay.'));
  } else if (fails(udp)) {
    found.push(finding('warn', 'UDP to the relay is blocked', instead));
  } else if (through(udp)) {
    found.push(finding('good', 'The relay works over UDP', `A message came through, so calls work. The first relayed address came after ${first} ms.`));
  } else {
    found.push(finding('warn', 'The relay works, without UDP', `No UDP server was offered. A message came through, so calls work, with more delay. The first relayed address came after ${first} ms.`));
  }
  if (good.some(({ reach }) => reach === 'only clients') && !good.some(({ reach }) => reach === 'any')) {
    found.push(finding('warn', 'Only clients of the relay reach each other', `A message from this browser’s own address did not come through, so calls fail if only one end uses the relay. ${OPEN}`));
  }
  if (fails(tls)) found.push(finding('warn', 'TLS to the relay fails', 'Calls fail on networks that allow only TLS. Check the certificate and the port of the turns: server.'));
  if (fails(tcp) && !fails(udp)) found.push(finding('warn', 'TCP to the relay fails', 'Calls over plain TCP fail on networks that block UDP.'));
  return [...found, ...mixedFindings(turn, good)];
}

/**
 * Servers that fail while others over the same transport work. Firewalls block ports, so a server is called broken only if
 * another one on the same port works.
 * @param {Attempt[]} turn @param {Attempt[]} good
 */
function mixedFindings(turn, good) {
  const mixed = turn.filter((attempt) => !works(attempt) && good.some(({ transport }) => transport === attempt.transport));
  /** @param {Attempt} attempt */
  const isBroken = (attempt) => !isUnanswered(attempt) || good.some((one) => one.transport === attempt.transport && portOf(one) === portOf(attempt));
  const [broken, closed] = [mixed.filter(isBroken), mixed.filter((attempt) => !isBroken(attempt))];
  const [subject, it] = broken.length === 1 ? ['One server does', 'it'] : [`${broken.length} servers do`, 'them'];
  return [
    ...(broken.length ? [finding('warn', `${subject} not work`, `${broken.map(describe).join('; ')}. The network is not the cause, since other servers work over the same transport. Fix ${it}, or remove ${it} from the list.`)] : []),
    ...(closed.length ? [finding('warn', 'Some ports do not work', `${closed.map(describe).join('; ')}. Other ports work over the same transport, so calls work. Either this network blocks these ports, or the relay does not listen on them. Keep them in the list if they work from another network.`)] : []),
  ];
}

/** @param {Attempt} attempt */
const describe = (attempt) => `${attempt.url} (${outcome(attempt).word})`;

const OPEN = 'Open the relay’s UDP ports in its firewall (coturn: min-port to max-port), and check the peers that it denies (denied-peer-ip) and its public address (external-ip).';

/** @param {Attempt[]} turn @param {Attempt[]} stun */
function noRelay(turn, stun) {
  if (turn.some(isBarred)) return finding('bad', 'Nothing comes through the relay', `It makes allocations, but no message came through one, so calls fail. ${OPEN}`);
  if (turn.some(isRefused)) {
    return finding('bad', 'The relay rejects the credentials', 'Check that its secret is the broker’s COTURN_SECRET, that its realm is right, and that both clocks agree. Credentials of another key are also rejected.');
  }
  if (turn.some(isFull)) return finding('bad', 'The relay is full', 'It has no room for another allocation. Check its quota per user and its port range.');
  if (turn.every(isUnnamed)) return finding('bad', 'The relay’s name is not found', 'The DNS of this network does not know it. Check the spelling, and that public DNS has the name.');
  if (stun.some(works)) {
    return finding('bad', 'The relay cannot be reached', 'STUN works, so UDP is not blocked in general. The relay is down, or its address or ports are blocked.');
  }
  return finding('bad', 'No server can be reached', 'No server answers over any transport. Either this network blocks them all, or the relay is down. Try another network.');
}

/** @param {Attempt[]} stun @param {Attempt[]} turn */
function stunFindings(stun, turn) {
  if (!stun.length || stun.some(works)) return [];
  if (stun.every((attempt) => outcome(attempt).word === 'no new address')) return [];
  const fewer = 'More calls need the relay, which costs bandwidth.';
  if (stun.every(isUnnamed)) return [finding('warn', 'The STUN server’s name is not found', `The DNS of this network does not know it. ${fewer}`)];
  const passes = turn.some((attempt) => isReached(attempt) && attempt.transport === 'udp');
  if (passes || !stun.every(isSilent)) return [finding('warn', 'STUN does not answer', fewer)];
  const need = turn.length && !turn.some(works) ? '' : ': all calls need the relay over TCP or TLS';
  return [finding('warn', 'STUN does not answer', `UDP seems to be blocked${need}.`)];
}
