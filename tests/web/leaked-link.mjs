// Prints the table of the README "What can a leaked link still cost?" from the constants of the source.
//   node tests/web/leaked-link.mjs

import { readFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

const source = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** The number in the first group of the only match in a file. */
function number(path, pattern) {
  const found = [...source(path).matchAll(new RegExp(pattern, 'g'))];
  if (found.length !== 1) throw new Error(`${path}: ${found.length} matches of ${pattern}`);
  return Number(found[0][1].replaceAll('_', ''));
}

const DIGITS = '([0-9_.]+)';
const setting = (path, name) => number(path, `"${name}",\\s*"${DIGITS}"`);

/** What the table depends on. Times are in seconds, rates in GB per second. */
const constants = {
  limit: setting('src/config/budget.rs', 'BANDWIDTH_LIMIT_GB'),
  price: setting('src/config/budget.rs', 'PRICE_PER_GB'),
  grantLimit: number('.env.example', `\\n# GRANT_LIMIT_GB=${DIGITS}\\n`),
  life: setting('src/config/ice.rs', 'TURN_TTL_SECONDS'),
  pageLife: number('src/web/turn-client/turn-client.js', `const LIFE_SECONDS = ${DIGITS};`),
  lag: setting('src/config/meter.rs', 'ANALYTICS_LAG_SECONDS'),
  interval: setting('src/config/meter.rs', 'CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS'),
  mints: setting('src/config/access.rs', 'RATE_LIMIT_REQUESTS'),
  window: setting('src/config/access.rs', 'RATE_LIMIT_WINDOW_SECONDS'),
  keyMints: setting('src/config/server_keys.rs', 'SERVER_KEY_REQUESTS'),
  liability: setting('src/config/budget.rs', 'ESTIMATED_MBPS_PER_CONNECTION'),
  machine: number('crates/budget/src/units/mod.rs', `RELAY_RATE_MAX: BitRate = BitRate::new\\(${DIGITS}\\)`) / 8e9,
  addressPart: number('crates/ledger/src/spending/terms.rs', `ADDRESS_LIMIT_PART: u64 = ${DIGITS};`),
  excess: number('crates/ledger/src/books/snapshot.rs', `EXCESS_PERCENT: u32 = ${DIGITS};`),
  tail: number('crates/budget/src/source/facts.rs', `Self::Cloudflare => [\\s\\S]*?expiry_tail: Duration::from_secs\\(${DIGITS}\\)`),
  tailParts: number('crates/budget/src/verdict.rs', `TAIL_PARTS: u64 = ${DIGITS};`),
  cutTail: number('src/meter/coturn/mod.rs', `CUT_TAIL: Duration = Duration::from_secs\\(${DIGITS}\\)`),
  coturnLook: number('src/bounds.rs', `COTURN_LOOK_INTERVAL: Bound = Bound::millis\\(${DIGITS},`) / 1_000,
  revocations: number('src/mint/ending.rs', `AT_ONCE: usize = ${DIGITS};`) / number('src/mint/ending.rs', `STEP: Duration = Duration::from_secs\\(${DIGITS}\\)`),
};

/** A tail that `doctor --tail` may measure, in seconds. */
const MEASURED = 600;
/** A `TURN_TTL_SECONDS` with which the limit of an address soon ends what it relays. */
const SHORT_LIFE = 3_600;

/** The GB that an attacker relays who mints and relays from the start of a period on, until nothing is left that works. */
function costs({ limit, addressPart, grantLimit, life, pageLife, lag, interval, mints, window, keyMints, machine, tail, tailParts, cutTail, coturnLook, revocations }) {
  const [counted, ofAddress] = [lag + interval, limit / addressPart];
  const minters = (machines, atOnce) => {
    const rate = machines * machine;
    const after = limit / rate + counted;
    const live = atOnce + (atOnce / window) * after;
    const revoke = (end) => limit + rate * (counted + live / revocations + end);
    return { stoppedBy: 'the limit', after, measured: revoke(MEASURED), assumed: revoke(tail), strict: limit, coturn: limit + rate * (coturnLook + life + cutTail) };
  };
  return {
    [`one address, \`TURN_TTL_SECONDS=${SHORT_LIFE}\``]: {
      stoppedBy: '`ADDRESS_LIMIT_GB`, each day',
      after: ofAddress / machine + counted + SHORT_LIFE,
      measured: ofAddress + machine * (counted + SHORT_LIFE + MEASURED),
      assumed: ofAddress + machine * (counted + SHORT_LIFE + tail),
      strict: ofAddress + machine * (counted + SHORT_LIFE + tail),
      coturn: ofAddress + machine * (coturnLook + SHORT_LIFE + cutTail),
    },
    [`one address, ${life / 3_600} h`]: minters(1, mints),
    'a thousand addresses': minters(1_000, 1_000 * mints),
    'a stolen server key, a thousand machines': minters(1_000, keyMints),
    'a stolen TURN credential of a page': {
      stoppedBy: 'its expiry',
      after: pageLife + MEASURED,
      measured: machine * (pageLife + MEASURED),
      assumed: machine * (pageLife + tail),
      strict: machine * (tail / tailParts + tail),
      coturn: machine * (pageLife + cutTail),
    },
    [`one of ${life / 3_600} h, \`GRANT_LIMIT_GB=${grantLimit}\``]: {
      stoppedBy: 'its limit',
      after: grantLimit / machine + counted + interval,
      measured: grantLimit + machine * (counted + interval + MEASURED),
      assumed: grantLimit + machine * (counted + interval + tail),
      strict: machine * (tail / tailParts + tail),
      coturn: grantLimit + machine * (coturnLook + cutTail),
    },
  };
}

/** Three digits, rounded up. */
function rounded(amount) {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(amount)) - 2);
  return (Math.ceil(amount / unit - 1e-9) * unit).toLocaleString('en');
}

function span(seconds) {
  const [unit, name] = seconds < 7_200 ? [60, 'min'] : [3_600, 'h'];
  return `${Math.ceil(seconds / unit)} ${name}`;
}

function* table(constants) {
  const { limit, price, machine, lag, interval, excess, tail } = constants;
  const cell = (gb) => `${rounded(gb)} GB, $${rounded(gb * price)}`;
  yield `| attacker | stopped by | after | estimate mode, tail of ${MEASURED} s | tail of ${tail.toLocaleString('en')} s | strict mode | coturn |`;
  yield '|---|---|---|---|---|---|---|';
  for (const [attacker, { stoppedBy, after, measured, assumed, strict, coturn }] of Object.entries(costs(constants))) {
    yield `| ${[attacker, stoppedBy, span(after), ...[measured, assumed, strict, coturn].map(cell)].join(' | ')} |`;
  }
  const alerted = (limit * excess) / 100 / machine + lag + interval;
  yield `| a stolen TURN key | you, after an alert | ${span(alerted)} | ${cell(machine * 86_400)} a day | same | same | same |`;
}

/** The sentences of the README that have figures. */
function sentences(constants) {
  const { liability, machine } = constants;
  const mbps = machine * 8_000;
  return [
    `Each machine relays ${mbps} Mbps`,
    `\`LIABILITY_MBPS_PER_GRANT=${mbps}\``,
    `at the default of ${liability} Mbps, up to ${mbps / liability} times as much`,
  ];
}

export const figures = { table: [...table(constants)], sentences: sentences(constants) };

if (argv[1] === fileURLToPath(import.meta.url)) console.log([...figures.table, '', ...figures.sentences].join('\n'));
