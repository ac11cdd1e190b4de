// The demo page: two ends of a call, and the broker's figures once a second. The operator's token comes in the URL after the
// `#`. The page removes it from the URL at once and keeps it in this tab.
import { createTurnClient } from '../turn-client.js';
import { Fault, ask, post, token } from '../dashboard/broker.js';
import { Call, Refused } from './call.js';
import { $, choice, element, mark, put } from './page.js';
import { BudgetPlot } from './plot.js';
import { sceneTrack } from './scene.js';
import { counted, credentials, figures, known, mb, phaseMark, rejectionReason, story, whyCut } from './words.js';

const POLL_SECONDS = 1;
/** A connected call is over if it receives nothing for this time. */
const SILENCE_SECONDS = 3;
/** The shown rate is averaged over this time. */
const RATE_SECONDS = 5;
const RAISE_GB = 0.25;
const LEAVE_BYTES = 10e6;
const MB = 1e6;
const SAMPLES_MAX = 30;
const GB = 1e9;
const EVENTS_MAX = 40;

/**
 * @typedef {import('./api.d.ts').OverviewBody} Overview
 * @typedef {import('./words.js').Why} Why
 * @typedef {import('./words.js').Rejection} Rejection
 */

/** @type {{phase: import('./words.js').Phase, why: Why | null, rejection: Rejection | null}} */
let state = { phase: 'idle', why: null, rejection: null };
/** @type {Call | null} */
let call = null;
/** @type {Overview | null} */
let overview = null;
/** @type {BudgetPlot | null} */
let plot = null;
let mbps = 3.5;
/** @type {MediaStreamTrack | null} */
let camera = null;
/** Bytes that both ends received in earlier calls. */
let receivedBefore = 0;
/** When the last byte arrived, by the page's clock; null before the first. @type {number | null} */
let lastByteAt = null;
let received = 0;
let isRevoked = false;
/** `[time, bytes]` that both ends had received. Page and broker are on one machine and share a clock. @type {[number, number][]} */
let samples = [];
/** The ledger's count before this page received anything. A reload starts the page's count at zero. @type {number | null} */
let countedBefore = null;
/** `[time, used]`, for the rate. @type {[number, number][]} */
let latest = [];
const startedAt = Date.now();
const scenes = [sceneTrack('Ann', 212), sceneTrack('Ben', 22)];

/** Adds an event to the list, and to the chart if it has a short name. @param {string} text @param {string} short */
function log(text, short) {
  const when = new Date(Date.now() - startedAt).toISOString().slice(14, 19);
  const time = element('span', { className: 'when', textContent: when });
  $('events').querySelector('li.muted')?.remove();
  $('events').prepend(element('li', {}, time, element('span', { textContent: text })));
  while ($('events').children.length > EVENTS_MAX) $('events').lastElementChild?.remove();
  if (short && overview) plot?.mark(new Date(overview.at), short);
}

/** @returns {[import('../turn-client.js').TurnClient, () => import('../turn-client.js').TurnClientError | null]} */
function makeClient() {
  /** @type {import('../turn-client.js').TurnClientError | null} */
  let fault = null;
  const client = createTurnClient({ storage: null, onError: (error) => {
    fault = error;
  } });
  return [client, () => fault];
}

async function start() {
  enter('starting');
  const seats = [{ track: camera ?? scenes[0], video: $('at-ann', HTMLVideoElement) }, { track: scenes[1], video: $('at-ben', HTMLVideoElement) }];
  lastByteAt = null;
  isRevoked = false;
  try {
    call = await Call.begin(makeClient, seats, mbps, ({ name }) => log(`${name} has new credentials. The old ones expire within half a minute.`, name === 'Ann' ? 'renewed' : ''));
    log('Two credentials were minted, one for each end.', 'call');
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    log(`No credential: ${rejectionReason(error.code)}.`, 'rejected');
    await refresh();
    enter('rejected', { rejection: error });
  }
}

async function hangUp() {
  await leaveCall();
  log('Hung up.', 'end');
  enter('over');
}

async function leaveCall() {
  keepPictures();
  const over = call;
  if (!over) return;
  call = null;
  await over.end();
  showKept();
  receivedBefore += over.received;
  received = 0;
  remember();
}

