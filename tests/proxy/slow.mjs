// Sends requests whose bodies never end, each over a socket of its own. Prints `refused` with the first 429, and `sent` when all are sent. Ends
// 6 s later: the broker itself waits 10 s for a body.
//   node slow.mjs CLIENT_ADDRESS CA_FILE COUNT

import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

const [client, authority, count] = process.argv.slice(2);
const WATCHED_MS = 6_000;
let isRefused = false;
let left = Number(count);
const ca = readFileSync(authority);
const head = 'POST /api/connections HTTP/1.1\r\nHost: turn.example.com\r\nContent-Length: 9999\r\n\r\n{';
const sent = () => {
  left -= 1;
  if (left !== 0) return;
  console.log('sent');
  setTimeout(() => process.exit(), WATCHED_MS);
};

for (let n = 0; n < Number(count); n++) {
  const socket = connect({ host: '127.0.0.1', port: 443, servername: 'turn.example.com', localAddress: client, ca });
  socket.on('secureConnect', () => socket.write(head, sent));
  socket.once('data', (chunk) => {
    if (isRefused || !/ 429 /.test(chunk.toString())) return;
    isRefused = true;
    console.log('refused');
  });
  socket.on('error', () => {});
}
