// The section "Who spends": a table for each kind of spender. A row opens the grants of its spender, with their
// buttons. If the broker does not list spenders, the section shows a note.
import * as actions from './actions.js';
import { showBlocked } from './blocked.js';
import { Fault, send } from './broker.js';
import { size, time } from './format.js';
import { $, element, put } from './page.js';
import * as words from './spending.js';
import { Table, buttonIn, write } from './table.js';

/**
 * @typedef {import('./spending.js').By} By
 * @typedef {import('./spending.js').Spender} Spender
 * @typedef {import('./spending.js').Grant} Grant
 * @typedef {{now: Date, used: number}} Moment The broker's time, and the bytes of the period.
 */

/** @type {By[]} */
const TABS = ['user', 'label', 'origin', 'address', 'call'];

/** @type {By} */
let by = 'user';
/** @type {Moment} */
let moment = { now: new Date(0), used: 0 };
/** @type {import('./spending.js').Spenders | null} */
let list = null;
/** Grants of the rows that are open, by the spender's key. @type {Map<string, Opened>} */
const opened = new Map();
/** Each load cancels the one before. */
let load = 0;

const search = $('spenders-search', HTMLInputElement);
/** @type {Table<Spender>} */
const table = new Table($('spenders-panel'), {
  label: 'Spenders, most bytes first',
  key: ({ key }) => key ?? '',
  words: ({ key }) => words.nameOf({ key }, by),
  none: '',
  order: 1,
  detail: ({ key }) => opened.get(key ?? '')?.element ?? null,
  more: () => read(true),
  columns: [
    { name: 'Name', by: ({ key }) => (key ?? '').toLowerCase(), fill: fillName },
    { name: 'Usage', isNumber: true, by: ({ bytes }) => bytes, fill: fillUsage },
    { name: 'Share', isNumber: true, show: 'on-wide', by: ({ bytes }) => bytes, fill: (cell, { bytes }) => write(cell, words.share(bytes, moment.used)) },
    { name: 'Credentials', isNumber: true, show: 'on-medium', by: ({ live }) => live, fill: (cell, spender) => write(cell, words.credentials(spender)) },
    { name: 'Last seen', isNumber: true, show: 'on-wide', by: ({ lastSeen }) => lastSeen, fill: (cell, { lastSeen }) => write(cell, words.ago(lastSeen, moment.now)) },
    { name: '', fill: fillAction },
  ],
});

/** The row of all others does not open. @param {HTMLTableCellElement} cell @param {Spender} spender */
function fillName(cell, spender) {
  const { key, blocked } = spender;
  if (key === null) return write(cell, words.nameOf(spender, by));
  const button = buttonIn(cell, 'row-toggle code', () => toggle(key));
  write(button, key);
  button.title = key;
  button.setAttribute('aria-expanded', String(opened.has(key)));
  cell.querySelector('.mark')?.remove();
  if (blocked) cell.append(element('span', { className: 'mark bad small', textContent: 'blocked' }));
}

/** @param {HTMLTableCellElement} cell @param {Spender} spender */
function fillUsage(cell, spender) {
  const { mark, word } = words.evidence(spender);
  const most = list?.spenders[0]?.bytes || 1;
  const bar = element('span', { className: 'meter' });
  bar.style.width = `${Math.round((spender.bytes / most) * 100)}%`;
  cell.replaceChildren(
    element('span', { className: 'amount', textContent: size(spender.bytes) }),
    element('span', { className: `evidence small ${mark}`, textContent: word }),
    element('span', { className: 'track' }, bar),
  );
}

/** @param {HTMLTableCellElement} cell @param {Spender} spender */
function fillAction(cell, spender) {
  const { key } = spender;
  if (by !== 'user' || !key) return cell.replaceChildren();
  const { blocked } = spender;
  const button = buttonIn(cell, '', () => change(key, !blocked));
  button.className = blocked ? '' : 'danger';
  write(button, blocked ? 'Allow again' : 'Block');
  button.setAttribute('aria-label', `${button.textContent} ${key}`);
}

/** Shows the change at once, before the next list contains it. @param {string} user @param {boolean} toBlocked */
async function change(user, toBlocked) {
  if (!(await (toBlocked ? actions.block(user) : actions.allow(user)))) return;
  list?.spenders.filter(({ key }) => key === user).forEach((row) => { row.blocked = toBlocked; });
  table.redraw();
}

/** @param {string} key */
function toggle(key) {
  if (opened.has(key)) opened.delete(key);
  else {
    const made = new Opened(by, key);
    opened.set(key, made);
    made.read();
  }
  table.redraw();
}