function remember() {
  samples = [...samples, /** @type {[number, number]} */ ([Date.now(), receivedBefore + received])].slice(-SAMPLES_MAX);
}

/** Keeps the last picture as the poster, since an ended track shows black. */
function keepPictures() {
  for (const video of document.querySelectorAll('video')) {
    if (!video.videoWidth) continue;
    const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext('2d')?.drawImage(video, 0, 0);
    video.poster = canvas.toDataURL('image/jpeg', 0.8);
  }
}

/** Shows the posters. */
function showKept() {
  for (const video of document.querySelectorAll('video')) video.srcObject = null;
}

/** The relay gives no reason for the cut, so the page asks the broker. @param {boolean} hasExpired */
async function wasCut(hasExpired) {
  const isSpent = overview?.status.status === 'LIMIT_EXCEEDED';
  const why = whyCut({ isSpent, isRevoked, hasExpired });
  await leaveCall();
  log(`The relay cut the call: ${{ spent: 'the budget is spent', revoked: 'a credential was revoked', expired: 'the credentials expired', lost: 'no packets arrive' }[why]}.`, 'cut');
  const rejection = why === 'spent' ? await rejectionNow() : null;
  if (rejection) log(`No new credentials: ${rejectionReason(rejection.code)}.`, '');
  enter('cut', { why, rejection });
}

async function rejectionNow() {
  const [client, fault] = makeClient();
  await client.iceServers();
  return fault();
}

/**
 * @param {import('./words.js').Phase} phase
 * @param {{why?: Why | null, rejection?: Rejection | null}} [more]
 */
function enter(phase, { why = null, rejection = null } = {}) {
  state = { phase, why, rejection };
  const isOn = phase === 'starting' || phase === 'running';
  put('start', isOn ? 'Hang up' : phase === 'idle' ? 'Start the call' : 'Start again');
  $('start').classList.toggle('main', !isOn);
  $('start', HTMLButtonElement).disabled = phase === 'starting' && call === null;
  $('revoke', HTMLButtonElement).disabled = phase !== 'running';
  for (const screen of document.querySelectorAll('.screen')) {
    screen.classList.toggle('is-still', phase !== 'running');
    screen.querySelector('.cut')?.toggleAttribute('hidden', phase !== 'cut');
  }
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
  const hadCall = call !== null;
  const [latestOverview, sample] = await Promise.all([ask('api/overview'), call?.sample()]);
  overview = latestOverview;
  if (countedBefore === null || (!hadCall && receivedBefore + received === 0)) countedBefore = counted(latestOverview);
  plot ??= new BudgetPlot($('plot'));
  plot.add(new Date(latestOverview.at), latestOverview.bytes);
  if (call && sample) await follow(sample);
  show();
}

/** @param {Awaited<ReturnType<Call['sample']>>} sample */
async function follow(sample) {
  const now = performance.now();
  if (sample.received > received) {
    lastByteAt = now;
    received = sample.received;
  }
  remember();
  const isConnected = sample.ends.every(({ state: ice }) => ice === 'connected');
  if (state.phase === 'starting' && isConnected && received > 0) {
    log(`Connected over ${sample.ends[0].path}.`, '');
    enter('running');
  }
  sample.ends.forEach(({ framesPerSecond }, index) => put(`${['ann', 'ben'][index]}-note`, `sees ${['Ben', 'Ann'][index]}, ${framesPerSecond} frames/s`));
  put('path', sample.ends.map(({ path }) => path).join(' ⇄ '));
  const isSilent = lastByteAt !== null && now - lastByteAt > SILENCE_SECONDS * 1_000;
  const isLost = sample.ends.some(({ state: ice }) => ice === 'failed');
  const hasExpired = (call?.credentials ?? []).some(({ expiresAt }) => expiresAt === null || expiresAt < new Date());
  if (isSilent || isLost) await wasCut(hasExpired);
}

/** @param {Overview} overview */
function rate({ at: now, bytes }) {
  latest = [...latest, /** @type {[number, number]} */ ([Date.parse(now), bytes.used])].filter(([at]) => Date.parse(now) - at <= RATE_SECONDS * 1_000);
  const [[from, first], [to, last]] = [latest[0], latest[latest.length - 1]];
  return to > from ? ((last - first) * 8) / ((to - from) * 1_000) : null;
}

