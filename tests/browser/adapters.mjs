// The adapters of deploy/adapters in their programs: Debian's Prosody and ejabberd with an XMPP client of PyPI, and Nextcloud Talk's event in
// php-cli. And the files that `turn-broker ice` writes, read by a parser of YAML. What is set is what docs/PROGRAMS.md says.
// Prosody and ejabberd reach the broker over a front, which can also answer in its place, badly.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BROKER, directory } from './harness.mjs';
import { pass } from './npm-site.mjs';
import { Process, until } from './processes.mjs';
import { Talk } from './talk.mjs';

const run = promisify(execFile);
const PROSODY = '15222';
const EJABBERD = '15333';
const FRONT = 'http://127.0.0.1:3002';
/** The broker in docs/PROGRAMS.md. */
const PLACEHOLDER = 'https://turn.example.com';
const PASSWORD = 'word';
const [HOST, GUESTS, JITSI, ROOM] = ['xmpp.test', 'guests.test', 'jitsi.test', 'room-7'];
const QUESTIONS = 50;
const LIFE_SECONDS = 3_600;
const PROGRAMS = readFileSync(new URL('../../docs/PROGRAMS.md', import.meta.url), 'utf8');
const adapters = new URL('../../deploy/adapters', import.meta.url).pathname;

const says = (status, body) => (answer) => answer.writeHead(status).end(body);
/** What the broker can do instead of an answer, and the error of XMPP for a user without an earlier answer. */
const FAULTS = [
  { name: 'hangs', answers: () => {}, condition: 'internal-server-error' },
  { name: 'hangs-up', answers: ({ socket }) => socket.destroy(), condition: 'internal-server-error' },
  { name: 'html', answers: says(200, '<h1>Welcome</h1>'), condition: 'internal-server-error' },
  { name: 'html-502', answers: says(502, '<h1>Bad gateway</h1>'), condition: 'internal-server-error' },
  { name: 'strange', answers: says(200, '{"iceServers": [7], "ttl": "x"}'), condition: 'internal-server-error' },
  { name: 'wrong-key', answers: says(401, '{"error": "no such key"}'), condition: 'internal-server-error' },
  { name: 'spent', answers: says(429, '{"error": "Bandwidth limit reached"}'), condition: 'resource-constraint', isRefusal: true },
  { name: 'blocked', answers: says(403, '{"error": "blocked"}'), condition: 'not-allowed', type: 'cancel', isRefusal: true },
];
const ACCOUNTS = ['ann', 'bob', 'zoë', 'many', 'brief', 'before', 'after', ...FAULTS.flatMap(({ name }) => [`${name}-new`, `${name}-old`])];

/** The code of docs/PROGRAMS.md that begins so. @param {string} begin @param {Record<string, string>} replaced */
function documented(begin, replaced) {
  const [code] = PROGRAMS.slice(PROGRAMS.indexOf(`\n${begin}`) + 1).split('\n```');
  return Object.entries(replaced).reduce((text, [ours, value]) => {
    assert.ok(text.includes(ours), `${ours} in ${text}`);
    return text.replaceAll(ours, value);
  }, code);
}

/** Debian's Prosody, from where its package is unpacked, with its own settings and the lines of docs/PROGRAMS.md. @param {string} key */
export function startProsody(key) {
  const [unpacked, folder] = [process.env.UNPACKED, join(directory, 'prosody')];
  const accounts = join(folder, 'data', 'xmpp%2etest', 'accounts');
  for (const made of [accounts, join(folder, 'modules'), join(folder, 'conf.d')]) mkdirSync(made, { recursive: true });
  const encoded = (name) => encodeURIComponent(name).toLowerCase().replaceAll('-', '%2d');
  for (const name of ACCOUNTS) writeFileSync(join(accounts, `${encoded(name)}.dat`), `return { ["password"] = "${PASSWORD}" };`);
  const moved = (file) => readFileSync(join(unpacked, file), 'utf8').replaceAll("'/usr/lib/prosody", `'${unpacked}/usr/lib/prosody`);
  writeFileSync(join(folder, 'prosody'), moved('usr/bin/prosody'));
  writeFileSync(join(folder, 'prosody.cfg.lua'), moved('etc/prosody/prosody.cfg.lua').replace('/usr/local/lib/prosody/modules', `${folder}/modules`));
  writeFileSync(join(folder, 'conf.d', 'test.cfg.lua'), `
    data_path = "${folder}/data"; pidfile = "${folder}/pid"; run_as_root = true; log = { info = "*console" }; limits = {}
    interfaces = { "127.0.0.1" }; c2s_ports = { ${PROSODY} }; s2s_ports = {}; c2s_require_encryption = false; allow_unencrypted_plain_auth = true
    VirtualHost "${HOST}"
    VirtualHost "${GUESTS}"
      authentication = "anonymous"
    VirtualHost "${JITSI}"
      authentication = "anonymous"; modules_enabled = { "jitsi_session" }
    Component "rooms.test" "muc"
    Component "metadata.test" "room_metadata_component"`);
  writeFileSync(join(folder, 'modules', 'mod_jitsi_session.lua'), JITSI_SESSION);
  writeFileSync(join(folder, 'modules', 'mod_room_metadata_component.lua'), ROOM_METADATA.replace('FILE', join(folder, 'metadata')));
  const set = documented('cp mod_turn_broker.lua', { [PLACEHOLDER]: FRONT, KEY: key, '/usr/local/lib/prosody/': `${folder}/`, '/etc/prosody/': `${folder}/` });
  execFileSync('sh', ['-c', set], { cwd: adapters });
  return new Process('prosody', folder, 'lua5.4', ['prosody', '-F', '--config', join(folder, 'prosody.cfg.lua')], {}, () => listens(PROSODY));
}

