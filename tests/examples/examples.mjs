// Runs the code of documents. run.sh says how to use it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import ts from 'typescript';
import { BROKER, directory } from '../browser/harness.mjs';
import { pass } from '../browser/npm-site.mjs';
import { until } from '../browser/processes.mjs';
import { nothingWentWrong, openPage } from '../browser/watched-page.mjs';

/** The origin of pages. */
export const SITE = 'http://127.0.0.1:5173';
/** Names that documents have for a broker, without a scheme. */
const BROKERS = ['turn.example.com', 'localhost:3001', '127.0.0.1:3001'];
const SECONDS_MAX = 60;

/**
 * The code with the broker of this test: only host and port differ.
 * @param {string} code
 */
export function here(code) {
  const names = BROKERS.map((name) => name.replaceAll('.', String.raw`\.`)).join('|');
  const { host, hostname, port } = new URL(BROKER);
  return code
    .replaceAll(new RegExp(`host: '(?:${names})', port: 443(.*?)secure: true`, 'g'), `host: '${hostname}', port: ${port}$1secure: false`)
    .replaceAll(new RegExp(`(http|ws)s?://(?:${names})(?![\\w.-])`, 'g'), `$1://${host}`)
    .replaceAll(new RegExp(`(['" ])(?:${names})(?=[/'" ])`, 'g'), `$1${host}`);
}

/** @type {Map<string, string>} Scripts of pages by their paths. */
const scripts = new Map();
/** @type {Record<string, string>} Origins of other servers, by the beginning of the paths that they answer. */
let elsewhere = {};
const pages = createServer((request, answer) => {
  const { url = '' } = request;
  const [, origin] = Object.entries(elsewhere).find(([path]) => url.startsWith(path)) ?? [];
  if (origin) return pass(request, origin, answer);
  const script = scripts.get(url);
  answer.setHeader('Content-Type', script === undefined ? 'text/html' : 'text/javascript');
  answer.end(script ?? `<!doctype html><html lang="en"><title>page</title><link rel="icon" href="data:,"><div id="root"></div><video></video>
    <script type="module" src="${url}.js"></script>`);
});

/** Ends with this process. @param {Record<string, string>} others Origins of other servers, by the beginning of the paths that they answer. */
export function serveExamples(others = {}) {
  elsewhere = others;
  return new Promise((resolve) => { pages.listen(Number(new URL(SITE).port), '127.0.0.1', () => resolve(SITE)); });
}

/**
 * Opens a page with a module that has the code of a document, bundled with the packages it imports, and waits until the module has
 * run without an error. `page.faults` collects later errors, `page.shown` what it logged.
 * @param {import('puppeteer-core').Browser} browser
 * @param {string} code As `Document.block()` returned it.
 * @param {object} [around]
 * @param {string} [around.before] Code that declares what the example takes for granted.
 * @param {string} [around.after] Code that gives the test what it looks at.
 * @param {Record<string, string>} [around.files] Other files that the code imports, by path; also the way to test a file of a document.
 * @param {Record<string, string>} [around.env] What stands for expressions such as `import.meta.env.VITE_NAME`.
 * @param {string} [around.folder] A folder of `folderFor`, with packages that were installed there.
 * @param {RegExp} [around.expected] Errors in the console that belong to the test.
 */
