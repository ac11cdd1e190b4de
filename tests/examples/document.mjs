// The code blocks of a document, and which of them a test has named.
import { readFileSync } from 'node:fs';

/** A fenced block. The fence and its text may be indented, as in a list. */
const FENCED = /^( *)```([a-z]+)(?: .*)?\n([\s\S]*?)^\1```$/gm;

export class Document {
  #path;
  /** @type {{ line: number, language: string, code: string, isNamed: boolean }[]} */
  #blocks;

  /** @param {string} path From the root of the repository. */
  constructor(path) {
    this.#path = path;
    const text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
    this.#blocks = [...text.matchAll(FENCED)].map(({ index, 1: indent, 2: language, 3: code }) => ({
      line: text.slice(0, index).split('\n').length, language, code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''), isNamed: false,
    }));
    if (this.#blocks.length === 0) throw new Error(`${path} has no code blocks`);
  }

  /**
   * The code of the only block that contains this text.
   * @param {string} text
   * @param {string} [language] Only blocks of this language, for a text that two of them have.
   */
  block(text, language) {
    const found = this.#blocks.filter((block) => block.code.includes(text) && (language ?? block.language) === block.language);
    if (found.length !== 1) throw new Error(`${this.#path}: ${found.length} blocks contain ${JSON.stringify(text)}`);
    found[0].isNamed = true;
    return found[0].code;
  }

  /**
   * A block that cannot run.
   * @param {string} text
   * @param {string} why
   */
  leave(text, why) {
    this.block(text);
    console.log(`${this.#path}: not run: ${JSON.stringify(text)}: ${why}`);
  }

  allNamed() {
    const forgotten = this.#blocks.filter(({ isNamed }) => !isNamed);
    if (forgotten.length === 0) return;
    const list = forgotten.map(({ line, language, code }) => `  ${this.#path}:${line} (${language}) ${code.split('\n')[0]}`);
    throw new Error(`no test names these code blocks:\n${list.join('\n')}`);
  }
}
