// Requests to the broker with the operator's token. The token stays in this tab's sessionStorage, or in localStorage if the
// operator wants to stay signed in. It is sent only to the address of this page, in the Authorization header.

const KEY = 'turn-broker.operator-token';
const SECONDS_MAX = 10;

/** A failed request; `status` is 0 if no response came in time. */
export class Fault extends Error {
  /** @param {number} status @param {string | undefined} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @type {string | null} */
let inPage = null;

/**
 * Null if the browser blocks site data: then each use of its storage throws.
 * @param {'sessionStorage' | 'localStorage'} name
 */
const storage = (name) => {
  try {
    return globalThis[name];
  } catch {
    return null;
  }
};

export const token = {
  /** Whether the token is in this page only, because the browser blocks site data. */
  get isInPageOnly() {
    return storage('sessionStorage') === null;
  },
  /** The token of this tab alone. */
  inTab: () => inPage ?? storage('sessionStorage')?.getItem(KEY) ?? null,
  get: () => token.inTab() ?? storage('localStorage')?.getItem(KEY) ?? null,
  /** @param {string} value @param {boolean} isLasting */
  set: (value, isLasting) => {
    const where = storage(isLasting ? 'localStorage' : 'sessionStorage');
    if (where) where.setItem(KEY, value);
    else inPage = value;
  },
  forget: () => {
    inPage = null;
    for (const where of [storage('sessionStorage'), storage('localStorage')]) where?.removeItem(KEY);
  },
};

/**
 * The responses are those of this version's broker.
 * @template {keyof import('./api.d.ts').Got} P
 * @param {P} path Relative to this page's folder.
 * @returns {Promise<import('./api.d.ts').Got[P]>}
 * @throws {Fault}
 */
export const ask = (path) => send('GET', path);

/**
 * @template {keyof import('./api.d.ts').Posted} P
 * @param {P} path Relative to this page's folder.
 * @param {object} content Posted as JSON.
 * @returns {Promise<import('./api.d.ts').Posted[P]>}
 * @throws {Fault}
 */
export const post = (path, content) => send('POST', path, content);

/** A response that is no JSON. @param {string} path Relative to this page's folder. @param {string} kind */
export async function file(path, kind) {
  const headers = { Authorization: `Bearer ${token.get()}`, Accept: kind };
  const signal = AbortSignal.timeout(SECONDS_MAX * 1000);
  const answer = await fetch(new URL(path, document.baseURI), { headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer' }).catch(() => null);
  if (!answer?.ok) throw new Fault(answer?.status ?? 0, undefined, answer ? `status ${answer.status}` : 'no answer');
  return answer.blob();
}

/**
 * @param {string} method @param {string} path Relative to this page's folder. @param {object} [content]
 * @returns {Promise<any>} Null if the response has no body.
 * @throws {Fault}
 */
export async function send(method, path, content) {
  /** @type {Record<string, string>} */
  const headers = { Authorization: `Bearer ${token.get()}` };
  const posted = content && { body: JSON.stringify(content) };
  if (posted) headers['Content-Type'] = 'application/json';
  const signal = AbortSignal.timeout(SECONDS_MAX * 1000);
  /** @type {RequestInit} */
  const init = { method, headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer', ...posted };
  let answer;
  let body = null;
  try {
    answer = await fetch(new URL(path, document.baseURI), init);
    if (answer.status !== 204) body = await answer.json();
  } catch (error) {
    throw new Fault(answer?.status ?? 0, 'NO_ANSWER', error instanceof Error && error.name === 'TimeoutError' ? `no answer within ${SECONDS_MAX} s` : 'no answer');
  }
  // A proxy in front of the broker may send any body.
  if (!answer.ok) throw new Fault(answer.status, body?.code, [body?.error, body?.message].filter(Boolean).join('. ') || `status ${answer.status}`);
  return body;
}
