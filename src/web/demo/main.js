// The demo's page: two ends of a call, and once a second what the broker says about it. The operator's token comes in the
// address behind the `#`, is taken out of it at once, and stays in this tab.
import { createTurnClient } from '../turn-client.js';
import { Fault, ask, token } from '../dashboard/broker.js';
import { Call, Refused } from './call.js';
import { $, choice, element, mark, put } from './page.js';
import { BudgetPlot } from './plot.js';
import { sceneTrack } from './scene.js';
import { counted, credentials, figures, known, mb, phaseMark, refusedBecause, story, whyCut } from './words.js';

const TURN_SECONDS = 1;
/** Without a byte for so long, a call that had some is over. */
const SILENCE_SECONDS = 3;
/** The rate that is shown is over so many seconds. */
const RATE_SECONDS = 5;
const RAISE_GB = 0.25;
const LEAVE_BYTES = 10e6;
const MB = 1e6;
/** Of its own counts the page remembers so many. */
const LOOKS_MAX = 30;
const GB = 1e9;
const EVENTS_MAX = 40;

/** @type {{phase: import('./words.js').Phase, why: import('./words.js').Why | null, refusal: object | null}} */
let state = { phase: 'idle', why: null, refusal: null };
/** @type {Call | null} */
let call = null;
let overview = null;
let plot = null;
let mbps = 3.5;
let camera = null;
/** Received by both ends in calls that are over. */
let receivedBefore = 0;
/** When a byte came last, by the page's clock; null before the first. */
let heardAt = null;
let received = 0;
let isRevoked = false;
/** What both ends had received, by the page's clock, which is that of the broker on one machine. @type {[number, number][]} */
let looks = [];
/** What the ledger had counted before this page received anything. A page that is loaded again has begun its sum anew. */
let countedBefore = null;
/** For the rate: `[instant, used]`. @type {[number, number][]} */
let latest = [];
const begun = Date.now();
const scenes = [sceneTrack('Ann', 212), sceneTrack('Ben', 22)];

function tell(text, short) {
  const now = new Date();
  const when = new Date(now - begun).toISOString().slice(14, 19);
  const time = element('span', { className: 'when', textContent: when });
  $('events').querySelector('li.muted')?.remove();
  $('events').prepend(element('li', {}, time, element('span', { textContent: text })));
  while ($('events').children.length > EVENTS_MAX) $('events').lastChild.remove();
  if (short && overview) plot?.mark(new Date(overview.at), short);
}

function makeClient() {
  let fault = null;
  const client = createTurnClient({ storage: null, onError: (error) => {
    fault = error;
  } });
  return [client, () => fault];
}

async function start() {
  enter('starting');
  const seats = [{ track: camera ?? scenes[0], video: $('at-ann') }, { track: scenes[1], video: $('at-ben') }];
  heardAt = null;
  isRevoked = false;
  try {
    call = await Call.begin(makeClient, seats, mbps, ({ name }) => tell(`${name} has new credentials: the old ones end within half a minute.`, name === 'Ann' ? 'renewed' : ''));
    tell('Two credentials are minted, one for each end.', 'call');
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell(`No credential: ${refusedBecause(error.code)}.`, 'refused');
    await lookAgain();
    enter('refused', { refusal: error });
  }
}

async function hangUp() {
  await leaveCall();
  tell('Hung up.', 'end');
  enter('over');
}

async function leaveCall() {
  keepPictures();
  const over = call;
  call = null;
  await over.end();
  showKept();
  receivedBefore += over.received;
  received = 0;
  remember();
}

function remember() {
  looks = [...looks, [Date.now(), receivedBefore + received]].slice(-LOOKS_MAX);
}

/** The last picture stays; the one of a track that has ended would be black. */
function keepPictures() {
  for (const video of document.querySelectorAll('video')) {
    if (!video.videoWidth) continue;
    const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext('2d').drawImage(video, 0, 0);
    video.poster = canvas.toDataURL('image/jpeg', 0.8);
  }
}

