// The blocked users, each with a button. The table of spenders lacks those who have spent nothing.
import { allow } from './actions.js';
import { $, element, put, replace } from './page.js';
import { blockedNote } from './spending.js';

/** @param {import('./api.d.ts').Schemas['BlockedUsersBody']} blocked */
export function showBlocked(blocked) {
  put('blocked-note', blockedNote(blocked));
  const hadFocus = $('blocked').contains(document.activeElement);
  replace('blocked', blocked.names.map(item));
  if (hadFocus && !$('blocked').contains(document.activeElement)) $('user-input').focus();
}

/** @param {string} user */
function item(user) {
  const button = element('button', { type: 'button', textContent: 'Allow again', 'aria-label': `Allow again ${user}` });
  button.addEventListener('click', () => allow(user));
  return element('li', {}, element('span', { className: 'code', textContent: user }), button);
}
