// A table that sorts, searches and shows a page of its rows. A row that stays keeps its elements, so that its buttons keep the
// focus and a selection stays.
import { size } from './format.js';
import { element, visible } from './page.js';
import { pageOf } from './rows.js';

/**
 * @template R
 * @typedef {object} Column
 * @property {string} name Shown in the header. Empty: a column of buttons.
 * @property {(row: R) => string} [text] The text of a cell.
 * @property {(row: R) => number | null} [bytes] Bytes in place of the text, in the unit of the largest.
 * @property {(row: R) => number | string} [by] What the column sorts by. Without it, its bytes or its text.
 * @property {boolean} [isNumber] Right-aligned; the first click sorts the largest first.
 * @property {boolean} [isId] The text may be cut. Its tooltip is whole.
 * @property {string} [show] Hides the column on narrow screens: `on-medium` or `on-wide`.
 * @property {(row: R) => Button | null} [button] The button of a cell.
 * @property {(cell: HTMLTableCellElement, row: R, text: string) => void} [fill] Writes a cell that has more. Called for each new
 *     state of the row.
 */

/** @typedef {{word: string, of: string, isDangerous?: boolean, press: () => void}} Button `of`: what it acts on, for screen readers. */

/** @template R @param {Column<R>} column */
const isNumeric = ({ isNumber, bytes }) => Boolean(isNumber ?? bytes);
/** @template R @param {Column<R>} column */
const classOf = (column) => [isNumeric(column) && 'number', column.isId && 'id code', column.show].filter(Boolean).join(' ');

/** @template R */
export class Table {
  /** @type {R[]} */
  #all = [];
  #first = 0;
  /** @type {{index: number, isDescending: boolean}} */
  #order;
  /** @type {Map<string, {row: HTMLTableRowElement, detail: HTMLTableRowElement | null}>} */
  #shown = new Map();
  #hasMore = false;