/** Shows what was kept. */
function showKept() {
  for (const video of document.querySelectorAll('video')) video.srcObject = null;
}

/** The relay does not say why; the broker does. */
async function wasCut(hasExpired) {
  const isSpent = overview.status.status === 'LIMIT_EXCEEDED';
  const why = whyCut({ isSpent, isRevoked, hasExpired });
  await leaveCall();
  tell(`The relay has cut the call: ${{ spent: 'the budget is spent', revoked: 'a credential was revoked', expired: 'the credentials have ended', lost: 'no more packets arrive' }[why]}.`, 'cut');
  const refusal = why === 'spent' ? await refusalNow() : null;
  if (refusal) tell(`New credentials are refused: ${refusedBecause(refusal.code)}.`, '');
  enter('cut', { why, refusal });
}

async function refusalNow() {
  const [client, fault] = makeClient();
  await client.iceServers();
  return fault();
}

function enter(phase, { why = null, refusal = null } = {}) {
  state = { phase, why, refusal };
  const isOn = phase === 'starting' || phase === 'running';
  put('start', isOn ? 'Hang up' : phase === 'idle' ? 'Start the call' : 'Start again');
  $('start').classList.toggle('main', !isOn);
  $('start').disabled = phase === 'starting' && call === null;
  $('revoke').disabled = phase !== 'running';
  for (const screen of document.querySelectorAll('.screen')) {
    screen.classList.toggle('is-still', phase !== 'running');
    screen.querySelector('.cut').hidden = phase !== 'cut';
  }
  show();
}

/** Nothing that is said after an order, or after a refusal, is to rest on what was known before it. */
async function lookAgain() {
  try {
    overview = await ask('api/overview');
    show();
  } catch (error) {
    if (!(error instanceof Fault)) throw error; // the next turn tells it
  }
}

async function turn() {
  const hadCall = call !== null;
  const [latestOverview, look] = await Promise.all([ask('api/overview'), call?.look()]);
  overview = latestOverview;
  if (countedBefore === null || (!hadCall && receivedBefore + received === 0)) countedBefore = counted(overview);
  plot ??= new BudgetPlot($('plot'));
  plot.add(new Date(overview.at), overview.bytes);
  if (call && look) await listen(look);
  show();
}

/** @param {Awaited<ReturnType<Call['look']>>} look */
async function listen(look) {
  const now = performance.now();
  if (look.received > received) {
    heardAt = now;
    received = look.received;
  }
  remember();
  const isConnected = look.ends.every(({ state: ice }) => ice === 'connected');
  if (state.phase === 'starting' && isConnected && received > 0) {
    tell(`Connected, by ${look.ends[0].path}.`, '');
    enter('running');
  }
  look.ends.forEach(({ framesPerSecond }, index) => put(`${['ann', 'ben'][index]}-note`, `sees ${['Ben', 'Ann'][index]}, ${framesPerSecond} frames/s`));
  put('path', look.ends.map(({ path }) => path).join(' ⇄ '));
  const isSilent = heardAt !== null && now - heardAt > SILENCE_SECONDS * 1_000;
  const isLost = look.ends.some(({ state: ice }) => ice === 'failed');
  const hasExpired = call.credentials.some(({ expiresAt }) => expiresAt === null || expiresAt < new Date());
  if (isSilent || isLost) await wasCut(hasExpired);
}

function rate() {
  latest = [...latest, [Date.parse(overview.at), overview.bytes.used]].filter(([at]) => Date.parse(overview.at) - at <= RATE_SECONDS * 1_000);
  const [[from, first], [to, last]] = [latest[0], latest.at(-1)];
  return to > from ? ((last - first) * 8) / ((to - from) * 1_000) : null;
}

