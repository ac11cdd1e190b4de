// Tests of /openapi.json: it is valid OpenAPI 3.1, the broker's responses agree with it, and /docs shows all of it.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { operatorToken } from './harness.mjs';
import { until } from './processes.mjs';
import { DESKTOP, PHONE, axeFindsNothing, isNotTooWide, nothingWentWrong, openPage, picture } from './watched-page.mjs';

const documentOf = async (broker) => (await fetch(`${broker}/openapi.json`)).json();
const operations = ({ paths }) => Object.entries(paths).flatMap(([path, item]) => Object.entries(item).map(([method, said]) => ({ path, method, said })));

/** Each response is described in the document and has exactly the described fields. */
export async function theDocumentIsValidAndTrue(broker) {
  const document = await documentOf(broker);
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  assert.ok(valid, JSON.stringify(errors));
  const check = checker(document);
  const call = caller(broker, check);

  const { grant } = await call('get', '/api/turn-credentials', 200);
  await call('get', '/turn', 200, { query: '?service=turn' });
  await call('get', '/turn', 400);
  await call('get', '/ice', 200, { query: '?service=turn' });
  await call('get', '/_matrix/client/v3/voip/turnServer', 200);
  await call('get', '/api/turn-credentials', 400, { query: '?ttl=59' });
  await call('get', '/api/turn-credentials', 403, { headers: { Origin: 'http://elsewhere.test' } });

  const id = { connectionId: 'call-1' };
  const connection = { path: 'call-1' };
  await call('post', '/api/connections', 201, { token: grant, body: id });
  await call('post', '/api/connections', 200, { token: grant, body: id });
  await call('post', '/api/connections', 400, { token: grant, body: { connectionId: '' } });
  await call('post', '/api/connections', 401, { body: id });
  await call('post', '/api/connections', 413, { token: grant, body: { connectionId: 'x'.repeat(20_000) } });
  await call('post', '/api/connections/{id}/heartbeat', 200, { ...connection, token: grant, body: { bytesReceived: 1000 } });
  await call('post', '/api/connections/{id}/heartbeat', 404, { path: 'no-such-call', token: grant, body: {} });
  await call('get', '/api/connections', 200, { token: operatorToken });
  await call('post', '/api/connections/{id}/close', 204, { ...connection, body: { token: grant } });
  await call('delete', '/api/connections/{id}', 204, { ...connection, token: grant });

  for (const path of ['/api/overview', '/api/usage', '/api/alerts', '/api/backup', '/metrics']) {
    await call('get', path, 200, { token: operatorToken });
    await call('get', path, 401);
  }
  await call('get', '/api/usage', 400, { token: operatorToken, query: '?step=7' });
  await call('post', '/api/budget/limit', 200, { token: operatorToken, body: { limitGB: 1500 } });
  await call('post', '/api/budget/limit', 400, { token: operatorToken, body: {} });
  await call('post', '/api/budget/freeze', 200, { token: operatorToken, body: { frozen: true } });
  await call('get', '/api/turn-credentials', 200); // STUN only
  await call('post', '/api/budget/freeze', 200, { token: operatorToken, body: { frozen: false } });
  await call('post', '/api/budget/drop-reading', 200, { token: operatorToken });
  await call('post', '/api/credentials/{grant}/revoke', 200, { path: grant, token: operatorToken });
  await call('post', '/api/credentials/{grant}/revoke', 404, { path: 'no-such-grant', token: operatorToken });
  for (const path of ['/api/bandwidth-status', '/health', '/ready', '/openapi.json', '/turn-client.js', '/turn-client.d.ts', '/dashboard', '/relay-check', '/docs']) await call('get', path, 200);
  for (const path of ['/dashboard/{file}', '/relay-check/{file}', '/docs/{file}']) {
    await call('get', path, 200, { path: 'main.js' });
    await call('get', path, 404, { path: 'no-such-file' });
  }
  await call('get', '/api/turn-credentials', 200);
  await call('get', '/api/turn-credentials', 200);
  await call('get', '/api/turn-credentials', 200);
  await call('get', '/api/turn-credentials', 429);

  const untried = operations(document).filter(({ path, method }) => !call.tried.has(`${method} ${path}`));
  assert.deepEqual(untried, [], 'operations that this test does not call');
}

