// No document has more words than its readers can be expected to read.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../', import.meta.url);
const words = (path) => readFileSync(new URL(path, root), 'utf8').split(/\s+/).filter(Boolean).length;
const documents = (folder) => readdirSync(new URL(folder, root)).filter((name) => name.endsWith('.md')).map((name) => `${folder}${name}`);

/** The most words of some documents together. */
const MOST = [
  [900, 'README.md'],
  [3_500, 'docs/CLIENTS.md', 'src/web/turn-client/README.md'],
  [3_000, 'docs/SIGNALING.md'],
  [4_500, 'docs/OPERATE.md'],
  [1_500, 'docs/COTURN.md'],
  [1_500, 'docs/PROVIDER.md'],
  [2_500, 'docs/BUDGET.md'],
  [2_500, 'docs/RUNBOOK.md'],
  [3_500, 'docs/REFERENCE.md'],
  [2_200, 'docs/ARCHITECTURE.md'],
  [1_200, 'docs/PERFORMANCE.md'],
  [1_300, 'CONTRIBUTING.md', 'SECURITY.md'],
  [800, 'CHANGELOG.md'],
];

test('each document is one of these, and none is longer than it may be', () => {
  const named = MOST.flatMap(([, ...paths]) => paths);
  assert.deepEqual(documents('docs/').filter((path) => !named.includes(path)), []);
  const counted = MOST.map(([most, ...paths]) => ({ most, paths, words: paths.reduce((sum, path) => sum + words(path), 0) }));
  assert.deepEqual(counted.filter((each) => each.words > each.most), []);
});

test('a decision has at most 350 words', () => {
  assert.deepEqual(documents('docs/adr/').filter((path) => words(path) > 350), []);
});
