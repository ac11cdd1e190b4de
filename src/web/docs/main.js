// The API page. It reads /openapi.json once and shows it.
import { command } from './command.js';
import { groups } from './document.js';
import { $, copy, element, load } from './page.js';

/** Screens with room for the table of contents beside the text. */
const WIDE = matchMedia('(min-width: 900px)');
const contents = $('contents', HTMLDetailsElement);

/**
 * @typedef {import('./openapi.d.ts').Document} Document
 * @typedef {import('./document.js').Group} Group
 * @typedef {import('./document.js').Operation} Operation
 * @typedef {import('./document.js').Field & {place?: string}} Field
 */

const base = new URL('.', document.baseURI).href;

/** Shows words between backticks as code. @param {string} text */
const inline = (text) => text.split('`').map((part, n) => (n % 2 ? element('code', { textContent: part }) : part));
/** @param {string} text */
const paragraphs = (text, className = '') => text.split(/\n\s*\n/).filter(Boolean).map((one) => element('p', { className }, ...inline(one)));
/** @param {string} textContent */
const code = (textContent, className = '') => element('code', { textContent, className });

async function show() {
  /** @type {Document} */
  let described;
  try {
    const answer = await load('openapi.json');
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    described = await answer.json();
  } catch (error) {
    $('fault').textContent = `Cannot read openapi.json (${error instanceof Error ? error.message : error}). Reload the page.`;
    $('fault').hidden = false;
    return;
  }
  draw(described);
}

/** @param {Document} described */
function draw(described) {
  const all = groups(described);
  $('title').textContent = `${described.info.title} API`;
  document.title = `${described.info.title} API`;
  $('version').textContent = described.info.version;
  $('groups').replaceChildren(...all.map(contentsOf));
  $('main').replaceChildren(
    element('section', { className: 'card about' }, ...paragraphs(described.info.description ?? '')),
    ...all.map((group) => section(described, group)),
  );
  $('board').hidden = false;
  openContents();
  goToAnchor();
}

/** @param {string} method */
const methodMark = (method) => element('span', { className: `method ${method}`, textContent: method.toUpperCase() });

/** @param {Group} group */
function contentsOf({ name, operations }) {
  const links = operations.map(({ id, method, path }) => element('li', {}, element('a', { href: `#${id}` }, methodMark(method), ' ', code(path))));
  return element('div', { className: 'group' }, element('a', { href: `#tag-${name}`, className: 'name', textContent: name }), element('ul', {}, ...links));
}

/** @param {Document} described @param {Group} group */
function section(described, { name, description, operations }) {
  return element('section', { className: 'tag' }, element('h2', { id: `tag-${name}`, textContent: name, tabIndex: -1 }), ...paragraphs(description, 'muted'), ...operations.map((one) => article(described, one)));
}

/** @param {Document} described @param {Operation} operation */
function article(described, operation) {
  const { id, method, path, summary, description, callers, parameters, body, answers } = operation;
  const link = element('a', { href: `#${id}`, className: 'link', textContent: '#', 'aria-label': `Link to ${method.toUpperCase()} ${path}` });
  const head = element('h3', { id, tabIndex: -1 }, methodMark(method), ' ', code(path), ' ', link);
  return element('article', { className: 'card operation' }, head,
    ...paragraphs(summary, 'summary'), ...paragraphs(description),
    element('p', { className: 'callers' }, element('b', { textContent: 'Who may call: ' }), ...inline(callers.map((one) => one.replace(/\.$/, '')).join('; or '))),
    copyable(command(described, operation, base), `${method.toUpperCase()} ${path}`),
    ...(parameters.length ? [element('h4', { textContent: 'Parameters' }), fieldList(parameters, 'required')] : []),
    ...(body ? [element('h4', { textContent: body.isRequired ? 'Body' : 'Body, optional' }), ...paragraphs(body.description), ...body.contents.map((one) => content(one, 'required'))] : []),
    element('h4', { textContent: 'Answers' }), ...answers.map(answer));
}

/** @param {string} text @param {string} what */
function copyable(text, what) {
  const area = element('pre', { tabIndex: 0, role: 'region', 'aria-label': `Command for ${what}` }, code(text));
  const button = element('button', { type: 'button', textContent: 'Copy' });
  button.addEventListener('click', async () => {
    button.textContent = await copy(text, () => getSelection()?.selectAllChildren(area));
    $('copied').textContent = `${button.textContent}: ${what}`;
  });
  return element('div', { className: 'command' }, area, button);
}

/** Errors are folded, since they all have the same body. @param {import('./document.js').Answer} answer */
function answer({ status, description, headers, contents }) {
  const [first = '', ...rest] = description.split(/\n\s*\n/);
  const head = [code(status, `status s${status[0]}`), ' ', element('span', {}, ...inline(first))];
  if (!headers.length && !contents.length && !rest.length) return element('p', { className: 'answer bare' }, ...head);
  return element('details', { className: 'answer', open: status.startsWith('2') }, element('summary', {}, ...head),
    ...rest.map((one) => element('p', { className: 'also' }, ...inline(one))),
    ...(headers.length ? [element('h5', { textContent: 'Headers' }), fieldList(headers, '')] : []), ...contents.map((one) => content(one, 'always present')));
}

/** @param {import('./document.js').Content} one @param {string} needed The mark of required fields. */
function content({ type, field }, needed) {
  const name = element('h5', {}, code(type), ` ${field.type}`);
  return element('div', { className: 'content' }, name, ...(field.fields.length ? [fieldList(field.fields, needed)] : []));
}

/** @param {Field[]} fields @param {string} needed @returns {HTMLElement} */
function fieldList(fields, needed) {
  return element('ul', { className: 'fields' }, ...fields.map((one) => item(one, needed)));
}

/** @param {Field} field @param {string} needed */
function item({ name, place, type, isRequired, limits, values, example, description, fields }, needed) {
  const marks = [place && `in ${place}`, type, ...limits].filter(Boolean).join(' · ');
  const one = values.length ? [element('p', { className: 'small' }, values.length > 1 ? 'one of ' : 'always ', ...values.flatMap((value, n) => [n ? ', ' : '', code(value)]))] : [];
  const shown = example === undefined ? [] : [element('p', { className: 'small muted' }, 'for example ', code(JSON.stringify(example)))];
  return element('li', {}, element('p', {}, code(name, 'name'), ' ', element('span', { className: 'small muted', textContent: marks }), ...(isRequired ? [' ', element('span', { className: 'needed small', textContent: needed })] : [])),
    ...paragraphs(description), ...one, ...shown, ...(fields.length ? [fieldList(fields, needed)] : []));
}

/** Scrolls to the anchor in the URL, which exists only now. The focus follows, for keyboard users. */
function goToAnchor() {
  const named = location.hash.slice(1);
  const target = document.getElementById(named) ?? document.getElementById(decoded(named));
  target?.scrollIntoView();
  target?.focus({ preventScroll: true });
}

/** Some programs encode the braces in an anchor. @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function openContents() {
  contents.open = WIDE.matches;
}

WIDE.addEventListener('change', openContents);
addEventListener('hashchange', goToAnchor);
$('groups').addEventListener('click', ({ target }) => {
  if (target instanceof Element && target.closest('a') && !WIDE.matches) contents.open = false;
});
show();
