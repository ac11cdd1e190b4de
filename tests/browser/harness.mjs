// Shared parts of the tests in this directory: one coturn, one broker, one operator, and the runner.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { metric } from './counts.mjs';
import { brokerProcess, coturnProcess, until } from './processes.mjs';

export const BROKER = 'http://127.0.0.1:3001';
const HEARTBEAT_SECONDS = 3;
/**
 * The largest allowed difference between a browser's count of bytes and that of relay or broker. On a quiet machine it is below
 * 0.02: relays also count handshakes and 4 bytes of framing per packet. A browser that is too busy to read its socket loses packets
 * that the relay has sent. Relay and ledger agree much closer.
 */
export const TOLERANCE = 0.1;
/** How many times as long as on a quiet machine a test may take. */
const PATIENCE = 3;

export const directory = process.env.WORK_DIR;
export const operatorToken = randomBytes(24).toString('hex');
export const coturnSecret = randomBytes(24).toString('hex');
/** The processes started so far, whose logs are shown on failure. @type {import('./processes.mjs').Process[]} */
const processes = [];

/**
 * Runs a test and exits with its result.
 * @param {() => Promise<void>} test
 * @param {number} secondsMax On a quiet machine.
 */
export async function runTest(test, secondsMax) {
  const timeOut = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${secondsMax * PATIENCE} s`)), secondsMax * PATIENCE * 1000);
  });
  try {
    assert.deepEqual(Object.keys(networkInterfaces()), ['lo'], 'start this with run.sh: the network must have only lo');
    await Promise.race([test(), timeOut]);
    console.log('1 passed, 0 failed');
    process.exit(0);
  } catch (error) {
    for (const { name, logTail } of processes) console.log(`--- end of ${name}.log\n${logTail}`);
    console.log(`--- ${error.stack}\n0 passed, 1 failed`);
    process.exit(1);
  }
}

/** @param {string[]} [cli] */
export const startCoturn = (cli) => start(coturnProcess(directory, coturnSecret, cli));

/**
 * @param {string} site The only allowed origin.
 * @param {Record<string, string>} settings Added to the settings of all tests.
 * @param {string} [name]
 * @param {string} [program]
 */
export function startBroker(site, settings = {}, name = undefined, program = undefined) {
  const base = {
    HOST: '127.0.0.1',
    PORT: new URL(BROKER).port,
    CLIENT_URL: site,
    ICE_SOURCES: 'coturn',
    COTURN_URLS: 'turn:127.0.0.1:3478?transport=udp',
    COTURN_SECRET: coturnSecret,
    OPERATOR_TOKEN: operatorToken,
    HEARTBEAT_SECONDS: String(HEARTBEAT_SECONDS),
    BILLING_DAY: new Date().getUTCDate() < 15 ? '22' : '8', // no billing period ends during the test
    LOG_FORMAT: 'json',
    RUST_LOG: 'debug',
  };
  return start(brokerProcess(directory, { ...base, ...settings }, name, program));
}

/** @param {import('./processes.mjs').Process} started */
export function start(started) {
  processes.push(started);
  return started.ready();
}

/**
 * Waits until `look` returns the same twice, a second apart: what was on its way has arrived. Returns that.
 * @template T
 * @param {() => Promise<T>} look
 * @returns {Promise<T>}
 */
export async function atRest(look) {
  let before = await look();
  await until('nothing to arrive any more', async () => {
    await new Promise((resolve) => { setTimeout(resolve, 1_000); });
    const now = await look();
    const isSame = JSON.stringify(now) === JSON.stringify(before);
    before = now;
    return isSame;
  });
  return before;
}

export function theyAgree(counts, tolerance = TOLERANCE) {
  const [least, most] = [Math.min(...Object.values(counts)), Math.max(...Object.values(counts))];
  assert.ok(most <= least * (1 + tolerance), `the counts differ by more than ${tolerance * 100} %`);
}

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
export const status = () => fetch(`${BROKER}/api/bandwidth-status`, { headers: { Authorization: `Bearer ${operatorToken}` } }).then((answer) => answer.json());
export const operator = (path, method = 'GET', body = undefined) =>
  fetch(BROKER + path, { method, headers: { Authorization: `Bearer ${operatorToken}` }, body: body && JSON.stringify(body) });
export const openConnections = async () => (await operator('/api/connections').then((answer) => answer.json())).connections;
export const usedBytes = async () => metric(await (await operator('/metrics')).text(), 'turn_broker_used_bytes');
