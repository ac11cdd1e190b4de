// A page of a room, with npm's partysocket as Orange uses it: it says what it shares on each open, and sends heartbeats.
import PartySocket from './index.js';

const HEARTBEAT_MS = 1_000;

let socket;
let beating;
let me = { joined: false, tracks: {} };
const got = [];
const opens = [];
const say = (message) => socket.send(JSON.stringify(message));
const update = () => say({ type: 'userUpdate', user: me });

globalThis.room = {
  got,
  opens,
  /** Chooses a name. The page is of the same site as the broker, so the browser keeps the cookie. */
  async choose(broker, username) {
    await fetch(`${broker}/set-username?return-url=/health`, { method: 'POST', body: new URLSearchParams({ username }), mode: 'no-cors', credentials: 'include' });
  },
  /** Enters, and returns the id that partysocket has made. */
  enter(host, name) {
    socket = new PartySocket({ host, party: 'rooms', room: name, minReconnectionDelay: 100 });
    socket.onopen = () => { opens.push(Date.now()); update(); };
    socket.onmessage = ({ data }) => got.push(JSON.parse(data));
    beating = setInterval(() => say({ type: 'heartbeat' }), HEARTBEAT_MS);
    return socket.id;
  },
  share(user) {
    me = user;
    update();
  },
  say,
  /** Breaks the socket as a lost network does for the page: partysocket connects again. */
  reconnect: () => socket.reconnect(),
  /** Says so, and closes: partysocket would connect again. */
  leave() {
    say({ type: 'userLeft' });
    this.fallSilent();
  },
  fallSilent() {
    clearInterval(beating);
    socket.close();
  },
  state: () => got.findLast(({ type }) => type === 'roomState')?.state,
};
