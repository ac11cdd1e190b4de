// The operator's actions: overrides of the limit and of minting, revocations, blocks. Each one says what it does and
// needs a second click.
import { post, send } from './broker.js';
import { act, confirmed, showResult } from './confirm.js';
import { plain, typedNumber } from './format.js';
import { $, onSubmit } from './page.js';
import { whatEnded } from './spending.js';

const LIMIT_GB_MAX = 1_000_000;
let changed = () => {};

/**
 * Connects the buttons that are always there.
 * @param {() => import('./api.d.ts').Schemas['OverviewBody'] | null} overview Returns the latest overview.
 * @param {() => void} afterChange Called after each action.
 */
export function wire(overview, afterChange) {
  changed = afterChange;
  onSubmit('limit-form', async () => {
    const limitGB = typedNumber($('limit-input', HTMLInputElement).value);
    if (limitGB === null || limitGB > LIMIT_GB_MAX) {
      return showResult('bad', `Enter GB, for example 0.5 or 1500. Do not use commas. The maximum is ${LIMIT_GB_MAX}.`);
    }
    const now = overview()?.status.bandwidthLimitGB;
    if (limitGB === now) return showResult('good', `The limit is ${plain(limitGB)} GB already.`);
    const text = `From ${now} GB to ${plain(limitGB)} GB, in this period and later ones.`;
    await ask({ title: 'Change the limit?', text, verb: 'Change the limit' }, () => setLimit(limitGB));
  });
  $('limit-reset').addEventListener('click', () => {
    const text = `This removes the override of the limit, which is now ${overview()?.status.bandwidthLimitGB} GB.`;
    ask({ title: 'Back to BANDWIDTH_LIMIT_GB?', text, verb: 'Remove the override' }, () => setLimit(null));
  });
  $('freeze').addEventListener('click', () => freeze(!overview()?.status.frozen));
  const user = () => $('user-input', HTMLInputElement).value.trim();
  onSubmit('user-form', () => block('user', user()));
  for (const [id, action] of /** @type {const} */ ([['user-allow', (/** @type {string} */ name) => allow('user', name)], ['user-forget', forget]])) {
    $(id).addEventListener('click', () => {
      if ($('user-form', HTMLFormElement).reportValidity()) action(user());
    });
  }
  onSubmit('revoke-form', () => revoke($('revoke-input', HTMLInputElement).value.trim()));
}

/** @typedef {Parameters<typeof confirmed>[0]} Question */

/**
 * @param {Question} question
 * @param {(more: boolean) => Promise<string>} action Returns what it did.
 * @returns {Promise<boolean>} Whether it was done.
 */
async function ask(question, action) {
  const answer = await confirmed(question);
  if (!answer) return false;
  const isDone = await act(() => action(answer.more));
  changed();
  return isDone;
}

/** Stops minting, or allows it again. @param {boolean} frozen */
export function freeze(frozen) {
  const question = frozen
    ? { title: 'Stop all minting?', text: 'New callers get STUN only, so calls that need a relay fail. This ends no call. Minting stays stopped until you allow it again.', verb: 'Stop minting', isDangerous: true }
    : { title: 'Allow minting again?', text: 'Callers get credentials again, within the limit.', verb: 'Allow minting' };
  return ask(question, async () => ((await post('api/budget/freeze', { frozen })).frozen ? 'Minting is stopped.' : 'Minting is allowed again.'));
}

/** @param {string} grant */
export const revoke = (grant) => ask({
  title: 'Revoke this credential?',
  text: `${grant} cannot be renewed any more, and the provider is asked to end it. A running call may continue, so its reservation stays.`,
  verb: 'Revoke',
  isDangerous: true,
}, async () => (await post(`api/credentials/${encodeURIComponent(grant)}/revoke`, {})).message);

/** @typedef {import('./spending.js').By} By */

/** @param {By} by @param {string} key @returns {`${By}=${string}`} */
const named = (by, key) => `${by}=${encodeURIComponent(key)}`;

/** An address, which others may share, is blocked for an hour. @param {By} by @param {string} key @param {string} [ends] What it ends. */
export const block = (by, key, ends = '') => ask({
  title: `Block ${key}${by === 'address' ? ' for an hour' : ''}?`,
  text: `${ends} ${by === 'address' ? 'Clients with this address get no credentials until then' : `${key} gets no credentials until you allow it again`}.${by === 'user' ? ' Signaling sockets are closed.' : ''} This survives a restart.`,
  verb: 'Block',
  isDangerous: true,
  more: 'Also revoke the live credentials. Running calls may continue until they expire.',
}, async (more) => {
  const blocked = await post(by === 'address' ? `api/block?${named(by, key)}&for=1h` : `api/block?${named(by, key)}`, {});
  // The second response says what is left of both.
  return (more ? await post(`api/revoke?${named(by, key)}`, {}) : blocked).message;
});

/** @param {By} by @param {string} key */
export const allow = (by, key) => ask({ title: `Allow ${key} again?`, text: `${key} gets credentials again, within the limits. What was revoked stays revoked.`, verb: 'Allow again' }, async () => (await send('DELETE', `api/block?${named(by, key)}`)).message);

/** @param {string} user */
const forget = (user) => ask({
  title: `Remove ${user} from the ledger?`,
  text: `${user}’s credentials are revoked, and name, labels and addresses are removed from all rows, those of earlier months included. The bytes stay. This cannot be undone.`,
  verb: 'Remove',
  isDangerous: true,
}, async () => (await send('DELETE', `api/users?user=${encodeURIComponent(user)}`)).message);

/** @param {By} by @param {string} key @param {string} ends What it ends. */
export const revokeAll = (by, key, ends) => ask({
  title: `Revoke all credentials of ${key}?`,
  text: `${ends} They cannot be renewed any more, and the provider is asked to end them. Running calls may continue. New ones can be fetched.`,
  verb: 'Revoke all',
  isDangerous: true,
}, async () => (await post(`api/revoke?${named(by, key)}`, {})).message);

/** @param {string} room */
export const endRoom = (room) => ask({
  title: `End the room ${room}?`,
  text: 'Everybody in it is disconnected, and their credentials are revoked. They can join again.',
  verb: 'End the room',
  isDangerous: true,
}, async () => whatEnded(await post(`api/rooms/${encodeURIComponent(room)}/end`, {})));

/** @param {number | null} limitGB Null removes the override. */
async function setLimit(limitGB) {
  const { bandwidthLimitGB } = await post('api/budget/limit', { limitGB });
  return `The limit is now ${bandwidthLimitGB} GB.`;
}
