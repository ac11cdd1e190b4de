// The demo page. The window with the operator's token is the first one of a call, and shows the broker's figures. Any other one is
// the second, in the room that its address names behind the `#`. The token comes there too. The page removes it from the address at
// once and keeps it in this tab, so that the address can be opened elsewhere.
import { token } from '../dashboard/broker.js';
import { beGuest } from './guest.js';
import { beHost } from './host.js';

/** As hard to guess as a key: whoever knows the room can join it. */
const ROOM_BYTES = 16;
const newRoom = () => [...crypto.getRandomValues(new Uint8Array(ROOM_BYTES))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

function begin() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = given.get('token');
  if (found) token.set(found, false);
  const room = given.get('room');
  if (room && !token.inTab()) return beGuest(room);
  const own = room ?? newRoom();
  history.replaceState(null, '', `${location.pathname}#room=${own}`);
  return beHost(own);
}

addEventListener('hashchange', () => location.reload());
begin();
