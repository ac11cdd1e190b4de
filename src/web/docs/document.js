// What an OpenAPI 3.1 document says, in the shape in which the page shows it: groups of operations, and schemas as fields with
// fields in them, every reference followed. Pure.

/**
 * @typedef {{name: string, type: string, isRequired: boolean, limits: string[], values: string[], example: string, description: string, fields: Field[]}} Field
 * @typedef {{type: string, example: unknown, schema: any, field: Field}} Content Of one media type.
 * @typedef {{status: string, description: string, headers: Field[], contents: Content[]}} Answer
 * @typedef {{id: string, method: string, path: string, summary: string, description: string, callers: string[],
 *     parameters: (Field & {place: string, schema: any})[], body: {description: string, isRequired: boolean, contents: Content[]} | null,
 *     answers: Answer[], security: Record<string, string[]>[]}} Operation
 * @typedef {{name: string, description: string, operations: Operation[]}} Group
 */

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];
/** References that are followed in a row at most. */
const REFERENCES_MAX = 16;

/** In the order of the document's tags; what has none comes last. @param {any} document @returns {Group[]} */
export function groups(document) {
  const named = (document.tags ?? []).map(({ name, description = '' }) => ({ name, description, operations: [] }));
  for (const [path, item] of Object.entries(document.paths ?? {}).sort(apiFirst)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const name = item[method].tags?.[0] ?? 'other';
      if (!named.some((group) => group.name === name)) named.push({ name, description: '', operations: [] });
      named.find((group) => group.name === name).operations.push(operation(document, path, method, item));
    }
  }
  return named.filter(({ operations }) => operations.length);
}

/** What a program calls comes before what a browser or another system asks for; apart from that, as in the document. */
const apiFirst = ([one], [other]) => Number(other.startsWith('/api/')) - Number(one.startsWith('/api/'));

/** Its place on the page: stable, and readable in a link. */
export const anchor = (method, path) => `${method}-${path}`;

/** @returns {Operation} */
function operation(document, path, method, item) {
  const said = item[method];
  const parameters = [...(item.parameters ?? []), ...(said.parameters ?? [])].map((one) => followed(document, one));
  const body = said.requestBody && followed(document, said.requestBody);
  const security = said.security ?? document.security ?? [];
  return {
    id: anchor(method, path), method, path, summary: said.summary ?? '', description: said.description ?? '',
    security, callers: callers(document, security),
    parameters: parameters.map((one) => ({ ...field(document, one.name, beside(one), one.required ?? false), place: one.in, schema: beside(one) })),
    body: body ? { description: body.description ?? '', isRequired: body.required ?? false, contents: contents(document, body.content) } : null,
    answers: Object.entries(said.responses ?? {}).map(([status, one]) => answer(document, status, followed(document, one))),
  };
}

/** What stands beside the schema of a parameter or a header counts as part of it. */
const beside = ({ schema, description, example }) => ({ ...schema, ...(description && { description }), ...(example !== undefined && { example }) });

/** @returns {Answer} */
function answer(document, status, { description = '', headers = {}, content }) {
  const fields = Object.entries(headers).map(([name, one]) => field(document, name, beside(followed(document, one)), false));
  return { status, description, headers: fields, contents: contents(document, content) };
}

/** @returns {Content[]} */
function contents(document, content = {}) {
  return Object.entries(content).map(([type, { schema = {}, example }]) => ({ type, example, schema, field: field(document, '', schema, true) }));
}

/** Who may call, each a sentence. @returns {string[]} */
export function callers(document, security) {
  const known = document.components?.securitySchemes ?? {};
  const one = (name) => `whoever shows the bearer token \`${name}\`: ${known[name]?.description ?? ''}`.trim();
  const words = security.map((needed) => Object.keys(needed).map(one).join(' and ') || 'anybody');
  return words.length ? words : ['anybody'];
}

/** What a `$ref` points to, with what stands beside it. @param {any} document @param {any} thing */
export function followed(document, thing) {
  let found = thing ?? {};
  for (let n = 0; n < REFERENCES_MAX && typeof found.$ref === 'string'; n += 1) {
    const { $ref, ...rest } = found;
    found = { ...at(document, $ref), ...rest };
  }
  return found;
}

/** Of a pointer into this document; `{}` for one that leads nowhere. */
function at(document, pointer) {
  const steps = pointer.replace(/^#\//, '').split('/').map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'));
  return steps.reduce((found, step) => found?.[step], document) ?? {};
}

const nameOf = ({ $ref }) => $ref?.split('/').at(-1);
const isNull = ({ type }) => type === 'null';

/** One schema, whether it may be null, and its name. `allOf` and an alternative to null are what they stand for. */
function plain(document, schema) {
  const own = followed(document, schema);
  const choices = own.oneOf ?? own.anyOf ?? [];
  const kinds = [own.type ?? []].flat();
  const isNullable = choices.some(isNull) || kinds.includes('null');
  const rest = choices.filter((one) => !isNull(one));
  const name = nameOf(schema);
  if (own.allOf) {
    const parts = own.allOf.map((part) => followed(document, part));
    const all = (key) => parts.flatMap((part) => part[key] ?? []);
    const whole = { ...Object.assign({}, ...parts), ...own, allOf: undefined, required: [...all('required'), ...(own.required ?? [])], properties: Object.assign({}, ...all('properties'), own.properties) };
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
 * A schema as a field, with the fields in it.
 * @param {any} document @param {string} name @param {any} schema @param {boolean} isRequired @param {string[]} within Names of those around it.
 * @returns {Field}
 */
export function field(document, name, schema, isRequired, within = []) {
  const { own, name: called, isNullable, choices } = plain(document, schema);
  const around = called ? [...within, called] : within;
  const isOpen = !called || !within.includes(called); // a schema that holds itself is shown once
  return {
    name, isRequired, type: typeWords(document, schema) + (isNullable ? ' or null' : ''), limits: limits(own),
    values: (own.const === undefined ? own.enum ?? [] : [own.const]).map((value) => JSON.stringify(value)),
    example: own.example ?? own.examples?.[0] ?? undefined, description: own.description ?? '',
    fields: isOpen ? inner(document, own, choices, around) : [],
  };
}

/** Properties, the entries of a list, the values of a map, or the choices. */
function inner(document, own, choices, within) {
  if (choices.length) return choices.map((one, n) => field(document, `choice ${n + 1}`, one, false, within));
  if (own.items) return field(document, '', own.items, true, within).fields;
  const of = Object.entries(own.properties ?? {}).map(([name, one]) => field(document, name, one, own.required?.includes(name) ?? false, within));
  const values = own.additionalProperties;
  const rest = values && typeof values === 'object' ? field(document, '', values, true, within).fields : [];
  return [...of.sort((one, other) => Number(other.isRequired) - Number(one.isRequired)), ...rest];
}

/** In a few words, without null. */
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

/** What a value has to keep to. */
function limits(own) {
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
    ...(own.pattern ? [`as ${own.pattern}`] : []),
    ...(own.default == null ? [] : [`${JSON.stringify(own.default)} if absent`]),
  ];
}
