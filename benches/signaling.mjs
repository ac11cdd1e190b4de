// Measures the signaling of a broker that it starts, and prints one line of figures: ms from `register` to `accept` with a mint (p50);
// messages per second from one member of a room to the other; MB of the idle process and with 4,096 idle sockets, and kB of one socket; ms
// until a ping of all of them is answered, and MB then. run.sh calls it. Needs Linux (loopback has many addresses there) and Node 18.
//   node benches/signaling.mjs PATH_OF_TURN_BROKER
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';

const [PROGRAM] = process.argv.slice(2);
const SOCKETS = 4_096;
const PER_ADDRESS = 64;
const JOINS = 300;
/** So many frames wait for a recipient without a loss. More of one address at once can be dropped: docs/SIGNALING.md. */
const BURST = 200;

const port = 20_000 + Math.floor(Math.random() * 12_000);
const broker = spawn(PROGRAM, [], {
  env: {
    PORT: String(port), HOST: '127.0.0.1', SIGNALING: 'ayame,yjs', RATE_LIMIT_REQUESTS: '10000', ICE_SOURCES: 'coturn',
    COTURN_URLS: 'turn:turn.example:3478', COTURN_SECRET: 'a-secret-of-this-benchmark', RUST_LOG: 'warn',
  },
  stdio: ['ignore', 'ignore', 'inherit'],
});
const ended = once(broker, 'exit');

/** A masked text frame, as clients send it. The mask is zero, which is allowed and costs this program nothing. */
function frame(text) {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.from([0x81, 0x80 | body.length]) : Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 255]);
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

/** A client that counts and passes on the text frames it gets. */
class Client {
  constructor(socket) {
    this.socket = socket;
    this.buffer = Buffer.alloc(0);
    this.onText = () => {};
    socket.on('data', (data) => this.take(data));
  }

  static async open(path, localAddress) {
    const socket = net.connect({ port, host: '127.0.0.1', localAddress });
    socket.setNoDelay(true);
    await once(socket, 'connect');
    const key = randomBytes(16).toString('base64');
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
      + `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`);
    const [head] = await once(socket, 'data');
    const text = head.toString('latin1');
    if (!text.startsWith('HTTP/1.1 101')) throw new Error(text.split('\r\n')[0]);
    const client = new Client(socket);
    client.take(head.subarray(head.indexOf('\r\n\r\n') + 4));
    return client;
  }

  take(data) {
    this.buffer = this.buffer.length ? Buffer.concat([this.buffer, data]) : data;
    for (;;) {
      if (this.buffer.length < 2) return;
      let length = this.buffer[1] & 127;
      let start = 2;
      if (length === 126) {
        if (this.buffer.length < 4) return;
        length = this.buffer.readUInt16BE(2);
        start = 4;
      }
      if (this.buffer.length < start + length) return;
      const opcode = this.buffer[0] & 15;
      const body = this.buffer.subarray(start, start + length);
      this.buffer = this.buffer.subarray(start + length);
      if (opcode === 1) this.onText(body.toString());
    }
  }

  next(type) {
    return new Promise((resolve) => {
      this.onText = (text) => {
        const message = JSON.parse(text);
        if (message.type === type) resolve(message);
      };
    });
  }

  send(text) { this.socket.write(frame(text)); }

  /** Ends the connection, and waits until the broker has ended it too, so its place is free. */
  async close() {
    this.socket.end();
    if (!this.socket.closed) await once(this.socket, 'close');
  }
}

/** Resident memory of the broker in MB (10^6 bytes). */
function memory() {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'));
  return Number(kib) * 1024 / 1e6;
}

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

async function started() {
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
    if (answer?.ok) return;
    await sleep(20);
  }
}

async function joins() {
  const took = [];
  for (let n = 0; n < JOINS; n += 1) {
    const client = await Client.open('/signaling', `127.0.1.${1 + (n % 250)}`);
    const accepted = client.next('accept');
    const begun = performance.now();
    client.send(JSON.stringify({ type: 'register', roomId: `room-${n}`, clientId: 'a' }));
    const { iceServers } = await accepted;
    took.push(performance.now() - begun);
    if (!iceServers?.some((server) => server.credential)) throw new Error('a join without a credential');
    await client.close();
  }
  return median(took);
}

async function relayed() {
  const [a, b] = [await Client.open('/signaling', '127.0.2.1'), await Client.open('/signaling', '127.0.2.2')];
  for (const client of [a, b]) {
    const accepted = client.next('accept');
    client.send(JSON.stringify({ type: 'register', roomId: 'pair', clientId: 'a' }));
    await accepted;
  }
  const candidate = JSON.stringify({ type: 'candidate', ice: { candidate: 'x'.repeat(120), sdpMid: '0', sdpMLineIndex: 0 } });
  let got = 0;
  const all = new Promise((resolve) => { b.onText = () => { got += 1; if (got === BURST) resolve(); }; });
  const begun = performance.now();
  for (let n = 0; n < BURST; n += 1) a.send(candidate);
  await all;
  const perSecond = BURST / (performance.now() - begun) * 1_000;
  for (const client of [a, b]) await client.close();
  return perSecond;
}

async function idle() {
  const before = memory();
  const clients = [];
  for (let n = 0; n < SOCKETS; n += 1) {
    clients.push(await Client.open('/yjs', `127.1.${Math.floor(n / PER_ADDRESS)}.1`));
    clients[n].send('{"type":"subscribe","topics":["room"]}'.replace('room', `room-${n}`));
  }
  await sleep(2_000);
  const open = memory();
  let pongs = 0;
  for (const client of clients) client.onText = () => { pongs += 1; };
  const begun = performance.now();
  for (const client of clients) client.send('{"type":"ping"}');
  while (pongs < SOCKETS) await sleep(5);
  const answered = performance.now() - begun;
  const pinged = memory();
  for (const client of clients) client.socket.destroy();
  return [before, open, (open - before) * 1_000 / SOCKETS, answered, pinged];
}

try {
  await started();
  const figures = [await joins(), await relayed(), ...await idle()];
  console.log(figures.map((figure) => figure.toFixed(3)).join(' '));
} finally {
  broker.kill();
  await ended;
}
