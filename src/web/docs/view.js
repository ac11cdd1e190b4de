// The parts of the page: groups of operations, error codes, schemas. Each is one line until it is opened.
import { element } from './page.js';
import { command } from './command.js';
import { codeAnchor, hasApi, headersOf } from './document.js';
import { schemaAnchor } from './schema.js';
import { fieldAnchor } from './search.js';
import { canTry } from './request.js';
import { code, copyable, inline, json, link, paragraphs } from './text.js';
import { tryIt } from './try.js';

/**
 * @typedef {import('./openapi.d.ts').Document} Document
 * @typedef {import('./document.js').Group} Group
 * @typedef {import('./document.js').Operation} Operation
 * @typedef {import('./document.js').ErrorCode} ErrorCode
 * @typedef {import('./document.js').Content} Content
 * @typedef {import('./schema.js').Named} Named
 * @typedef {import('./schema.js').Field & {place?: string, statuses?: string[]}} Field
 * @typedef {{document: Document, base: string, names: Set<string>}} Context `names` of all schemas.
 */

/** @param {string} method */
export const methodMark = (method) => element('span', { className: `method ${method}`, textContent: method.toUpperCase() });

/** A part that opens. @param {string} id @param {string} className @param {Node[]} line What is always shown. @param {(Node | null)[]} rest */
function folded(id, className, line, rest) {
  return element('details', { id, className }, element('summary', {}, ...line), element('div', { className: 'inside' }, ...rest));
}

/** A group of lines. @param {string} id @param {string} name @param {string} description @param {number} count @param {Node[]} rows */
function section(id, name, description, count, rows) {
  const line = [element('h2', { textContent: name }), element('span', { className: 'small muted', textContent: String(count) })];
  return folded(id, 'group card', line, [...paragraphs(description, 'muted small about'), ...rows]);
}

/** @param {Context} context @param {Group} group */
export function groupSection(context, group) {
  const { name, description, operations } = group;
  const made = section(`tag-${name}`, name, description, operations.length, operations.map((one) => operationRow(context, one)));
  made.open = hasApi(group);
  return made;
}

/** @param {Context} context @param {Operation} operation */
function operationRow(context, operation) {
  const { id, method, path, summary, tokens } = operation;
  const line = [
    element('h3', {}, methodMark(method), ' ', code(path)),
    element('span', { className: 'said' }, ...inline(summary)),
    element('span', { className: 'needs', textContent: tokens.join(' or ') }),
  ];
  return folded(id, 'operation row', line, [operationText(context, operation), operationSide(context, operation)]);
}

/** Description, parameters, body, responses. @param {Context} context @param {Operation} operation */
function operationText(context, operation) {
  const { description, callers, parameters, body, answers } = operation;
  const headers = headersOf(operation);
  return element('div', { className: 'text' },
    ...paragraphs(description),
    element('p', { className: 'muted small' }, 'For ', ...inline(callers.map((one) => one.replace(/\.$/, '')).join('; or ')), '.'),
    ...titled('Parameters', parameters.length, [fieldList(context, parameters, 'required')]),
    ...(body ? titled(body.isRequired ? 'Body' : 'Body, optional', 1, [...paragraphs(body.description, 'small'), ...body.contents.map((one) => contentOf(context, one))]) : []),
    ...titled('Responses', answers.length, [element('ul', { className: 'answers' }, ...answers.map((one) => answerItem(context, one)))]),
    ...titled('Response headers', headers.length, [fieldList(context, headers, '')]));
}

/** @param {string} title @param {number} count @param {Node[]} parts */
const titled = (title, count, parts) => (count ? [element('h4', { textContent: title }), ...parts] : []);

/** Command, examples, a request to try. @param {Context} context @param {Operation} operation */
function operationSide({ document, base }, operation) {
  const { method, path, answers } = operation;
  const what = `${method.toUpperCase()} ${path}`;
  const line = command(document, operation, base);
  const good = answers.filter(({ status }) => status.startsWith('2'));
  const shown = good.flatMap(({ status, contents }) => contents.flatMap(({ examples }) => examples.map((one) => ({ status, ...one }))));
  // Two statuses may have the same body.
  const once = shown.filter(({ value }, n) => shown.findIndex((other) => JSON.stringify(other.value) === JSON.stringify(value)) === n);
  return element('div', { className: 'side' },
    element('h4', { textContent: 'Command' }),
    copyable(element('pre', { className: 'command', tabIndex: 0, role: 'group', 'aria-label': `Command for ${what}` }, code(line)), line, what),
    canTry(operation) ? tryIt(operation) : null,
    ...once.flatMap(({ status, summary, value }) => exampleBlock(`Example: ${status}${summary ? `, ${summary}` : ''}`, value, `Example response of ${what}${summary ? `: ${summary}` : ''}`)));
}

/** @param {string} title @param {unknown} value @param {string} what */
function exampleBlock(title, value, what) {
  const text = JSON.stringify(value, null, 2);
  return [element('h4', { textContent: title }), copyable(json(text, what), text, what)];
}

