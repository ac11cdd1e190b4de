// Four views of one state: the status, the metrics, the command and the dashboard. All four have the same figures.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { metric } from './counts.mjs';
import { BROKER, directory, operator, operatorToken, status } from './harness.mjs';
import { until } from './processes.mjs';

const run = promisify(execFile);
const inGB = (bytes) => (bytes / 1e9).toFixed(2);

/**
 * Waits until they agree, because usage grows between two looks.
 * @param {import('puppeteer-core').Page} page A dashboard.
 * @param {string} state What the broker is in, for the message of a failure.
 */
export async function theFiguresAreTheSame(page, state) {
  let seen;
  const agree = async () => {
    seen = await views(page);
    return Object.values(seen).every((view) => Object.entries(view).every(([name, value]) => value === seen.status[name]));
  };
  await until(`the same figures, ${state}`, agree).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(seen)}`));
}

async function views(page) {
  const [said, measured, { stdout }, shown] = await Promise.all([
    status(),
    operator('/metrics').then((answer) => answer.text()),
    run(process.env.TURN_BROKER_BIN, ['--url', BROKER, 'status'], { cwd: directory, env: { OPERATOR_TOKEN: operatorToken } }),
    page.$$eval('#used, #limit, #reserved, #minting, #connections-note, #grants', (all) => Object.fromEntries(all.map(({ id, innerText }) => [id, innerText]))),
  ]);
  const printed = (pattern) => stdout.match(pattern)?.[1];
  return {
    status: {
      used: said.bandwidthUsedGB, limit: said.bandwidthLimitGB, reserved: said.reservedGB, issued: said.grants.issued, live: said.grants.live,
      connections: said.activeConnections, minting: said.minting.code ?? 'on',
    },
    metrics: {
      used: inGB(metric(measured, 'turn_broker_used_bytes')), limit: metric(measured, 'turn_broker_limit_bytes') / 1e9,
      live: metric(measured, 'turn_broker_grants_live'), connections: metric(measured, 'turn_broker_connections_open'),
    },
    command: {
      used: printed(/^Used +([\d.]+) of/m), limit: Number(printed(/^Used .* of ([\d.]+) GB/m)), reserved: printed(/^Reserved +([\d.]+) GB/m),
      issued: Number(printed(/^Grants +(\d+) issued/m)), live: Number(printed(/^Grants .* (\d+) live/m)), connections: Number(printed(/^Connections +(\d+)/m)),
      minting: printed(/^Minting +(?:off, )?(\w+)/m),
    },
    dashboard: {
      used: shown.used, limit: Number(shown.limit.replaceAll(',', '')), reserved: shown.reserved,
      issued: Number(shown.grants.match(/issued\s+([\d,]+)/)?.[1].replaceAll(',', '')),
      minting: shown.minting.replace(/^Not minting: /, '').replace('Minting', 'on'),
    },
  };
}
