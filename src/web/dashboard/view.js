// The view: writes texts and figures into the page.
import { Fault } from './broker.js';
import { amounts, size, span, time, withTimes } from './format.js';
import { $, element, mark, put } from './page.js';
import * as verdicts from './verdicts.js';

/**
 * @typedef {import('./api.d.ts').OverviewBody} Overview
 * @typedef {import('./api.d.ts').OpenConnectionBody} Connection
 */

const ROWS_MAX = 200;

/** @param {string} id @param {verdicts.Row[]} list */
function rows(id, list) {
  $(id).replaceChildren(...list.flatMap(({ name, value, isSub, isWarning }) => [
    element('dt', { className: isSub ? 'sub' : '', textContent: name }),
    element('dd', { className: `${isSub ? 'sub' : ''} ${isWarning ? 'warn' : ''}`.trim(), textContent: value }),
  ]));
}

/** @param {Overview} overview */
export function showOverview(overview) {
  const { status, bytes, at } = overview;
  put('period', verdicts.periodWords(overview));
  const figures = amounts(overview);
  put('used', figures.used);
  put('limit', figures.limit);
  put('percentage', `(${status.percentage} %)`);
  put('reserved', figures.reserved);
  for (const unit of document.querySelectorAll('[data-unit]')) unit.textContent = figures.unit;
  mark('minting', verdicts.minting(overview));
  mark('reliability', verdicts.reliability(overview));
  mark('bound', verdicts.bound(overview));
  showBar(bytes);
  showHints(overview);
  rows('callers', verdicts.callerRows(overview));
  const grants = verdicts.grants(overview);
  rows('grants', grants.rows);
  put('grants-note', grants.note);
  mark('breaker', verdicts.breaker(overview.provider));
  rows('provider', verdicts.providerRows(overview.provider));
  for (const since of document.querySelectorAll('[data-since]')) since.textContent = `since the broker started ${span(overview.uptimeSeconds)} ago`;
  put('freeze', status.frozen ? 'Allow minting again' : 'Stop all minting');
  $('freeze').classList.toggle('danger', !status.frozen);
  put('freeze-note', verdicts.freezeNote(status));
  put('limit-note', verdicts.limitNote(overview));
  showRevoked(overview);
  put('version', `turn-broker ${overview.version}`);
  mark('freshness', { mark: 'good', word: `live, ${at.slice(11, 19)} UTC` });
  document.title = `${status.percentage} % · turn-broker`;
}

/** @param {Overview['bytes']} bytes */
function showBar({ used, committed, limit }) {
  const whole = Math.max(limit, committed, used, 1);
  /** @param {number} bytes */
  const share = (bytes) => `${Math.min(100, (bytes / whole) * 100)}%`;
  $('bar-used').style.width = share(used);
  $('bar-worst').style.width = share(committed);
  $('bar-limit').style.left = share(limit);
  $('bar').setAttribute('aria-label', `${size(used)} used of ${size(limit)}; worst case ${size(committed)}`);
}

/** @param {Overview} overview */
function showHints(overview) {
  const hints = verdicts.hintNotes(overview);
  $('hints').hidden = hints.length === 0;
  const notes = hints.map(({ code, mark, text }) =>
    element('p', { className: `note ${mark}`.trim() }, element('b', { className: 'code', textContent: code }), ` ${withTimes(text, new Date(overview.at))}`));
  const shown = (/** @type {Element[]} */ list) => list.map((note) => note.className + note.textContent).join();
  const isSame = shown(notes) === shown([...$('hints').children]);
  if (!isSame) $('hints').replaceChildren(...notes);
}

/** @param {Overview} overview */
function showRevoked({ revoked, at }) {
  const lines = verdicts.revocations(revoked).map((line) => withTimes(line, new Date(at)));
  const isSame = lines.join() === [...$('revoked').children].map(({ textContent }) => textContent).join();
  if (!isSame) $('revoked').replaceChildren(...lines.map((textContent) => element('li', { textContent })));
}

/** @param {import('./series.js').Forecast | null} expected @param {Overview} overview */
export function showForecast(expected, overview) {
  mark('forecast', verdicts.outlook(expected, overview));
}

/** The rows by connection. A row is kept while its connection is open, so that its button keeps the focus. @type {Map<string, HTMLTableRowElement>} */
const shownRows = new Map();

