// A table that sorts, searches and shows a page of its rows. A row that stays keeps its elements, so that its buttons keep the
// focus and a selection stays.
import { element } from './page.js';
import { pageOf } from './rows.js';

/**
 * @template R
 * @typedef {object} Column
 * @property {string} name Shown in the header. Empty: a column of buttons.
 * @property {(row: R) => number | string} [by] What the column sorts by. Without it, it does not sort.
 * @property {boolean} [isNumber] Right-aligned; the first click sorts the largest first.
 * @property {string} [show] A class that hides the column on narrow screens: `on-small`, `on-medium` or `on-wide`.
 * @property {(cell: HTMLTableCellElement, row: R) => void} fill Writes a cell. Called again for each new state of the row.
 */

/** @template R */
export class Table {
  /** @type {R[]} */
  #all = [];
  #text = '';
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
   * @param {(row: R) => string} options.words What a search looks into.
   * @param {string} options.none Shown without rows.
   * @param {number} [options.size] Rows of a page.
   * @param {number} [options.order] The column that sorts at first, the largest first.
   * @param {(row: R) => Node | null} [options.detail] The element below a row that is open; null if the row is closed.
   * @param {() => Promise<void>} [options.more] Fetches more rows.
   */
  constructor(root, { label, columns, key, words, none, size = 10, order = 0, detail, more }) {
    this.root = root;
    this.columns = columns;
    this.key = key;
    this.words = words;
    this.none = none;
    this.size = size;
    this.detail = detail;
    this.more = more;
    this.#order = { index: order, isDescending: true };
    this.heads = columns.map((column, index) => this.#head(column, index));
    this.body = element('tbody');
    this.empty = element('p', { className: 'muted none' });
    this.range = element('span', { className: 'small muted', role: 'status' });
    this.back = element('button', { type: 'button', textContent: 'Previous' });
    this.forth = element('button', { type: 'button', textContent: 'Next' });
    this.back.addEventListener('click', () => this.#turn(-1));
    this.forth.addEventListener('click', () => this.#turn(1));
    this.pager = element('div', { className: 'pager' }, this.back, this.range, this.forth);
    const table = element('table', { 'aria-label': label }, element('thead', {}, element('tr', {}, ...this.heads)), this.body);
    this.scroll = element('div', { className: 'scroll' }, table);
    root.replaceChildren(this.scroll, this.empty, this.pager);
  }

  /** Shows these rows. @param {R[]} rows @param {boolean} [hasMore] Whether the broker has more. */
  show(rows, hasMore = false) {
    this.#all = rows;
    this.#hasMore = hasMore;
    this.#draw();
  }

  /** Shows only rows with this text. @param {string} text */
  search(text) {
    this.#text = text;
    this.#first = 0;
    this.#draw();
  }

  /** Draws the rows again, after a row was opened or closed. */
  redraw() {
    this.#draw();
  }

  /** @param {Column<R>} column @param {number} index */
  #head({ name, by, isNumber, show }, index) {
    const head = element('th', { className: `${isNumber ? 'number ' : ''}${show ?? ''}`, scope: 'col' });
    if (!by) head.append(element('span', { className: name ? '' : 'visually-hidden', textContent: name || 'Action' }));
    else {
      const button = element('button', { type: 'button', className: 'sort', textContent: name });
      button.addEventListener('click', () => {
        const isSame = this.#order.index === index;
        this.#order = { index, isDescending: isSame ? !this.#order.isDescending : Boolean(isNumber) };
        this.#first = 0;
        this.#draw();
      });
      head.append(button);
    }
    return head;
  }

  /** @param {number} pages */
  async #turn(pages) {
    const first = this.#first + pages * this.size;
    if (first >= this.#all.length && this.#hasMore) await this.more?.();
    this.#first = Math.max(0, first);
    this.#draw();
  }

  #draw() {
    const { index, isDescending } = this.#order;
    this.heads.forEach((head, at) => {
      if (this.columns[at].by) head.setAttribute('aria-sort', at !== index ? 'none' : isDescending ? 'descending' : 'ascending');
    });
    const { by = () => 0 } = this.columns[index];
    const { rows, first, matching } = pageOf(this.#all, { text: this.#text, words: this.words, by, isDescending, key: this.key, first: this.#first, size: this.size });
    this.#first = first;
    this.scroll.hidden = matching === 0;
    this.empty.hidden = matching > 0;
    this.empty.textContent = this.#all.length ? 'No row has this text.' : this.none;
    this.#drawRows(rows);
    const last = first + rows.length;
    this.pager.hidden = matching <= this.size && !this.#hasMore;
    this.range.textContent = matching ? `${first + 1}–${last} of ${matching}${this.#hasMore ? ' loaded' : ''}` : '';
    this.back.disabled = first === 0;
    this.forth.disabled = last >= matching && !this.#hasMore;
  }

  /** @param {R[]} rows */
  #drawRows(rows) {
    const keys = new Set(rows.map(this.key));
    for (const [key, { row, detail }] of this.#shown) {
      if (keys.has(key)) continue;
      row.remove();
      detail?.remove();
      this.#shown.delete(key);
    }
    const ordered = rows.flatMap((row) => {
      const known = this.#shown.get(this.key(row));
      const cells = known?.row ?? element('tr', {}, ...this.columns.map(({ isNumber, show }) => element('td', { className: `${isNumber ? 'number ' : ''}${show ?? ''}` })));
      this.columns.forEach(({ fill }, index) => fill(cells.cells[index], row));
      const inside = this.detail?.(row) ?? null;
      let detail = known?.detail ?? null;
      if (!inside) detail?.remove();
      detail = inside && (detail ?? element('tr', { className: 'detail' }, element('td', { colSpan: this.columns.length })));
      if (inside && detail && detail.cells[0].firstChild !== inside) detail.cells[0].replaceChildren(inside);
      this.#shown.set(this.key(row), { row: cells, detail });
      return detail ? [cells, detail] : [cells];
    });
    if (ordered.length === this.body.rows.length && ordered.every((row, at) => this.body.rows[at] === row)) return;
    const focused = document.activeElement;
    this.body.append(...ordered);
    if (focused !== document.activeElement && focused instanceof HTMLElement && focused.isConnected) focused.focus();
  }
}

/** Sets the text of a cell. The same text again changes nothing. @param {HTMLElement} cell @param {string} text */
export const write = (cell, text) => {
  if (cell.textContent !== text) cell.textContent = text;
};

/** The button of a cell, made once. @param {HTMLElement} cell @param {string} className @param {() => void} pressed */
export function buttonIn(cell, className, pressed) {
  const known = cell.querySelector('button');
  const button = known ?? element('button', { type: 'button', className });
  button.onclick = pressed;
  if (!known) cell.append(button);
  return button;
}
