// The adapters of deploy/adapters in their programs: Debian's Prosody and ejabberd with an XMPP client of PyPI, and Nextcloud Talk's event in
// php-cli. And the files that `turn-broker ice` writes, read by a parser of YAML.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BROKER, directory } from './harness.mjs';
import { Process } from './processes.mjs';

const run = promisify(execFile);
const PROSODY = '15222';
const EJABBERD = '15333';
const PASSWORD = 'word';
const USER = 'ann@xmpp.test';

/** Debian's Prosody, from where its package is unpacked, with the lines that the module names. @param {string} key */
export function startProsody(key) {
  const [unpacked, folder] = [process.env.UNPACKED, join(directory, 'prosody')];
  const accounts = join(folder, 'data', 'xmpp%2etest', 'accounts');
  mkdirSync(accounts, { recursive: true });
  writeFileSync(join(accounts, 'ann.dat'), `return { ["password"] = "${PASSWORD}" };`);
  const module = readFileSync(new URL('../../deploy/adapters/mod_turn_broker.lua', import.meta.url), 'utf8');
  const documented = [...module.matchAll(/^-- {5}(\w.*?)(?: +--.*)?$/gm)].map(([, line]) => line).join('\n');
  const ours = documented.replace('https://turn.example.com', BROKER).replace('KEY_OF_PROSODY', key).replace('"external_services"', '"saslauth", "disco", $&');
  assert.ok(ours.includes(BROKER) && ours.includes(key), ours);
  copyFileSync(new URL('../../deploy/adapters/mod_turn_broker.lua', import.meta.url), join(folder, 'mod_turn_broker.lua'));
  writeFileSync(join(folder, 'prosody.cfg.lua'), `
    data_path = "${folder}/data"; pidfile = "${folder}/pid"; certificates = "${folder}"; plugin_paths = { "${folder}" }
    run_as_root = true; log = { info = "*console" }; interfaces = { "127.0.0.1" }; c2s_ports = { ${PROSODY} }; s2s_ports = {}
    c2s_require_encryption = false; allow_unencrypted_plain_auth = true; authentication = "internal_plain"; modules_disabled = { "s2s", "tls" }
    ${ours}
    VirtualHost "xmpp.test"`);
  const program = readFileSync(join(unpacked, 'usr/bin/prosody'), 'utf8').replaceAll("'/usr/lib/prosody", `'${unpacked}/usr/lib/prosody`);
  writeFileSync(join(folder, 'prosody'), program);
  return new Process('prosody', folder, 'lua5.4', ['prosody', '-F', '--config', join(folder, 'prosody.cfg.lua')], {}, () => listens(PROSODY));
}

/** Debian's ejabberd, in the same way. @param {string} key */
export function startEjabberd(key) {
  const folder = join(directory, 'ejabberd');
  mkdirSync(folder);
  const libraries = join(process.env.UNPACKED, 'usr/lib', readdirSync(join(process.env.UNPACKED, 'usr/lib')).find((name) => name.endsWith('-linux-gnu')));
  const version = readdirSync(libraries).find((name) => /^ejabberd-.*-\d+$/.test(name));
  const module = new URL('../../deploy/adapters/mod_turn_broker.erl', import.meta.url).pathname;
  execFileSync('erlc', ['-pa', join(libraries, version, 'ebin'), '-o', folder, module]);
  const documented = [...readFileSync(module, 'utf8').matchAll(/^%% {5}( *\w.*?)(?: +#.*)?$/gm)].map(([, line]) => line).join('\n');
  const ours = documented.replace('https://turn.example.com', BROKER).replace('KEY_OF_EJABBERD', key);
  assert.ok(ours.includes(BROKER) && ours.includes(key), ours);
  writeFileSync(join(folder, 'ejabberd.yml'), `
hosts: [xmpp.test]
listen: [{port: ${EJABBERD}, ip: "127.0.0.1", module: ejabberd_c2s}]
auth_method: anonymous
anonymous_protocol: login_anon
${ours}
`);
  const env = { HOME: folder, ERL_LIBS: libraries, EJABBERD_CONFIG_PATH: join(folder, 'ejabberd.yml'), EJABBERD_LOG_PATH: join(folder, 'log') };
  const args = ['-pa', folder, '-noinput', '-mnesia', 'dir', `"${folder}/spool"`, '-s', 'ejabberd'];
  return new Process('ejabberd', folder, 'erl', args, env, () => listens(EJABBERD));
}

const listens = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1', () => { socket.end(); resolve(true); });
  socket.on('error', () => resolve(false));
});

const askXmpp = (port) => asJson(process.env.PROGRAMS_PYTHON, ['ask-xmpp.py', USER, PASSWORD, '127.0.0.1', port]);
/** What a user gets for XEP-0215: `services`, or the `condition` of an error. */
export const askProsody = () => askXmpp(PROSODY);
export const askEjabberd = () => askXmpp(EJABBERD);

/** What Talk would give to a user: `servers`, and the `log` of the listener. @param {string} key @param {string} user */
export const askTalk = (key, user) => asJson('php', ['talk.php', BROKER, key, user]);

/** The file of a program, as its parser of YAML reads it. @param {string} form @param {string} key */
export async function fileOf(form, key) {
  const file = join(directory, `ice-${form}`);
  const env = { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: new URL(BROKER).port, SERVER_KEYS: `${form}=${key}` };
  await run(process.env.TURN_BROKER_BIN, ['ice', '--write', file, '--form', form, '--then', `cp ${file} ${file}.read`], { env, cwd: directory });
  return asJson(process.env.PROGRAMS_PYTHON, ['-c', 'import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))', `${file}.read`]);
}

const asJson = async (command, args) => JSON.parse((await run(command, args)).stdout);
