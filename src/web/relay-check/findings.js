// What the attempts amount to, in plain words: what is blocked, by what, and what to do. Pure.
import { proof } from './gather.js';

/**
 * @typedef {import('./gather.js').Attempt} Attempt
 * @typedef {{mark: 'good' | 'warn' | 'bad', title: string, text: string}} Finding
 * @typedef {{status: number, body: any}} Answer Of the broker; `status` 0 where none came.
 */

const REFUSED = [401, 403, 431, 441];
const FULL = [486, 508];
const UNREACHED = [701, 0];

/** @param {Attempt} attempt */
export const works = (attempt) => attempt.candidates.some(({ type }) => type === proof(attempt));
const hasError = (codes) => ({ errors }) => errors.some(({ code }) => codes.includes(code));
const isRefused = (attempt) => !works(attempt) && hasError(REFUSED)(attempt);
const isUnnamed = ({ errors }) => errors.length > 0 && errors.every(({ text }) => /lookup/i.test(text));
const isFull = (attempt) => !works(attempt) && hasError(FULL)(attempt);
/** A server has spoken, be it to say no. */
const isReached = (attempt) => works(attempt) || attempt.errors.some(({ code }) => code >= 300 && code < 700);
const isSilent = (attempt) => outcome(attempt).word === 'no answer';
const portOf = ({ url }) => Number(/:(\d+)(?=\?|$)/.exec(url)?.[1] ?? (/^(stuns|turns):/i.test(url) ? 5349 : 3478));

/** In a word. @param {Attempt} attempt @returns {{mark: 'good' | 'warn' | 'bad' | 'quiet', word: string}} */
export function outcome(attempt) {
  if (works(attempt)) return { mark: 'good', word: 'works' };
  if (attempt.state === 'running') return { mark: 'quiet', word: 'trying' };
  if (attempt.state === 'unusable') return { mark: 'bad', word: 'not taken by this browser' };
  if (isRefused(attempt)) return { mark: 'bad', word: 'refused' };
  if (isFull(attempt)) return { mark: 'bad', word: 'full' };
  if (isUnnamed(attempt)) return { mark: 'bad', word: 'name not found' };
  if (attempt.kind === 'stun' && !attempt.errors.length && attempt.candidates.length) return { mark: 'warn', word: 'nothing new' };
  return { mark: 'bad', word: attempt.errors.some(({ code }) => !UNREACHED.includes(code)) ? 'failed' : 'no answer' };
}

const finding = (mark, title, text) => ({ mark, title, text });

/** @param {Answer} answer @param {Attempt[]} attempts Ended ones. @returns {Finding[]} */
export function findings(answer, attempts) {
  if (answer.status !== 200) return [refusal(answer)];
  const turn = attempts.filter(({ kind }) => kind === 'turn');
  const stun = attempts.filter(({ kind }) => kind === 'stun');
  return [
    ...(turn.length ? relayFindings(turn, stun) : [onlyStun(answer.body)]),
    ...(turn.length && answer.body.degraded ? [degraded(answer.body)] : []),
    ...stunFindings(stun, turn),
  ];
}

/** The broker gave no ICE servers at all. */
function refusal({ status, body }) {
  const said = [body?.error, body?.message].filter(Boolean).join('. ');
  const known = {
    0: ['The broker does not answer', 'Nothing came back in time. Is it running, and does this network reach it?'],
    403: ['The broker does not take this page', `${said}. Open the check from the broker’s own address.`],
    429: body?.code === 'BUDGET_EXHAUSTED'
      ? ['The budget is spent', `${said} Nothing is minted until the reset, or until the operator raises the limit.`]
      : ['Too many requests from this address', `${said}. Wait${body?.retryAfter ? ` ${body.retryAfter} s` : ' a few minutes'} and check again.`],
  };
  const [title, text] = known[status] ?? [`The broker answered ${status}`, `${said || 'It said no more.'} Its log has the cause${body?.requestId ? ` under ${body.requestId}` : ''}.`];
  return finding('bad', title, text);
}

const REASONS = {
  NOT_CONFIGURED: 'No TURN source is configured: set the key of the provider, or COTURN_URLS and COTURN_SECRET.',
  DISABLED: 'Minting is stopped, by TURN_ENABLED or by the operator.',
  PROVIDER_UNAVAILABLE: 'The TURN provider did not mint: the broker’s log says why.',
  BUDGET_EXHAUSTED: 'The bandwidth budget is spent.',
  LEDGER_UNAVAILABLE: 'The broker’s ledger cannot be written: look at the disk under STATE_DIR.',
};

const onlyStun = (body) => finding('bad', 'Only STUN: no relay was offered',
  `Calls between strict networks will fail. ${REASONS[body.reason] ?? (body.source === 'stun' ? 'ICE_SOURCES names nothing before stun.' : '')}`.trim());

