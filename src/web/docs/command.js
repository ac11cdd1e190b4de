// The curl command for an operation, with all that is required. Tokens and names come from shell variables. Pure.
import { least } from './examples.js';

/**
 * @typedef {import('./document.js').Operation} Operation
 * @typedef {import('./openapi.d.ts').Document} Document
 */

/** The shell variable for each kind of token. @type {Record<string, string>} */
const TOKENS = { grant: 'GRANT', reporter: 'REPORTER_TOKEN', operator: 'OPERATOR_TOKEN' };

/**
 * @param {Document} document
 * @param {Operation} operation
 * @param {string} base The URL of the service, with a slash at the end.
 */
export function command(document, operation, base) {
  const { method, path, parameters, security, body } = operation;
  const parts = [method === 'get' ? 'curl' : `curl -X ${method.toUpperCase()}`];
  const token = bearer(security);
  if (token) parts.push(`-H "Authorization: Bearer $${token}"`);
  const sent = body?.contents[0];
  if (sent) parts.push(`-H ${quoted(`Content-Type: ${sent.type}`)}`, `-d ${quoted(JSON.stringify(sent.examples[0]?.value ?? least(document, sent.schema)))}`);
  const required = parameters.filter(({ place, isRequired }) => place === 'query' && isRequired);
  const query = required.map(({ name, example: given, schema }) => `${name}=${encodeURIComponent(String(given ?? least(document, schema)))}`).join('&');
  const url = base + path.slice(1) + (query && `?${query}`);
  parts.push(url.includes('{') ? `"${url.replace(/\{(\w+)\}/g, (_, name) => `$${name.toUpperCase()}`)}"` : quoted(url));
  // One line for each part, unless there is only the URL.
  return parts.join(parts.length > 2 ? ' \\\n  ' : ' ');
}

/** The variable for the first accepted token; undefined if no token is needed. @param {Operation['security']} security */
function bearer(security) {
  const [first] = security;
  const [name] = Object.keys(first ?? {});
  return name && (TOKENS[name] ?? name.toUpperCase());
}

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