/** @param {import('./api.d.ts').ConnectionsBody} listed @param {string} at @param {(grant: string) => void} revoke */
export function showConnections({ connections, total }, at, revoke) {
  const shown = [...connections].sort((a, b) => b.chargedBytes - a.chargedBytes || (a.connectionId < b.connectionId ? -1 : 1)).slice(0, ROWS_MAX);
  $('connections-table').hidden = total === 0;
  $('connections-none').hidden = total > 0;
  put('connections-note', total === 0 ? '' : verdicts.connectionWords(shown.length, connections.length, total));
  const key = (/** @type {Connection} */ { connectionId, grant }) => JSON.stringify([connectionId, grant]);
  const keys = new Set(shown.map(key));
  for (const [id, row] of shownRows) {
    if (!keys.has(id)) {
      row.remove();
      shownRows.delete(id);
    }
  }
  const ordered = shown.map((connection) => {
    const row = shownRows.get(key(connection)) ?? newRow(connection, revoke);
    shownRows.set(key(connection), row);
    fillRow(row, connection, new Date(at));
    return row;
  });
  if (ordered.some((row, index) => $('connections').children[index] !== row)) {
    const focused = document.activeElement;
    $('connections').append(...ordered);
    if (focused !== document.activeElement && focused instanceof HTMLElement && focused.isConnected) focused.focus();
  }
}

/** @param {Connection} connection @param {(grant: string) => void} revoke */
function newRow({ connectionId, grant }, revoke) {
  const cells = Array.from({ length: 10 }, (_, index) => element('td', { className: index > 3 && index < 9 ? 'number' : '' }));
  cells[0].className = cells[1].className = 'id code';
  Object.assign(cells[0], { textContent: connectionId, title: connectionId });
  Object.assign(cells[1], { textContent: grant ?? 'reporter', title: grant ?? '' });
  if (grant) {
    const button = element('button', { type: 'button', className: 'danger', textContent: 'Revoke' });
    button.setAttribute('aria-label', `Revoke the credential of ${connectionId}`);
    button.addEventListener('click', () => revoke(grant));
    cells[9].append(button);
  }
  return element('tr', {}, ...cells);
}

/** @param {HTMLTableRowElement} row @param {Connection} connection @param {Date} now */
function fillRow(row, connection, now) {
  const ago = (/** @type {string} */ instant) => span((now.getTime() - Date.parse(instant)) / 1000);
  const path = connection.relayed === null ? 'unknown' : connection.relayed ? 'relayed' : 'direct';
  const texts = [connection.source, path, ago(connection.openedAt), `${ago(connection.lastSeenAt)} ago`, size(connection.bytesReceived), size(connection.bytesSent), size(connection.chargedBytes)];
  texts.forEach((text, index) => {
    const cell = row.children[index + 2];
    if (cell.textContent !== text) cell.textContent = text;
  });
}

const SEVERITY = { info: 'quiet', warning: 'warn', critical: 'bad' };

/** @param {import('./api.d.ts').AlertsBody} alerts @param {string} at */
export function showAlerts({ alerts, webhook }, at) {
  const now = new Date(at);
  put('alerts-note', webhook ? 'sent to ALERT_WEBHOOK_URL' : 'in the log only: ALERT_WEBHOOK_URL is not set');
  const items = alerts.map(({ severity, what, advice, at, waiting, event }) => element('li', {},
    element('span', { className: 'when small muted', textContent: time(new Date(at), now) }),
    element('span', { className: `mark ${SEVERITY[severity] ?? 'quiet'}`, textContent: event }),
    waiting ? element('span', { className: 'small muted', textContent: ' · not delivered yet' }) : null,
    element('p', { textContent: withTimes(what, now) }),
    element('p', { className: 'small muted', textContent: advice })));
  $('alerts').replaceChildren(...(items.length ? items : [element('li', { className: 'muted', textContent: 'None yet.' })]));
}

/** @param {Error} error @param {Date | null} since The time of the last response. */
export function showUnavailable(error, since) {
  const last = since ? ` These figures are from ${since.toISOString().slice(11, 19)} UTC.` : '';
  const what = error instanceof Fault
    ? `The broker is unavailable: ${error.message.replace(/\.$/, '')}.`
    : 'This page cannot read the response. The broker may run another version: reload the page.';
  put('unavailable', `${what}${last} The page retries every few seconds.`);
  $('unavailable').hidden = false;
  $('board').classList.add('is-stale');
  mark('freshness', { mark: 'bad', word: 'unavailable' });
}

export function showAvailable() {
  $('unavailable').hidden = true;
  $('board').classList.remove('is-stale');
}
