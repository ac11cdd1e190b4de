// Tests of /openapi.json: it is valid OpenAPI 3.1, the broker's responses agree with it, and /docs shows all of it.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { groups } from '../../src/web/docs/document.js';
import { operatorToken } from './harness.mjs';
import { until } from './processes.mjs';
import { DESKTOP, PHONE, axeFindsNothing, isNotTooWide, isShown, nothingWentWrong, openPage, picture, text } from './watched-page.mjs';

const documentOf = async (broker) => (await fetch(`${broker}/openapi.json`)).json();
const operations = ({ paths }) => Object.entries(paths).flatMap(([path, item]) => Object.entries(item).map(([method, said]) => ({ path, method, said })));

/** Each response is described in the document and has exactly the described fields. */
export async function theDocumentIsValidAndTrue(broker) {
  const document = await documentOf(broker);
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  assert.ok(valid, JSON.stringify(errors));
  const check = checker(document);
  theExamplesFit(document, check.fits);
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

  for (const path of ['/api/overview', '/api/usage', '/api/alerts', '/api/actions', '/api/backup', '/api/spenders', '/api/grants', '/metrics']) {
    await call('get', path, 200, { token: operatorToken });
    await call('get', path, 401);
  }
  await call('get', '/api/spenders', 400, { token: operatorToken, query: '?by=nobody' });
  await call('get', '/api/grants', 400, { token: operatorToken, query: '?limit=0' });
  await call('post', '/api/users/{user}/block', 200, { path: 'ann', token: operatorToken });
  await call('post', '/api/users/{user}/revoke', 200, { path: 'ann', token: operatorToken });
  await call('delete', '/api/users/{user}/block', 200, { path: 'ann', token: operatorToken });
  await call('get', '/api/usage', 400, { token: operatorToken, query: '?step=7' });
  await call('post', '/api/budget/limit', 200, { token: operatorToken, body: { limitGB: 1500 } });
  await call('post', '/api/budget/limit', 400, { token: operatorToken, body: {} });
  await call('post', '/api/budget/freeze', 200, { token: operatorToken, body: { frozen: true } });
  await call('get', '/api/turn-credentials', 200); // STUN only
  await call('post', '/api/budget/freeze', 200, { token: operatorToken, body: { frozen: false } });
  await call('post', '/api/budget/drop-reading', 404, { token: operatorToken });
  await call('post', '/api/credentials/{grant}/revoke', 200, { path: grant, token: operatorToken });
  await call('post', '/api/credentials/{grant}/revoke', 404, { path: 'no-such-grant', token: operatorToken });
  await call('get', '/api/calls-live', 200, { token: operatorToken });
  await call('post', '/api/rooms/{room}/end', 404, { path: 'no-such-room', token: operatorToken });
  for (const path of ['/api/bandwidth-status', '/health', '/leader', '/ready', '/openapi.json', '/turn-client.js', '/turn-client.d.ts', '/turn-client.tgz', '/dashboard', '/relay-check', '/docs']) await call('get', path, 200);
  for (const path of ['/dashboard/{file}', '/relay-check/{file}', '/docs/{file}']) {
    await call('get', path, 200, { path: 'main.js' });
    await call('get', path, 404, { path: 'no-such-file' });
  }
  await call('get', '/api/turn-credentials', 200);
  await call('get', '/api/turn-credentials', 200);
  await call('get', '/api/turn-credentials', 429); // The page has tried one, too.

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
  const fits = (what, schema, body) => {
    const test = ajv.compile(pointed(schema));
    assert.ok(test(body), `${what}: ${ajv.errorsText(test.errors)}`);
  };
  const pointed = (schema) => JSON.parse(JSON.stringify(strict(schema)).replaceAll('"#/components', '"document#/components'));
  const check = (what, method, path, answer, text) => {
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
    fits(what, schema, body);
    return body;
  };
  return Object.assign(check, { fits });
}

