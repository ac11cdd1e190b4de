// DOM helpers that all pages share. They set text as text, never as markup: ids and messages come from other parties.

const ANSWER_SECONDS_MAX = 10;
/** @typedef {string | Node | null} Child */

const MARKS = ['good', 'warn', 'bad', 'quiet'];

/**
 * The element with this id. It is in the page's HTML, so any other outcome is a mistake in the page.
 * @type {{(id: string): HTMLElement, <E extends HTMLElement>(id: string, kind: new () => E): E}}
 */
export const $ = (/** @type {string} */ id, kind = HTMLElement) => {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new TypeError(`#${id} is no ${kind.name}`);
};

/**
 * A text with what changes its direction as escapes: a name could show a line as another one. Anything else as it is.
 * @template T
 * @param {T} value
 * @returns {T}
 */
export const visible = (value) => (typeof value === 'string'
  ? /** @type {T} */ (value.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`))
  : value);

/**
 * Names with a dash, and `role`, are attributes; all others are properties. Children that are null are left out.
 * @template {keyof HTMLElementTagNameMap} N
 * @param {N} name
 * @param {Partial<HTMLElementTagNameMap[N]> & {[attribute: `${string}-${string}`]: string}} [properties]
 * @param {(Child | Child[])[]} children
 */
export function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key.includes('-') || key === 'role') made.setAttribute(key, String(value));
    else Object.assign(made, { [key]: visible(value) });
  }
  made.append(...children.flat().filter((child) => child !== null).map(visible));
  return made;
}

/** Sets the text of an element. The same text again changes nothing, so that a selection stays. @param {string} id @param {string} text */
export const put = (id, text) => {
  const [shown, made] = [$(id), visible(text)];
  if (shown.textContent !== made) shown.textContent = made;
};

/** Replaces the children, unless they show the same, so that the focus and a selection stay. @param {string} id @param {HTMLElement[]} children */
export function replace(id, children) {
  const shown = (/** @type {Iterable<Element>} */ list) => [...list].map(({ className, textContent }) => className + textContent).join();
  if (shown($(id).children) !== shown(children)) $(id).replaceChildren(...children);
}

/**
 * Shows a word behind its mark, and the reason in `ID-why` if the page has such an element.
 * @param {string} id
 * @param {{mark: string, word: string, why?: string}} verdict
 */
export function mark(id, { mark: kind, word, why }) {
  const others = [...$(id).classList].filter((name) => !MARKS.includes(name));
  $(id).className = [...others, kind].join(' ');
  put(id, word);
  if (why !== undefined && document.getElementById(`${id}-why`)) put(`${id}-why`, why);
}

/** @param {string} id A form. @param {() => void} done Called in place of sending it. */
export const onSubmit = (id, done) => $(id).addEventListener('submit', (event) => {
  event.preventDefault();
  done();
});

/** Buttons with `data-NAME`. Exactly one is pressed. @param {string} name @param {(value: string) => void} chosen Called after each click. */
export function choice(name, chosen) {
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll(`[data-${name}]`);
  const press = (/** @type {string} */ value) => buttons.forEach((button) => button.setAttribute('aria-pressed', String(button.dataset[name] === value)));
  for (const button of buttons) {
    button.addEventListener('click', () => {
      press(button.dataset[name] ?? '');
      chosen(button.dataset[name] ?? '');
    });
  }
  return press;
}

/** Fetches a public resource, without cache and cookies. @param {string} path Relative to this page's folder. */
export const load = (path) =>
  fetch(new URL(path, document.baseURI), { cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(ANSWER_SECONDS_MAX * 1000) });

/**
 * Copies a text. Browsers have no clipboard without TLS: then `select` marks the text for a copy by hand.
 * @param {string} text
 * @param {() => void} select
 * @returns {Promise<string>} What happened, for the button.
 */
export async function copy(text, select) {
  try {
    await navigator.clipboard.writeText(text);
    return 'Copied';
  } catch {
    select();
    return document.execCommand?.('copy') ? 'Copied' : 'Selected: press Ctrl+C';
  }
}
