// The section "Who spends": a table for each kind of spender. A row opens the grants of its spender, with their buttons.
import * as actions from './actions.js';
import { showBlocked } from './blocked.js';
import { ask, file } from './broker.js';
import { date, time } from './format.js';
import { $, element, put, visible } from './page.js';
import * as words from './spending.js';
import { Table, buttonIn } from './table.js';

/**
 * @typedef {import('./spending.js').By} By
 * @typedef {import('./spending.js').SpenderNow} Spender
 * @typedef {import('./spending.js').Grant} Grant
 * @typedef {import('./spending.js').Overview} Overview
 */

const TABS = /** @type {[By, string][]} */ (Object.entries(words.TITLES));
const tabs = TABS.map(([name, textContent]) => element('button', { type: 'button', id: `by-${name}`, role: 'tab', textContent, 'aria-controls': 'spenders-panel' }));

/** @type {By} */
let by = 'user';
/** That of an earlier period; none for this one. */
let month = '';
/** @type {import('./spending.js').Past[]} */
let past = [];
const months = element('select', { 'aria-label': 'Period of the spenders' });
const csv = element('button', { type: 'button', textContent: 'CSV', title: 'Download these rows with their costs' });
/** @type {Overview | null} */
let overview = null;
/** @type {import('./spending.js').Spenders | null} */
let list = null;
/** Those who spend now. @type {import('./spending.js').Spenders | null} */
let recent = null;
/** Grants of the rows that are open, by the spender's key. @type {Map<string, Opened>} */
const opened = new Map();
/** Each load cancels the one before. */
let load = 0;
/** @type {(error: unknown) => void} */
let failed = () => {};

/** The broker's time. */
const now = () => new Date(overview?.at ?? 0);

/** The bytes of the period that is shown. */
const used = () => (month ? list?.usedBytes : overview?.bytes.used) ?? 0;

/** The prices of the period that is shown. */
const priced = () => (month ? past.filter(({ start }) => start.startsWith(month)).map(words.averageOf)[0] : overview?.cost);

/** Of what the spenders have their shares. */
const allBytes = () => words.ofAll(list?.spenders ?? [], used());

/** @type {Table<Spender>} */
const table = new Table($('spenders-panel'), {
  label: 'Spenders, most bytes of the period first',
  key: ({ key }) => key ?? '',
  words: ({ key }) => words.nameOf({ key }, by),
  search: $('spenders-tools'),
  none: () => (list ? words.noneOf(by, overview?.signIn) : 'Loading…'),
  order: 1,
  detail: ({ key }) => opened.get(key ?? '')?.element ?? null,
  more: () => read(true).catch(failed),
  columns: [
    { name: 'Name', by: ({ key }) => (key ?? '').toLowerCase(), fill: fillName },
    { name: 'In the period', bytes: ({ bytes, isListed }) => (isListed ? bytes : null), fill: fillUsage },
    { name: 'Now', isNumber: true, by: ({ nowMbps }) => nowMbps, text: words.rateNow },
    { name: 'Share', isNumber: true, show: 'on-wide', by: ({ bytes }) => bytes, text: ({ bytes, isListed }) => words.share(bytes, isListed ? allBytes() : 0) },
    { name: 'Cost', isNumber: true, show: 'on-wide', by: ({ bytes }) => bytes, text: costText },
    { name: 'Credentials', isNumber: true, show: 'on-wide', by: ({ usable }) => usable, text: (spender) => words.credentials(spender, month !== '') },
    { name: 'Last seen', isNumber: true, show: 'on-wide', by: ({ lastSeen }) => lastSeen, text: ({ lastSeen }) => words.ago(lastSeen, now()) },
    { name: '', button: endButton },
  ],
});

/** @param {Spender} spender */
function costText({ bytes, isListed }) {
  const of = priced();
  return of && isListed ? words.cost(bytes, of) : '–';
}

