// The second window. It has no token and no figures. It stays in the room: when a call ends, it joins again, with new credentials,
// and waits for the first window.
import { $, mark, put } from './page.js';
import { Stage } from './stage.js';
import { guestStory } from './words.js';

/** The first window notices the end of a call after 3 s, and says why. */
const SILENCE_SECONDS = 6;
/** While it waits, its credential must last this long at least, for the call that comes. */
const LEFT_SECONDS_MIN = 60;
const AGAIN_SECONDS = 2;

/** @param {string} room */
export function beGuest(room) {
  const stage = new Stage('Ben', 'Ann', 22);
  let lastByteAt = 0;
  let received = 0;

  const join = () => {
    received = 0;
    show(stage.join(room, changed));
  };

  /** @param {import('./call.js').Call} call */
  const changed = (call) => {
    if (call.state === 'connected') lastByteAt = performance.now();
    if (call.state === 'ended') {
      stage.keep();
      // Soon after a call, because the first window may be back already.
      setTimeout(join, call.why === 'bye' || call.why === 'left' ? 200 : AGAIN_SECONDS * 1_000);
    }
    show(call);
  };

  /** @param {import('./call.js').Call} call */
  const show = ({ state, why }) => {
    const { mark: kind, word, text } = guestStory(state, why);
    mark('phase', { mark: kind, word });
    $('story').className = `note ${kind}`;
    put('story', text);
    stage.light(state === 'connected', false);
  };

  const tick = async () => {
    const { call } = stage;
    if (!call?.credential) return;
    const secondsLeft = (call.credential.expiresAt.getTime() - Date.now()) / 1_000;
    if (call.state === 'waiting' && secondsLeft < LEFT_SECONDS_MIN) return call.leave();
    if (call.state !== 'connected') return;
    const sample = await call.sample();
    if (stage.call !== call) return;
    stage.showCounts();
    if (sample.received > received) {
      received = sample.received;
      lastByteAt = performance.now();
    }
    if (sample.isLost || performance.now() - lastByteAt > SILENCE_SECONDS * 1_000) await call.leave();
  };

  document.body.classList.add('is-guest');
  join();
  setInterval(() => void tick(), 1_000);
}
