// Example values: those of the document, otherwise made from the examples of the fields. Pure.
import { plain, resolved } from './schema.js';

/**
 * @typedef {import('./openapi.d.ts').Document} Document
 * @typedef {import('./openapi.d.ts').Schema} Schema
 * @typedef {{summary: string, value: unknown}} Example
 */

/** Schemas are followed to this depth. */
const DEPTH_MAX = 8;

/**
 * The examples of a body: those of the document, or one that is made. Only JSON is made.
 * @param {Document} document @param {string} type @param {{schema?: Schema, example?: unknown, examples?: Record<string, import('./openapi.d.ts').Example>}} content
 * @param {(document: Document, schema: Schema) => unknown} make
 * @returns {Example[]}
 */
export function examples(document, type, { schema = {}, example: given, examples: named }, make) {
  if (named) return Object.entries(named).map(([name, one]) => ({ summary: name, ...resolved(document, one) })).map(({ summary, value }) => ({ summary, value }));
  if (given !== undefined) return [{ summary: '', value: given }];
  const isDescribed = type === 'application/json' && (schema.$ref || schema.properties || schema.items);
  return isDescribed ? [{ summary: '', value: make(document, schema) }] : [];
}

/** A value with every field. @param {Document} document @param {Schema} schema */
export const whole = (document, schema) => made(document, schema, true, 0);
/** A value with the required fields only. @param {Document} document @param {Schema} schema */
export const least = (document, schema) => made(document, schema, false, 0);

/** @param {Document} document @param {Schema} schema @param {boolean} isWhole @param {number} depth @returns {unknown} */
function made(document, schema, isWhole, depth) {
  const { own, choices } = plain(document, schema);
  if (own.example !== undefined) return own.example;
  const given = own.examples?.[0] ?? own.const ?? own.enum?.[0] ?? own.default;
  if (given != null) return given;
  if (choices.length && depth < DEPTH_MAX) return made(document, choices[0], isWhole, depth + 1);
  const [kind] = [own.type ?? 'object'].flat();
  if (kind === 'string') return 'string';
  if (kind === 'integer' || kind === 'number') return own.minimum ?? 0;
  if (kind === 'boolean') return true;
  if (kind === 'array') return depth < DEPTH_MAX && own.items ? [made(document, own.items, isWhole, depth + 1)] : [];
  const names = isWhole ? Object.keys(own.properties ?? {}) : own.required ?? [];
  const kept = names.filter(() => depth < DEPTH_MAX);
  return Object.fromEntries(kept.map((name) => [name, made(document, own.properties?.[name] ?? {}, isWhole, depth + 1)]));
}
