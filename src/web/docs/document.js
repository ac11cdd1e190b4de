// An OpenAPI 3.1 document in the form that the page shows: groups of operations, and the error codes with their reasons. All
// references are resolved, except those to schemas with a name. Pure.
import { examples, least, whole } from './examples.js';
import { field, resolved, schemasIn } from './schema.js';

/**
 * @typedef {import('./openapi.d.ts').Document} Document
 * @typedef {import('./openapi.d.ts').Method} Method
 * @typedef {import('./openapi.d.ts').Schema} Schema
 * @typedef {import('./openapi.d.ts').Security} Security
 * @typedef {import('./schema.js').Field} Field
 * @typedef {import('./examples.js').Example} Example
 * @typedef {{type: string, schema: Schema, field: Field, examples: Example[]}} Content A body of one media type.
 * @typedef {{code: string, text: string}} Reason A paragraph of a response; `code` is empty if it does not begin with one.
 * @typedef {{status: string, reasons: Reason[], headers: Field[], contents: Content[]}} Answer
 * @typedef {Field & {place: string, schema: Schema}} Parameter
 * @typedef {{id: string, method: Method, path: string, summary: string, description: string, callers: string[], tokens: string[],
 *     parameters: Parameter[], body: {description: string, isRequired: boolean, contents: Content[]} | null,
 *     answers: Answer[], security: Security[], schemas: string[]}} Operation `tokens`: one of these is needed.
 * @typedef {{name: string, description: string, operations: Operation[]}} Group
 * @typedef {{code: string, id: string, statuses: string[], title: string, example: Example | undefined,
 *     reasons: {text: string, operations: Operation[]}[]}} ErrorCode
 */

/** @type {Method[]} */
const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** Sorted as the document's tags; operations without a tag come last. @param {Document} document @returns {Group[]} */
export function groups(document) {
  /** @type {Group[]} */
  const named = (document.tags ?? []).map(({ name, description = '' }) => ({ name, description, operations: [] }));
  for (const [path, item] of Object.entries(document.paths ?? {}).sort(apiFirst)) {
    for (const method of METHODS) {
      const source = item[method];
      if (!source) continue;
      const name = source.tags?.[0] ?? 'other';
      const known = named.find((group) => group.name === name);
      const group = known ?? { name, description: '', operations: [] };
      if (!known) named.push(group);
      group.operations.push(operation(document, path, method, source, item.parameters ?? []));
    }
  }
  return named.filter(({ operations }) => operations.length);
}

/** @param {string} path */
const isApi = (path) => path.startsWith('/api/');
/** Paths of the API come first. Otherwise the order is that of the document. @type {(one: [string, unknown], other: [string, unknown]) => number} */
const apiFirst = ([one], [other]) => Number(isApi(other)) - Number(isApi(one));
/** Whether the group is a part of the API. @param {Group} group */
export const hasApi = ({ operations }) => operations.some(({ path }) => isApi(path));

/** The anchor of an operation. It is stable and readable in a link. @param {Method} method @param {string} path */
export const anchor = (method, path) => `${method}-${path}`;
/** The anchor of an error code. @param {string} code */
export const codeAnchor = (code) => `code-${code}`;

/**
 * @param {Document} document @param {string} path @param {Method} method @param {import('./openapi.d.ts').Operation} source
 * @param {import('./openapi.d.ts').Parameter[]} shared The parameters of all operations of the path.
 * @returns {Operation}
 */
function operation(document, path, method, source, shared) {
  const parameters = [...shared, ...(source.parameters ?? [])].map((one) => resolved(document, one));
  const body = source.requestBody && resolved(document, source.requestBody);
  const security = source.security ?? document.security ?? [];
  return {
    id: anchor(method, path), method, path, summary: source.summary ?? '', description: source.description ?? '',
    security, callers: callers(document, security), tokens: tokens(security),
    parameters: parameters.map((one) => ({ ...field(document, one.name, schemaOf(one), one.required ?? false), place: one.in, schema: schemaOf(one) })),
    body: body ? { description: body.description ?? '', isRequired: body.required ?? false, contents: contents(document, body.content, least) } : null,
    answers: Object.entries(source.responses ?? {}).map(([status, one]) => answer(document, status, resolved(document, one))),
    schemas: [...new Set(schemasIn(source))],
  };
}

