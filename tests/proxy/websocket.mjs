// One exchange over a WebSocket through the proxy: opens it, sends a message if there is one, and prints the first text that arrives.
// Writes the bytes by hand, so it needs no package.
//   node websocket.mjs CLIENT_ADDRESS CA_FILE PATH [MESSAGE] [COOKIE]

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

const [client, authority, path, message = '', cookie = ''] = process.argv.slice(2);
const OVERALL_MS = 20_000;

/** A text frame of a client: its bytes are masked. Shorter than 126 bytes. */
function frame(text) {
  const [payload, mask] = [Buffer.from(text), randomBytes(4)];
  if (payload.length > 125) throw new Error('the message is too long');
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload.map((byte, at) => byte ^ mask[at % 4])]);
}

/** The text of the first whole text frame of a server. Pings are skipped. */
function firstText(bytes) {
  for (let at = 0; at + 2 <= bytes.length;) {
    const [opcode, short] = [bytes[at] & 15, bytes[at + 1] & 127];
    const head = short === 126 ? 4 : 2;
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
    if (at + head + length > bytes.length) return undefined;
    if (opcode === 1) return bytes.subarray(at + head, at + head + length).toString();
    if (opcode === 8) throw new Error(`closed with ${bytes.readUInt16BE(at + head)}`);
    at += head + length;
  }
  return undefined;
}

const socket = connect({ host: '127.0.0.1', port: 443, servername: 'turn.example.com', localAddress: client, ca: readFileSync(authority) });
const late = setTimeout(() => { socket.destroy(new Error('no message in time')); }, OVERALL_MS);
socket.on('secureConnect', () => socket.write([
  `GET ${path} HTTP/1.1`, 'Host: turn.example.com', 'Connection: Upgrade', 'Upgrade: websocket', 'Origin: https://app.example',
  'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, ...cookie ? [`Cookie: ${cookie}`] : [], '', '',
].join('\r\n')));

let received = Buffer.alloc(0);
let opened = false;
socket.on('data', (chunk) => {
  received = Buffer.concat([received, chunk]);
  const end = received.indexOf('\r\n\r\n');
  if (!opened) {
    if (end < 0) return;
    const [status] = received.toString().split('\r\n');
    if (!/ 101 /.test(status)) throw new Error(status);
    opened = true;
    received = received.subarray(end + 4);
    if (message) socket.write(frame(message));
  }
  const text = firstText(received);
  if (text === undefined) return;
  console.log(text);
  clearTimeout(late);
  socket.destroy();
});
