// Texts of the document as elements: paragraphs, code, types with links, JSON in colors, and what can be copied.
import { $, copy, element } from './page.js';

/** @typedef {string | Node} Part */

/** Shows words between backticks as code. @param {string} text @returns {Part[]} */
export const inline = (text) => text.replaceAll('**', '').split('`').map((part, n) => (n % 2 ? element('code', { textContent: part }) : part));

/** @param {string} text @param {string} [className] */
export const paragraphs = (text, className = '') => text.split(/\n\s*\n/).filter(Boolean).map((one) => element('p', { className }, ...inline(one)));

/** @param {string} textContent @param {string} [className] */
export const code = (textContent, className = '') => element('code', { textContent, className });

/** @param {string} id @param {string} textContent */
export const link = (id, textContent) => element('a', { href: `#${id}` }, code(textContent));

/** Keys, strings, numbers and names in JSON. */
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\b\d[\d.eE+-]*\b|\b(?:true|false|null)\b/g;

/** JSON as colored text. A long one scrolls, so it can have the focus. @param {string} text @param {string} what */
export function json(text, what) {
  /** @type {Part[]} */
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TOKENS)) {
    const [whole, string, colon = ''] = found;
    const kind = colon ? 'key' : string ? 'string' : 'literal';
    parts.push(text.slice(end, found.index), element('span', { className: kind, textContent: string ?? whole }), colon);
    end = found.index + whole.length;
  }
  return element('pre', { className: 'json', tabIndex: 0, role: 'group', 'aria-label': what }, element('code', {}, ...parts, text.slice(end)));
}

/** A block with a button that copies its text. @param {HTMLElement} block @param {string} text @param {string} what */
export function copyable(block, text, what) {
  const button = element('button', { type: 'button', className: 'copy', textContent: 'Copy', 'aria-label': `Copy: ${what}` });
  button.addEventListener('click', async () => {
    button.textContent = await copy(text, () => getSelection()?.selectAllChildren(block));
    $('said').textContent = `${button.textContent}: ${what}`;
  });
  return element('div', { className: 'copyable' }, block, button);
}
