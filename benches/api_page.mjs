// Run by api_page.sh. Prints two rows for each library, under our policy and with inline styles allowed, and one for our own page.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { brokerProcess, launchBrowser } from '../tests/browser/processes.mjs';

const BROKER = 'http://127.0.0.1:3921';
const SITE = 'http://127.0.0.1:3922';
const SETTLE_MS = 6_000; // the libraries draw in steps and do not signal the end
const modules = join(process.env.WORK_DIR, 'node_modules');
const axe = readFileSync(new URL('../tests/browser/node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** For each library, as documented: its files, the element that it draws into, and the code that starts it. */
const LIBRARIES = {
  'swagger-ui-dist': { files: ['swagger-ui-dist/swagger-ui-bundle.js', 'swagger-ui-dist/swagger-ui.css'], begin: "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', supportedSubmitMethods: [] })" },
  redoc: { files: ['redoc/bundles/redoc.standalone.js'], begin: "Redoc.init('/openapi.json', { disableSearch: true }, document.getElementById('ui'))" },
  rapidoc: { files: ['rapidoc/dist/rapidoc-min.js'], element: '<rapi-doc spec-url="/openapi.json" render-style="read" allow-try="false" load-fonts="false"></rapi-doc>', begin: '' },
  '@scalar/api-reference': { files: ['@scalar/api-reference/dist/browser/standalone.js'], begin: "Scalar.createApiReference('#ui', { url: '/openapi.json', hideTestRequestButton: true, withDefaultFonts: false })" },
};

const broker = brokerProcess(process.env.WORK_DIR, { HOST: '127.0.0.1', PORT: '3921', OPERATOR_TOKEN: 'operator-of-this-bench', DOORS: 'turn,matrix,ice' });
await broker.ready();
const browser = await launchBrowser(process.env.WORK_DIR);
let document;
let policy;
try {
  await measure();
} finally {
  await browser.close();
  await broker.stop();
}

async function measure() {
  document = await (await fetch(`${BROKER}/openapi.json`)).json();
  policy = (await fetch(`${BROKER}/docs`)).headers.get('content-security-policy');
  console.log(`/openapi.json: ${Object.values(document.paths).flatMap(Object.keys).length} operations on ${Object.keys(document.paths).length} paths\npolicy: ${policy}\n`);
  console.log('| | bytes | gzip | refused by the policy | paths shown | axe | sideways on a phone |\n|---|---|---|---|---|---|---|');
  for (const [name, library] of Object.entries(LIBRARIES)) {
    const files = library.files.map((file) => readFileSync(join(modules, file)));
    const { version } = JSON.parse(readFileSync(join(modules, name, 'package.json')));
    const site = await serve(library);
    console.log(line(`${name} ${version}`, files, await look(`${SITE}/strict`)));
    console.log(line('the same, with inline styles allowed', files, await look(`${SITE}/loose`)));
    site.closeAllConnections();
    await new Promise((resolve) => site.close(resolve));
  }
  const own = await look(`${BROKER}/docs`);
  console.log(line('our own', own.files, own));
}

function line(name, files, { refused, shown, findings, wide }) {
  const sum = (lengths) => lengths.reduce((total, length) => total + length, 0);
  const counted = (list) => [...new Set(list)].sort().map((one) => `${one} ${list.filter((other) => other === one).length}`).join(', ') || 'none';
  const paths = Object.keys(document.paths).length;
  return `| ${name} | ${sum(files.map(({ length }) => length))} | ${sum(files.map((file) => gzipSync(file, { level: 9 }).length))} | ${counted(refused)} | ${shown} of ${paths} | ${findings.join(', ') || 'none'} | ${wide} px |`;
}

/** Serves the library's page: at /strict under our policy, at /loose with inline styles allowed. */
async function serve({ files, element = '<div id="ui"></div>', begin }) {
  const head = files.map((file) => (file.endsWith('.css') ? `<link rel="stylesheet" href="/${file}">` : `<script defer src="/${file}"></script>`)).join('');
  const page = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>API</title><link rel="icon" href="data:,">${head}<script defer src="/begin.js"></script>${element}</html>`;
  const site = createServer(({ url }, answer) => {
    const send = (type, body) => answer.setHeader('Content-Type', type).end(body);
    if (url === '/openapi.json') return send('application/json', JSON.stringify(document));
    if (url === '/begin.js') return send('text/javascript', begin);
    if (files.includes(url.slice(1))) return send(url.endsWith('.css') ? 'text/css' : 'text/javascript', readFileSync(join(modules, url)));
    if (url !== '/strict' && url !== '/loose') return answer.writeHead(404).end();
    answer.setHeader('Content-Security-Policy', url === '/strict' ? policy : policy.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'"));
    return send('text/html', page);
  });
  await new Promise((resolve) => site.listen(3922, '127.0.0.1', resolve));
  return site;
}

/** The files of the page, the refusals of its policy, the number of shown paths, and the findings of axe. */
async function look(url) {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 900 });
  const refused = [];
  const answers = [];
  await page.exposeFunction('refusedByPolicy', (what) => refused.push(what));
  await page.evaluateOnNewDocument(() => addEventListener('securitypolicyviolation', ({ violatedDirective }) => refusedByPolicy(violatedDirective)));
  page.on('response', (answer) => answers.push(answer));
  await page.goto(url);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const text = await page.evaluate(() => {
    const read = (node) => [node.shadowRoot && read(node.shadowRoot), ...[...node.childNodes].map((child) => (child.nodeType === 3 ? child.data : child.nodeType === 1 && !['SCRIPT', 'STYLE'].includes(child.tagName) ? read(child) : ''))].filter(Boolean).join('');
    return read(document.body).replace(/[\u200b\u00ad]/g, '');
  });
  const shown = Object.keys(document.paths).filter((path) => text.includes(path)).length;
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  const findings = violations.map(({ id, nodes }) => `${id} ${nodes.length}`);
  const scripts = answers.filter((answer) => answer.ok() && !answer.url().startsWith('data:') && !answer.url().endsWith('/openapi.json'));
  const files = await Promise.all(scripts.map((answer) => answer.buffer()));
  await page.setViewport({ width: 375, height: 812 });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const wide = await page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth));
  await page.close();
  return { refused, shown, findings, wide, files };
}
