// The view: writes texts and figures into the page.
import { Fault } from './broker.js';
import { amounts, size, span, withTimes } from './format.js';
import { $, element, mark, put, replace } from './page.js';
import * as verdicts from './verdicts.js';

/** @typedef {import('./api.d.ts').Schemas['OverviewBody']} Overview */

/** @param {string} id @param {verdicts.Row[]} list */
function rows(id, list) {
  replace(id, list.flatMap(({ name, value, isSub, isWarning }) => [
    element('dt', { className: isSub ? 'sub' : '', textContent: name }),
    element('dd', { className: `${isSub ? 'sub' : ''} ${isWarning ? 'warn' : ''}`.trim(), textContent: value }),
  ]));
}

/** @param {Overview} overview */
export function showOverview(overview) {
  const { status, at } = overview;
  put('period', verdicts.periodWords(overview));
  showBudget(overview);
  showHints(overview);
  showCost(overview);
  rows('callers', verdicts.callerRows(overview));
  const grants = verdicts.grants(overview);
  rows('grants', grants.rows);
  put('grants-note', grants.note);
  mark('provider-state', verdicts.providerState(overview.provider));
  rows('provider', [...verdicts.providerRows(overview.provider), ...verdicts.relayRows(overview.relays)]);
  for (const since of document.querySelectorAll('[data-since]')) since.textContent = `since the start, ${span(overview.uptimeSeconds)} ago`;
  put('limit-note', verdicts.limitNote(overview));
  showRevoked(overview);
  put('version', `${verdicts.replicas(overview)}turn-broker ${overview.version}`);
  mark('freshness', { mark: 'good', word: `live, ${at.slice(11, 19)} UTC` });
  document.title = `${status.percentage} % · turn-broker`;
}

/** @param {Overview} overview */
function showBudget(overview) {
  const { status } = overview;
  const figures = amounts(overview);
  put('used', figures.used);
  put('limit', figures.limit);
  put('percentage', `(${status.percentage} %)`);
  put('reserved', figures.reserved);
  for (const unit of document.querySelectorAll('[data-unit]')) unit.textContent = figures.unit;
  mark('minting', verdicts.minting(overview));
  const ending = verdicts.ending(overview);
  put('ending', ending);
  $('ending').hidden = !ending;
  put('freeze', status.frozen ? 'Allow minting again' : 'Stop all minting');
  $('freeze').classList.toggle('danger', !status.frozen);
  put('freeze-note', verdicts.freezeNote(status));
  const level = verdicts.level(overview);
  mark('level', level);
  $('budget').className = `card hero ${level.mark}`;
  mark('reliability', verdicts.reliability(overview));
  const rate = verdicts.rate(overview);
  put('rate', rate.word);
  put('rate-why', rate.why);
  mark('limit-at', verdicts.limitAt(overview));
  mark('bound', verdicts.bound(overview));
  showBar(overview, `${figures.past} ${figures.unit} past the limit in the worst case`);
}

/** @param {Overview} overview @param {string} past How far usage can pass the limit. */
function showBar({ bytes, alertPercents }, past) {
  const { used, worst, usedOver, over } = verdicts.bar(bytes);
  $('bar-used').style.width = `${used}%`;
  $('bar-worst').style.width = `${worst}%`;
  $('over-used').style.width = `${usedOver}%`;
  $('bar-over').hidden = $('over-key').hidden = over === 0;
  // Both parts have one scale.
  $('bar').style.setProperty('--past', String(bytes.limit > 0 ? over / bytes.limit : 1));
  put('over-key', past);
  replace('ticks', alertPercents.map((percent) => {
    const tick = element('i', { className: 'tick' });
    tick.style.left = `${percent}%`;
    return tick;
  }));
  $('bar').setAttribute('aria-label', `${size(bytes.used)} used of ${size(bytes.limit)}; worst case ${size(bytes.committed)}${over ? `, ${past}` : ''}`);
}

/** @param {Overview} overview */
function showCost(overview) {
  const { soFar, rows: list, note } = verdicts.costs(overview);
  put('cost', soFar);
  rows('costs', list);
  put('cost-note', note);
}

/** @param {Overview} overview */
function showHints(overview) {
  const hints = verdicts.hintNotes(overview);
  $('hints').hidden = hints.length === 0;
  const open = new Set([...$('hints').querySelectorAll('[open] b')].map(({ textContent }) => textContent));
  const notes = hints.map(({ code, mark, text }) => element('details', { className: `note ${mark}`, open: open.has(code) },
    element('summary', {}, element('b', { className: 'code', textContent: code }), ` ${withTimes(text, new Date(overview.at))}`)));
  replace('hints', notes);
  // Who spends comes first while a rate threatens the limit.
  const isNear = verdicts.limitAt(overview).mark !== 'good';
  if (isNear !== ($('hints').previousElementSibling === $('spenders'))) $('spenders')[isNear ? 'after' : 'before']($('hints'));
}

/** @param {Overview} overview */
function showRevoked({ revoked, at }) {
  replace('revoked', verdicts.revocations(revoked).map((line) => element('li', { textContent: withTimes(line, new Date(at)) })));
}

/** @param {import('./api.d.ts').Schemas['PastPeriod'][]} past */
export function showPast(past) {
  rows('past', verdicts.pastRows(past));
  $('past-periods').hidden = !past[0];
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
