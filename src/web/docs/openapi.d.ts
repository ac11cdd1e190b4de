// The parts of an OpenAPI 3.1 document that the page reads. Not sent to browsers.

export interface Document {
  info: { title: string; version: string; description?: string };
  tags?: { name: string; description?: string }[];
  security?: Security[];
  components?: {
    securitySchemes?: Record<string, { description?: string }>;
    schemas?: Record<string, Schema>;
    examples?: Record<string, Example>;
  };
  paths?: Record<string, PathItem>;
}

/** Alternatives; within one of them all schemes are needed. */
export type Security = Record<string, string[]>;
export type Method = 'get' | 'put' | 'post' | 'delete' | 'options' | 'head' | 'patch' | 'trace';
export type PathItem = { parameters?: Parameter[] } & { [M in Method]?: Operation };

export interface Operation {
  tags?: string[];
  summary?: string;
  description?: string;
  security?: Security[];
  parameters?: Parameter[];
  requestBody?: RequestBody;
  responses?: Record<string, Response>;
}

/** What may be a reference to another part of the document. */
export interface Referable {
  $ref?: string;
  description?: string;
}

export interface Header extends Referable {
  schema?: Schema;
  example?: unknown;
}

export interface Parameter extends Header {
  name: string;
  in: string;
  required?: boolean;
}

export interface RequestBody extends Referable {
  required?: boolean;
  content?: Content;
}

export interface Response extends Referable {
  headers?: Record<string, Header>;
  content?: Content;
}

export interface Example extends Referable {
  summary?: string;
  value?: unknown;
}

export type Content = Record<string, { schema?: Schema; example?: unknown; examples?: Record<string, Example> }>;

export interface Schema extends Referable {
  type?: string | string[];
  format?: string;
  example?: unknown;
  examples?: unknown[];
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
}