  /**
   * @param {HTMLElement} root Becomes the table.
   * @param {object} options
   * @param {string} options.label Names the table for screen readers.
   * @param {Column<R>[]} options.columns
   * @param {(row: R) => string} options.key
   * @param {(row: R) => string} [options.words] What a search looks into. Without it, the key.
   * @param {HTMLElement} [options.search] Gets a field for a search, which is hidden while all rows are on one page.
   * @param {() => string} [options.none] Shown without rows.
   * @param {number} [options.size] Rows of a page.
   * @param {number} [options.order] The column that sorts at first, the largest first.
   * @param {(row: R) => Node | null} [options.detail] The element below a row that is open; null if the row is closed.
   * @param {() => Promise<void>} [options.more] Fetches more rows.
   */
  constructor(root, options) {
    this.root = root;
    this.options = { size: 10, words: options.key, ...options };
    this.#order = { index: options.order ?? 0, isDescending: true };
    this.search = element('input', { type: 'search', className: 'push', placeholder: 'Search', autocomplete: 'off', spellcheck: false, 'aria-label': `Search: ${options.label}` });
    this.search.addEventListener('input', () => this.#restart());
    options.search?.append(this.search);
    this.heads = options.columns.map((column, index) => this.#head(column, index));
    this.body = element('tbody');
    this.empty = element('p', { className: 'muted none' });
    this.range = element('span', { className: 'small muted', role: 'status' });
    this.back = element('button', { type: 'button', textContent: 'Previous' });
    this.forth = element('button', { type: 'button', textContent: 'Next' });
    this.back.addEventListener('click', () => this.#turn(-1));
    this.forth.addEventListener('click', () => this.#turn(1));
    this.pager = element('div', { className: 'pager' }, this.back, this.range, this.forth);
    const table = element('table', { 'aria-label': options.label }, element('thead', {}, element('tr', {}, ...this.heads)), this.body);
    this.scroll = element('div', { className: 'scroll' }, table);
    root.replaceChildren(this.scroll, this.empty, this.pager);
  }

  /** Shows these rows. @param {R[]} rows @param {boolean} [hasMore] Whether the broker has more. */
  show(rows, hasMore = false) {
    this.#all = rows;
    this.#hasMore = hasMore;
    this.search.hidden = rows.length <= this.options.size && !this.search.value;
    this.draw();
  }

  /** Shows no rows, and forgets the search. */
  clear() {
    this.search.value = '';
    this.#all = [];
    this.#restart();
  }

  /** Shows the rows with this text, also those that come later. @param {string} text */
  find(text) {
    this.search.value = text;
    this.#restart();
  }

  #restart() {
    this.#first = 0;
    this.draw();
  }

  /** @param {Column<R>} column @param {number} index */
  #head(column, index) {
    const { name, by, bytes, text } = column;
    const head = element('th', { className: classOf({ ...column, isId: false }), scope: 'col' });
    if (!by && !bytes && !text) head.append(element('span', { className: name ? '' : 'visually-hidden', textContent: name || 'Action' }));
    else {
      const button = element('button', { type: 'button', className: 'sort', textContent: name });
      button.addEventListener('click', () => {
        const isSame = this.#order.index === index;
        this.#order = { index, isDescending: isSame ? !this.#order.isDescending : isNumeric(column) };
        this.#restart();
      });
      head.append(button);
    }
    return head;
  }

  /** @param {number} pages */
  async #turn(pages) {
    const first = this.#first + pages * this.options.size;
    if (first >= this.#all.length && this.#hasMore) await this.options.more?.();
    this.#first = Math.max(0, first);
    this.draw();
  }

  /** Draws the rows again: one was opened or closed, or has changed. */
  draw() {
    const { index, isDescending } = this.#order;
    this.heads.forEach((head, at) => {
      if (head.querySelector('button')) head.setAttribute('aria-sort', at !== index ? 'none' : isDescending ? 'descending' : 'ascending');
    });
    const { columns, none, size, key, words } = this.options;
    const { bytes, text, by = (/** @type {R} */ row) => (bytes ? bytes(row) ?? -1 : (text ?? key)(row)) } = columns[index];
    const { rows, first, matching } = pageOf(this.#all, { text: this.search.value, words, by, isDescending, key, first: this.#first, size });
    this.#first = first;
    this.scroll.hidden = matching === 0;
    this.empty.hidden = matching > 0;
    this.empty.textContent = this.#all.length ? 'No row has this text.' : none?.() ?? '';
    this.#drawRows(rows);
    const last = first + rows.length;
    this.pager.hidden = matching <= size && !this.#hasMore;
    this.range.textContent = matching ? `${first + 1}–${last} of ${matching}${this.#hasMore ? ' loaded' : ''}` : '';
    this.back.disabled = first === 0;
    this.forth.disabled = last >= matching && !this.#hasMore;
  }

  /** @param {R[]} rows */
  #drawRows(rows) {
    const { columns, key: keyOf, detail: inside } = this.options;
    const largest = columns.map(({ bytes }) => Math.max(0, ...this.#all.map((row) => bytes?.(row) ?? 0)));
    const keys = new Set(rows.map(keyOf));
    for (const [key, { row, detail }] of this.#shown) {
      if (keys.has(key)) continue;
      row.remove();
      detail?.remove();
      this.#shown.delete(key);
    }
    const ordered = rows.flatMap((row) => {
      const known = this.#shown.get(keyOf(row));
      const cells = known?.row ?? element('tr', {}, ...columns.map((column) => element('td', { className: classOf(column) })));
      columns.forEach((column, index) => write(cells.cells[index], column, row, largest[index]));
      const content = inside?.(row);
      const detail = content ? known?.detail ?? element('tr', { className: 'detail' }, element('td', { colSpan: columns.length })) : null;
      if (detail !== known?.detail) known?.detail?.remove();
      if (content && detail?.cells[0].firstChild !== content) detail?.cells[0].replaceChildren(content);
      this.#shown.set(keyOf(row), { row: cells, detail });
      return detail ? [cells, detail] : [cells];
    });
    if (ordered.length === this.body.rows.length && ordered.every((row, at) => this.body.rows[at] === row)) return;
    const focused = document.activeElement;
    this.body.append(...ordered);
    if (focused !== document.activeElement && focused instanceof HTMLElement && focused.isConnected) focused.focus();
  }
}

/** @template R @param {HTMLTableCellElement} cell @param {Column<R>} column @param {R} row @param {number} largest Of the column's bytes. */
function write(cell, { text, bytes, isId, button, fill }, row, largest) {
  if (button) return writeButton(cell, button(row));
  const count = bytes?.(row) ?? null;
  const shown = visible(count === null ? text?.(row) ?? (bytes ? '–' : '') : size(count, largest));
  if (fill) return fill(cell, row, shown);
  // The same text again changes nothing.
  if (cell.textContent !== shown) cell.textContent = shown;
  if (isId) cell.title = shown;
}

/** @param {HTMLElement} cell @param {Button | null} button */
function writeButton(cell, button) {
  if (!button) return cell.replaceChildren();
  const { word, of, isDangerous = false, press } = button;
  const shown = buttonIn(cell, press);
  shown.textContent = word;
  shown.classList.toggle('danger', isDangerous);
  shown.setAttribute('aria-label', `${word} ${of}`);
}

/** The button of a cell, made once. @param {HTMLElement} cell @param {() => void} press */
export function buttonIn(cell, press) {
  const button = cell.querySelector('button') ?? element('button', { type: 'button' });
  button.onclick = press;
  if (!button.parentNode) cell.append(button);
  return button;
}
