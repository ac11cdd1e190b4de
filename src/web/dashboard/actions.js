// The operator's actions: overrides of the limit and of minting, and revocation. Each one says what it does and needs a
// second click.
import { Fault, post } from './broker.js';
import { plain, typedNumber } from './format.js';
import { $ } from './page.js';

const LIMIT_GB_MAX = 1_000_000;
const dialog = $('confirm', HTMLDialogElement);

/**
 * @param {() => import('./api.d.ts').OverviewBody | null} overview Returns the latest overview.
 * @param {() => void} changed Called after each action.
 * @returns {(grant: string) => Promise<void>} Revokes a credential.
 */
export function wire(overview, changed) {
  /** @param {() => Promise<string>} action Returns what it did. */
  const act = async (action) => {
    try {
      showResult('good', await action());
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      showResult('bad', `Failed: ${error.message}`);
    }
    changed();
  };

  $('limit-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const limitGB = typedNumber($('limit-input', HTMLInputElement).value);
    if (limitGB === null || limitGB > LIMIT_GB_MAX) {
      showResult('bad', `Enter GB, for example 0.5 or 1500. Do not use commas. The maximum is ${LIMIT_GB_MAX}.`);
      return;
    }
    const now = overview()?.status.bandwidthLimitGB;
    const text = `From ${now} GB to ${plain(limitGB)} GB, in this period and later ones. With a durable ledger, the override survives a restart.`;
    if (await confirmed('Change the limit?', text, 'Change the limit')) await act(() => setLimit(limitGB));
  });
  $('limit-reset').addEventListener('click', async () => {
    const text = `This removes the override of the limit, which is now ${overview()?.status.bandwidthLimitGB} GB. Without an override, nothing changes.`;
    if (await confirmed('Back to BANDWIDTH_LIMIT_GB?', text, 'Remove the override')) await act(() => setLimit(null));
  });
  $('freeze').addEventListener('click', async () => {
    const frozen = !overview()?.status.frozen;
    const [title, text, verb] = frozen
      ? ['Stop all minting?', 'New callers get STUN only, so calls that need a relay fail. Running calls continue and are billed. Minting stays stopped until you allow it again.', 'Stop minting']
      : ['Allow minting again?', 'Callers get credentials again, within the limit.', 'Allow minting'];
    if (await confirmed(title, text, verb, frozen)) await act(() => freeze(frozen));
  });
  /** @param {string} grant */
  const revoke = async (grant) => {
    const text = `${grant} cannot be renewed any more, and the provider is asked to end it. A running call may continue, so its reservation stays.`;
    if (await confirmed('Revoke this credential?', text, 'Revoke', true)) {
      await act(async () => (await post(`api/credentials/${encodeURIComponent(grant)}/revoke`, {})).message);
    }
  };
  $('revoke-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    await revoke($('revoke-input', HTMLInputElement).value.trim());
  });
  return revoke;
}

/** @param {number | null} limitGB Null removes the override. */
async function setLimit(limitGB) {
  const { bandwidthLimitGB } = await post('api/budget/limit', { limitGB });
  return `The limit is now ${bandwidthLimitGB} GB.`;
}

/** @param {boolean} frozen */
async function freeze(frozen) {
  const status = await post('api/budget/freeze', { frozen });
  return status.frozen ? 'Minting is stopped.' : 'Minting is allowed again.';
}

/** @param {'good' | 'bad'} mark @param {string} text */
function showResult(mark, text) {
  const result = $('action-result');
  result.className = `note ${mark}`;
  result.textContent = text;
  result.hidden = false;
}

/**
 * Waits for the second click; Escape cancels.
 * @param {string} title @param {string} text @param {string} verb
 * @returns {Promise<boolean>}
 */
function confirmed(title, text, verb, isDangerous = false) {
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

$('confirm-no').addEventListener('click', () => dialog.close('no'));
$('confirm-yes').addEventListener('click', () => dialog.close('yes'));
