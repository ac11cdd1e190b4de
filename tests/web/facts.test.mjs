// Every fact stands in one document: a setting in .env.example, a hint or alert in the runbook, an error or metric in the reference. And
// no document is longer than its readers read.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { documents, root, text } from './pages.mjs';

/** The most words of these documents together, as `wc -w` counts. */
const WORDS_MAX = [
  [['README.md'], 900],
  [['docs/CLIENTS.md', 'src/web/turn-client/README.md'], 3_550],
  [['docs/PROGRAMS.md'], 2_000],
  [['docs/SIGNALING.md'], 3_000],
  [['docs/OPERATE.md'], 5_400],
  [['docs/COTURN.md'], 1_600],
  [['docs/PROVIDER.md'], 1_500],
  [['docs/BUDGET.md'], 2_650],
  [['docs/RUNBOOK.md'], 2_700],
  [['docs/REFERENCE.md'], 3_550],
  [['docs/ARCHITECTURE.md'], 2_200],
  [['docs/PERFORMANCE.md'], 1_200],
  [['CONTRIBUTING.md', 'SECURITY.md'], 1_550],
  [['CHANGELOG.md'], 1_100],
];
const DECISION_WORDS_MAX = 400;

const words = (path) => text(path).split(/\s+/).filter(Boolean).length;
const isDecision = (path) => path.startsWith('docs/adr/');
const ours = documents.filter((path) => !path.startsWith('src/web/vendor/'));

/** A shell interprets `$` and quotes. `--env-file` reads them as they are written. */
const BY_A_SHELL = /\bset -a\b|(?:^|[\s;&`'"])(?:\.|source) \S*env\b|\$\((?:cat|grep|sed|xargs)[^)]*env\b/m;

test('no document has a shell read the file of settings', () => {
  for (const line of ['sudo sh -c \'set -a; turn-broker\'', '. /etc/turn-broker/turn-broker.env; turn-broker', 'export $(cat .env)']) assert.match(line, BY_A_SHELL);
  assert.deepEqual(ours.filter((path) => BY_A_SHELL.test(text(path))), []);
});

test('no document exceeds its figure of words', () => {
  const figures = [...WORDS_MAX, ...ours.filter(isDecision).map((path) => [[path], DECISION_WORDS_MAX])];
  assert.deepEqual(figures.flatMap(([paths]) => paths).sort(), [...ours].sort(), 'each document has a figure');
  const counts = figures.map(([paths, most]) => [paths.join(' and '), paths.map(words).reduce((sum, one) => sum + one), most]);
  const tooLong = counts.filter(([, count, most]) => count > most);
  assert.deepEqual(tooLong.map(([paths, count, most]) => `${paths}: ${count} words, ${most} at most`), []);
});

const all = (path, pattern) => [...text(path).matchAll(pattern)].flatMap(([, ...names]) => names);
const unique = (names) => [...new Set(names)];

/** The names that are the first cell of a row of a document's tables, without the heads. A metric is without its labels. */
function described(path) {
  const lines = text(path).split('\n');
  const rows = lines.filter((line, at) => !lines[at + 1]?.startsWith('|---'));
  // In parentheses, a name of another table.
  const cells = rows.flatMap((row) => row.replace(/ \(`\w+`\)/g, '').match(/^\| (?:`[^`]+`,? )+\|/) ?? []);
  return new Set(cells.flatMap((cell) => [...cell.matchAll(/`([^`{]+)[^`]*`/g)].map(([, name]) => name)));
}

const pages = new Map(documents.map((path) => [path, described(path)]));
const describing = (name) => documents.filter((path) => pages.get(path).has(name));

const settings = all('.env.example', /^(?:# )?([A-Z][A-Z0-9_]+)=/gm);
const hints = all('src/alert/fault.rs', /^ {4}\w+: \w+, "(\w+)"/gm);
/** The first cells of a table that a test of Rust compares with the code. */
const cells = (path, section, cell) => [...text(path).split(`\n## ${section}\n`)[1].split('\n## ')[0].matchAll(cell)].map(([, name]) => name);
const alerts = [...all('src/alert/fault.rs', / alerts "([\w.]+)" "([\w.]+)"/g), ...cells('docs/RUNBOOK.md', 'By alert', /^\| `([^`]+)` \| (?:info|warning|critical) /gm)];
const errors = JSON.parse(text('src/web/openapi.json')).components.schemas.ErrorBody.properties.code.enum;
/** A name of one word can be that of a field, too. */
const metrics = cells('docs/REFERENCE.md', 'Metrics', /^\| `([a-z]+_[a-z_]+)/gm);

for (const [kind, names, least, place] of [
  ['hint', unique(hints), 20, 'docs/RUNBOOK.md'],
  ['alert', alerts, 20, 'docs/RUNBOOK.md'],
  ['error', errors, 20, 'docs/REFERENCE.md'],
  ['metric', metrics, 70, 'docs/REFERENCE.md'],
]) {
  test(`each ${kind} is described in ${place} alone`, () => {
    assert.ok(names.length >= least, `${names.length}`);
    // A cause that stops minting is a hint and the error of a mint.
    const places = (name) => (hints.includes(name) && errors.includes(name) ? ['docs/REFERENCE.md', 'docs/RUNBOOK.md'] : [place]);
    for (const name of names) assert.deepEqual(describing(name), places(name), name);
  });
}

test('each setting is described in .env.example alone', () => {
  assert.ok(settings.length > 100, `${settings.length}`);
  assert.deepEqual(settings, unique(settings));
  for (const name of settings) assert.deepEqual(describing(name), [], name);
});

test('the table of figures has each row of the benchmark, with its target and, if it was measured, its unit', () => {
  const sources = readdirSync(join(root, 'benches/figures')).map((file) => text(`benches/figures/${file}`)).join('\n');
  const rows = [...sources.matchAll(/\["([^"]+)", "([^"]*)", "([^"]+)"\]/g)].map(([, ...row]) => row);
  const table = text('docs/PERFORMANCE.md').match(/<!-- cargo bench -->([^]*?)<!-- end -->/)[1];
  const row = /^\| (.+?) \| (.*?) \| (?:[\d.]+ (\S+)(?: \(.*\))?|unmeasured) \|$/gm;
  const stated = [...table.matchAll(row)].map(([, figure, target, unit]) => [figure, target, unit]);
  const unitOf = (figure, target) => stated.find((other) => other[0] === figure && other[1] === target)?.[2];
  const expected = rows.map(([figure, target, unit]) => [figure, target, unitOf(figure, target) && unit]);
  assert.deepEqual(stated.map(String).sort(), expected.map(String).sort());
});