function show() {
  const held = call?.credentials ?? [];
  const ends = held.map(({ expiresAt }) => expiresAt).filter(Boolean);
  const secondsLeft = ends.length ? Math.max(0, Math.round((Math.min(...ends) - Date.now()) / 1_000)) : null;
  const now = { ...state, overview, secondsLeft, inUse: held.length };
  const { mark: kind, text } = story(now);
  $('story').className = `note ${kind}`;
  put('story', text);
  mark('phase', phaseMark(now));
  if (!overview) return;
  const words = figures(overview, rate());
  for (const name of ['used', 'limit', 'rate']) put(name, words[name]);
  mark('bound', words.bound);
  put('bound-why', words.boundWhy);
  mark('minting', words.minting);
  const { how, page } = known(overview, looks, countedBefore ?? 0);
  put('known', how);
  put('page-count', page);
  put('credentials', credentials(held, overview.status.grants.live, Date.now()));
  put('freeze', overview.status.frozen ? 'Allow minting again' : 'Stop all minting');
  if (call) return;
  for (const [id, text] of [['path', ''], ['ann-note', 'sees Ben'], ['ben-note', 'sees Ann']]) put(id, text);
}

/** What goes wrong is told beside the buttons. */
const order = (id, does) => $(id).addEventListener('click', async () => {
  $(id).disabled = true;
  put('order-fault', '');
  try {
    await does();
  } catch (error) {
    put('order-fault', error.message);
  } finally {
    $(id).disabled = id === 'revoke' && (state.phase !== 'running' || isRevoked);
  }
});

async function setLimit(bytes, short) {
  const { bandwidthLimitGB } = await ask('api/budget/limit', { limitGB: bytes / GB });
  tell(`The limit is ${mb(bandwidthLimitGB * GB)} MB now.`, short);
  await lookAgain();
}

async function revoke() {
  const { connections } = await ask('api/connections');
  const { connectionId } = call?.ends[0].watch ?? {};
  const grant = connections.find((connection) => connection.connectionId === connectionId)?.grant;
  if (!grant) throw new Error('Ann’s connection is not reported yet: try again in a second.');
  await ask(`api/credentials/${grant}/revoke`, {});
  isRevoked = true;
  tell('Ann’s credential is revoked.', 'revoked');
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
  put('camera', camera ? 'Ann: the test picture' : 'Ann: my camera');
  await call?.ends[0].sender.replaceTrack(camera ?? scenes[0]);
}

order('start', () => (call ? hangUp() : start()));
order('camera', useCamera);
order('raise', () => setLimit(overview.bytes.limit + RAISE_GB * GB, 'limit raised'));
order('leave', () => setLimit(Math.ceil((overview.bytes.used + LEAVE_BYTES) / MB) * MB, '10 MB remain'));
order('freeze', async () => {
  const { frozen } = await ask('api/budget/freeze', { frozen: !overview.status.frozen });
  tell(frozen ? 'Minting is stopped.' : 'Minting is allowed again.', frozen ? 'stopped' : 'allowed again');
  await lookAgain();
});
order('revoke', revoke);
choice('mbps', (chosen) => {
  mbps = Number(chosen);
  void call?.limit(mbps);
});
if (!navigator.mediaDevices) $('camera').disabled = true;

function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get('token');
  if (found === null) return;
  token.set(found);
  history.replaceState(null, '', location.pathname);
}

/** Whoever comes with another run's token, or with none, is told where the right one is. */
function away(error) {
  const isStranger = error.status === 401 || error.status === 404;
  put('away', isStranger
    ? 'This page does not know the token of the demo that runs now: open the address that the terminal shows.'
    : `The demo does not answer (${error.message}). Start it again with turn-broker demo, and open the address that it shows.`);
  $('away').hidden = false;
  document.body.classList.add('is-old');
}

async function run() {
  for (;;) {
    try {
      await turn();
      $('away').hidden = true;
      document.body.classList.remove('is-old');
    } catch (error) {
      if (error instanceof Fault) away(error);
      else reportError(error); // of one look; the next may be better
    }
    await new Promise((resolve) => setTimeout(resolve, TURN_SECONDS * 1_000));
  }
}

addEventListener('hashchange', takeToken);
takeToken();
enter('idle');
void run();
