// Schemas of an OpenAPI 3.1 document as fields. A schema with a name is described once, in the list of schemas; a field of that
// type has its name. Pure.

/**
 * @typedef {import('./openapi.d.ts').Document} Document
 * @typedef {import('./openapi.d.ts').Schema} Schema
 * @typedef {{name: string, type: string, isRequired: boolean, limits: string[], values: string[], example: unknown, description: string, fields: Field[]}} Field
 * @typedef {{name: string, id: string, description: string, fields: Field[]}} Named A schema with a name, and its anchor.
 */

/** The longest chain of references that is followed. */
const REFERENCES_MAX = 16;

/** The anchor of a schema. @param {string} name */
export const schemaAnchor = (name) => `schema-${name}`;

/** All schemas with a name, by name. @param {Document} document @returns {Named[]} */
export function schemas(document) {
  const named = Object.entries(document.components?.schemas ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return named.map(([name, schema]) => {
    const { own, choices } = plain(document, schema);
    return { name, id: schemaAnchor(name), description: own.description ?? '', fields: inner(document, own, choices) };
  });
}

/** The names of all schemas that a part of the document refers to directly. @param {unknown} thing @returns {string[]} */
export function schemasIn(thing) {
  if (!thing || typeof thing !== 'object') return [];
  const [, name] = /^#\/components\/schemas\/(.+)$/.exec('$ref' in thing ? String(thing.$ref) : '') ?? [];
  return [...(name ? [name] : []), ...Object.values(thing).flatMap(schemasIn)];
}

/**
 * Replaces a `$ref` by its target. Fields beside the `$ref` take precedence.
 * @template {import('./openapi.d.ts').Referable} T
 * @param {Document} document @param {T} thing
 * @returns {T} A reference leads to a thing of the same kind.
 */
export function resolved(document, thing) {
  let found = thing;
  for (let n = 0; n < REFERENCES_MAX && typeof found.$ref === 'string'; n += 1) {
    const { $ref, ...rest } = found;
    found = { ...at(document, $ref), ...rest };
  }
  return found;
}

/** The target of a pointer into this document, of any kind; `{}` if there is none. @param {Document} document @param {string} pointer */
function at(document, pointer) {
  const steps = pointer.replace(/^#\//, '').split('/').map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'));
  return steps.reduce((/** @type {any} */ found, step) => found?.[step], document) ?? {};
}

/** @param {Schema} schema */
const nameOf = ({ $ref }) => $ref?.split('/').at(-1);
/** @param {Schema} schema */
const isNull = ({ type }) => type === 'null';

/**
 * A schema, its name, and whether it may be null. Merges `allOf`, and unwraps a choice between one schema and null.
 * @param {Document} document @param {Schema} schema
 * @returns {{own: Schema, name: string | undefined, isNullable: boolean, choices: Schema[]}}
 */
export function plain(document, schema) {
  const own = resolved(document, schema);
  const choices = own.oneOf ?? own.anyOf ?? [];
  const kinds = [own.type ?? []].flat();
  const isNullable = choices.some(isNull) || kinds.includes('null');
  const rest = choices.filter((one) => !isNull(one));
  const name = nameOf(schema);
  if (own.allOf) {
    const parts = own.allOf.map((part) => resolved(document, part));
    const required = [...parts, own].flatMap((part) => part.required ?? []);
    const properties = Object.assign({}, ...[...parts, own].map((part) => part.properties));
    const whole = { ...Object.assign({}, ...parts), ...own, allOf: undefined, required, properties };
    return { own: whole, name, isNullable, choices: [] };
  }
  if (rest.length === 1) {
    const { oneOf, anyOf, ...around } = own;
    const only = plain(document, rest[0]);
    return { ...only, own: { ...only.own, ...around }, isNullable: isNullable || only.isNullable };
  }
  return { own, name, isNullable, choices: rest };
}

/**
 * A schema as a field. It has inner fields if the schema has no name.
 * @param {Document} document @param {string} name @param {Schema} schema @param {boolean} isRequired
 * @returns {Field}
 */
export function field(document, name, schema, isRequired) {
  const { own, name: called, isNullable, choices } = plain(document, schema);
  const isValue = !own.properties && !own.items;
  return {
    name, isRequired, type: typeWords(document, schema) + (isNullable ? ' or null' : ''), limits: limits(own),
    values: (own.const === undefined ? own.enum ?? [] : [own.const]).map((value) => JSON.stringify(value)),
    example: isValue ? own.example ?? own.examples?.[0] : undefined, description: own.description ?? '',
    fields: called ? [] : inner(document, own, choices),
  };
}

/** The fields of an object, of a list's entries, or of a map's values; or the choices. @param {Document} document @param {Schema} own @param {Schema[]} choices @returns {Field[]} */
function inner(document, own, choices) {
  if (choices.some((one) => plain(document, one).own.properties)) return choices.map((one, n) => field(document, `choice ${n + 1}`, one, false));
  if (own.items) return field(document, '', own.items, true).fields;
  const of = Object.entries(own.properties ?? {}).map(([name, one]) => field(document, name, one, own.required?.includes(name) ?? false));
  const values = own.additionalProperties;
  const rest = values && typeof values === 'object' ? field(document, '', values, true).fields : [];
  return [...of.sort((one, other) => Number(other.isRequired) - Number(one.isRequired)), ...rest];
}

/** The type in a few words, without null. @param {Document} document @param {Schema} schema @returns {string} */
export function typeWords(document, schema) {
  const { own, name, choices } = plain(document, schema);
  if (choices.length) return choices.map((one) => typeWords(document, one)).join(' or ');
  const kinds = [own.type ?? []].flat().filter((kind) => kind !== 'null');
  if (own.items) return `array of ${typeWords(document, own.items)}`;
  if (own.properties) return name ?? 'object';
  const values = own.additionalProperties;
  if (values && typeof values === 'object') return `map of text to ${typeWords(document, values)}`;
  const word = kinds.join(' or ') || (own.enum || 'const' in own ? 'value' : 'any value');
  return own.format && !['int64', 'int32', 'double', 'float'].includes(own.format) ? `${word}, ${own.format}` : word;
}

/** The limits of a value. @param {Schema} own */
function limits(own) {
  /** @param {number | undefined} least @param {number | undefined} most @param {string} what */
  const range = (least, most, what) => {
    if (least !== undefined && most !== undefined) return [`${least} to ${most}${what}`];
    if (least !== undefined) return [`at least ${least}${what}`];
    return most === undefined ? [] : [`at most ${most}${what}`];
  };
  return [
    ...range(own.minimum, own.maximum, ''), ...range(own.minLength, own.maxLength, ' characters'), ...range(own.minItems, own.maxItems, ' entries'),
    ...(own.exclusiveMinimum === undefined ? [] : [`more than ${own.exclusiveMinimum}`]),
    ...(own.exclusiveMaximum === undefined ? [] : [`less than ${own.exclusiveMaximum}`]),
    ...(own.multipleOf ? [`a multiple of ${own.multipleOf}`] : []),
    ...(own.pattern ? [`pattern ${own.pattern}`] : []),
    ...(own.default == null ? [] : [`default ${JSON.stringify(own.default)}`]),
  ];
}
