// How the API page reads an OpenAPI document, without a browser.
import assert from 'node:assert/strict';
import test from 'node:test';
import { command, example } from '../../src/web/docs/command.js';
import { callers, field, groups, resolved } from '../../src/web/docs/document.js';

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
const outer = () => field(DOCUMENT, '', { $ref: '#/components/schemas/Outer' }, true);
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

test('a schema has nested fields, required ones first', () => {
  assert.deepEqual(outer().fields.map(({ name, type, isRequired }) => [name, type, isRequired]), [
    ['list', 'array of Inner', true], ['nullable', 'Inner or null', true],
    ['absent', 'boolean', false], ['map', 'map of text to integer', false], ['own', 'Outer', false],
  ]);
  assert.deepEqual(of('list').fields.map(({ name, type }) => [name, type]), [['at', 'string, date-time']]);
  assert.equal(of('nullable').description, 'Of the field.', 'a description beside a reference wins');
});

test('a recursive schema ends', () => {
  assert.deepEqual(of('own').fields, []);
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
    `curl -X DELETE -H "Authorization: Bearer $OPERATOR_TOKEN" -H 'Content-Type: application/json' -d '{"at":"it'\\''s"}' "https://turn.example/prefix/api/things/$ID?step=3600"`);
  assert.equal(command(DOCUMENT, groups(DOCUMENT)[1].operations[0], 'http://b:3001/'), "curl 'http://b:3001/other'");
});

test('a command for anyone has no token', () => {
  const paths = { '/api/a': { get: { security: [{}, { grant: [] }], parameters: [{ name: 'ttl', in: 'query', schema: { type: 'integer' } }] } } };
  assert.equal(command(DOCUMENT, groups({ ...DOCUMENT, paths })[0].operations[0], 'http://b/'), "curl 'http://b/api/a'");
});

test('a body without an example has the required fields only', () => {
  assert.deepEqual(example(DOCUMENT, { $ref: '#/components/schemas/Inner' }), { at: 'string' });
  assert.deepEqual(example(DOCUMENT, { type: 'object', required: ['n', 'b', 'e'], properties: { n: { type: 'integer', minimum: 60 }, b: { type: 'boolean' }, e: { enum: ['x', 'y'] } } }), { n: 60, b: true, e: 'x' });
  assert.deepEqual(example(DOCUMENT, {}), {});
});