/** @param {Context} context @param {import('./document.js').Answer} answer */
function answerItem(context, { status, reasons, contents }) {
  const isError = reasons.some((one) => one.code);
  const types = isError ? [] : contents.map((one) => contentOf(context, one));
  return element('li', {}, code(status, `status s${status[0]}`), element('div', {},
    ...reasons.map((one) => element('p', {}, ...(one.code ? [link(codeAnchor(one.code), one.code), ': '] : []), ...inline(one.text))), ...types));
}

/** A media type and its schema. @param {Context} context @param {Content} content */
function contentOf(context, { type, field }) {
  const head = element('p', { className: 'small' }, code(type), ' ', ...typed(context, field.type));
  return element('div', {}, head, ...(field.fields.length ? [fieldList(context, field.fields, 'optional')] : []));
}

/** A type, in which the names of schemas are links. @param {Context} context @param {string} type */
const typed = ({ names }, type) => type.split(/\b/).map((word) => (names.has(word) ? link(schemaAnchor(word), word) : word));

/** @param {Context} context @param {Field[]} fields @param {'required' | 'optional' | ''} needed Which of the fields are marked. @param {string} [within] The anchor of the schema. @returns {HTMLElement} */
function fieldList(context, fields, needed, within = '') {
  return element('ul', { className: 'fields' }, ...fields.map((one) => fieldItem(context, one, needed, within)));
}

/** @param {boolean} isRequired @param {'required' | 'optional' | ''} mark */
function markOf(isRequired, mark) {
  const isShown = mark === 'required' ? isRequired : mark === 'optional' && !isRequired;
  return isShown ? element('span', { className: `needed ${mark}`, textContent: mark }) : null;
}

/** @param {Context} context @param {Field} field @param {'required' | 'optional' | ''} needed @param {string} within */
function fieldItem(context, { name, place, statuses, type, isRequired, limits, values, example, description, fields }, needed, within) {
  const id = within && fieldAnchor(within, name);
  const marks = [place && `in ${place}`, statuses && `with ${statuses.join(', ')}`, ...limits].filter(Boolean).map((one) => ` · ${one}`);
  const one = values.length ? [element('p', { className: 'small' }, values.length > 1 ? 'one of ' : 'always ', ...values.flatMap((value, n) => [n ? ', ' : '', code(value)]))] : [];
  const shown = example == null || values.length ? [] : [element('p', { className: 'small muted' }, 'for example ', code(JSON.stringify(example)))];
  const head = element('p', { className: 'title' }, code(name, 'name'), markOf(isRequired, needed),
    element('span', { className: 'small muted' }, ...typed(context, type), ...marks));
  return element('li', id ? { id, tabIndex: -1 } : {}, head,
    element('div', {}, ...paragraphs(description), ...one, ...shown, ...(fields.length ? [fieldList(context, fields, needed, id)] : [])));
}

/** @param {ErrorCode[]} codes */
export function errorSection(codes) {
  return section('errors', 'Error codes', 'Every error response has this form: a stable code, a short text, and what to do.', codes.length, codes.map(errorRow));
}

/** @param {ErrorCode} error */
function errorRow({ code: name, id, statuses, title, example, reasons }) {
  const line = [element('h3', {}, ...statuses.map((status) => code(status, `status s${status[0]}`)), code(name)), element('span', { className: 'said', textContent: title })];
  const why = reasons.map(({ text, operations }) => element('li', {}, element('p', {}, ...inline(text)),
    element('p', { className: 'small muted' }, operations.length > 6 ? `${operations.length} operations` : operations.flatMap(({ id, method, path }, n) => [n ? ', ' : '', link(id, `${method.toUpperCase()} ${path}`)]))));
  return folded(id, 'row', line, [
    element('div', { className: 'text' }, ...titled('When', why.length, [element('ul', { className: 'reasons' }, ...why)])),
    element('div', { className: 'side' }, ...(example ? exampleBlock('Example', example.value, `Example of ${name}`) : [])),
  ]);
}

/** @param {Context} context @param {Named[]} schemas @param {Operation[]} operations */
export function schemaSection(context, schemas, operations) {
  return section('schemas', 'Schemas', 'Bodies of requests and responses.', schemas.length, schemas.map((one) => schemaRow(context, one, schemas, operations)));
}

/** @param {Context} context @param {Named} schema @param {Named[]} schemas @param {Operation[]} operations */
function schemaRow(context, { name, id, description, fields }, schemas, operations) {
  const users = [
    ...operations.filter((one) => one.schemas.includes(name)).map((one) => link(one.id, `${one.method.toUpperCase()} ${one.path}`)),
    ...schemas.filter((one) => one.fields.some(({ type }) => type.split(/\b/).includes(name))).map((one) => link(one.id, one.name)),
  ];
  const by = users.length > 6 ? [`${users.length} operations and schemas`] : users.flatMap((one, n) => [n ? ', ' : '', one]);
  const line = [element('h3', {}, code(name)), element('span', { className: 'said' }, ...inline(description))];
  return folded(id, 'row schema', line, [element('div', { className: 'text' },
    users.length ? element('p', { className: 'small muted' }, 'Used by ', ...by, '.') : null, fieldList(context, fields, 'optional', id))]);
}