/** The examples that the page shows, of requests and responses, fit their schemas. */
function theExamplesFit(document, fits) {
  for (const { method, path, body, answers } of groups(document).flatMap(({ operations }) => operations)) {
    for (const { type, schema, examples } of [...(body?.contents ?? []), ...answers.flatMap(({ contents }) => contents)]) {
      if (type === 'application/json') for (const { value } of examples) fits(`the example of ${method} ${path}`, schema, value);
    }
  }
}

/** In CSS pixels, before anything is opened: a quarter of what a page that showed everything at once measured, 29,775 px. */
const HEIGHT_MAX = 7_400;
const HEARTBEAT = 'post-/api/connections/{id}/heartbeat';
const heightOf = (page) => page.evaluate(() => globalThis.document.documentElement.scrollHeight);
const closedParts = (page) => page.$$eval('details:not([open])', (all) => all.length);
const said = (page) => page.$eval('#said', ({ textContent }) => textContent);

export async function thePageShowsTheWholeDocument(browser, broker) {
  const document = await documentOf(broker);
  for (const scheme of ['light', 'dark']) {
    for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
      const page = await openPage(browser, viewport);
      const origins = new Set();
      page.on('response', (answer) => !answer.url().startsWith('data:') && origins.add(new URL(answer.url()).origin));
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await page.goto(`${broker}/docs`);
      await until('the operations', () => page.$('.operation'));
      const height = await heightOf(page);
      assert.ok(height <= HEIGHT_MAX, `docs, ${name}: ${height} px high`);
      console.log(`docs, ${name}: ${height} px high`);
      if (scheme === 'light' && name === 'desktop') await everythingIsThere(page, document);
      await axeFindsNothing(page, `docs, ${scheme}, ${name}`);
      await isNotTooWide(page, `docs, ${name}`);
      await picture(page, `docs-${scheme}-${name}`);
      await aLinkOpensAnOperation(page, broker);
      await picture(page, `docs-operation-${scheme}-${name}`, { fullPage: false });
      await page.evaluate(() => scrollTo(0, 0)); // The search stays on the screen, over a part of the row that scrolls behind it.
      await axeFindsNothing(page, `docs, ${scheme}, ${name}, an operation`);
      await page.click('#all');
      await isNotTooWide(page, `docs, ${name}, all open`);
      if (name === 'desktop') await axeFindsNothing(page, `docs, ${scheme}, all open`);
      if (name === 'phone') await aCommandIsCopied(page);
      assert.deepEqual([...origins], [broker], 'all files come from the broker');
      nothingWentWrong(page);
      await page.close();
    }
  }
}

/** A link in a mail, then a link within the page, to a field of a schema. */
async function aLinkOpensAnOperation(page, broker) {
  const isFocused = (id) => page.evaluate((id) => globalThis.document.activeElement.closest('[id]')?.id === id && globalThis.document.activeElement.checkVisibility(), id);
  await page.goto('about:blank');
  await page.goto(`${broker}/docs#${HEARTBEAT.replace('{', '%7B').replace('}', '%7D')}`);
  await until('the focus on the linked operation', () => isFocused(HEARTBEAT));
  assert.deepEqual(await page.$$eval('.row[open]', (all) => all.map(({ id }) => id)), [HEARTBEAT]);
  await page.goto(`${broker}/docs#schema-StatusBody.asOf`);
  await until('the focus on the linked field', () => isFocused('schema-StatusBody.asOf'));
  await page.goto(`${broker}/docs#${HEARTBEAT}`);
  await until('the focus on the linked operation', () => isFocused(HEARTBEAT));
}

/** With the keyboard; screen readers hear the result. */
async function aCommandIsCopied(page) {
  await page.focus('.operation .copy');
  await page.keyboard.press('Enter');
  await until('the result', async () => /^(Copied|Selected: press Ctrl\+C): GET \/api\/turn-credentials$/.test(await said(page)));
}

