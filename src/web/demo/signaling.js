// A client of the broker's own signaling: Ayame's protocol, JSON over a WebSocket. A connection is in one room of two, and ends
// once: this end leaves, the other end leaves, or the operator ends the room. A window that comes back makes a new connection,
// with new credentials.

/**
 * @typedef {{type: 'offer' | 'answer', sdp: string}} Description
 * @typedef {{type: 'candidate', ice: RTCIceCandidateInit}} Candidate
 * @typedef {object} Events
 * @property {(isSecond: boolean, iceServers: RTCIceServer[]) => void} accepted The second member makes the offer.
 * @property {(message: Description | Candidate) => void} heard From the other member, in order.
 * @property {(why: string) => void} ended `bye`, the reason of a rejection such as `full`, or `closed`.
 */

export class SignalingConnection {
  #socket;
  #on;
  #why = 'closed';

  /** @param {string} room @param {Events} on */
  constructor(room, on) {
    this.#on = on;
    this.#socket = new WebSocket(new URL('signaling', document.baseURI.replace(/^http/, 'ws')));
    this.#socket.onopen = () => this.#send({ type: 'register', roomId: room });
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.#socket.onclose = () => on.ended(this.#why);
  }

  /** Passes on a message to the other member. @param {Description | Candidate} message */
  say(message) {
    this.#send(message);
  }

  leave() {
    this.#socket.close();
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} message From the broker, so it has the form of the protocol. */
  #take(message) {
    switch (message.type) {
      case 'ping': return this.#send({ type: 'pong' });
      case 'accept': return this.#on.accepted(message.isExistUser, message.iceServers ?? []);
      case 'reject': this.#why = message.reason; return;
      case 'bye': this.#why = 'bye'; return;
      default: return this.#on.heard(message);
    }
  }
}
