// The operator's page. It asks for the token, then polls the broker every few seconds while the page is visible. States:
// signed out; polling; unavailable (the last figures stay, marked as old, and polling continues).
import * as actions from './actions.js';
import { showAlerts } from './alerts.js';
import { Fault, ask, token } from './broker.js';
import { showCalls } from './calls.js';
import { showConnections } from './connections.js';
import { size } from './format.js';
import { $, choice, onSubmit } from './page.js';
import { RatePlot, UsagePlot } from './plots.js';
import { curves, firstRange, marks, period, rates, tableRows, unknown } from './series.js';
import * as spenders from './spenders.js';
import { namedLately } from './spending.js';
import { Table } from './table.js';
import { showAvailable, showOverview, showPast, showUnavailable } from './view.js';

const PAUSE_SECONDS = 5;
/** Polls between two reads of series and alerts, which are large and change slowly. */
const SERIES_EACH = 12;
const DAY_SECONDS = 86_400;
const DAY_STEP = 300;
const HOUR_SECONDS = 3_600;
const HOUR_STEP = 60;
const tokenField = $('token', HTMLInputElement);

/**
 * @typedef {import('./api.d.ts').Schemas['OverviewBody']} Overview
 * @typedef {import('./series.js').Period} Period
 * @typedef {{period: Period, day: Period, hour: Period, past: import('./api.d.ts').Schemas['PastPeriod'][], marks: import('./series.js').Mark[]}} Series
 */

/** @type {Overview | null} */
let overview = null;
/** @type {Date | null} */
let answeredAt = null;
/** As a person has chosen. @type {string | null} */
let range = null;
let shownRange = '';
/** @type {Series | null} */
let series = null;
/** @type {{usage: UsagePlot, rate: RatePlot} | null} */
let plots = null;
let wake = () => {};
/** Called after each poll that succeeded. */
let shown = () => {};
/** Polls until series are read again. */
let seriesIn = 0;

actions.wire(() => overview, refreshAll);
spenders.wire(failed);

async function read() {
  const [latest, calls, connections] = await Promise.all([ask('api/overview'), ask('api/calls-live'), ask('api/connections')]);
  overview = latest;
  showOverview(latest);
  showCalls(calls, latest);
  showConnections(connections, latest.at);
  if (seriesIn <= 0) {
    seriesIn = SERIES_EACH;
    await readSeries(latest);
  }
  seriesIn -= 1;
  if (series && rangeOf(series, latest) !== shownRange) showRates(series, latest);
  answeredAt = new Date(latest.at);
  showAvailable();
  shown();
}

/** @param {Overview} latest */
async function readSeries(latest) {
  const ago = (/** @type {number} */ seconds) => new Date(Date.parse(latest.at) - seconds * 1000).toISOString();
  const [whole, day, hour, alerts] = await Promise.all([
    ask('api/usage'),
    ask(`api/usage?from=${ago(DAY_SECONDS)}&step=${DAY_STEP}`),
    ask(`api/usage?from=${ago(HOUR_SECONDS)}&step=${HOUR_STEP}`),
    ask('api/alerts'),
  ]);
  const all = period(whole, latest);
  series = { period: all, day: period(day, latest), hour: period(hour, latest), past: whole.pastPeriods, marks: marks(alerts.alerts, all) };
  spenders.showPeriods(whole.pastPeriods);
  showAlerts(alerts, { at: latest.at, isFrozen: latest.status.frozen });
  showUsage(series, latest);
  showRates(series, latest);
  const first = spenders.isNew() && namedLately(alerts.alerts, latest.at);
  await spenders.refresh(latest);
  if (first) $(first).click();
}

/** The chart's values, also for those who do not see it. @type {Table<ReturnType<typeof tableRows>[number]>} */
const rateTable = new Table($('rate-rows'), {
  label: 'Average rate and live credentials',
  key: ({ at }) => String(at),
  words: ({ marks: happened }) => happened,
  search: $('rate-search'),
  columns: [
    { name: 'From', isNumber: true, by: ({ at }) => at, text: ({ at }) => new Date(at * 1000).toISOString().slice(0, 16).replace('T', ' ') },
    { name: 'Mbps', isNumber: true, by: ({ mbps }) => Number(mbps) || 0, text: ({ mbps }) => mbps },
    { name: 'Live', isNumber: true, by: ({ live }) => Number(live) || 0, text: ({ live }) => String(live) },
    { name: 'Marks', text: ({ marks: happened }) => happened },
  ],
});

const pressRange = choice('range', (chosen) => {
  range = chosen;
  if (series && overview) showRates(series, overview);
});

/** The charts are as wide as the board, which is hidden at first. */
const charts = () => (plots ??= { usage: new UsagePlot($('usage-plot')), rate: new RatePlot($('rate-plot')) });

