// The curl command for an operation, with all that is required. Tokens and names come from shell variables. Pure.
import { resolved } from './document.js';

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
  const parts = ['curl'];
  if (method !== 'get') parts.push(`-X ${method.toUpperCase()}`);
  const token = bearer(security);
  if (token) parts.push(`-H "Authorization: Bearer $${token}"`);
  const sent = body?.contents[0];
  if (sent) parts.push(`-H ${quoted(`Content-Type: ${sent.type}`)}`, `-d ${quoted(JSON.stringify(sent.example ?? example(document, sent.schema)))}`);
  const required = parameters.filter(({ place, isRequired }) => place === 'query' && isRequired);
  const query = required.map(({ name, example: given, schema }) => `${name}=${encodeURIComponent(String(given ?? example(document, schema)))}`).join('&');
  const url = base + path.slice(1) + (query && `?${query}`);
  parts.push(url.includes('{') ? `"${url.replace(/\{(\w+)\}/g, (_, name) => `$${name.toUpperCase()}`)}"` : quoted(url));
  return parts.join(' ');
}

/** The variable for the first accepted token; undefined if no token is needed. @param {Operation['security']} security */
function bearer(security) {
  const [first] = security;
  const [name] = Object.keys(first ?? {});
  return name && (TOKENS[name] ?? name.toUpperCase());
}

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * A value that fits a schema: its example, or the minimum that is required.
 * @param {Document} document @param {import('./openapi.d.ts').Schema} schema
 * @returns {unknown}
 */
export function example(document, schema, depth = 0) {
  const own = resolved(document, schema);
  const given = own.example ?? own.examples?.[0] ?? own.const ?? own.enum?.[0] ?? own.default;
  if (given != null) return given;
  const [kind] = [own.type ?? 'object'].flat();
  if (kind === 'string') return 'string';
  if (kind === 'integer' || kind === 'number') return own.minimum ?? 0;
  if (kind === 'boolean') return true;
  if (kind === 'array') return depth < 4 && own.items ? [example(document, own.items, depth + 1)] : [];
  const required = (own.required ?? []).filter(() => depth < 4);
  return Object.fromEntries(required.map((name) => [name, example(document, own.properties?.[name] ?? {}, depth + 1)]));
}