/** Calls an operation and checks the response against the document. Resolves with its body. */
function caller(broker, check) {
  const tried = new Set();
  async function call(method, path, status, { path: name = '', query = '', token, body, headers = {} } = {}) {
    const init = { method: method.toUpperCase(), headers: { ...headers, ...(token && { Authorization: `Bearer ${token}` }) }, body: body && JSON.stringify(body) };
    const answer = await fetch(broker + path.replace(/\{\w+\}/, name) + query, init);
    const what = `${method} ${path}: ${status}`;
    assert.equal(answer.status, status, what);
    tried.add(`${method} ${path}`);
    const text = await answer.text();
    return check(what, method, path, answer, text);
  }
  return Object.assign(call, { tried });
}

/** Checks all rules of a schema except `example` and number formats. No object may have an undescribed field. */
function checker(document) {
  const strict = (schema) => (Array.isArray(schema) ? schema.map(strict) : schema && typeof schema === 'object'
    ? { ...Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, strict(value)])), ...(schema.properties && schema.type === 'object' && { additionalProperties: false }) }
    : schema);
  const ajv = formats.default(new Ajv({ strict: false, allErrors: true }));
  ajv.addSchema({ $id: 'document', components: strict(document.components) });
  const pointed = (schema) => JSON.parse(JSON.stringify(strict(schema)).replaceAll('"#/components', '"document#/components'));
  return (what, method, path, answer, text) => {
    const named = document.paths[path][method].responses[answer.status];
    assert.ok(named, `${what} is not in the document`);
    for (const [name] of Object.entries(named.headers ?? {})) {
      if (name !== 'Retry-After' || answer.status === 429) assert.ok(answer.headers.has(name), `${what} has no ${name}`);
    }
    if (!named.content) return assert.equal(text, '', what);
    const [[type, { schema }]] = Object.entries(named.content);
    const got = answer.headers.get('content-type');
    assert.equal(got.split(';')[0], path.endsWith('{file}') && answer.ok ? got.split(';')[0] : type.split(';')[0], what);
    if (type !== 'application/json') return text;
    const body = JSON.parse(text);
    const fits = ajv.compile(pointed(schema));
    assert.ok(fits(body), `${what}: ${ajv.errorsText(fits.errors)}`);
    return body;
  };
}

export async function thePageShowsTheWholeDocument(browser, broker) {
  const document = await documentOf(broker);
  for (const scheme of ['light', 'dark']) {
    for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
      const page = await openPage(browser, viewport);
      const origins = new Set();
      page.on('response', (answer) => !answer.url().startsWith('data:') && origins.add(new URL(answer.url()).origin));
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await page.goto(`${broker}/docs`);
      await until('the operations', () => page.$('article'));
      if (scheme === 'light' && name === 'desktop') await everythingIsThere(page, document);
      await axeFindsNothing(page, `docs, ${scheme}, ${name}`);
      await page.$$eval('details', (all) => all.forEach((one) => { one.open = true; }));
      await isNotTooWide(page, `docs, ${name}`);
      if (name === 'desktop') await axeFindsNothing(page, `docs, ${scheme}, all open`);
      await page.$$eval('details', (all) => all.forEach((one) => { one.open = !one.matches('.answer:not(:has(.s2))'); }));
      if (name === 'phone') await aCommandIsCopied(page);
      await page.goto(`${broker}/docs#post-/api/connections/{id}/heartbeat`);
      await until('the focus on the linked operation', () => page.evaluate(() => globalThis.document.activeElement.id === 'post-/api/connections/{id}/heartbeat'));
      await picture(page, `docs-${scheme}-${name}`, { fullPage: false });
      assert.deepEqual([...origins], [broker], 'all files come from the broker');
      nothingWentWrong(page);
      await page.close();
    }
  }
}

