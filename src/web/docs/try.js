// "Try it": sends a request that needs no token and changes nothing but an allowance, and shows the response.
import { $, element, load } from './page.js';
import { relativeUrl, spends, startValue } from './request.js';
import { json } from './text.js';

/** @typedef {import('./document.js').Operation} Operation */

/** Characters of a response that are shown. */
const SHOWN_MAX = 20_000;
/** Response headers that are shown, if the response has them. */
const HEADERS = ['retry-after', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'x-request-id'];

/** @param {Operation} operation */
export function tryIt(operation) {
  const { method, path, parameters } = operation;
  const what = `${method.toUpperCase()} ${path}`;
  const inputs = parameters.map((one) => ({ name: one.name, input: element('input', { name: one.name, value: startValue(operation, one), autocomplete: 'off', spellcheck: false }) }));
  const word = spends(operation) ? 'Mint' : 'Send';
  const button = element('button', { type: 'submit', className: 'main', textContent: word, 'aria-label': `${word}: ${what}` });
  const said = element('span', { className: 'small muted' });
  const result = element('div', { className: 'result' });
  const form = element('form', { className: 'try', 'aria-label': `Try ${what}` },
    element('h4', { textContent: 'Try it' }),
    spends(operation) ? element('p', { className: 'note warn small' }, 'This is a real mint. It counts against the rate limit of your address, and its credential reserves a part of the budget until it has expired.') : null,
    inputs.map(({ name, input }) => element('label', {}, element('code', { textContent: name }), input)),
    element('p', { className: 'send' }, button, ' ', said), result);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    said.textContent = 'sending …';
    const shown = await send(relativeUrl(operation, inputs.map(({ name, input }) => [name, input.value.trim()])));
    said.textContent = shown.word;
    $('said').textContent = `${what}: ${shown.word}`;
    result.replaceChildren(...shown.parts);
    button.disabled = false;
  });
  return form;
}

/** @param {string} url @returns {Promise<{word: string, parts: Node[]}>} */
async function send(url) {
  const begun = performance.now();
  try {
    const answer = await load(url);
    const text = await answer.text();
    const ms = Math.round(performance.now() - begun);
    const headers = HEADERS.flatMap((name) => (answer.headers.has(name) ? [`${name}: ${answer.headers.get(name)}`] : []));
    return {
      word: `${answer.status} ${answer.statusText}`.trim() + ` after ${ms} ms`,
      parts: [...(headers.length ? [element('pre', {}, element('code', { textContent: headers.join('\n') }))] : []), json(pretty(text), `Response of ${url}`)],
    };
  } catch (error) {
    return { word: `no response (${error instanceof Error ? error.name : error})`, parts: [] };
  }
}

/** JSON with indents; other text as it is. The end is cut off if it is too long. @param {string} text */
function pretty(text) {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch { /* Not JSON. */ }
  return shown.length > SHOWN_MAX ? `${shown.slice(0, SHOWN_MAX)}\n… ${shown.length - SHOWN_MAX} more characters` : shown;
}
