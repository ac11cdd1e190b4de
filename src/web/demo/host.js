// The first window: one end of the call, and the broker's figures once a second, read with the operator's token.
import { Fault, ask, post } from '../dashboard/broker.js';
import { NO_RELAY } from './call.js';
import { $, element, load, mark, put } from './page.js';
import { BudgetPlot } from './plot.js';
import { Stage, onClick } from './stage.js';
import { callWords, counted, credentials, figures, isDue, known, mb, obstacle, phaseMark, rejectionReason, story, whyCut, worst } from './words.js';

const POLL_SECONDS = 1;
/** Between two samples of the browser's statistics. What is sent after a cut counts for at most this long. */
const SAMPLE_SECONDS = 0.25;
/** A connected call is over if it receives nothing for this time. */
const SILENCE_SECONDS = 3;
/** The shown rate is averaged over this time. */
const RATE_SECONDS = 5;
const RAISE_GB = 0.25;
const LEAVE_BYTES = 10e6;
const MB = 1e6;
const SAMPLES_MAX = 120;
const GB = 1e9;
const EVENTS_MAX = 40;
const SECOND_WINDOW = 'popup,noopener,width=560,height=700';

/**
 * @typedef {import('./api.d.ts').Schemas['OverviewBody']} Overview
 * @typedef {import('./api.d.ts').Schemas['LiveCallBody']} LiveCall
 * @typedef {import('./words.js').Phase} Phase
 * @typedef {import('./words.js').Why} Why
 * @typedef {import('./words.js').Rejection} Rejection
 */

/** @type {{phase: Phase, why: Why | null, rejection: Rejection | null}} */
let state = { phase: 'idle', why: null, rejection: null };
/** @type {Stage} */
let stage;
let room = '';
/** @type {import('./call.js').Call | null} */
let call = null;
/** @type {Overview | null} */
let overview = null;
/** The room at the broker, with the figures of its last call. @type {LiveCall | null} */
let live = null;
/** The credentials of those who are in the room. @type {{name: string, expiresAt: Date}[]} */
let held = [];
/** @type {BudgetPlot | null} */
let plot = null;
/** Bytes that this window received and sent in earlier calls, and in this one. */
let movedBefore = 0;
let moved = 0;
let received = 0;
/** When the last byte arrived, by the page's clock; null before the first. @type {number | null} */
let lastByteAt = null;
let isRevoked = false;
/** `[time, bytes]` that were received and sent. Page and broker are on one machine and share a clock. @type {[number, number][]} */
let samples = [];
/** The ledger's count before this page received anything. A reload starts the page's count at zero. @type {number | null} */
let countedBefore = null;
/** `[time, used]`, for the rate. @type {[number, number][]} */
let latest = [];
const startedAt = Date.now();

/** Adds an event to the list, and to the chart if it has a short name. @param {string} text @param {string} short */
function log(text, short) {
  const when = new Date(Date.now() - startedAt).toISOString().slice(14, 19);
  const time = element('span', { className: 'when', textContent: when });
  $('events').querySelector('li.muted')?.remove();
  $('events').prepend(element('li', {}, time, element('span', { textContent: text })));
  while ($('events').children.length > EVENTS_MAX) $('events').lastElementChild?.remove();
  if (short && overview) plot?.mark(new Date(overview.at), short);
}

function join() {
  lastByteAt = null;
  isRevoked = false;
  received = 0;
  enter('starting');
  call = stage.join(room, (changed) => {
    if (changed === call) void follow(changed);
  });
}

/** Follows the states of the call. @param {import('./call.js').Call} changed */
async function follow(changed) {
  if (changed.state === 'waiting') return enter('waiting');
  if (changed.state === 'connecting') {
    log('Both are in the room, each with a credential.', 'call');
    return enter('starting');
  }
  if (changed.state !== 'ended') return;
  if (changed.why === NO_RELAY || changed.why === 'full') {
    close();
    const rejection = changed.why === 'full' ? { code: 'full', message: '' } : await rejectionNow();
    log(`No call: ${rejectionReason(rejection.code)}.`, 'rejected');
    await refresh();
    return enter('rejected', { rejection });
  }
  if (isRevoked || overview?.status.status === 'LIMIT_EXCEEDED') return wasCut();
  close();
  log('The room has ended.', 'end');
  enter('left');
}

async function leave() {
  const over = call;
  call = null;
  await over?.leave();
  close(over);
}

