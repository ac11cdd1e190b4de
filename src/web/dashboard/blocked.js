// The blocked spenders, each with a button. The table of spenders lacks those who have spent nothing.
import { allow } from './actions.js';
import { withTimes } from './format.js';
import { $, element, put, replace } from './page.js';
import { blockedNote } from './spending.js';

/** @param {import('./api.d.ts').Schemas['BlocksBody']} blocked @param {Date} now */
export function showBlocked(blocked, now) {
  put('blocked-note', blockedNote(blocked));
  const hadFocus = $('blocked').contains(document.activeElement);
  replace('blocked', blocked.blocks.map((block) => item(block, now)));
  if (hadFocus && !$('blocked').contains(document.activeElement)) $('user-input').focus();
}

/** @param {import('./api.d.ts').Schemas['BlockedBody']} block @param {Date} now */
function item({ by, key, until, since }, now) {
  const button = element('button', { type: 'button', textContent: 'Allow again', 'aria-label': `Allow again ${key}` });
  button.addEventListener('click', () => allow(by, key));
  return element('li', {}, `${by} `, element('span', { className: 'code', textContent: key }), since ? ` since ${withTimes(since, now)}` : '', until ? ` until ${withTimes(until, now)}` : '', button);
}
