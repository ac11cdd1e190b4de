// The rows of a table that are shown: those with a text, in an order, one page of them. Pure.

/**
 * @template R
 * @param {R[]} all
 * @param {{text: string, words: (row: R) => string, by: (row: R) => number | string, isDescending: boolean, key: (row: R) => string, first: number, size: number}} choice
 *     `first`: the index of the page's first row. It may be past the last row.
 * @returns {{rows: R[], first: number, matching: number}}
 */
export function pageOf(all, { text, words, by, isDescending, key, first, size }) {
  const wanted = text.trim().toLowerCase();
  const matching = wanted ? all.filter((row) => words(row).toLowerCase().includes(wanted)) : [...all];
  const direction = isDescending ? -1 : 1;
  matching.sort((a, b) => direction * compare(by(a), by(b)) || compare(key(a), key(b)));
  const last = Math.max(0, Math.ceil(matching.length / size) - 1) * size;
  const start = Math.min(Math.max(0, first), last);
  return { rows: matching.slice(start, start + size), first: start, matching: matching.length };
}

/** @param {number | string} a @param {number | string} b */
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
