// Which requests the page may send, and with what. Pure.

/** @typedef {import('./document.js').Operation} Operation */
/** @typedef {import('./document.js').Parameter} Parameter */

/** Whether the page may send it: a `GET` for JSON that anyone may call. @param {Operation} operation */
export const canTry = ({ method, tokens, parameters, answers }) =>
  method === 'get' && tokens.length === 0 && parameters.every(({ place }) => place === 'query') &&
  answers.some(({ status, contents }) => status.startsWith('2') && contents.some(({ type }) => type === 'application/json'));

/** Whether every request spends an allowance: its responses say what is left. @param {Operation} operation */
export const spends = ({ answers }) => answers.some(({ headers }) => headers.some(({ name }) => name === 'RateLimit-Limit'));

/** What a parameter's field contains at first: what is required, and for a mint the shortest life. @param {Operation} operation @param {Parameter} parameter */
export function startValue(operation, { name, isRequired, example, schema }) {
  if (isRequired) return String(example ?? '');
  return spends(operation) && name === 'ttl' ? String(schema.minimum ?? '') : '';
}

/** The path with the values that are not empty, relative to the page. @param {Operation} operation @param {[string, string][]} values */
export function relativeUrl({ path }, values) {
  const query = new URLSearchParams(values.filter(([, value]) => value !== ''));
  return path.slice(1) + (query.size ? `?${query}` : '');
}