/** With the keyboard: `/` goes to the search, Enter to the first result, Escape back to the list. */
export async function aSearchFindsFieldsAndCodes(browser, broker) {
  const page = await openPage(browser);
  await page.goto(`${broker}/docs`);
  await page.waitForSelector('.operation');
  await page.keyboard.press('/');
  await page.keyboard.type('refreshAfter');
  const results = () => page.$$eval('#results a', (all) => all.map((link) => decodeURIComponent(link.hash)));
  assert.equal((await results())[0], '#schema-CredentialsBody.refreshAfter');
  assert.match(await text(page, 'count'), /^\d+ results?$/);
  await axeFindsNothing(page, 'docs, search');
  await picture(page, 'docs-search', { fullPage: false });
  await page.keyboard.press('Enter');
  await until('the field', () => page.evaluate(() => globalThis.document.activeElement.id === 'schema-CredentialsBody.refreshAfter'));
  assert.equal(await isShown(page, 'parts'), true, 'the list is back');
  for (const [query, first] of [['budget exhausted', '#code-BUDGET_EXHAUSTED'], ['heartbeat', `#${HEARTBEAT}`], ['statusbody', '#schema-StatusBody']]) {
    await page.click('#search');
    await page.keyboard.type(query.replace('budget exhausted', 'BUDGET_EXHAUSTED'));
    assert.ok((await results()).slice(0, 3).includes(first), `${query}: ${await results()}`);
    await page.keyboard.press('Escape');
    assert.equal(await isShown(page, 'found'), false);
  }
  nothingWentWrong(page);
  await page.close();
}

/** Public calls only. A mint says that it is one, and asks for the shortest life. */
export async function aPublicCallIsTried(browser, broker) {
  const page = await openPage(browser);
  await page.goto(`${broker}/docs#get-/api/bandwidth-status`);
  const status = 'form[aria-label="Try GET /api/bandwidth-status"]';
  await page.waitForSelector(status);
  assert.deepEqual(await page.$$eval('.try', (all) => all.map((form) => form.getAttribute('aria-label').slice('Try '.length))),
    ['GET /api/turn-credentials', 'GET /_matrix/client/v3/voip/turnServer', 'GET /ice', 'GET /turn', 'GET /api/bandwidth-status', 'GET /health', 'GET /leader', 'GET /ready', 'GET /openapi.json']);
  assert.equal(await page.$eval(status, (form) => form.querySelector('.note')), null);
  await page.click(`${status} button`);
  await until('the response', () => page.$(`${status} .result .json`));
  assert.match(await page.$eval(`${status} .result`, ({ textContent }) => textContent), /x-request-id: .*"bandwidthUsedGB": "0\.00"/s);
  assert.match(await said(page), /^GET \/api\/bandwidth-status: 200 .*ms$/);

  await page.goto(`${broker}/docs#get-/api/turn-credentials`);
  const mint = 'form[aria-label="Try GET /api/turn-credentials"]';
  assert.match(await page.$eval(`${mint} .note`, ({ textContent }) => textContent), /^This is a real mint\./);
  const sent = page.waitForRequest((request) => request.url().includes('/api/turn-credentials'));
  await page.focus(`${mint} input`);
  await page.keyboard.press('Enter');
  assert.equal(new URL((await sent).url()).search, '?ttl=60');
  await until('the credential', () => page.$(`${mint} .result .json`));
  assert.match(await page.$eval(`${mint} .result`, ({ textContent }) => textContent), /ratelimit-remaining: \d+.*"ttl": 60/s);
  await picture(page, 'docs-try', { fullPage: false });
  await page.evaluate(() => scrollTo(0, 0));
  await axeFindsNothing(page, 'docs, a response');
  nothingWentWrong(page);
  await page.close();
}

/** A printed page has everything; afterwards the parts are closed again. */
export async function thePageIsPrintedWhole(browser, broker) {
  const page = await openPage(browser);
  await page.evaluateOnNewDocument(() => addEventListener('afterprint', () => { globalThis.closedInPrint = globalThis.document.querySelectorAll('details:not([open])').length; }));
  await page.goto(`${broker}/docs`);
  await page.waitForSelector('.operation');
  const before = await closedParts(page);
  await page.pdf();
  assert.equal(await page.evaluate(() => globalThis.closedInPrint), 0);
  assert.equal(await closedParts(page), before);
  nothingWentWrong(page);
  await page.close();
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
  const command = await (await page.waitForSelector('.operation pre')).evaluate(({ textContent }) => textContent);
  assert.equal(command, "curl 'http://127.0.0.1:3005/turn/api/turn-credentials'");
  nothingWentWrong(page);
  await page.close();
  proxy.closeAllConnections();
  proxy.close();
}

