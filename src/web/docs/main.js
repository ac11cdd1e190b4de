// The API page. It reads /openapi.json once and shows it. It sends a request to the API only when the user asks for it.
import { errorCodes, groups } from './document.js';
import { $, element, load } from './page.js';
import { schemas } from './schema.js';
import { entries, search } from './search.js';
import { inline, paragraphs } from './text.js';
import { errorSection, groupSection, schemaSection } from './view.js';

/** @typedef {import('./openapi.d.ts').Document} Document */

const base = new URL('.', document.baseURI).href;
const searchField = $('search', HTMLInputElement);
/** @type {import('./search.js').Entry[]} */
let index = [];

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
  const named = schemas(described);
  const codes = errorCodes(described, all);
  const context = { document: described, base, names: new Set(named.map(({ name }) => name)) };
  index = entries(all, named, codes);
  $('title').textContent = `${described.info.title} API`;
  document.title = `${described.info.title} API`;
  $('version').textContent = described.info.version;
  const [lead = '', ...rest] = (described.info.description ?? '').split(/\n\s*\n/);
  $('lead').replaceChildren(...inline(lead));
  $('conventions').replaceChildren(...paragraphs(rest.join('\n\n')), tokenList(described));
  $('parts').replaceChildren(...all.map((group) => groupSection(context, group)),
    errorSection(codes), schemaSection(context, named, all.flatMap(({ operations }) => operations)));
  const chips = [...all.map(({ name }) => [`tag-${name}`, name]), ['errors', 'error codes'], ['schemas', 'schemas']];
  $('contents').replaceChildren(...chips.map(([id, name]) => element('li', {}, element('a', { href: `#${id}`, textContent: name }))));
  $('board').hidden = false;
  goToAnchor();
}

/** The bearer tokens and who has them. @param {Document} described */
function tokenList(described) {
  const tokens = Object.entries(described.components?.securitySchemes ?? {});
  return element('dl', {}, ...tokens.flatMap(([name, { description = '' }]) =>
    [element('dt', {}, 'Bearer token ', element('code', { textContent: name })), element('dd', {}, ...inline(description))]));
}

/** Opens and scrolls to what the URL names, which exists only now. The focus follows, for keyboard users. */
function goToAnchor() {
  const named = location.hash.slice(1);
  const target = named ? document.getElementById(named) ?? document.getElementById(decoded(named)) : null;
  if (!target) return;
  clearSearch();
  for (let part = target.closest('details'); part; part = part.parentElement?.closest('details') ?? null) part.open = true;
  target.scrollIntoView();
  (target.querySelector('summary') ?? target).focus({ preventScroll: true });
}

/** Some programs encode the braces in an anchor. @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function showFound() {
  const query = searchField.value.trim();
  const { found, total } = search(index, query);
  $('found').hidden = !query;
  $('parts').hidden = Boolean(query);
  $('results').replaceChildren(...found.map(({ kind, title, where, about, id }) => element('li', {}, element('a', { href: `#${id}` },
    element('span', { className: 'kind', textContent: kind }), element('code', { textContent: title }), where ? element('span', { className: 'muted small', textContent: where }) : null,
    element('span', { className: 'muted small about', textContent: about.replaceAll('`', '') })))));
  const more = total > found.length ? `, the first ${found.length} are shown` : '';
  const word = query ? `${total} result${total === 1 ? '' : 's'}${more}` : '';
  $('count').textContent = word;
}

function clearSearch() {
  if (!searchField.value) return;
  searchField.value = '';
  showFound();
}

/** @param {string} selector */
const parts = (selector) => [...document.querySelectorAll(selector)].filter((one) => one instanceof HTMLDetailsElement);

searchField.addEventListener('input', showFound);
$('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  $('results').querySelector('a')?.click();
});
addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === 'Escape') clearSearch();
  if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  searchField.focus();
});
addEventListener('hashchange', goToAnchor);
document.addEventListener('click', ({ target }) => {
  if (!(target instanceof Element)) return;
  // A second click on the link of the current anchor changes no hash.
  if (target.closest('a')?.hash === location.hash && location.hash) goToAnchor();
  const row = target.closest('summary')?.parentElement;
  if (row?.matches('.row:not([open])')) history.replaceState(null, '', `#${row.id}`);
});
$('all').addEventListener('click', () => {
  const isOpening = $('all').getAttribute('aria-pressed') !== 'true';
  for (const part of parts('.group, .row')) part.open = isOpening || (part.matches('.group') && part.open);
  $('all').setAttribute('aria-pressed', String(isOpening));
});

// A printed page is complete.
/** @type {HTMLDetailsElement[]} */
let closed = [];
addEventListener('beforeprint', () => {
  closed = parts('details:not([open])');
  for (const part of closed) part.open = true;
});
addEventListener('afterprint', () => {
  for (const part of closed) part.open = false;
});
show();
