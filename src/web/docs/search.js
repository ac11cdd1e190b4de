// Search over operations, parameters, schemas, fields and error codes. Pure.

/**
 * @typedef {import('./schema.js').Field} Field
 * @typedef {{kind: string, title: string, where: string, about: string, id: string}} Entry `id` is the anchor of what it leads to.
 */

const FOUND_MAX = 40;
/** Kinds in the order in which equally good results are shown. */
const KINDS = ['operation', 'error code', 'schema', 'parameter', 'field'];

/**
 * Everything that can be found.
 * @param {import('./document.js').Group[]} groups
 * @param {import('./schema.js').Named[]} schemas
 * @param {import('./document.js').ErrorCode[]} codes
 * @returns {Entry[]}
 */
export function entries(groups, schemas, codes) {
  const operations = groups.flatMap((group) => group.operations);
  return [
    ...operations.flatMap(({ id, method, path, summary, description, parameters }) => {
      const title = `${method.toUpperCase()} ${path}`;
      const own = { kind: 'operation', title, where: '', about: [summary, description].filter(Boolean).join(' '), id };
      return [own, ...parameters.map((one) => ({ kind: 'parameter', title: one.name, where: title, about: one.description, id }))];
    }),
    ...codes.map(({ code, id, statuses, title, reasons }) =>
      ({ kind: 'error code', title: code, where: statuses.join(', '), about: [title, ...reasons.map(({ text }) => text)].join('. '), id })),
    ...schemas.flatMap(({ name, id, description, fields }) =>
      [{ kind: 'schema', title: name, where: '', about: description, id }, ...fields.flatMap((one) => fieldEntries(one, name, id))]),
  ];
}

/** @param {Field} field @param {string} where @param {string} within The anchor of the schema. @returns {Entry[]} */
function fieldEntries({ name, description, values, fields }, where, within) {
  const id = fieldAnchor(within, name);
  return [{ kind: 'field', title: name, where, about: [description, ...values].join(' '), id }, ...fields.flatMap((one) => fieldEntries(one, where, id))];
}

/** The anchor of a field. @param {string} within @param {string} name */
export const fieldAnchor = (within, name) => `${within}.${name}`;

/**
 * The entries that contain every word, the best first. `total` counts those beyond the longest list, too.
 * @param {Entry[]} all @param {string} query
 * @returns {{found: Entry[], total: number}}
 */
export function search(all, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return { found: [], total: 0 };
  const hits = all.map((entry) => ({ entry, rank: rank(entry, words) })).filter(({ rank }) => rank < Infinity);
  hits.sort((one, other) => one.rank - other.rank || KINDS.indexOf(one.entry.kind) - KINDS.indexOf(other.entry.kind));
  return { found: hits.slice(0, FOUND_MAX).map(({ entry }) => entry), total: hits.length };
}

/** 0 for a whole title, and more the less of the title matches. @param {Entry} entry @param {string[]} words */
function rank({ title, where, about }, words) {
  const name = title.toLowerCase();
  const text = `${name} ${where} ${about}`.toLowerCase();
  if (!words.every((word) => text.includes(word))) return Infinity;
  const phrase = words.join(' ');
  if (name === phrase) return 0;
  if (name.startsWith(phrase)) return 1;
  if (words.every((word) => name.includes(word))) return 2;
  return words.some((word) => name.includes(word)) ? 3 : 4;
}