/**
 * The page has every operation with its anchor, parameters, statuses, codes and headers. It has every schema once, with its
 * fields, and a link to it where it is used.
 */
async function everythingIsThere(page, document) {
  const shown = await page.$$eval('.operation', (all) => all.map((row) => ({
    id: row.id,
    text: row.textContent,
    names: [...row.querySelectorAll('.name')].map(({ textContent }) => textContent),
    statuses: [...row.querySelectorAll('.status')].map(({ textContent }) => textContent),
    links: [...row.querySelectorAll('.text a')].map(({ hash }) => hash.slice(1)),
    examples: row.querySelectorAll('.side .json').length,
    command: row.querySelector('.command').textContent,
  })));
  assert.deepEqual(shown.map(({ id }) => id).sort(), operations(document).map(({ path, method }) => `${method}-${path}`).sort());
  for (const { path, method, said } of operations(document)) {
    const row = shown.find(({ id }) => id === `${method}-${path}`);
    const what = `${method} ${path}`;
    assert.deepEqual(row.statuses, Object.keys(said.responses), what);
    const fields = [...(said.parameters ?? []).map(({ name }) => name), ...Object.values(said.responses).flatMap((one) => Object.keys(one.headers ?? {}))];
    assert.deepEqual(fields.filter((name) => !row.names.includes(name)), [], what);
    const used = [...references(said.requestBody), ...references(said.responses)].filter((name) => name !== 'ErrorBody').map((name) => `schema-${name}`);
    const codes = Object.values(said.responses).flatMap(({ content }) => Object.keys(content?.['application/json']?.examples ?? {})).filter((name) => /^[A-Z_]+$/.test(name));
    assert.deepEqual([...used, ...codes.map((code) => `code-${code}`)].filter((id) => !row.links.includes(id)), [], what);
    for (const sentence of [said.summary, said.description].filter(Boolean)) assert.ok(row.text.includes(sentence.split('`')[0].split('\n')[0].split('**')[0]), what);
    assert.match(row.command, new RegExp(`^curl .*${path.split('{')[0]}`, 's'), what);
    const good = Object.entries(said.responses).find(([status]) => status.startsWith('2'))[1];
    if (references(good).length) assert.ok(row.examples > 0, `${what} has no example`);
  }
  const schemas = await page.$$eval('.schema', (all) => all.map(({ id, textContent }) => ({ id, text: textContent })));
  const codes = await page.$$eval('[id^="code-"]', (all) => all.map(({ id }) => id.slice('code-'.length)));
  assert.deepEqual(schemas.map(({ id }) => id), Object.keys(document.components.schemas).sort().map((name) => `schema-${name}`));
  assert.deepEqual(codes.sort(), Object.keys(document.components.examples).sort());
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    const fields = await page.$$eval(`[id^="schema-${name}."]`, (all) => all.map(({ id }) => id));
    assert.deepEqual(fields.sort(), Object.keys(schema.properties).map((field) => `schema-${name}.${field}`).sort(), name);
  }
  const broken = await page.$$eval('#board a[href^="#"]', (all) => all.map(({ hash }) => decodeURIComponent(hash.slice(1))).filter((id) => !globalThis.document.getElementById(id)));
  assert.deepEqual(broken, [], 'links to nothing');
}

/** The names of the schemas that a part of the document refers to. */
function references(thing) {
  if (!thing || typeof thing !== 'object') return [];
  const [, name] = /^#\/components\/schemas\/(.+)$/.exec(thing.$ref ?? '') ?? [];
  return [...(name ? [name] : []), ...Object.values(thing).flatMap(references)];
}