/** Jitsi's module of this name takes the room from the URL. Here, after twenty sessions, each names a room of its own. */
const JITSI_SESSION = `
  local sessions = 0;
  module:hook("authentication-success", function (event)
    sessions = sessions + 1;
    event.session.jitsi_web_query_room = sessions <= 20 and "${ROOM}" or "flood-" .. sessions;
  end);`;
/** Jitsi's component of this name sends to each participant, before the presence of having joined, what this writes. */
const ROOM_METADATA = `
  local filters = require "util.filters";
  local get_services = module:depends("external_services").get_services;
  local function before_entry(stanza)
    if stanza.name ~= "presence" or not stanza:get_child("x", "http://jabber.org/protocol/muc#user") then return stanza; end
    local services = {};
    for _, each in ipairs(get_services()) do
      table.insert(services, { type = each.type, transport = each.transport, host = each.host, port = string.format("%d", each.port),
        username = each.username, password = each.password, expires = each.expires and require "util.datetime".datetime(each.expires) });
    end
    local file = io.open("FILE", "w");
    file:write(require "util.json".encode(services));
    file:close();
    return stanza;
  end
  filters.add_filter_hook(function (session) filters.add_filter(session, "stanzas/out", before_entry, -3); end);`;

/** Debian's ejabberd, in the same way. It compiles the adapter. @param {string} key */
export function startEjabberd(key) {
  const folder = join(directory, 'ejabberd');
  mkdirSync(folder);
  const libraries = join(process.env.UNPACKED, 'usr/lib', readdirSync(join(process.env.UNPACKED, 'usr/lib')).find((name) => name.endsWith('-linux-gnu')));
  const settings = `
hosts: [${HOST}, ${GUESTS}]
listen: [{port: ${EJABBERD}, ip: "127.0.0.1", module: ejabberd_c2s}]
host_config: {${GUESTS}: {auth_method: anonymous, anonymous_protocol: sasl_anon}}
`;
  const modules = (ours) => `${settings}${ours}\n  mod_disco: {}\n`;
  writeFileSync(join(folder, 'ejabberd.yml'), modules('modules:'));
  writeFileSync(join(folder, 'next.yml'), modules(documented('modules:', { [PLACEHOLDER]: FRONT, KEY: key })));
  cpSync(join(adapters, 'mod_turn_broker.erl'), join(folder, 'mod_turn_broker.erl'));
  const [install] = readFileSync(join(folder, 'mod_turn_broker.erl'), 'utf8').match(/mkdir -p[^]*?\.spec$/m);
  execFileSync('sh', ['-c', install.replaceAll('%% ', '')], { cwd: folder });
  const accounts = ACCOUNTS.map((name) => `<<${[...Buffer.from(name)]}>>`);
  const begin = `ok = ext_mod:install(<<"mod_turn_broker">>), {ok, _} = file:copy("next.yml", "ejabberd.yml"), ok = ejabberd_config:reload(),
    [ok = ejabberd_auth:try_register(Name, <<"${HOST}">>, <<"${PASSWORD}">>) || Name <- [${accounts}]], file:write_file("ready", <<>>).`;
  const env = { HOME: folder, ERL_LIBS: libraries, EJABBERD_CONFIG_PATH: join(folder, 'ejabberd.yml'), EJABBERD_LOG_PATH: join(folder, 'log') };
  const args = ['-noinput', '-mnesia', 'dir', `"${folder}/spool"`, '-s', 'ejabberd', '-eval', begin];
  return new Process('ejabberd', folder, 'erl', args, env, () => existsSync(join(folder, 'ready')) && listens(EJABBERD));
}

const listens = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1', () => { socket.end(); resolve(true); });
  socket.on('error', () => resolve(false));
});

/** What each user gets for XEP-0215, at once: `services`, or the `condition` of an error. ask-xmpp.py has the rest. */
const askXmpp = (port) => (users, times = 1, room = '') => {
  const jids = users.map((user) => ([GUESTS, JITSI].includes(user) ? user : `${user}@${HOST}`));
  return asJson(process.env.PROGRAMS_PYTHON, ['ask-xmpp.py', PASSWORD, '127.0.0.1', port, String(times), room, ...jids]);
};
export const askProsody = askXmpp(PROSODY);
export const askEjabberd = askXmpp(EJABBERD);