/** The grants of one spender, below its row. */
class Opened {
  /** @param {By} by @param {string} key */
  constructor(by, key) {
    this.by = by;
    this.key = key;
    this.note = element('p', { className: 'small muted', textContent: 'Loading…' });
    const root = element('div');
    const all = by === 'user' ? element('button', { type: 'button', className: 'danger', textContent: 'Revoke all credentials' }) : null;
    all?.addEventListener('click', () => actions.revokeAll(key));
    this.element = element('div', { className: 'opened', role: 'region', 'aria-label': `Credentials of ${key}` }, element('div', { className: 'head' }, this.note, all), root);
    /** @type {Table<Grant>} */
    this.table = new Table(root, {
      label: `Credentials of ${key}`,
      key: ({ id }) => id,
      words: ({ id }) => id,
      none: '',
      size: 5,
      order: 1,
      columns: [
        { name: 'Id', by: ({ id }) => id, fill: (cell, { id }) => { cell.className = 'id code'; cell.title = id; write(cell, id); } },
        { name: 'Usage', isNumber: true, by: ({ bytes }) => bytes, fill: fillGrantUsage },
        { name: 'State', by: (grant) => words.state(grant, moment.now).word, fill: fillState },
        { name: by === 'user' ? 'Label' : 'User', show: 'on-wide', by: (grant) => other(grant, by), fill: (cell, grant) => { cell.className = 'id on-wide'; write(cell, other(grant, by) || '–'); } },
        { name: 'Address', show: 'on-wide', by: ({ address }) => address ?? '', fill: (cell, { address }) => write(cell, address ?? '–') },
        { name: 'Issued', isNumber: true, show: 'on-medium', by: ({ issuedAt }) => issuedAt, fill: (cell, { issuedAt }) => write(cell, time(new Date(issuedAt), moment.now)) },
        { name: 'Expires', isNumber: true, show: 'on-wide', by: ({ expiresAt }) => expiresAt, fill: (cell, { expiresAt }) => write(cell, time(new Date(expiresAt), moment.now)) },
        { name: '', fill: fillRevoke },
      ],
    });
    this.table.root.hidden = true;
  }

  async read() {
    try {
      const { grants, next } = await send('GET', words.grantsPath(this.by, this.key));
      this.note.textContent = `${grants.length ? `Credentials: ${grants.length}` : 'No credentials are listed'}${next ? ', those with the most bytes' : ''}.`;
      this.table.root.hidden = grants.length === 0;
      this.table.show(grants);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.note.textContent = error.status === 404 ? 'This broker does not list credentials.' : `The credentials cannot be read: ${error.message}.`;
    }
  }
}

/** @param {Grant} grant @param {By} shown */
const other = ({ user, label }, shown) => (shown === 'user' ? label : user) ?? '';

/** @param {HTMLTableCellElement} cell @param {Grant} grant */
function fillGrantUsage(cell, grant) {
  const { mark, word } = words.evidence(grant);
  cell.replaceChildren(element('span', { className: 'amount', textContent: size(grant.bytes) }), element('span', { className: `evidence small ${mark}`, textContent: word }));
}

/** @param {HTMLTableCellElement} cell @param {Grant} grant */
function fillState(cell, grant) {
  const { mark, word } = words.state(grant, moment.now);
  cell.replaceChildren(element('span', { className: `mark small ${mark}`, textContent: word }));
}

/** @param {HTMLTableCellElement} cell @param {Grant} grant */
function fillRevoke(cell, grant) {
  if (!words.isRevocable(grant)) return cell.replaceChildren();
  const button = buttonIn(cell, 'danger', () => actions.revoke(grant.id));
  write(button, 'Revoke');
  button.setAttribute('aria-label', `Revoke ${grant.id}`);
}

/** Reads the list again, and the grants of the open rows. @param {Moment} at */
export async function refresh(at) {
  moment = at;
  await Promise.all([read(false), ...[...opened.values()].map((one) => one.read())]);
}

/** @param {boolean} isMore Whether to append the next part of the list. */
async function read(isMore) {
  const mine = (load += 1);
  const cursor = isMore && list?.next ? `&cursor=${encodeURIComponent(list.next)}` : '';
  try {
    const part = await send('GET', `api/spenders?by=${by}&limit=${words.ROWS_ASKED}${cursor}`);
    if (mine !== load) return;
    const before = isMore && list ? list.spenders : [];
    list = { ...part, spenders: [...before, ...part.spenders] };
    show();
  } catch (error) {
    if (!(error instanceof Fault) || error.status === 401) throw error;
    if (mine === load) showFault(error);
  }
}

function show() {
  if (!list) return;
  $('spenders-fault').hidden = true;
  for (const id of ['spenders-tools', 'spenders-panel']) $(id).hidden = false;
  put('spenders-note', words.note(list, moment.now));
  showBlocked(list.blockedUsers);
  table.none = words.noneOf(by);
  table.show(list.spenders, list.next !== null);
  search.hidden = list.spenders.length <= table.size;
}

/** @param {Fault} fault */
function showFault({ status, message }) {
  const isOld = status === 404;
  const text = isOld ? 'This broker does not list who spends. Its live connections and its log show the credentials.' : `The spenders cannot be read: ${message}.`;
  put('spenders-note', '');
  put('spenders-fault', text);
  $('spenders-fault').hidden = false;
  for (const id of ['spenders-tools', 'spenders-panel']) $(id).hidden = isOld || list === null;
}

/** @param {By} chosen */
async function choose(chosen) {
  by = chosen;
  list = null;
  opened.clear();
  search.value = '';
  for (const name of TABS) {
    const tab = $(`by-${name}`);
    tab.setAttribute('aria-selected', String(name === by));
    tab.tabIndex = name === by ? 0 : -1;
  }
  $('spenders-panel').setAttribute('aria-labelledby', `by-${by}`);
  table.none = 'Loading…';
  table.show([]);
  table.search('');
  await read(false);
}

/** Connects the tabs and the search. @param {(error: unknown) => void} failed */
export function wire(failed) {
  for (const [at, name] of TABS.entries()) {
    const tab = $(`by-${name}`);
    tab.addEventListener('click', () => choose(name).catch(failed));
    tab.addEventListener('keydown', ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = $(`by-${TABS[(at + step + TABS.length) % TABS.length]}`);
      next.focus();
      next.click();
    });
  }
  search.addEventListener('input', () => table.search(search.value));
}