/** The row without a key does not open. @param {HTMLTableCellElement} cell @param {Spender} spender */
function fillName(cell, spender) {
  const { key, blocked } = spender;
  if (key === null) return cell.replaceChildren(words.nameOf(spender, by));
  const button = buttonIn(cell, () => toggle(key));
  button.className = 'row-toggle code';
  button.textContent = button.title = visible(key);
  button.setAttribute('aria-expanded', String(opened.has(key)));
  cell.querySelector('.mark')?.remove();
  if (blocked) cell.append(element('span', { className: 'mark bad small', textContent: 'blocked' }));
}

/** @param {import('./spending.js').Spender | Grant} of @param {string} usage */
function amount(of, usage) {
  const { mark, word } = words.evidence(of);
  return [element('span', { className: 'amount', textContent: usage }), element('span', { className: `evidence small ${mark}`, textContent: word, title: 'measured: by the relay; claimed: by clients' })];
}

/** The bar is the share. @param {HTMLTableCellElement} cell @param {Spender} spender @param {string} usage */
function fillUsage(cell, spender, usage) {
  const bar = element('span', { className: 'meter' });
  bar.style.width = `${words.percent(spender.bytes, allBytes())}%`;
  cell.replaceChildren(...amount(spender, usage), element('span', { className: 'track' }, bar));
}

/** Ends all of a row. Those without a name have addresses. @param {Spender} spender */
function endButton(spender) {
  const { key, blocked } = spender;
  if (!key) return by === 'address' ? null : { word: 'Who?', of: words.nameOf(spender, by), press: () => $('by-address').click() };
  return { word: blocked ? 'Allow again' : 'Block', of: key, isDangerous: !blocked, press: () => change(key, !blocked, words.whatEnds(spender)) };
}

const rows = () => [...(list?.spenders ?? []), ...(recent?.spenders ?? [])];

/** Shows the change at once, before the next list contains it. @param {string} of @param {boolean} toBlocked @param {string} ends */
async function change(of, toBlocked, ends) {
  if (!(await (toBlocked ? actions.block(by, of, ends) : actions.allow(by, of)))) return;
  rows().filter(({ key }) => key === of).forEach((row) => { row.blocked = toBlocked; });
  show();
}

/** @param {string} key */
function toggle(key) {
  if (opened.has(key)) opened.delete(key);
  else {
    const made = new Opened(by, key);
    opened.set(key, made);
    made.read().catch(failed);
  }
  table.draw();
}

/** The grants of one spender, below its row. */
class Opened {
  /** @param {By} by @param {string} key */
  constructor(by, key) {
    this.by = by;
    this.key = key;
    this.note = element('p', { className: 'small muted', textContent: 'Loading…' });
    const root = element('div', { hidden: true });
    const all = element('button', { type: 'button', className: 'danger', textContent: 'Revoke all credentials' });
    all.addEventListener('click', () => actions.revokeAll(by, key, words.whatEnds(withRecent().find((row) => row.key === key))));
    const label = `Credentials of ${key}`;
    this.element = element('div', { className: 'opened', role: 'region', 'aria-label': label }, element('div', { className: 'head' }, this.note, all), root);
    /** @type {Table<Grant>} */
    this.table = new Table(root, {
      label,
      key: ({ id }) => id,
      size: 5,
      order: 1,
      columns: [
        { name: 'Id', isId: true, text: ({ id }) => id },
        { name: 'Usage', bytes: ({ bytes }) => bytes, fill: (cell, grant, usage) => cell.replaceChildren(...amount(grant, usage)) },
        { name: 'State', by: (grant) => words.state(grant, now()).word, fill: fillState },
        { name: by === 'user' ? 'Label' : 'User', isId: true, show: 'on-wide', text: ({ user, label }) => (by === 'user' ? label : user) ?? '–' },
        { name: 'Address', show: 'on-wide', text: ({ address }) => address ?? '–' },
        { name: 'Issued', isNumber: true, show: 'on-medium', by: ({ issuedAt }) => issuedAt, text: ({ issuedAt }) => time(new Date(issuedAt), now()) },
        { name: 'Expires', isNumber: true, show: 'on-wide', by: ({ expiresAt }) => expiresAt, text: ({ expiresAt }) => time(new Date(expiresAt), now()) },
        { name: '', button: (grant) => (words.isRevocable(grant) ? { word: 'Revoke', of: grant.id, isDangerous: true, press: () => actions.revoke(grant.id) } : null) },
      ],
    });
  }