/** The schema of a parameter or a header, with the description and the example that stand beside it. @param {import('./openapi.d.ts').Header} header @returns {Schema} */
const schemaOf = ({ schema, description, example }) => ({ ...schema, ...(description && { description }), ...(example !== undefined && { example }) });

/** @param {Document} document @param {string} status @param {import('./openapi.d.ts').Response} response @returns {Answer} */
function answer(document, status, { description = '', headers = {}, content }) {
  const fields = Object.entries(headers).map(([name, one]) => field(document, name, schemaOf(resolved(document, one)), false));
  return { status, reasons: description.split(/\n\s*\n/).map(reason), headers: fields, contents: contents(document, content) };
}

/** @param {string} paragraph @returns {Reason} */
function reason(paragraph) {
  const [, code = '', text = paragraph] = /^`([A-Z_]+)`:\s*(.*)$/s.exec(paragraph) ?? [];
  return { code, text };
}

/** @param {Document} document @param {import('./openapi.d.ts').Content} [content] @param {typeof whole} [make] Makes an example where the document has none. @returns {Content[]} */
function contents(document, content = {}, make = whole) {
  return Object.entries(content).map(([type, media]) => {
    const { schema = {} } = media;
    return { type, schema, field: field(document, '', schema, true), examples: examples(document, type, media, make) };
  });
}

/** Who may call, in words. @param {Document} document @param {Security[]} security @returns {string[]} */
export function callers(document, security) {
  const known = document.components?.securitySchemes ?? {};
  const one = (/** @type {string} */ name) => `callers with the bearer token \`${name}\`: ${known[name]?.description ?? ''}`.trim();
  const words = security.map((needed) => Object.keys(needed).map(one).join(' and ') || 'anyone');
  return words.length ? words : ['anyone'];
}

/** The tokens of which one is needed; empty if anyone may call. @param {Security[]} security */
function tokens(security) {
  const names = security.map((needed) => Object.keys(needed).join(' and '));
  return names.includes('') ? [] : names;
}

/** Response headers, each once, with the statuses that have it. @param {Operation} operation @returns {(Field & {statuses: string[]})[]} */
export function headersOf({ answers }) {
  /** @type {Map<string, Field & {statuses: string[]}>} */
  const found = new Map();
  for (const { status, headers } of answers) {
    for (const header of headers) {
      const key = `${header.name} ${header.description}`;
      const known = found.get(key) ?? { ...header, statuses: [] };
      found.set(key, { ...known, statuses: [...known.statuses, status] });
    }
  }
  return [...found.values()];
}

/** The error codes in the order of their statuses, each with its reasons. @param {Document} document @param {Group[]} all @returns {ErrorCode[]} */
export function errorCodes(document, all) {
  /** @type {Map<string, ErrorCode>} */
  const found = new Map();
  /** @param {string} code */
  const of = (code) => found.get(code) ?? newCode(document, code);
  for (const code of Object.keys(document.components?.examples ?? {})) found.set(code, of(code));
  for (const one of all.flatMap(({ operations }) => operations)) {
    for (const { status, reasons } of one.answers) {
      for (const { code, text } of reasons.filter((named) => named.code)) {
        const known = of(code);
        if (!known.statuses.includes(status)) known.statuses.push(status);
        const why = known.reasons.find((other) => other.text === text);
        if (why) why.operations.push(one);
        else known.reasons.push({ text, operations: [one] });
        found.set(code, known);
      }
    }
  }
  return [...found.values()].sort((one, other) => ((one.statuses[0] ?? '999') < (other.statuses[0] ?? '999') ? -1 : 1));
}

/** @param {Document} document @param {string} code @returns {ErrorCode} */
function newCode(document, code) {
  const { value, summary = '' } = document.components?.examples?.[code] ?? {};
  const title = value && typeof value === 'object' && 'error' in value ? String(value.error) : '';
  // The summary begins with the status. A code that no operation names, such as that of a wrong method, has it from there.
  return { code, id: codeAnchor(code), statuses: /^\d{3}/.exec(summary)?.slice(0) ?? [], title, example: value === undefined ? undefined : { summary: '', value }, reasons: [] };
}
