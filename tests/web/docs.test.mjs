// How the API page reads an OpenAPI document, without a browser.
import assert from 'node:assert/strict';
import test from 'node:test';
import { command } from '../../src/web/docs/command.js';
import { callers, errorCodes, groups, headersOf } from '../../src/web/docs/document.js';
import { least, whole } from '../../src/web/docs/examples.js';
import { field, resolved, schemas, schemasIn } from '../../src/web/docs/schema.js';
import { entries, search } from '../../src/web/docs/search.js';
import { canTry, relativeUrl, spends, startValue } from '../../src/web/docs/request.js';

const DOCUMENT = {
  tags: [{ name: 'second', description: 'Later in the document, first here.' }, { name: 'empty' }],
  security: [{}],
  components: {
    securitySchemes: { grant: { description: 'What came with credentials.' }, operator: { description: '`OPERATOR_TOKEN`.' } },
    parameters: { step: { name: 'step', in: 'query', required: true, description: 'Seconds', schema: { type: 'integer', minimum: 60, multipleOf: 60 }, example: 3600 } },
    schemas: {
      Inner: { type: 'object', description: 'Of the schema.', required: ['at'], properties: { at: { type: 'string', format: 'date-time' } } },
      Outer: {
        type: 'object', required: ['list', 'nullable'],
        properties: {
          absent: { type: 'boolean' },
          list: { type: 'array', items: { $ref: '#/components/schemas/Inner' } },
          nullable: { oneOf: [{ $ref: '#/components/schemas/Inner', description: 'Of the field.' }, { type: 'null' }] },
          map: { type: 'object', additionalProperties: { type: 'integer' } },
          own: { $ref: '#/components/schemas/Outer' },
        },
      },
    },
  },
  paths: {
    '/other': { get: { tags: ['first'], responses: { 304: { description: 'Known.' } } } },
    '/api/things/{id}': {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
      delete: {
        tags: ['second'], summary: 'Removes it.', security: [{ operator: [] }],
        parameters: [{ $ref: '#/components/parameters/step' }],
        requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Inner' }, example: { at: "it's" } } } },
        responses: { 204: { description: 'Gone.', headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer', minimum: 1 } } } } },
      },
    },
  },
};
const things = () => groups(DOCUMENT)[0].operations[0];
const outer = () => schemas(DOCUMENT).find(({ name }) => name === 'Outer');
const of = (name) => outer().fields.find((one) => one.name === name);

test('operations are grouped in the order of the tags, without empty groups', () => {
  assert.deepEqual(groups(DOCUMENT).map(({ name, operations }) => [name, operations.map(({ id }) => id)]), [
    ['second', ['delete-/api/things/{id}']], ['first', ['get-/other']],
  ]);
});

test('paths under /api come first in their group', () => {
  const paths = { '/_a': { get: {} }, '/api/b': { get: {}, post: {} }, '/c': { get: {} } };
  assert.deepEqual(groups({ paths })[0].operations.map(({ id }) => id), ['get-/api/b', 'post-/api/b', 'get-/_a', 'get-/c']);
});

test('an operation has the parameters of its path and its own', () => {
  const [id, step] = things().parameters;
  assert.deepEqual([id.name, id.place, id.isRequired, id.type], ['id', 'path', true, 'string']);
  assert.deepEqual([step.name, step.limits, step.example, step.description], ['step', ['at least 60', 'a multiple of 60'], 3600, 'Seconds']);
});

test('a response without a body has headers and no content', () => {
  const [{ status, headers, contents }] = things().answers;
  assert.deepEqual([status, headers[0].name, headers[0].limits, contents], ['204', 'Retry-After', ['at least 1'], []]);
});

test('callers are described in words, by default those of the document', () => {
  assert.deepEqual(things().callers, ['callers with the bearer token `operator`: `OPERATOR_TOKEN`.']);
  assert.deepEqual(groups(DOCUMENT)[1].operations[0].callers, ['anyone']);
  assert.deepEqual(callers(DOCUMENT, [{}, { grant: [] }]), ['anyone', 'callers with the bearer token `grant`: What came with credentials.']);
  assert.deepEqual(callers(DOCUMENT, []), ['anyone']);
});

test('a schema has its fields, required ones first', () => {
  assert.deepEqual(outer().fields.map(({ name, type, isRequired }) => [name, type, isRequired]), [
    ['list', 'array of Inner', true], ['nullable', 'Inner or null', true],
    ['absent', 'boolean', false], ['map', 'map of text to integer', false], ['own', 'Outer', false],
  ]);
  assert.equal(of('nullable').description, 'Of the field.', 'a description beside a reference wins');
});

test('a schema with a name is described once, and a field of it has its name only', () => {
  assert.deepEqual(schemas(DOCUMENT).map(({ name, id }) => [name, id]), [['Inner', 'schema-Inner'], ['Outer', 'schema-Outer']]);
  assert.deepEqual(outer().fields.flatMap(({ fields }) => fields), []);
  const unnamed = field(DOCUMENT, '', { type: 'object', properties: { at: { type: 'string' } } }, true);
  assert.deepEqual(unnamed.fields.map(({ name }) => name), ['at'], 'a schema without a name is described in its place');
  assert.deepEqual(things().schemas, ['Inner']);
  assert.deepEqual(schemasIn({ a: [{ $ref: '#/components/schemas/A' }], b: { $ref: '#/components/parameters/b' } }), ['A']);
});

test('references that lead in a circle or nowhere end', () => {
  assert.ok(resolved({ a: { $ref: '#/a' } }, { $ref: '#/a' }));
  assert.deepEqual(resolved(DOCUMENT, { $ref: '#/components/nowhere' }), {});
});

test('a field has its limits, values and choices', () => {
  const fieldOf = (schema) => field(DOCUMENT, 'x', schema, false);
  assert.deepEqual(fieldOf({ type: 'integer', minimum: 60, maximum: 90, default: 60 }).limits, ['60 to 90', 'default 60']);
  assert.deepEqual(fieldOf({ type: 'string', minLength: 1, maxLength: 128, pattern: '^a' }).limits, ['1 to 128 characters', 'pattern ^a']);
  assert.deepEqual(fieldOf({ type: 'string', enum: ['a', 'b'] }).values, ['"a"', '"b"']);
  assert.deepEqual(fieldOf({ const: 7 }).values, ['7']);
  assert.equal(fieldOf({ type: ['string', 'null'] }).type, 'string or null');
  assert.equal(fieldOf({ oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] }).type, 'string or array of string');
  assert.equal(fieldOf({}).type, 'any value');
  const both = fieldOf({ allOf: [{ $ref: '#/components/schemas/Inner' }, { type: 'object', properties: { more: { type: 'number' } } }] });
  assert.deepEqual(both.fields.map(({ name, isRequired }) => [name, isRequired]), [['at', true], ['more', false]]);
});

test('a command has all required values, and its quotes are escaped', () => {
  assert.equal(command(DOCUMENT, things(), 'https://turn.example/prefix/'),
    ['curl -X DELETE', '-H "Authorization: Bearer $OPERATOR_TOKEN"', "-H 'Content-Type: application/json'", `-d '{"at":"it'\\''s"}'`,
      '"https://turn.example/prefix/api/things/$ID?step=3600"'].join(' \\\n  '));
  assert.equal(command(DOCUMENT, groups(DOCUMENT)[1].operations[0], 'http://b:3001/'), "curl 'http://b:3001/other'");
});

test('a command for anyone has no token', () => {
  const paths = { '/api/a': { get: { security: [{}, { grant: [] }], parameters: [{ name: 'ttl', in: 'query', schema: { type: 'integer' } }] } } };
  assert.equal(command(DOCUMENT, groups({ ...DOCUMENT, paths })[0].operations[0], 'http://b/'), "curl 'http://b/api/a'");
});

test('an example has every field, and the least value only those that are required', () => {
  assert.deepEqual(least(DOCUMENT, { $ref: '#/components/schemas/Inner' }), { at: 'string' });
  assert.deepEqual(least(DOCUMENT, { type: 'object', required: ['n', 'b', 'e'], properties: { n: { type: 'integer', minimum: 60 }, b: { type: 'boolean' }, e: { enum: ['x', 'y'] } } }), { n: 60, b: true, e: 'x' });
  assert.deepEqual(least(DOCUMENT, {}), {});
  const made = whole(DOCUMENT, { type: 'object', properties: { a: { type: 'string', example: 'A' }, none: { type: ['string', 'null'], example: null }, list: { type: 'array', items: { $ref: '#/components/schemas/Inner' } } } });
  assert.deepEqual(made, { a: 'A', none: null, list: [{ at: 'string' }] });
  const deep = JSON.stringify(whole(DOCUMENT, { $ref: '#/components/schemas/Outer' }));
  assert.ok(deep.length < 1000, 'a recursive schema ends');
});

test('a response has the examples of the document, or one that is made', () => {
  const examplesOf = (content) => groups({ ...DOCUMENT, paths: { '/a': { get: { responses: { 200: { content } } } } } })[0].operations[0].answers[0].contents[0].examples;
  const schema = { $ref: '#/components/schemas/Inner' };
  assert.deepEqual(examplesOf({ 'application/json': { schema } }), [{ summary: '', value: { at: 'string' } }]);
  assert.deepEqual(examplesOf({ 'application/json': { schema, example: { at: 'now' } } }), [{ summary: '', value: { at: 'now' } }]);
  assert.deepEqual(examplesOf({ 'application/json': { schema, examples: { one: { summary: 'One', value: 1 }, two: { value: 2 } } } }), [{ summary: 'One', value: 1 }, { summary: 'two', value: 2 }]);
  assert.deepEqual(examplesOf({ 'text/html': { schema: { type: 'string' } } }), []);
});

const FAILING = {
  components: { examples: { FULL: { summary: '429 Too Many Requests', value: { error: 'It is full', code: 'FULL' } }, WRONG_METHOD: { summary: '405 Method Not Allowed', value: { error: 'No' } } } },
  paths: {
    '/a': { get: { responses: { 200: { description: 'Good.', headers: { Left: { description: 'How many.' } } }, 429: { description: '`FULL`: no room.\n\n`BUSY`: later.', headers: { Left: { description: 'How many.' }, Wait: { description: 'Seconds.' } } } } } },
    '/b': { get: { responses: { 429: { description: '`FULL`: no room.' } } } },
  },
};

test('every error code has its reasons once, with the operations that have them', () => {
  const codes = errorCodes(FAILING, groups(FAILING));
  assert.deepEqual(codes.map(({ code, statuses, title }) => [code, statuses, title]), [['WRONG_METHOD', ['405'], 'No'], ['FULL', ['429'], 'It is full'], ['BUSY', ['429'], '']]);
  const [, full] = codes;
  assert.deepEqual(full.reasons.map(({ text, operations }) => [text, operations.map(({ id }) => id)]), [['no room.', ['get-/a', 'get-/b']]]);
  assert.equal(full.example.value.code, 'FULL');
});

test('a response header is listed once, with the statuses that have it', () => {
  const [a] = groups(FAILING)[0].operations;
  assert.deepEqual(headersOf(a).map(({ name, statuses }) => [name, statuses]), [['Left', ['200', '429']], ['Wait', ['429']]]);
});

test('search finds operations, parameters, fields and error codes, the best match first', () => {
  const all = groups(DOCUMENT);
  const index = entries(all, schemas(DOCUMENT), errorCodes(FAILING, groups(FAILING)));
  const titles = (query) => search(index, query).found.map(({ kind, title, id }) => [kind, title, id]);
  assert.deepEqual(titles('AT')[0], ['field', 'at', 'schema-Inner.at']);
  assert.deepEqual(titles('full'), [['error code', 'FULL', 'code-FULL']]);
  assert.deepEqual(titles('things delete'), [['operation', 'DELETE /api/things/{id}', 'delete-/api/things/{id}'], ['parameter', 'id', 'delete-/api/things/{id}'], ['parameter', 'step', 'delete-/api/things/{id}']]);
  assert.deepEqual(titles('no room'), [['error code', 'FULL', 'code-FULL']], 'texts are searched, too');
  assert.deepEqual(search(index, ' '), { found: [], total: 0 });
  assert.deepEqual(search(index, 'nowhere'), { found: [], total: 0 });
  const many = Array.from({ length: 100 }, (_, n) => ({ kind: 'field', title: `f${n}`, where: '', about: '', id: '' }));
  const { found, total } = search(many, 'f');
  assert.deepEqual([found.length, total], [40, 100]);
});

test('only a GET for JSON without a token can be tried', () => {
  const json = { 200: { content: { 'application/json': { schema: { type: 'object' } } } } };
  const tried = (paths) => groups({ components: DOCUMENT.components, paths })[0].operations.map(canTry);
  assert.deepEqual(tried({ '/a': { get: { responses: json } } }), [true]);
  assert.deepEqual(tried({ '/a': { get: { responses: json, security: [{}, { grant: [] }] } } }), [true]);
  assert.deepEqual(tried({ '/a': { get: { responses: json, security: [{ operator: [] }] } } }), [false]);
  assert.deepEqual(tried({ '/a': { post: { responses: json } } }), [false]);
  assert.deepEqual(tried({ '/a/{b}': { get: { responses: json, parameters: [{ name: 'b', in: 'path', required: true }] } } }), [false]);
  assert.deepEqual(tried({ '/a': { get: { responses: { 200: { content: { 'text/html': {} } } } } } }), [false]);
});

test('a try of the mint says so and starts with the shortest life', () => {
  const parameters = [{ name: 'ttl', in: 'query', schema: { type: 'integer', minimum: 60 }, example: 3600 }, { name: 'service', in: 'query', required: true, example: 'turn' }, { name: 'label', in: 'query' }];
  const responses = { 200: { headers: { 'RateLimit-Limit': {} } } };
  const [mint] = groups({ paths: { '/turn': { get: { parameters, responses } } } })[0].operations;
  assert.ok(spends(mint));
  assert.deepEqual(mint.parameters.map((one) => startValue(mint, one)), ['60', 'turn', '']);
  const [status] = groups({ paths: { '/s': { get: { parameters } } } })[0].operations;
  assert.ok(!spends(status));
  assert.deepEqual(status.parameters.map((one) => startValue(status, one)), ['', 'turn', '']);
  assert.equal(relativeUrl(mint, [['ttl', '60'], ['label', ''], ['service', 'a b']]), 'turn?ttl=60&service=a+b');
  assert.equal(relativeUrl(mint, []), 'turn', 'relative to the page, for a broker under a prefix');
});
