// The operator's page. It asks for the token, then polls the broker every few seconds while the page is visible. States:
// signed out; polling; unavailable (the last figures stay, marked as old, and polling continues).
import * as actions from './actions.js';
import { Fault, ask, token } from './broker.js';
import { size } from './format.js';
import { $, choice } from './page.js';
import { RatePlot, UsagePlot } from './plots.js';
import { curves, forecast, period, rates } from './series.js';
import { showAlerts, showAvailable, showConnections, showForecast, showOverview, showUnavailable } from './view.js';

const PAUSE_SECONDS = 5;
/** Polls between two reads of series and alerts, which are large and change slowly. */
const SERIES_EACH = 12;
const DAY_SECONDS = 86_400;
const DAY_STEP = 300;
const tokenField = $('token', HTMLInputElement);

/**
 * @typedef {import('./api.d.ts').OverviewBody} Overview
 * @typedef {import('./series.js').Period} Period
 * @typedef {{period: Period, day: Period, previous: import('./api.d.ts').UsageBody['previousPeriod']}} Series
 */

/** @type {Overview | null} */
let overview = null;
/** @type {Date | null} */
let answeredAt = null;
let range = 'day';
/** @type {Series | null} */
let series = null;
/** @type {{usage: UsagePlot, rate: RatePlot} | null} */
let plots = null;
let wake = () => {};
/** Polls until series are read again. */
let seriesIn = 0;

const revoke = actions.wire(() => overview, refreshAll);

async function read() {
  const [latest, connections] = await Promise.all([ask('api/overview'), ask('api/connections')]);
  overview = latest;
  showOverview(latest);
  showConnections(connections, latest.at, revoke);
  if (seriesIn <= 0) {
    await readSeries(latest);
    seriesIn = SERIES_EACH;
  }
  seriesIn -= 1;
  answeredAt = new Date(latest.at);
  showAvailable();
}

/** @param {Overview} latest */
async function readSeries(latest) {
  const dayAgo = new Date(Date.parse(latest.at) - DAY_SECONDS * 1000).toISOString();
  const [whole, day, alerts] = await Promise.all([
    ask('api/usage'),
    ask(`api/usage?from=${dayAgo}&step=${DAY_STEP}`),
    ask('api/alerts'),
  ]);
  series = { period: period(whole, latest), day: period(day, latest), previous: whole.previousPeriod };
  showAlerts(alerts, latest.at);
  showUsage(series, latest);
  showRates(series);
}

/** The charts are as wide as the board, which is hidden at first. */
const charts = () => (plots ??= { usage: new UsagePlot($('usage-plot')), rate: new RatePlot($('rate-plot')) });

/** @param {Series} series @param {Overview} latest */
function showUsage({ period: whole, previous }, latest) {
  const expected = forecast(whole);
  const asOf = whole.readings.at(-1)?.asOf ?? null;
  const { used, limit } = whole;
  showForecast(expected, latest);
  const label = `Usage over the period: ${size(used)} of ${size(limit)}${expected ? `, forecast at the reset: ${size(expected.atReset)}` : ''}`;
  charts().usage.update(curves(whole, expected), asOf, label);
  $('usage-note').textContent = previous ? `last period: ${size(previous.usedBytes)}` : '';
}

/** @param {Series} series */
function showRates({ period: whole, day }) {
  const week = { ...whole, points: whole.points.filter(({ at }) => at >= whole.now - 7 * DAY_SECONDS) };
  /** @type {Record<string, typeof week>} */
  const ranges = { day, week, period: whole };
  const shown = rates(ranges[range]);
  /** @param {number[]} values */
  const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);
  charts().rate.update(shown, `Average rate, at most ${most(shown.mbps).toFixed(1)} Mbps; live credentials, at most ${most(shown.live)}`);
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
    if (error instanceof Fault && (error.status === 401 || error.status === 404)) return signOut('The broker rejects this token.');
    seriesIn = 0; // after a restart, another process may answer
    showUnavailable(/** @type {Error} */ (error), answeredAt);
    if (!(error instanceof Fault)) reportError(error);
  }
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

function signIn() {
  $('sign-in').hidden = true;
  $('board').hidden = false;
  seriesIn = 0;
  run();
}

function signOut(why = '') {
  token.forget();
  overview = null;
  wake();
  $('board').hidden = true;
  $('sign-in').hidden = false;
  $('sign-in-fault').textContent = why;
  tokenField.value = '';
  tokenField.focus();
}

$('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token.set(tokenField.value.trim());
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
choice('range', (chosen) => {
  range = chosen;
  if (series) showRates(series);
});

if (token.get()) signIn();
else signOut();