/** In front of the broker, for Prosody and ejabberd. It knows what was asked for. */
const front = { queries: [], answers: passes };
const server = createServer((request, answer) => {
  front.queries.push(decodeURIComponent(request.url.split('?')[1]));
  front.answers(answer, request);
});
function passes(answer, request) { pass(request, BROKER, answer); }
export const startFront = () => new Promise((resolve) => { server.listen(new URL(FRONT).port, '127.0.0.1', resolve); });
const stopFront = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });

/** A good answer whose `refreshAfter` is so many seconds from now. */
function made(seconds) {
  const after = (later) => new Date(Date.now() + later * 1_000).toISOString();
  const server = { urls: ['turn:192.0.2.1:3478?transport=udp'], username: 'made', credential: 'made' };
  return says(200, JSON.stringify({ iceServers: [server], ttl: LIFE_SECONDS, issuedAt: after(0), refreshAfter: after(seconds), expiresAt: after(LIFE_SECONDS) }));
}

/** What each adapter does. @param {typeof askProsody} ask */
export async function keepsTheRules(ask) {
  await anAnswerIsKeptUntilItIsToBeRefreshed(ask);
  await usersAndGuestsAreNamed(ask);
  await faultsAreSaidOrTheLastAnswerServes(ask);
  await itOutlivesARestart(ask);
}

async function anAnswerIsKeptUntilItIsToBeRefreshed(ask) {
  Object.assign(front, { queries: [], answers: made(LIFE_SECONDS) });
  const [{ credentials, listed }] = await ask(['many'], QUESTIONS);
  await ask(['many']);
  assert.deepEqual([credentials, listed, front.queries], [1, true, [`user=many@${HOST}`]]);
  Object.assign(front, { queries: [], answers: made(1) });
  await until('the next request', async () => (await ask(['brief'])) && front.queries.length > 1);
}

async function usersAndGuestsAreNamed(ask) {
  Object.assign(front, { queries: [], answers: passes });
  const answers = await ask(['zoë', GUESTS, GUESTS, GUESTS]);
  assert.ok(answers.every(({ services }) => services), JSON.stringify(answers));
  assert.deepEqual(front.queries.sort(), [`label=${GUESTS}`, `user=zoë@${HOST}`]);
}

async function faultsAreSaidOrTheLastAnswerServes(ask) {
  front.answers = made(0);
  await ask(FAULTS.map(({ name }) => `${name}-old`));
  for (const { name, answers, condition, type = 'wait', isRefusal } of FAULTS) {
    front.answers = answers;
    const [fresh, old] = await ask([`${name}-new`, `${name}-old`]);
    assert.deepEqual([fresh.condition, fresh.type], [condition, type], name);
    assert.deepEqual(old.condition ?? old.services[0].username, isRefusal ? condition : 'made', name);
    if (name === 'hangs') assert.deepEqual([fresh.first, old.first], ['disco', 'disco'], 'the session does not wait');
  }
}

async function itOutlivesARestart(ask) {
  front.answers = passes;
  await stopFront();
  assert.equal((await ask(['before']))[0].condition, 'internal-server-error');
  await startFront();
  assert.ok((await ask(['after']))[0].services);
  await until('an answer for a user who got none', async () => (await ask(['before']))[0].services);
}

/** What a client of Jitsi finds in the metadata of a room that it joins. It has not asked before. */
export async function servicesOfRoom() {
  const services = await until('services in the metadata', async () => {
    await askProsody([JITSI], 0, `${ROOM}@rooms.test`);
    const found = JSON.parse(readFileSync(join(directory, 'prosody', 'metadata'), 'utf8'));
    return found.length > 0 && found;
  });
  const [asked] = await askProsody([JITSI]);
  assert.equal(asked.services[0].username, services[0].username, 'one credential for both ways');
  return services;
}

/** So many guests of Jitsi, each with a room of its own but the first ones. @param {number} count */
export const floodOfRooms = (count) => askProsody(Array(count).fill(JITSI), 0);

/** What Talk would give for these pages, in a Nextcloud with an empty cache. @param {string} key @param {string[]} users */
export async function askTalk(key, ...users) {
  const talk = new Talk(BROKER, key);
  const answers = [];
  for (const user of users) answers.push(await talk.page(user));
  talk.stop();
  return answers;
}

/** The file of a program, as a parser of YAML reads it. Without `--every` the command ends. @param {string} form @param {string} key */
export async function fileOf(form, key) {
  const file = join(directory, `ice-${form}`);
  writeFileSync(`${file}.env`, `SERVER_KEYS=${form}=${key}\n`);
  const command = documented('turn-broker ice', {
    [PLACEHOLDER]: BROKER,
    'turn-broker ice': '"$TURN_BROKER_BIN" ice', '/etc/turn-broker/ice.env': `${file}.env`, '/etc/mediamtx/ice.yml': file,
    '--key mediamtx --form mediamtx': `--key ${form} --form ${form}`, '--every 12h ': '', '/etc/mediamtx/merge': `'cp ${file} ${file}.read'`,
  });
  await run('sh', ['-c', command], { cwd: directory });
  return asJson(process.env.PROGRAMS_PYTHON, ['-c', 'import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))', `${file}.read`]);
}

const asJson = async (command, args) => JSON.parse((await run(command, args)).stdout);
