// The adapters of deploy/adapters in their programs: Debian's Prosody and ejabberd with an XMPP client of PyPI, and Nextcloud Talk's event in
// php-cli. And the files that `turn-broker ice` writes, read by a parser of YAML. What is set is what docs/PROGRAMS.md says.
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
const PROGRAMS = readFileSync(new URL('../../docs/PROGRAMS.md', import.meta.url), 'utf8');

/** The code of docs/PROGRAMS.md that begins so, with our broker. @param {string} begin @param {Record<string, string>} replaced */
function documented(begin, replaced) {
  const [code] = PROGRAMS.slice(PROGRAMS.indexOf(`\n${begin}`) + 1).split('\n```');
  return Object.entries({ 'https://turn.example.com': BROKER, ...replaced }).reduce((text, [ours, value]) => {
    assert.ok(text.includes(ours), `${ours} in ${text}`);
    return text.replaceAll(ours, value);
  }, code);
}

/** Debian's Prosody, from where its package is unpacked, with the lines of docs/PROGRAMS.md. @param {string} key */
export function startProsody(key) {
  const [unpacked, folder] = [process.env.UNPACKED, join(directory, 'prosody')];
  const accounts = join(folder, 'data', 'xmpp%2etest', 'accounts');
  mkdirSync(accounts, { recursive: true });
  writeFileSync(join(accounts, 'ann.dat'), `return { ["password"] = "${PASSWORD}" };`);
  const ours = documented('modules_enabled', { KEY: key, '"external_services"': '"saslauth", "disco", "external_services"' });
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
  writeFileSync(join(folder, 'ejabberd.yml'), `
hosts: [xmpp.test]
listen: [{port: ${EJABBERD}, ip: "127.0.0.1", module: ejabberd_c2s}]
auth_method: anonymous
anonymous_protocol: login_anon
${documented('modules:', { KEY: key })}
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

/** The file of a program, as a parser of YAML reads it. Without `--every` the command ends. @param {string} form @param {string} key */
export async function fileOf(form, key) {
  const file = join(directory, `ice-${form}`);
  writeFileSync(`${file}.env`, `SERVER_KEYS=${form}=${key}\n`);
  const command = documented('turn-broker ice', {
    'turn-broker ice': '"$TURN_BROKER_BIN" ice', '/etc/turn-broker/ice.env': `${file}.env`, '/etc/mediamtx/ice.yml': file,
    '--key mediamtx --form mediamtx': `--key ${form} --form ${form}`, '--every 12h ': '', '/etc/mediamtx/merge': `'cp ${file} ${file}.read'`,
  });
  await run('sh', ['-c', command], { cwd: directory });
  return asJson(process.env.PROGRAMS_PYTHON, ['-c', 'import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))', `${file}.read`]);
}

const asJson = async (command, args) => JSON.parse((await run(command, args)).stdout);
