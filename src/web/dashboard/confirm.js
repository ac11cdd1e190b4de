// The second click that every change needs, and the line that shows the result.
import { Fault } from './broker.js';
import { withTimes } from './format.js';
import { $, visible } from './page.js';

const dialog = $('confirm', HTMLDialogElement);
const also = $('confirm-also', HTMLInputElement);

/**
 * Waits for the second click; Escape cancels. The browser gives the focus back.
 * @param {{title: string, text: string, verb: string, isDangerous?: boolean, more?: string}} question `more`: a
 *     second action, which is done too unless the operator clears its checkbox.
 * @returns {Promise<{more: boolean} | null>} Null if cancelled.
 */
export function confirmed({ title, text, verb, isDangerous = false, more }) {
  $('confirm-title').textContent = visible(title);
  $('confirm-text').textContent = visible(text);
  $('confirm-yes').textContent = verb;
  $('confirm-yes').classList.toggle('danger', isDangerous);
  $('confirm-more').hidden = more === undefined;
  $('confirm-also-text').textContent = more ?? '';
  also.checked = true;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes' ? { more: more !== undefined && also.checked } : null), { once: true });
  });
}

/**
 * Runs an action and shows its result.
 * @param {() => Promise<string>} action Returns what it did.
 * @returns {Promise<boolean>} Whether it was done.
 */
export async function act(action) {
  try {
    showResult('good', withTimes(await action(), new Date()));
    return true;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    showResult('bad', `Failed: ${error.message}`);
    return false;
  }
}

/** @param {'good' | 'bad'} mark @param {string} text */
export function showResult(mark, text) {
  const result = $('action-result');
  result.className = `note ${mark}`;
  result.textContent = visible(text);
  result.hidden = false;
}
