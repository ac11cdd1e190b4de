// tests/examples finds every code block of a document, and one that nobody names is an error.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Document } from '../examples/document.mjs';

const PATH = 'docs/CLIENTS.md';

test('a block is found by a text that only it contains', () => {
  const document = new Document(PATH);
  assert.match(document.block('sendBeacon'), /^const minted = [\s\S]*\n$/);
  for (const text of ['nowhere in the document', 'createTurnClient']) {
    assert.throws(() => document.block(text), /blocks contain/);
  }
});

test('a block that no test names is an error with its line', () => {
  const document = new Document(PATH);
  document.block('sendBeacon');
  const left = /no test names these code blocks:\n([\s\S]*)/;
  const { message } = (() => { try { document.allNamed(); } catch (error) { return error; } })();
  const fences = readFileSync(new URL(`../../${PATH}`, import.meta.url), 'utf8').match(/^ *```[a-z]/gm).length;
  assert.equal(left.exec(message)[1].split('\n').length, fences - 1);
  assert.match(message, /docs\/CLIENTS\.md:\d+ \(sh\) npm i https/);
});