export async function inBrowser(browser, code, { before = '', after = '', files = {}, env = {}, folder, expected } = {}) {
  const root = folderFor({ 'main.tsx': `${before}\n${here(code)}\n${after}\nglobalThis.hasRun = true;`, ...files }, folder);
  const { outputFiles } = await build({
    entryPoints: [join(root, 'main.tsx')], bundle: true, write: false, format: 'esm', target: 'es2022', logLevel: 'error', jsx: 'automatic',
    define: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, JSON.stringify(value)])), nodePaths: ['node_modules', '../browser/node_modules'], conditions: ['browser'], mainFields: ['browser', 'module', 'main'],
  });
  const path = `/example-${scripts.size}`;
  scripts.set(`${path}.js`, outputFiles[0].text);
  const page = await openPage(browser);
  page.shown = [];
  page.on('console', (message) => page.shown.push(message.text()));
  const unexpected = () => page.faults.filter((fault) => !expected?.test(fault));
  // An audio element with an empty stream delays the end of loading for ever.
  await page.goto(SITE + path, { waitUntil: 'domcontentloaded' });
  await until('the example to run', async () => unexpected().length > 0 || page.evaluate(() => globalThis.hasRun));
  page.faults = unexpected();
  nothingWentWrong(page);
  return page;
}

/**
 * Runs a module in Node, and returns what it printed.
 * @param {string} code
 * @param {Record<string, string>} [env]
 */
export async function inNode(code, env = {}) {
  const root = folderFor({ 'main.mjs': here(code) });
  return run('node', [join(root, 'main.mjs')], root, env);
}

/**
 * Runs a shell's code, and returns what it printed. It fails if a command fails.
 * @param {string} code
 * @param {Record<string, string>} [env]
 * @param {string} [folder] Its working directory; default: a new one.
 */
export async function inShell(code, env = {}, folder = folderFor({})) {
  return run('bash', ['-euo', 'pipefail', '-c', here(code)], folder, env);
}

/**
 * The commands of a `console` block, and what it says that they print.
 * @param {string} code
 */
export function session(code) {
  const lines = code.trimEnd().split('\n');
  const isCommand = (line) => line.startsWith('$ ');
  return { commands: lines.filter(isCommand).map((line) => line.slice(2)).join('\n'), output: lines.filter((line) => !isCommand(line)).join('\n') };
}

/**
 * The settings of a block with `NAME=value` lines, as the broker reads them from `.env`.
 * @param {string} code
 * @returns {Record<string, string>}
 */
export function settings(code) {
  const lines = code.split('\n').map((line) => line.replace(/\s+#.*$/, '').trim()).filter((line) => line && !line.startsWith('#'));
  return Object.fromEntries(lines.map((line) => [line.split('=', 1)[0], here(line.slice(line.indexOf('=') + 1))]));
}

/**
 * Fails with the compiler's words if these files have a type error in strict mode.
 * @param {Record<string, string>} files
 * @param {string} [folder] A folder of `folderFor`, with packages that were installed there.
 */
export function typeChecked(files, folder) {
  const root = folderFor({ 'env.d.ts': 'interface ImportMeta { readonly env: Record<`VITE_${string}`, string> }', ...files }, folder);
  const program = ts.createProgram(['env.d.ts', ...Object.keys(files)].map((name) => join(root, name)), {
    strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
    jsx: ts.JsxEmit.ReactJSX, lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'], types: [], skipLibCheck: true, noUncheckedIndexedAccess: true,
  });
  const faults = ts.getPreEmitDiagnostics(program);
  const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => root, getNewLine: () => '\n' };
  assert.equal(ts.formatDiagnostics(faults, host), '');
}

/**
 * A new folder with these files.
 * @param {Record<string, string>} files
 * @param {string} [parent]
 */
export function folderFor(files, parent = directory) {
  const root = mkdtempSync(join(parent, 'example-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

/** @returns {Promise<string>} */
function run(command, args, cwd, env) {
  const child = spawn(command, args, { cwd, env: { PATH: process.env.PATH, HOME: cwd, ...env }, stdio: ['ignore', 'pipe', 'pipe'], timeout: SECONDS_MAX * 1000 });
  let printed = '', complaints = '';
  child.stdout.on('data', (text) => { printed += text; });
  child.stderr.on('data', (text) => { complaints += text; });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => (status === 0 ? resolve(printed) : reject(new Error(`${command}: ${signal ?? status}\n${printed}${complaints}`))));
  });
}
