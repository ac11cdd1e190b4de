// The processes of the tests. Each writes a log file, has its own check for readiness, and ends with this process, because
// run.sh makes it process 1 of its namespace. Every wait is for a condition and has a deadline.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

export const COTURN_REALM = 'relay.test';
const LOG_TAIL_LINES = 40;
/** Until then a browser has started, and what a test waits for has happened: a machine that does other work too may be many times slower. */
const SECONDS_MAX = 120;

/**
 * Waits until `probe` returns a truthy value, and returns that. A page that is being left answers nothing, and is asked again.
 * @template T
 * @param {string} what Named in the error after the deadline.
 * @param {() => T | Promise<T>} probe
 * @returns {Promise<T>}
 */
export async function until(what, probe) {
  const end = Date.now() + SECONDS_MAX * 1000;
  for (;;) {
    const found = await Promise.resolve(probe()).catch((error) => {
      if (!`${error}`.includes('Execution context was destroyed')) throw error;
    });
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${SECONDS_MAX} s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

export class Process {
  /**
   * @param {string} name
   * @param {string} directory The working directory, which also has the log.
   * @param {string} command
   * @param {string[]} args
   * @param {Record<string, string>} env The whole environment, apart from PATH.
   * @param {(self: Process) => boolean | Promise<boolean>} serves Whether it is ready.
   */
  constructor(name, directory, command, args, env, serves) {
    this.name = name;
    this.serves = () => serves(this);
    this.logPath = join(directory, `${name}.log`);
    const log = openSync(this.logPath, 'a'); // a restarted process appends to it
    this.child = spawn(command, args, { cwd: directory, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', log, log] });
    this.ended = new Promise((resolve) => {
      this.child.once('error', ({ message }) => resolve(message));
      this.child.once('exit', (status, signal) => resolve(signal ?? `status ${status}`));
    });
  }

  get log() {
    return readFileSync(this.logPath, 'utf8');
  }

  get logTail() {
    return this.log.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  }

  /** Waits until it is ready, and fails if it ends before. */
  async ready() {
    const early = this.ended.then((how) => `${this.name} ended at start: ${how}`);
    const fault = await Promise.race([until(`${this.name} to be ready`, this.serves).then(() => null), early]);
    if (fault) throw new Error(fault);
    return this;
  }

  /** Stops it and resolves with how it ended: `status 0` is a clean exit. */
  async stop(signal = 'SIGTERM') {
    this.child.kill(signal);
    return this.ended;
  }
}

/**
 * A coturn for loopback peers with TURN REST credentials; `verbose` makes it log the bytes of each session.
 * @param {string} directory
 * @param {string} secret
 * @param {string[]} cli Settings of its command-line interface.
 */
export function coturnProcess(directory, secret, cli = ['no-cli']) {
  const settings = [
    'listening-ip=127.0.0.1', 'listening-port=3478', 'relay-ip=127.0.0.1', `realm=${COTURN_REALM}`, 'fingerprint', 'no-tls', 'no-dtls',
    'use-auth-secret', `static-auth-secret=${secret}`, 'allow-loopback-peers', 'verbose', 'simple-log', 'log-file=stdout',
    `userdb=${join(directory, 'coturn.db')}`, `pidfile=${join(directory, 'coturn.pid')}`, ...cli,
  ];
  const path = join(directory, 'coturn.conf');
  writeFileSync(path, settings.join('\n'), { mode: 0o600 });
  return new Process('coturn', directory, 'turnserver', ['-c', path], {}, ({ log }) => log.includes('UDP listener opened'));
}

/** Where a coturn reports its sessions: the line for it, and the broker's settings. @param {string} password */
export const coturnReports = (password) => ({
  line: `redis-statsdb="ip=127.0.0.2 dbname=0 password=${password} port=6390 connect_timeout=5"`,
  settings: { COTURN_STATS_LISTEN: '127.0.0.2:6390', COTURN_STATS_PASSWORD: password },
});

export function brokerProcess(directory, env, name = 'broker', program = process.env.TURN_BROKER_BIN) {
  const serves = () => fetch(`http://${env.HOST}:${env.PORT}/ready`).then(({ ok }) => ok, () => false);
  return new Process(name, directory, program, [], env, serves);
}

/**
 * Serves a page on its own origin, and returns the origin.
 * @param {number} port
 * @param {string} name Relative to this directory: a script, a module (`.mjs`), or a whole page (`.html`).
 * @param {string[]} modules Modules that it imports, also relative to this directory and served under their file names.
 * @param {string} host
 */
export async function serveSite(port, name, modules = [], host = '127.0.0.1') {
  const file = readFileSync(new URL(name, import.meta.url));
  const beside = new Map(modules.map((module) => [`/${module.split('/').at(-1)}`, readFileSync(new URL(module, import.meta.url))]));
  const type = name.endsWith('.mjs') ? ' type="module"' : '';
  const around = `<!doctype html><title>call</title><link rel="icon" href="data:,"><script${type} src="/${name}"></script>`;
  const page = name.endsWith('.html') ? file : around;
  const site = createServer(({ url }, answer) => {
    const script = url === `/${name}` ? file : beside.get(url);
    answer.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    answer.end(script ?? page);
  });
  await new Promise((resolve) => site.listen(port, host, resolve));
  return `http://${host}:${port}`;
}

/**
 * Chromium has no sandbox as root, and by default it uses no loopback addresses for calls.
 * @param {string} directory
 * @param {string[]} more Arguments that only this test needs.
 */
export function launchBrowser(directory, more = []) {
  const args = ['--allow-loopback-in-peer-connection', ...more];
  return launch({ executablePath: process.env.CHROMIUM, userDataDir: join(directory, 'chromium'), args }, directory);
}

/**
 * A browser in another network namespace. Commands go through a pipe, since a port of the browser cannot be reached from here.
 * Candidates have addresses, since names of a local network do not resolve in another one.
 * @param {string} directory
 * @param {string} program Starts Chromium in the namespace.
 */
export function launchBrowserElsewhere(directory, program) {
  const args = ['--disable-features=WebRtcHideLocalIpsWithMdns'];
  return launch({ executablePath: program, userDataDir: `${program}.profile`, pipe: true, args }, directory);
}

/** A browser that does not start is started once more. */
async function launch({ args, ...options }, directory) {
  const start = () => puppeteer.launch({
    ...options,
    timeout: SECONDS_MAX * 1000,
    env: { ...process.env, HOME: directory, TMPDIR: directory },
    args: ['--no-sandbox', '--disable-gpu', '--no-proxy-server', '--disable-background-networking', ...args],
  });
  const browser = await start().catch((error) => {
    console.log(`the browser did not start: ${error.message}`);
    rmSync(options.userDataDir, { recursive: true, force: true });
    return start();
  });
  browser.on('targetcreated', async (target) => (await target.page())?.setDefaultTimeout(SECONDS_MAX * 1000));
  return browser;
}

/**
 * Records every response to a page, with preflights and beacons, even those that its scripts may not read.
 * @returns {Promise<() => {method: string, url: string, status: number}[]>} Returns the responses so far.
 */
export async function watchAnswers(page) {
  const requests = new Map();
  const statuses = [];
  const devtools = await page.createCDPSession();
  devtools.on('Network.requestWillBeSent', ({ requestId, request }) => requests.set(requestId, request));
  devtools.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => statuses.push([requestId, statusCode]));
  await devtools.send('Network.enable');
  return () => statuses.map(([requestId, status]) => {
    const { method, url } = requests.get(requestId) ?? {}; // the two events come in any order
    return { method, url, status };
  });
}