/** Counts what an ended call moved. @param {import('./call.js').Call | null} over */
function close(over = call) {
  call = null;
  stage.keep();
  if (!over) return;
  take(over.last);
  movedBefore += moved;
  moved = 0;
  remember();
}

/** What is sent while nothing arrives does not get through. @param {import('./call.js').Call['last']} sample @returns {boolean} Whether something has arrived. */
function take(sample) {
  if (sample.received <= received) return false;
  received = sample.received;
  moved = sample.received + sample.sent;
  return true;
}

async function hangUp() {
  await leave();
  log('Hung up.', 'end');
  enter('over');
}

/** Ayame has no message for a new credential, so both join again before the first one expires. */
async function joinAgain() {
  await leave();
  log('The credentials were about to expire. Both join again and get new ones.', 'renewed');
  join();
}

/** The relay gives no reason for the cut, so the page asks the broker. */
async function wasCut() {
  const hasExpired = held.some(({ expiresAt }) => expiresAt < new Date());
  const why = whyCut({ isSpent: overview?.status.status === 'LIMIT_EXCEEDED', isRevoked, hasExpired });
  await leave();
  log(`The relay cut the call: ${{ spent: 'the budget is spent', revoked: 'a credential was revoked', expired: 'the credentials expired', lost: 'no packets arrive' }[why]}.`, 'cut');
  const rejection = why === 'spent' ? await rejectionNow() : null;
  if (rejection) log(`No new credentials: ${rejectionReason(rejection.code)}.`, '');
  enter('cut', { why, rejection });
}

/** Why a mint fails now. The signaling gives no reason, since a call never fails for want of a relay. @returns {Promise<Rejection>} */
async function rejectionNow() {
  try {
    const body = await (await load('api/turn-credentials')).json();
    return { code: body.code ?? body.reason ?? null, message: body.message ?? body.error ?? '' };
  } catch {
    return { code: 'NETWORK', message: 'no answer' };
  }
}

function remember() {
  samples = [...samples, /** @type {[number, number]} */ ([Date.now(), movedBefore + moved])].slice(-SAMPLES_MAX);
}

/** @param {Phase} phase @param {{why?: Why | null, rejection?: Rejection | null}} [more] */
function enter(phase, { why = null, rejection = null } = {}) {
  state = { phase, why, rejection };
  const isOn = call !== null || phase === 'starting';
  put('start', isOn ? 'Hang up' : 'Start again');
  $('start').hidden = phase === 'idle';
  $('start').classList.toggle('main', !isOn);
  $('second').classList.toggle('main', phase === 'idle' || phase === 'waiting');
  stage.light(phase === 'running', phase === 'cut');
  show();
}

/** After an action or a rejection, the page must not show older figures. */
async function refresh() {
  try {
    overview = await ask('api/overview');
    show();
  } catch (error) {
    if (!(error instanceof Fault)) throw error; // the next poll reports it
  }
}

async function poll() {
  const [latestOverview, { calls }, { grants }] = await Promise.all([
    ask('api/overview'), ask('api/calls-live'), ask(`api/grants?call=${encodeURIComponent(`ayame/${room}`)}&live=true`),
  ]);
  overview = latestOverview;
  const found = calls.find((one) => one.room === room);
  live = found ?? live;
  held = grants.filter(({ revokedAt }) => revokedAt === null).map(({ id, expiresAt }) => ({ name: id === call?.credential?.grant ? stage.me : stage.other, expiresAt: new Date(expiresAt) }));
  if (countedBefore === null || (call === null && movedBefore + moved === 0)) countedBefore = counted(latestOverview);
  plot ??= new BudgetPlot($('plot'));
  plot.add(new Date(latestOverview.at), { ...latestOverview.bytes, committed: worst(latestOverview) });
  if (call && obstacle(latestOverview) === null && isDue(held, new Date(latestOverview.at))) await joinAgain();
  // Someone has opened the address of this page elsewhere.
  if (state.phase === 'idle' && found) join();
  show();
}

/** Looks at the call. */
async function look() {
  const watched = call;
  const sample = await watched?.sample();
  if (!sample || watched !== call) return;
  const now = performance.now();
  if (take(sample)) lastByteAt = now;
  remember();
  if (state.phase === 'starting' && watched?.state === 'connected' && received > 0) {
    log(`Connected over ${sample.path}.`, '');
    enter('running');
  }
  if (state.phase === 'running') stage.showCounts();
  const isSilent = lastByteAt !== null && now - lastByteAt > SILENCE_SECONDS * 1_000;
  if (isSilent || sample.isLost) await wasCut();
}