  async read() {
    const { grants, next } = await ask(words.grantsPath(this.by, this.key));
    this.note.textContent = `${grants.length ? `Credentials: ${grants.length}` : 'No credentials are listed'}${next ? ', those with the most bytes' : ''}.`;
    this.table.root.hidden = grants.length === 0;
    this.table.show(grants);
  }
}

/** @param {HTMLTableCellElement} cell @param {Grant} grant */
function fillState(cell, grant) {
  const { mark, word } = words.state(grant, now());
  cell.replaceChildren(element('span', { className: `mark small ${mark}`, textContent: word }));
}

/** Reads the list again, and the grants of the open rows. @param {Overview} latest */
export async function refresh(latest) {
  overview = latest;
  await Promise.all([read(false), ...[...opened.values()].map((one) => one.read())]);
}

/** @param {boolean} isMore Whether to append the next part of the list. */
async function read(isMore) {
  const mine = (load += 1);
  const cursor = isMore && list?.next ? list.next : '';
  const [part, lately] = await Promise.all([ask(words.listPath(by, cursor, month)), month ? null : ask(words.nowPath(by))]);
  if (mine !== load) return;
  recent = lately;
  const before = isMore && list ? list.spenders : [];
  list = { ...part, spenders: [...before, ...part.spenders] };
  put('spenders-note', words.note(list, now(), recent));
  showBlocked(list.blocked, now());
  if (!month && overview) put('summary', words.summary(overview, past, list.spenders, by));
  show();
}

/** Shows the periods that can be chosen. @param {typeof past} earlier */
export function showPeriods(earlier) {
  past = earlier;
  const option = (/** @type {string} */ value, textContent = value) => element('option', { value, textContent, selected: value === month });
  months.replaceChildren(option('', 'this period'), ...past.map(({ start, end }) => option(start.slice(0, 7), `${start.slice(0, 7)}: ${date(new Date(start))} – ${date(new Date(end))}`)));
}

async function download() {
  const url = URL.createObjectURL(await file(words.listPath(by, '', month), 'text/csv'));
  element('a', { href: url, download: `spenders-${by}-${list?.period}.csv` }).click();
  URL.revokeObjectURL(url);
}

/** The rows with what they spend now. */
const withRecent = () => words.withNow(list?.spenders ?? [], recent);

function show() {
  if (list) table.show(withRecent(), list.next !== null);
}

/** @param {number} at The tab. */
function choose(at) {
  by = TABS[at][0];
  if (!words.isKept(by)) month = months.value = '';
  list = null;
  recent = null;
  opened.clear();
  tabs.forEach((tab, index) => {
    tab.setAttribute('aria-selected', String(index === at));
    tab.tabIndex = index === at ? 0 : -1;
  });
  $('spenders-panel').setAttribute('aria-labelledby', `by-${by}`);
  table.clear();
}

/** Whether no list was read yet. */
export const isNew = () => load === 0;

/** Leaves only the rows with this name in the list that was chosen. @param {string} name */
export const find = (name) => table.find(name);

/** Connects the tabs. @param {(error: unknown) => void} whenFailed */
export function wire(whenFailed) {
  failed = whenFailed;
  $('spenders-tabs').replaceChildren(...tabs);
  $('spenders-period').replaceChildren(months, csv);
  showPeriods([]);
  csv.addEventListener('click', () => download().catch(failed));
  months.addEventListener('change', () => {
    month = months.value;
    choose(words.isKept(by) ? TABS.findIndex(([name]) => name === by) : 0);
    read(false).catch(failed);
  });
  choose(0);
  tabs.forEach((tab, at) => {
    tab.addEventListener('click', () => {
      choose(at);
      read(false).catch(failed);
    });
    tab.addEventListener('keydown', ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(at + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
  });
}
