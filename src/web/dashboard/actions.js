// What the operator can order. Each order says what it will do and wants a second click.
import { Fault, ask } from './broker.js';
import { plain, typedNumber } from './format.js';
import { $ } from './page.js';

const LIMIT_GB_MAX = 1_000_000;

/**
 * @param {() => any} overview The latest one.
 * @param {() => void} changed Called after each order.
 */
export function wire(overview, changed) {
  const order = async (path, body, said) => {
    try {
      tell('good', said(await ask(path, body)));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      tell('bad', `Not done (${error.message}).`);
    }
    changed();
  };

  $('limit-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const limitGB = typedNumber($('limit-input').value);
    if (limitGB === null || limitGB > LIMIT_GB_MAX) {
      tell('bad', `The limit is to be a number of GB from 0 to ${LIMIT_GB_MAX}, written as 0.5 or 1500: with a point, and without commas.`);
      return;
    }
    const now = overview()?.status.bandwidthLimitGB;
    const text = `From ${now} GB to ${plain(limitGB)} GB, for this period and those after it, at once. It outlives a restart where the ledger does.`;
    if (await confirmed('Set another limit?', text, 'Set the limit')) await order('api/budget/limit', { limitGB }, limitIs);
  });
  $('limit-reset').addEventListener('click', async () => {
    const text = `What the configuration says holds again, instead of the ${overview()?.status.bandwidthLimitGB} GB that are in force. Where none was ordered, nothing changes.`;
    if (await confirmed('Back to BANDWIDTH_LIMIT_GB?', text, 'Take the order back')) await order('api/budget/limit', { limitGB: null }, limitIs);
  });
  $('freeze').addEventListener('click', async () => {
    const frozen = !overview()?.status.frozen;
    const [title, text, verb] = frozen
      ? ['Stop all minting?', 'Every caller gets STUN only: calls across strict networks fail. Calls that run go on, and are billed. It holds until you take it back.', 'Stop minting']
      : ['Allow minting again?', 'Callers get credentials again, as far as the limit allows.', 'Allow it'];
    const said = (status) => (status.frozen ? 'Minting is stopped.' : 'Minting is allowed again.');
    if (await confirmed(title, text, verb, frozen)) await order('api/budget/freeze', { frozen }, said);
  });
  const revoke = async (grant) => {
    const text = `${grant}: it renews no more, and the provider is asked to end it. Relaying that is under way may go on: what was promised for it stays reserved.`;
    const path = `api/credentials/${encodeURIComponent(grant)}/revoke`;
    if (await confirmed('Revoke this credential?', text, 'Revoke', true)) await order(path, {}, ({ message }) => message);
  };
  $('revoke-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    await revoke($('revoke-input').value.trim());
  });
  return revoke;
}

const limitIs = ({ bandwidthLimitGB }) => `The limit is ${bandwidthLimitGB} GB now.`;

function tell(mark, text) {
  const result = $('action-result');
  result.className = `note ${mark}`;
  result.textContent = text;
  result.hidden = false;
}

/** A second click, or Escape. @returns {Promise<boolean>} */
function confirmed(title, text, verb, isGrave = false) {
  const dialog = $('confirm');
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = verb;
  $('confirm-yes').classList.toggle('grave', isGrave);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

$('confirm-no').addEventListener('click', () => $('confirm').close('no'));
$('confirm-yes').addEventListener('click', () => $('confirm').close('yes'));
