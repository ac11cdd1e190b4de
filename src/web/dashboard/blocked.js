// The blocked users and addresses, each with a button. The table of spenders lacks those who have spent nothing.
import { allow, allowAddress } from './actions.js';
import { withTimes } from './format.js';
import { $, element, put, replace } from './page.js';
import { blockedNote } from './spending.js';

/** @param {import('./api.d.ts').Schemas['BlockedUsersBody']} users @param {import('./api.d.ts').Schemas['BlockedAddressesBody']} addresses @param {Date} now */
export function showBlocked(users, addresses, now) {
  put('blocked-note', blockedNote(users, addresses));
  const hadFocus = $('blocked').contains(document.activeElement);
  const named = users.names.map((user) => item(user, '', () => allow(user)));
  const listed = addresses.addresses.map(({ address, until }) => item(address, until ? ` until ${withTimes(until, now)}` : '', () => allowAddress(address)));
  replace('blocked', [...named, ...listed]);
  if (hadFocus && !$('blocked').contains(document.activeElement)) $('user-input').focus();
}

/** @param {string} who @param {string} until @param {() => void} press */
function item(who, until, press) {
  const button = element('button', { type: 'button', textContent: 'Allow again', 'aria-label': `Allow again ${who}` });
  button.addEventListener('click', press);
  return element('li', {}, element('span', { className: 'code', textContent: who }), until, button);
}
