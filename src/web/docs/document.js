// An OpenAPI 3.1 document in the form that the page shows: groups of operations, and schemas as nested fields with all
// references resolved. Pure.

/**
 * @typedef {import('./openapi.d.ts').Document} Document
 * @typedef {import('./openapi.d.ts').Method} Method
 * @typedef {import('./openapi.d.ts').Schema} Schema
 * @typedef {import('./openapi.d.ts').Security} Security
 * @typedef {{name: string, type: string, isRequired: boolean, limits: string[], values: string[], example: unknown, description: string, fields: Field[]}} Field
 * @typedef {{type: string, example: unknown, schema: Schema, field: Field}} Content A body of one media type.
 * @typedef {{status: string, description: string, headers: Field[], contents: Content[]}} Answer
 * @typedef {{id: string, method: Method, path: string, summary: string, description: string, callers: string[],
 *     parameters: (Field & {place: string, schema: Schema})[], body: {description: string, isRequired: boolean, contents: Content[]} | null,
 *     answers: Answer[], security: Security[]}} Operation
 * @typedef {{name: string, description: string, operations: Operation[]}} Group
 */

/** @type {Method[]} */
const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];
/** The longest chain of references that is followed. */
const REFERENCES_MAX = 16;

/** Sorted as the document's tags; operations without a tag come last. @param {Document} document @returns {Group[]} */
export function groups(document) {
  /** @type {Group[]} */
  const named = (document.tags ?? []).map(({ name, description = '' }) => ({ name, description, operations: [] }));
  for (const [path, item] of Object.entries(document.paths ?? {}).sort(apiFirst)) {
    for (const method of METHODS) {
      const source = item[method];
      if (!source) continue;
      const name = source.tags?.[0] ?? 'other';
      const known = named.find((group) => group.name === name);
      const group = known ?? { name, description: '', operations: [] };
      if (!known) named.push(group);
      group.operations.push(operation(document, path, method, source, item.parameters ?? []));
    }
  }
  return named.filter(({ operations }) => operations.length);
}

/** Paths of the API come first. Otherwise the order is that of the document. @type {(one: [string, unknown], other: [string, unknown]) => number} */
const apiFirst = ([one], [other]) => Number(other.startsWith('/api/')) - Number(one.startsWith('/api/'));

/** The anchor of an operation. It is stable and readable in a link. @param {Method} method @param {string} path */
export const anchor = (method, path) => `${method}-${path}`;

/**
 * @param {Document} document @param {string} path @param {Method} method @param {import('./openapi.d.ts').Operation} source
 * @param {import('./openapi.d.ts').Parameter[]} shared The parameters of all operations of the path.
 * @returns {Operation}
 */
function operation(document, path, method, source, shared) {
  const parameters = [...shared, ...(source.parameters ?? [])].map((one) => resolved(document, one));
  const body = source.requestBody && resolved(document, source.requestBody);
  const security = source.security ?? document.security ?? [];
  return {
    id: anchor(method, path), method, path, summary: source.summary ?? '', description: source.description ?? '',
    security, callers: callers(document, security),
    parameters: parameters.map((one) => ({ ...field(document, one.name, schemaOf(one), one.required ?? false), place: one.in, schema: schemaOf(one) })),
    body: body ? { description: body.description ?? '', isRequired: body.required ?? false, contents: contents(document, body.content) } : null,
    answers: Object.entries(source.responses ?? {}).map(([status, one]) => answer(document, status, resolved(document, one))),
  };
}

/** The schema of a parameter or a header, with the description and the example that stand beside it. @param {import('./openapi.d.ts').Header} header @returns {Schema} */
const schemaOf = ({ schema, description, example }) => ({ ...schema, ...(description && { description }), ...(example !== undefined && { example }) });

/** @param {Document} document @param {string} status @param {import('./openapi.d.ts').Response} response @returns {Answer} */
function answer(document, status, { description = '', headers = {}, content }) {
  const fields = Object.entries(headers).map(([name, one]) => field(document, name, schemaOf(resolved(document, one)), false));
  return { status, description, headers: fields, contents: contents(document, content) };
}

/** @param {Document} document @param {import('./openapi.d.ts').Content} [content] @returns {Content[]} */
function contents(document, content = {}) {
  return Object.entries(content).map(([type, { schema = {}, example }]) => ({ type, example, schema, field: field(document, '', schema, true) }));
}

/** Who may call, in words. @param {Document} document @param {Security[]} security @returns {string[]} */
export function callers(document, security) {
  const known = document.components?.securitySchemes ?? {};
  const one = (/** @type {string} */ name) => `callers with the bearer token \`${name}\`: ${known[name]?.description ?? ''}`.trim();
  const words = security.map((tokens) => Object.keys(tokens).map(one).join(' and ') || 'anyone');
  return words.length ? words : ['anyone'];
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
function plain(document, schema) {
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
 * A schema as a field, with its inner fields.
 * @param {Document} document @param {string} name @param {Schema} schema @param {boolean} isRequired @param {string[]} within Names of the enclosing schemas.
 * @returns {Field}
 */
export function field(document, name, schema, isRequired, within = []) {
  const { own, name: called, isNullable, choices } = plain(document, schema);
  const around = called ? [...within, called] : within;
  const isOpen = !called || !within.includes(called); // a recursive schema is shown once
  return {
    name, isRequired, type: typeWords(document, schema) + (isNullable ? ' or null' : ''), limits: limits(own),
    values: (own.const === undefined ? own.enum ?? [] : [own.const]).map((value) => JSON.stringify(value)),
    example: own.example ?? own.examples?.[0] ?? undefined, description: own.description ?? '',
    fields: isOpen ? inner(document, own, choices, around) : [],
  };
}

/** The fields of an object, of a list's entries, or of a map's values; or the choices. @param {Document} document @param {Schema} own @param {Schema[]} choices @param {string[]} within */
function inner(document, own, choices, within) {
  if (choices.length) return choices.map((one, n) => field(document, `choice ${n + 1}`, one, false, within));
  if (own.items) return field(document, '', own.items, true, within).fields;
  const of = Object.entries(own.properties ?? {}).map(([name, one]) => field(document, name, one, own.required?.includes(name) ?? false, within));
  const values = own.additionalProperties;
  const rest = values && typeof values === 'object' ? field(document, '', values, true, within).fields : [];
  return [...of.sort((one, other) => Number(other.isRequired) - Number(one.isRequired)), ...rest];
}

/** The type in a few words, without null. @param {Document} document @param {Schema} schema @returns {string} */
function typeWords(document, schema) {
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
