// What the pages read of the broker's responses. Not sent to browsers. tests/web/run.sh makes the module `openapi` of openapi.json, and
// checks the pages against it. So a page cannot read a field that the broker does not send.
import type { components, paths } from 'openapi';

/** The bodies, by their names in the document. */
export type Schemas = components['schemas'];
/** Bodies of responses to `GET`, by path below the broker's URL. */
export type Got = Bodies<'get'>;
/** Bodies of responses to `POST`, by path below the broker's URL. */
export type Posted = Bodies<'post'>;

type Bodies<Method extends 'get' | 'post'> = {
  [Path in keyof paths as Requested<Path, Body<paths[Path][Method]>>]: Body<paths[Path][Method]>;
};

type Body<Call> = Call extends { responses: { 200: { content: { 'application/json': infer Json } } } } ? Json : never;

/** The path as pages request it, with or without a query; none without a body. */
type Requested<Path, Json> = [Json] extends [never] ? never
  : Path extends `/${infer Below}` ? Filled<Below> | `${Filled<Below>}?${string}` : never;

/** The path with any text for each `{parameter}`. */
type Filled<Path extends string> = Path extends `${infer Before}{${string}}${infer After}` ? `${Before}${string}${Filled<After>}` : Path;
