// The broker, asked with the operator's token. The token lives in this tab's sessionStorage and goes nowhere but to the
// address that this page came from, in the Authorization header.

const KEY = 'turn-broker.operator-token';
const SECONDS_MAX = 10;

/** An answer that is none: `status` 0 where nothing came back in time. */
export class Fault extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/**
 * @param {string} path Below this page's folder, without a slash at its begin.
 * @param {object} [order] Posted as JSON where there is one.
 */
export async function ask(path, order) {
  const headers = { Authorization: `Bearer ${token.get()}` };
  const posted = order && { method: 'POST', body: JSON.stringify(order) };
  if (posted) headers['Content-Type'] = 'application/json';
  const signal = AbortSignal.timeout(SECONDS_MAX * 1000);
  const init = { headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer', ...posted };
  let answer;
  let body;
  try {
    answer = await fetch(new URL(path, document.baseURI), init);
    body = await answer.json();
  } catch (error) {
    throw new Fault(answer?.status ?? 0, 'NO_ANSWER', error.name === 'TimeoutError' ? `no answer within ${SECONDS_MAX} s` : 'no answer');
  }
  // What stands before the broker may answer in any form.
  if (!answer.ok) throw new Fault(answer.status, body?.code, [body?.error, body?.message].filter(Boolean).join('. ') || `status ${answer.status}`);
  return body;
}