function show() {
  const held = call?.credentials ?? [];
  const ends = held.flatMap(({ expiresAt }) => expiresAt?.getTime() ?? []);
  const secondsLeft = ends.length ? Math.max(0, Math.round((Math.min(...ends) - Date.now()) / 1_000)) : null;
  const now = { ...state, overview, secondsLeft, inUse: held.length };
  const { mark: kind, text } = story(now);
  $('story').className = `note ${kind}`;
  put('story', text);
  mark('phase', phaseMark(now));
  if (!overview) return;
  const words = figures(overview, rate(overview));
  put('used', words.used);
  put('limit', words.limit);
  put('rate', words.rate);
  mark('bound', words.bound);
  put('bound-why', words.boundWhy);
  mark('minting', words.minting);
  const { how, page } = known(overview, samples, countedBefore ?? 0);
  put('known', how);
  put('page-count', page);
  put('credentials', credentials(held, overview.status.grants.live, Date.now()));
  put('freeze', overview.status.frozen ? 'Allow minting again' : 'Stop all minting');
  if (call) return;
  for (const [id, text] of [['path', ''], ['ann-note', 'sees Ben'], ['ben-note', 'sees Ann']]) put(id, text);
}

/** Runs an action on click. An error is shown beside the buttons. @param {string} id @param {() => Promise<void>} action */
const onClick = (id, action) => $(id).addEventListener('click', async () => {
  const button = $(id, HTMLButtonElement);
  button.disabled = true;
  put('action-fault', '');
  try {
    await action();
  } catch (error) {
    put('action-fault', error instanceof Error ? error.message : String(error));
  } finally {
    button.disabled = id === 'revoke' && (state.phase !== 'running' || isRevoked);
  }
});

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

async function revoke() {
  const { connections } = await ask('api/connections');
  const { connectionId } = call?.ends[0].watch ?? {};
  const grant = connections.find((connection) => connection.connectionId === connectionId)?.grant;
  if (!grant) throw new Error('Ann’s connection is not reported yet. Try again in a second.');
  await post(`api/credentials/${grant}/revoke`, {});
  isRevoked = true;
  log('Ann’s credential was revoked.', 'revoked');
}

async function useCamera() {
  if (camera) {
    camera.stop();
    camera = null;
  } else {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
    camera = stream.getVideoTracks()[0];
  }
  $('camera').setAttribute('aria-pressed', String(camera !== null));
  put('camera', camera ? 'Ann: use the test picture' : 'Ann: use my camera');
  await call?.ends[0].sender.replaceTrack(camera ?? scenes[0]);
}

onClick('start', () => (call ? hangUp() : start()));
onClick('camera', useCamera);
onClick('raise', () => setLimit(figuresNow().bytes.limit + RAISE_GB * GB, 'limit raised'));
onClick('leave', () => setLimit(Math.ceil((figuresNow().bytes.used + LEAVE_BYTES) / MB) * MB, '10 MB remain'));
onClick('freeze', async () => {
  const { frozen } = await post('api/budget/freeze', { frozen: !figuresNow().status.frozen });
  log(frozen ? 'Minting is stopped.' : 'Minting is allowed again.', frozen ? 'stopped' : 'allowed');
  await refresh();
});
onClick('revoke', revoke);
choice('mbps', (chosen) => {
  mbps = Number(chosen);
  void call?.limit(mbps);
});
if (!navigator.mediaDevices) $('camera', HTMLButtonElement).disabled = true;

function takeTokenFromUrl() {
  const found = new URLSearchParams(location.hash.slice(1)).get('token');
  if (found === null) return;
  token.set(found);
  history.replaceState(null, '', location.pathname);
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

async function run() {
  for (;;) {
    try {
      await poll();
      $('unavailable').hidden = true;
      document.body.classList.remove('is-stale');
    } catch (error) {
      if (error instanceof Fault) showUnavailable(error);
      else reportError(error); // the next poll may succeed
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_SECONDS * 1_000));
  }
}

addEventListener('hashchange', takeTokenFromUrl);
takeTokenFromUrl();
enter('idle');
void run();