/** With the keyboard; screen readers hear the result. */
async function aCommandIsCopied(page) {
  await page.focus('article .command button');
  await page.keyboard.press('Enter');
  const result = () => page.$eval('#copied', ({ textContent }) => textContent);
  await until('the result', async () => /^(Copied|Selected: press Ctrl\+C): GET \/api\/turn-credentials$/.test(await result()));
}

/** A proxy forwards `/turn/…` to `/…`: the page and its files load, and the commands have the proxy's URL. */
export async function thePageWorksUnderAPrefix(browser, broker) {
  const proxy = createServer(async ({ url }, answer) => {
    if (!url.startsWith('/turn/')) return answer.writeHead(404).end();
    const got = await fetch(broker + url.slice('/turn'.length));
    const kept = ['content-type', 'content-security-policy'].filter((name) => got.headers.has(name));
    return answer.writeHead(got.status, Object.fromEntries(kept.map((name) => [name, got.headers.get(name)]))).end(await got.text());
  });
  await new Promise((resolve) => proxy.listen(3005, '127.0.0.1', resolve));
  const page = await openPage(browser);
  await page.goto('http://127.0.0.1:3005/turn/docs');
  const command = await (await page.waitForSelector('article pre')).evaluate(({ textContent }) => textContent);
  assert.equal(command, "curl 'http://127.0.0.1:3005/turn/api/turn-credentials'");
  nothingWentWrong(page);
  await page.close();
  proxy.closeAllConnections();
  proxy.close();
}

/** The page has every operation with its anchor, and every parameter, status and field of each response. */
async function everythingIsThere(page, document) {
  const shown = await page.$$eval('article', (all) => all.map((article) => ({
    id: article.querySelector('h3').id,
    text: article.textContent,
    names: [...article.querySelectorAll('.name')].map(({ textContent }) => textContent),
    statuses: [...article.querySelectorAll('.status')].map(({ textContent }) => textContent),
    command: article.querySelector('pre').textContent,
  })));
  const links = await page.$$eval('#groups li a', (all) => all.map((link) => link.hash.slice(1)));
  const expected = operations(document).map(({ path, method }) => `${method}-${path}`);
  assert.deepEqual(shown.map(({ id }) => id).sort(), expected.sort());
  assert.deepEqual(links.sort(), expected.sort(), 'the contents link to each operation');
  for (const { path, method, said } of operations(document)) {
    const article = shown.find(({ id }) => id === `${method}-${path}`);
    const what = `${method} ${path}`;
    assert.deepEqual(article.statuses, Object.keys(said.responses), what);
    const fields = [...(said.parameters ?? []).map(({ name }) => name), ...Object.values(said.responses).flatMap((one) => [...Object.keys(one.headers ?? {}), ...names(document, one)]), ...names(document, said.requestBody)];
    assert.deepEqual(fields.filter((name) => !article.names.includes(name)), [], what);
    for (const sentence of [said.summary, said.description].filter(Boolean)) assert.ok(article.text.includes(sentence.split('`')[0].split('\n')[0]), what);
    assert.match(article.command, new RegExp(`^curl .*${path.split('{')[0]}`), what);
  }
}

/** The names of all fields in a part of the document. */
function names(document, thing) {
  if (!thing || typeof thing !== 'object') return [];
  if (thing.$ref) return names(document, thing.$ref.slice(2).split('/').reduce((found, step) => found[step], document));
  return [...Object.keys(thing.properties ?? {}), ...Object.entries(thing).filter(([key]) => key !== 'example').flatMap(([, value]) => names(document, value))];
}
