// A site whose page imports packages from npm as they are, without a bundler: an import map says where the files are.
import { readFileSync } from 'node:fs';
import { createServer, request as send } from 'node:http';

const CONDITIONS = ['browser', 'module', 'import', 'es2015', 'default'];
const here = new URL('.', import.meta.url);

/**
 * Serves a page on its own origin, and returns the origin.
 * @param {number} port
 * @param {string} script A module in this directory.
 * @param {string[]} packages The packages that it imports, and those that these import.
 * @param {Record<string, string>} others Where other names are imported from: paths below this directory.
 * @param {Record<string, string>} elsewhere Origins of other servers, by the beginning of the paths that they answer.
 */
export async function serveNpmPage(port, script, packages, others = {}, elsewhere = {}) {
  const imports = Object.assign({}, others, ...packages.map(exportsOf));
  const page = `<!doctype html><title>page</title><link rel="icon" href="data:,"><script type="importmap">${JSON.stringify({ imports })}</script>
    <script type="module" src="/${script}"></script>`;
  const site = createServer((request, answer) => {
    const [, origin] = Object.entries(elsewhere).find(([path]) => request.url.startsWith(path)) ?? [];
    if (origin) return pass(request, origin, answer);
    const url = withExtension(request.url);
    const isScript = /\.m?js$/.test(url) && !url.includes('..');
    answer.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    try {
      answer.end(isScript ? readFileSync(new URL(`.${url}`, here)) : page);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await new Promise((resolve) => { site.listen(port, '127.0.0.1', resolve); });
  return `http://127.0.0.1:${port}`;
}

/** Modules of some packages import each other without an extension, which bundlers allow. */
const withExtension = (url) => (url.startsWith('/node_modules/') && !/\.[a-z]+$/.test(url) ? `${url}.js` : url);

/** Answers a request with what another server says, as it says it. */
export function pass(request, origin, answer) {
  const { hostname, port } = new URL(origin);
  const { method, headers, url: path } = request;
  const passed = send({ hostname, port, path, method, headers }, (given) => {
    answer.writeHead(given.statusCode, given.headers);
    given.pipe(answer);
  });
  passed.on('error', () => answer.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad gateway</h1>'));
  request.pipe(passed);
}

/** What a page may import from a package, each with its file. */
function exportsOf(name) {
  const root = `/node_modules/${name}`;
  const { exports } = JSON.parse(readFileSync(new URL(`.${root}/package.json`, here), 'utf8'));
  const parts = Object.keys(exports).every((key) => key.startsWith('.')) ? exports : { '.': exports };
  const entries = Object.entries(parts).map(([part, target]) => [name + part.slice(1), fileOf(target)]);
  const found = entries.filter(([, file]) => file).map(([part, file]) => [part, root + file.slice(1)]);
  return Object.fromEntries(found.map((names) => names.map((name) => name.split('*')[0]))); // `/*` names all files of a directory
}

/** The file that a browser gets: the first condition that holds. */
function fileOf(target) {
  if (typeof target === 'string') return target;
  const condition = Object.keys(target).find((key) => CONDITIONS.includes(key));
  return condition && fileOf(target[condition]);
}
