// The blocked users, each with a button. The table of spenders lacks those who have spent nothing.
import { allow } from './actions.js';
import { $, element, put } from './page.js';
import { blockedNote } from './spending.js';

let shown = '';

/** @param {import('./spending.js').BlockedUsers} blocked */
export function showBlocked(blocked) {
  put('blocked-note', blockedNote(blocked));
  if (shown === String(blocked.names)) return;
  shown = String(blocked.names);
  const list = $('blocked');
  const hadFocus = list.contains(document.activeElement);
  list.replaceChildren(...blocked.names.map(item));
  if (hadFocus) $('user-input').focus();
}

/** @param {string} user */
function item(user) {
  const button = element('button', { type: 'button', textContent: 'Allow again', 'aria-label': `Allow again ${user}` });
  button.addEventListener('click', () => allow(user));
  return element('li', {}, element('span', { className: 'code', textContent: user }), button);
}
