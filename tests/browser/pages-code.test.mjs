// The code of docs/PROGRAMS.md: each block goes through the parser of its language, each command in a line or a table through the program that it
// names, and the scripts after a write run, with what can go wrong. tests/browser/servers.mjs runs `turn-broker ice` and the adapters.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const page = readFileSync(new URL('../../docs/PROGRAMS.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
const python = process.env.PROGRAMS_PYTHON;
/** A relay, in the form of `turn-broker ice`. */
const RELAY = { urls: ['turn:turn.example.com:3478'], username: 'name', credential: 'word' };

/** The only block with this text. @param {string} text */
function block(text) {
  const found = blocks.filter(({ code }) => code.includes(text));
  assert.equal(found.length, 1, text);
  return found[0].code;
}

/** Reads code with the parser of its language. An error throws. */
const parsers = {
  sh: (code) => execFileSync('bash', ['-n'], { input: code }),
  yaml: (code) => execFileSync(python, ['-c', 'import sys, yaml; assert isinstance(yaml.safe_load(sys.stdin), dict)'], { input: code }),
  json: (code) => JSON.parse(code),
  lua: (code) => execFileSync('luac5.4', ['-p', '-'], { input: code }),
  php: (code) => execFileSync('php', ['-l'], { input: code }),
  js: (code) => execFileSync('node', ['--check', '-'], { input: code }),
  python: (code) => execFileSync(python, ['-c', 'import ast, sys; ast.parse(sys.stdin.read())'], { input: code }),
  env: (code) => code.trimEnd().split('\n').forEach((line) => assert.match(line, /^(#.*|[A-Z_]+=[^\s"'$`]+)$/)),
};

for (const { language, code } of blocks) {
  test(`${language || 'a block without a language'}: ${code.split('\n')[0]}`, () => {
    assert.ok(parsers[language], 'a language with a parser');
    parsers[language](code);
  });
}

test('no command of the page writes over a file before it has succeeded', () => {
  for (const { code } of blocks.filter(({ language }) => language === 'sh')) {
    for (const [, name] of code.matchAll(/(?<![0-9>])>\s*(\S+\.(?:ya?ml|json|xml|jcfg))(?![\w.])/g)) assert.fail(`${name} is emptied first`);
  }
});

/** What is run in the middle of a line or in a cell. */
const commands = [...page.replaceAll(/^```[^]*?^```$/gm, '').matchAll(/`((?:turn-broker|systemctl|occ|openssl) [^`]+)`/g)].map(([, command]) => command);

for (const command of new Set(commands)) {
  test(`command: ${command}`, () => {
    parsers.sh(command);
    const [program, ...words] = command.split(' ');
    if (program !== 'turn-broker' || words.join() === 'ice') return;
    const env = { PATH: process.env.PATH, OPERATOR_TOKEN: '0123456789abcdef'.repeat(3) };
    const { status, stderr } = spawnSync(process.env.TURN_BROKER_BIN, [...words, '--url', 'http://127.0.0.1:1'], { env, cwd: tmpdir(), encoding: 'utf8' });
    // Nobody listens there. A wrong command is 64.
    assert.equal(status, 1, stderr);
  });
}

/** Runs a script of the page in a root of its own. Returns its exit status. */
function runs(script, root) {
  const moved = script.replaceAll(/(?<= |')(\/etc|\/config)/g, `${root}$1`);
  assert.notEqual(moved, script);
  return spawnSync('sh', ['-c', moved], { cwd: root, env: { PATH: `${root}/bin:${process.env.PATH}`, HA_TOKEN: 'token' }, encoding: 'utf8' }).status;
}

/** An empty root with a `curl` that says how it was called. */
function makeRoot() {
  const root = mkdtempSync(join(process.env.WORK_DIR ?? tmpdir(), 'root-'));
  for (const made of ['bin', 'config', 'etc/mediamtx']) mkdirSync(join(root, made), { recursive: true });
  writeFileSync(join(root, 'bin/curl'), `#!/bin/sh\necho "$@" >>${root}/curl\n`);
  chmodSync(join(root, 'bin/curl'), 0o755);
  return { root, read: (name) => readFileSync(join(root, name), 'utf8'), write: (name, text) => writeFileSync(join(root, name), text) };
}

const ofYaml = (text) => JSON.parse(execFileSync(python, ['-c', `
import json, sys, yaml
class Once(yaml.SafeLoader):
    pass
def mapping(loader, node):
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), keys
    return dict(loader.construct_pairs(node))
Once.add_constructor("tag:yaml.org,2002:map", mapping)
print(json.dumps(yaml.load(sys.stdin, Once)))`], { input: text, encoding: 'utf8' }));

test('a write changes the list of MediaMTX, and nothing else, however often', () => {
  const { root, read, write } = makeRoot();
  write('etc/mediamtx/mediamtx.yml', 'webrtc: true\nwebrtcICEServers2: []\n  # - url: stun:stun.example.com\nsrt: true');
  for (const password of ['first', 'second']) {
    write('etc/mediamtx/ice.yml', `webrtcICEServers2: [{"url":"turn:turn.example.com","username":"name","password":"${password}"}]\n`);
    assert.equal(runs(block('$r /etc/mediamtx'), root), 0);
    assert.deepEqual(ofYaml(read('etc/mediamtx/mediamtx.yml')), {
      webrtc: true, srt: true, webrtcICEServers2: [{ url: 'turn:turn.example.com', username: 'name', password }],
    });
  }
});

test('Home Assistant gets a list in its own form, and keeps it when the next one cannot be read', () => {
  const { root, read, write } = makeRoot();
  const script = block('reload_core_config');
  write('config/ice.json', JSON.stringify({ iceServers: [{ urls: ['stun:turn.example.com'] }, RELAY] }));
  assert.equal(runs(script, root), 0);
  const { urls: url, ...rest } = RELAY;
  const list = [{ url: ['stun:turn.example.com'] }, { url, ...rest }];
  assert.deepEqual(ofYaml(read('config/ice.yaml')), list);
  assert.match(read('curl'), /Bearer token http:\/\/localhost:8123\/api\/services\/homeassistant\/reload_core_config\n$/);
  write('config/ice.json', '{');
  assert.notEqual(runs(script, root), 0);
  assert.deepEqual(ofYaml(read('config/ice.yaml')), list);
});

test('the name and password of a year are those that a coturn with the secret takes', () => {
  const [name, password] = execFileSync('sh', ['-c', block('openssl dgst')], { encoding: 'utf8' }).trim().split(' ');
  assert.match(name, /^\d{10}:frigate$/);
  assert.ok(Number.parseInt(name, 10) > Date.now() / 1000 + 364 * 86_400);
  assert.equal(password, createHmac('sha1', 'SECRET').update(name).digest('base64'));
});