/** @param {Series} series @param {Overview} latest */
function showUsage({ period: whole, past }, latest) {
  const { used, limit } = whole;
  const atReset = latest.cost.forecast?.usedBytes ?? null;
  const stretches = unknown(whole);
  const asOf = latest.status.asOf === null ? null : Date.parse(latest.status.asOf) / 1000;
  const hours = stretches.reduce((sum, { from, to }) => sum + (to - from) / 3600, 0);
  const label = `Usage over the period: ${size(used)} of ${size(limit)}${atReset === null ? '' : `, forecast at the reset: ${size(atReset)}`}${hours ? `; ${Math.round(hours)} hours without a record` : ''}`;
  charts().usage.update(curves(whole, atReset), { asOf, unknown: stretches }, label);
  showPast(past);
}

/** @param {Series} series @param {Overview} latest */
const rangeOf = ({ day }, { status }) => range ?? firstRange(day, status);

/** @param {Series} series @param {Overview} latest */
function showRates(series, latest) {
  const { period: whole, day, hour, marks: happened } = series;
  shownRange = rangeOf(series, latest);
  pressRange(shownRange);
  const week = { ...whole, points: whole.points.filter(({ at }) => at >= whole.now - 7 * DAY_SECONDS) };
  /** @type {Record<string, typeof week>} */
  const ranges = { hour, day, week, period: whole };
  const shown = rates(ranges[shownRange], unknown(whole));
  const seen = happened.filter(({ at }) => at >= shown.x[0]);
  /** @param {(number | null)[]} values */
  const most = (values) => values.reduce((/** @type {number} */ a, b) => Math.max(a, b ?? 0), 0);
  charts().rate.update(shown, seen, `Average rate, at most ${most(shown.mbps).toFixed(1)} Mbps; live credentials, at most ${most(shown.live)}`);
  rateTable.show(tableRows(shown, ranges[shownRange].step, seen));
}

async function run() {
  for (;;) {
    if (document.hidden) await once(document, 'visibilitychange');
    else {
      await poll();
      if (!token.get()) return;
      await pause(PAUSE_SECONDS);
    }
  }
}

async function poll() {
  try {
    await read();
  } catch (error) {
    failed(error);
  }
}

/** @param {unknown} error */
function failed(error) {
  if (error instanceof Fault && (error.status === 401 || error.status === 404)) return signOut('The broker rejects this token.');
  seriesIn = 0; // after a restart, another process may answer
  showUnavailable(/** @type {Error} */ (error), answeredAt);
  if (!(error instanceof Fault)) reportError(error);
}

/** Ends early when `wake` is called. @param {number} seconds */
function pause(seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    wake = () => {
      clearTimeout(timer);
      resolve(undefined);
    };
  });
}

/** @param {EventTarget} target @param {string} event */
const once = (target, event) => new Promise((resolve) => target.addEventListener(event, resolve, { once: true }));

function refreshAll() {
  seriesIn = 0;
  wake();
}

/** @param {boolean} isSignedIn */
function show(isSignedIn) {
  for (const id of ['board', 'footer', 'freshness', 'sign-out']) $(id).hidden = !isSignedIn;
  $('sign-in').hidden = isSignedIn;
}

async function signIn() {
  show(true);
  seriesIn = 0;
  $('budget').focus({ preventScroll: true });
  const polls = run();
  // What an alert links to, once the sections above it have their height.
  await new Promise((resolve) => { shown = () => resolve(undefined); });
  goTo(location.hash.slice(1));
  await polls;
}

/** Moves focus and view to a part of the page. @param {string} link Its id; for one row of a list of spenders, with `=` and its name. */
function goTo(link) {
  const [id, name] = link.split('=');
  const found = id && document.getElementById(id);
  if (!found) return;
  if (found.matches('[role=tab]')) found.click();
  if (name) spenders.find(decodeURIComponent(name));
  found.focus({ preventScroll: true });
  found.scrollIntoView({ block: found.matches('section') ? 'start' : 'center' });
}

function signOut(why = '') {
  token.forget();
  overview = null;
  wake();
  show(false);
  $('period').textContent = '';
  $('sign-in-fault').textContent = why;
  tokenField.value = '';
  tokenField.focus();
}

// The link of an alert names a section that is hidden before the sign-in. The browser looks for it and drops the focus.
addEventListener('load', () => {
  if (!token.get()) tokenField.focus();
  if (token.isInPageOnly) $('sign-in-fault').textContent = 'This browser blocks site data: the sign-in lasts until you leave or reload this page.';
});

onSubmit('sign-in-form', () => {
  token.set(tokenField.value.trim(), $('stay', HTMLInputElement).checked);
  tokenField.value = '';
  signIn();
});
// A reload also removes the figures from the page.
$('sign-out').addEventListener('click', () => {
  token.forget();
  location.reload();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) wake();
});
// A second click on the same link is no change of the address.
document.addEventListener('click', ({ target }) => {
  const link = target instanceof Element && target.closest('a[href^="#"]');
  if (link) setTimeout(() => goTo(String(link.getAttribute('href')).slice(1)));
});
addEventListener('hashchange', () => goTo(location.hash.slice(1)));

if (token.get()) signIn();
else signOut();
