// Links between the documents lead to existing files and headings.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { documents, root, text } from './pages.mjs';

/** The anchors of a document's headings, as on GitHub: a repeated heading ends in -1. */
function anchors(path) {
  const found = [];
  for (const [, heading] of text(path).matchAll(/^#+ (.*)$/gm)) {
    const plain = heading.replaceAll('`', '').toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-');
    const before = found.filter((anchor) => anchor === plain || anchor.replace(/-\d+$/, '') === plain).length;
    found.push(before ? `${plain}-${before}` : plain);
  }
  return found;
}

/** The error of a broken link; undefined if it works. */
function fault(from, link) {
  const [file, anchor] = link.split('#');
  const path = file ? join(dirname(from), file) : from;
  if (!existsSync(join(root, path))) return `${from}: there is no ${path}`;
  if (anchor && path.endsWith('.md') && !anchors(path).includes(anchor)) return `${from}: ${path} has no #${anchor}`;
  return undefined;
}

test('links between documents lead to existing files and headings', () => {
  const links = documents.flatMap((from) => [...text(from).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => ({ from, link })));
  const own = links.filter(({ link }) => !/^[a-z]+:/.test(link));
  assert.ok(own.length > 100, `${own.length} links`);
  assert.deepEqual(own.map(({ from, link }) => fault(from, link)).filter(Boolean), []);
});

test('a broken link is reported', () => {
  assert.equal(fault('README.md', 'docs/NONE.md'), 'README.md: there is no docs/NONE.md');
  assert.equal(fault('docs/BUDGET.md', 'REFERENCE.md#none'), 'docs/BUDGET.md: docs/REFERENCE.md has no #none');
  assert.equal(fault('docs/BUDGET.md', '#two-modes'), undefined);
});

test('CONTRIBUTING.md names steps of tests/run.sh, and says what each protects', () => {
  const steps = [...text('tests/run.sh').matchAll(/^(step|browser) (\S+) '/gm)];
  assert.ok(steps.length > 20, `${steps.length} steps`);
  const [table] = text('CONTRIBUTING.md').split('## What checks what')[1].split('\n\nAll steps use');
  const rows = table.split('\n').filter((line) => /^\| .* \| `/.test(line));
  const named = new Set(rows.flatMap((row) => row.split('|')[2].match(/[a-z0-9-]+/g)));
  const names = steps.map(([, , name]) => name);
  assert.deepEqual([...named].filter((name) => !names.includes(name)), [], 'no such step');
  assert.deepEqual(names.filter((name) => !named.has(name)), ['form', 'build'], 'steps that protect nothing of the README');
});
