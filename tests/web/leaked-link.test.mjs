// The README has the figures that leaked-link.mjs computes from the constants of the source.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { figures } from './leaked-link.mjs';

test('the README says what a leaked link can cost', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [, section] = readme.split('## What can a leaked link still cost?\n');
  assert.deepEqual(section.split('\n## ')[0].split('\n').filter((line) => line.startsWith('|')), figures.table);
  const text = section.replaceAll(/\s+/g, ' ');
  assert.deepEqual(figures.sentences.filter((sentence) => !text.includes(sentence)), []);
});
