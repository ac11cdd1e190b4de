// The code of README.md.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { BROKER, directory, runTest, start, startBroker, status } from '../browser/harness.mjs';
import { Process, launchBrowser, until } from '../browser/processes.mjs';
import { Document } from './document.mjs';
import { SITE, folderFor, inBrowser, inShell, serveExamples } from './examples.mjs';

const SECONDS_MAX = 120;
const readme = new Document('README.md');

async function run() {
  readme.leave('cargo run -- demo', 'tests/browser/run.sh demo is the demo as somebody meets it, and these are the tests');
  await theBrokerStarts();
  await thePageCalls();
  readme.allNamed();
}

/** `cargo run` is the program of this test. Only host and port are set besides the `.env`. */
async function theBrokerStarts() {
  const folder = folderFor({ '.env.example': readFileSync(new URL('../../.env.example', import.meta.url), 'utf8') });
  writeFileSync(`${folder}/cargo`, '#!/bin/sh\nexec "$TURN_BROKER_BIN"\n', { mode: 0o755 });
  const env = { PATH: `${folder}:${process.env.PATH}`, TURN_BROKER_BIN: process.env.TURN_BROKER_BIN, HOST: '127.0.0.1' };
  const ready = () => fetch(`${BROKER}/ready`).then(({ ok }) => ok, () => false);
  const broker = new Process('broker', folder, 'bash', ['-euc', `${readme.block('cp .env.example .env')}`], env, ready);
  await start(broker);
  const { source, degraded, reason } = await (await fetch(`${BROKER}/api/turn-credentials`)).json();
  assert.deepEqual({ source, degraded, reason }, { source: 'stun', degraded: true, reason: 'NOT_CONFIGURED' });
  assert.equal((await fetch(`${BROKER}/openapi.json`)).status, 200);
  await broker.stop('SIGKILL');
}

async function thePageCalls() {
  await serveExamples();
  const browser = await launchBrowser(directory);
  await startBroker(SITE, { COTURN_URLS: '', COTURN_SECRET: '', ICE_SOURCES: 'relay,stun' });
  const app = folderFor({ 'package.json': '{ "private": true }' });
  await inShell(readme.block('npm i https://turn.example.com/turn-client.tgz'), { npm_config_cache: `${directory}/npm`, npm_config_audit: 'false' }, app);
  const page = await inBrowser(browser, readme.block("from 'turn-broker-client'"), { after: 'globalThis.servers = pc.getConfiguration().iceServers;', folder: app });
  assert.match(JSON.stringify(await page.evaluate(() => globalThis.servers)), /"turn:127\.0\.0\.1/);
  await until('the credential', async () => (await status()).grants.issued === 1);
  await browser.close();
}

await runTest(run, SECONDS_MAX);