const degraded = (body) => finding('warn', `The answer is degraded (${body.reason})`, `It came from ${body.source}. ${REASONS[body.reason] ?? ''}`.trim());

/** What of the relay gets through. */
function relayFindings(turn, stun) {
  const good = turn.filter(works);
  if (!good.length) return [noRelay(turn, stun)];
  const over = (names) => turn.filter(({ transport }) => names.includes(transport));
  const [udp, tcp, tls] = [over(['udp', 'dtls']), over(['tcp']), over(['tls'])];
  const through = (list) => list.some(works);
  const fails = (list) => list.length > 0 && !through(list);
  const first = Math.min(...good.map((attempt) => attempt.candidates.find(({ type }) => type === 'relay').ms));
  const found = [];
  if (fails(udp) && fails(tcp)) {
    found.push(finding('warn', 'Only TLS gets through', `UDP and plain TCP to the relay are blocked: a strict firewall or proxy. Calls work over TLS, with more delay.`));
  } else if (fails(udp)) {
    found.push(finding('warn', 'UDP to the relay is blocked', `Calls work over ${through(tcp) ? 'TCP' : 'TLS'}: with more delay, and worse when packets are lost.`));
  } else if (through(udp)) {
    found.push(finding('good', 'The relay works over UDP', `Calls get through. The first relayed address came after ${first} ms.`));
  } else {
    found.push(finding('warn', 'The relay works, without UDP', `No server over UDP was offered. Calls get through with more delay; the first relayed address came after ${first} ms.`));
  }
  if (fails(tls)) found.push(finding('warn', 'TLS to the relay fails', 'Networks that let only TLS through will have no calls. Look at the certificate and the port of the turns: server.'));
  if (fails(tcp) && !fails(udp)) found.push(finding('warn', 'TCP to the relay fails', 'Networks that block UDP will have no calls over it.'));
  return [...found, ...mixedFindings(turn, good)];
}

/** Of those that fail while others over the same transport work. A firewall goes by ports, so only the same port clears the network. */
function mixedFindings(turn, good) {
  const mixed = turn.filter((attempt) => !works(attempt) && good.some(({ transport }) => transport === attempt.transport));
  const isDead = (attempt) => !isSilent(attempt) || good.some((one) => one.transport === attempt.transport && portOf(one) === portOf(attempt));
  const [dead, closed] = [mixed.filter(isDead), mixed.filter((attempt) => !isDead(attempt))];
  const [one, it] = dead.length === 1 ? ['One server is', 'it'] : [`${dead.length} servers are`, 'them'];
  return [
    ...(dead.length ? [finding('warn', `${one} dead`, `${dead.map(describe).join('; ')}. Others over the same transport work, so this is not the network: take ${it} out of the list, or mend ${it}.`)] : []),
    ...(closed.length ? [finding('warn', 'Not every port gets through', `${closed.map(describe).join('; ')}. Other ports work over the same transport: this network blocks these, as strict ones do, or the relay does not listen there. Calls get through all the same. If they work from another network, leave them in the list.`)] : []),
  ];
}

const describe = (attempt) => `${attempt.url} (${outcome(attempt).word})`;

function noRelay(turn, stun) {
  if (turn.some(isRefused)) {
    return finding('bad', 'The relay refuses the credentials', 'It is reached, and says no. Is its secret the same as the broker’s (COTURN_SECRET), its realm right, and do both clocks agree? A credential for another key is refused, too.');
  }
  if (turn.some(isFull)) return finding('bad', 'The relay is full', 'It has no room for another allocation: a quota for each user, or its ports.');
  if (turn.every(isUnnamed)) return finding('bad', 'The relay’s name is not found', 'This network’s DNS does not know it. Is it spelt right, and is it known outside of your own network?');
  if (stun.some(works)) {
    return finding('bad', 'The relay is not reached', 'STUN gets through, so UDP is not blocked as such. The relay is down, or its address or ports are blocked.');
  }
  return finding('bad', 'Nothing gets through', 'No server answers over any transport. UDP is blocked and TCP and TLS do not reach the relay either, or the relay is down: try another network to tell which.');
}

function stunFindings(stun, turn) {
  if (!stun.length || stun.some(works)) return [];
  if (stun.every((attempt) => outcome(attempt).word === 'nothing new')) return [];
  const fewer = 'Direct calls find fewer ways, so more of them are relayed and cost bandwidth.';
  if (stun.every(isUnnamed)) return [finding('warn', 'The STUN server’s name is not found', `This network’s DNS does not know it. ${fewer}`)];
  if (turn.some((attempt) => isReached(attempt) && attempt.transport === 'udp')) return [finding('warn', 'STUN does not answer', fewer)];
  const need = turn.length && !turn.some(works) ? '' : ': all calls need the relay over TCP or TLS';
  return [finding('warn', 'STUN does not answer', `UDP seems to be blocked${need}.`)];
}