/** @param {Overview} overview */
function rate({ at: now, bytes }) {
  latest = [...latest, /** @type {[number, number]} */ ([Date.parse(now), bytes.used])].filter(([at]) => Date.parse(now) - at <= RATE_SECONDS * 1_000);
  const [[from, first], [to, last]] = [latest[0], latest[latest.length - 1]];
  return to > from ? ((last - first) * 8) / ((to - from) * 1_000) : null;
}

function show() {
  const ends = held.map(({ expiresAt }) => expiresAt.getTime());
  const secondsLeft = ends.length ? Math.max(0, Math.round((Math.min(...ends) - Date.now()) / 1_000)) : null;
  const { mark: kind, text } = story({ ...state, overview, secondsLeft, inUse: held.length });
  $('story').className = `note ${kind}`;
  put('story', text);
  mark('phase', phaseMark({ ...state, overview }));
  $('revoke', HTMLButtonElement).disabled = cannotRevoke();
  if (!overview) return;
  const words = figures(overview, rate(overview));
  put('used', words.used);
  put('limit', words.limit);
  mark('worst', words.worst);
  put('rate', words.rate);
  put('call-cost', callWords(live?.bytes ?? null, overview));
  put('bound-of', words.boundOf);
  put('bound', words.bound);
  put('bound-why', words.boundWhy);
  mark('minting', words.minting);
  const { how, page } = known(overview, samples, countedBefore ?? 0);
  put('known', how);
  put('page-count', page);
  put('credentials', credentials(held, overview.status.grants.live, Date.now()));
  put('freeze', overview.status.frozen ? 'Allow minting again' : 'Stop all minting');
}

/** The latest figures, for an action that depends on them. */
function figuresNow() {
  if (!overview) throw new Error('The page has no figures yet. Try again in a second.');
  return overview;
}

/** @param {number} bytes @param {string} short */
async function setLimit(bytes, short) {
  const { bandwidthLimitGB } = await post('api/budget/limit', { limitGB: bytes / GB });
  log(`The limit is now ${mb(bandwidthLimitGB * GB)} MB.`, short);
  await refresh();
}

const cannotRevoke = () => state.phase !== 'running' || isRevoked;

async function revoke() {
  await post(`api/credentials/${call?.credential?.grant ?? ''}/revoke`, {});
  isRevoked = true;
  log('Ann’s credential was revoked.', 'revoked');
}

async function freeze() {
  const { frozen } = await post('api/budget/freeze', { frozen: !figuresNow().status.frozen });
  log(frozen ? 'Minting is stopped.' : 'Minting is allowed again.', frozen ? 'stopped' : 'allowed');
  await refresh();
}

async function openSecond() {
  window.open(location.href, '_blank', SECOND_WINDOW);
  if (!call) join();
}

/** @param {Fault} error */
function showUnavailable(error) {
  const isWrongToken = error.status === 401 || error.status === 404;
  put('unavailable', isWrongToken
    ? 'This page does not have the token of the running demo. Open the address that the terminal shows.'
    : `The demo does not answer (${error.message}). Start it again with turn-broker demo, and open the address that it shows.`);
  $('unavailable').hidden = false;
  document.body.classList.add('is-stale');
}

async function pollOnce() {
  try {
    await poll();
    $('unavailable').hidden = true;
    document.body.classList.remove('is-stale');
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    showUnavailable(error);
  }
}

/** Does it again and again. The next time may succeed. @param {number} seconds Between two times. @param {() => Promise<void>} does */
async function repeat(seconds, does) {
  for (;;) {
    await does().catch(reportError);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  }
}

/** @param {string} name Of the room. */
export function beHost(name) {
  room = name;
  stage = new Stage('Ann', 'Ben', 212);
  $('link', HTMLAnchorElement).href = location.href;
  onClick('second', openSecond);
  onClick('start', async () => (call ? hangUp() : join()));
  onClick('raise', () => setLimit(figuresNow().bytes.limit + RAISE_GB * GB, 'limit raised'));
  onClick('leave', () => setLimit(Math.ceil((figuresNow().bytes.used + LEAVE_BYTES) / MB) * MB, '10 MB remain'));
  onClick('freeze', freeze);
  onClick('revoke', revoke, cannotRevoke);
  enter('idle');
  void repeat(POLL_SECONDS, pollOnce);
  void repeat(SAMPLE_SECONDS, look);
}
