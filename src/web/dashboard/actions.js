// The operator's actions: overrides of the limit and of minting, and revocation. Each one says what it does and needs a
// second click.
import { Fault, ask } from './broker.js';
import { plain, typedNumber } from './format.js';
import { $ } from './page.js';

const LIMIT_GB_MAX = 1_000_000;

/**
 * @param {() => any} overview Returns the latest overview.
 * @param {() => void} changed Called after each action.
 * @returns {(grant: string) => Promise<void>} Revokes a credential.
 */
export function wire(overview, changed) {
  const act = async (path, body, message) => {
    try {
      showResult('good', message(await ask(path, body)));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      showResult('bad', `Failed: ${error.message}`);
    }
    changed();
  };

  $('limit-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const limitGB = typedNumber($('limit-input').value);
    if (limitGB === null || limitGB > LIMIT_GB_MAX) {
      showResult('bad', `Enter GB, for example 0.5 or 1500. Do not use commas. The maximum is ${LIMIT_GB_MAX}.`);
      return;
    }
    const now = overview()?.status.bandwidthLimitGB;
    const text = `From ${now} GB to ${plain(limitGB)} GB, in this period and later ones. With a durable ledger, the override survives a restart.`;
    if (await confirmed('Change the limit?', text, 'Change the limit')) await act('api/budget/limit', { limitGB }, limitIs);
  });
  $('limit-reset').addEventListener('click', async () => {
    const text = `This removes the override of the limit, which is now ${overview()?.status.bandwidthLimitGB} GB. Without an override, nothing changes.`;
    if (await confirmed('Back to BANDWIDTH_LIMIT_GB?', text, 'Remove the override')) await act('api/budget/limit', { limitGB: null }, limitIs);
  });
  $('freeze').addEventListener('click', async () => {
    const frozen = !overview()?.status.frozen;
    const [title, text, verb] = frozen
      ? ['Stop all minting?', 'New callers get STUN only, so calls that need a relay fail. Running calls continue and are billed. Minting stays stopped until you allow it again.', 'Stop minting']
      : ['Allow minting again?', 'Callers get credentials again, within the limit.', 'Allow minting'];
    const message = (status) => (status.frozen ? 'Minting is stopped.' : 'Minting is allowed again.');
    if (await confirmed(title, text, verb, frozen)) await act('api/budget/freeze', { frozen }, message);
  });
  const revoke = async (grant) => {
    const text = `${grant} cannot be renewed any more, and the provider is asked to end it. A running call may continue, so its reservation stays.`;
    const path = `api/credentials/${encodeURIComponent(grant)}/revoke`;
    if (await confirmed('Revoke this credential?', text, 'Revoke', true)) await act(path, {}, ({ message }) => message);
  };
  $('revoke-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    await revoke($('revoke-input').value.trim());
  });
  return revoke;
}

const limitIs = ({ bandwidthLimitGB }) => `The limit is now ${bandwidthLimitGB} GB.`;

function showResult(mark, text) {
  const result = $('action-result');
  result.className = `note ${mark}`;
  result.textContent = text;
  result.hidden = false;
}

/** Waits for the second click; Escape cancels. @returns {Promise<boolean>} */
function confirmed(title, text, verb, isDangerous = false) {
  const dialog = $('confirm');
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = verb;
  $('confirm-yes').classList.toggle('danger', isDangerous);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

$('confirm-no').addEventListener('click', () => $('confirm').close('no'));
$('confirm-yes').addEventListener('click', () => $('confirm').close('yes'));
