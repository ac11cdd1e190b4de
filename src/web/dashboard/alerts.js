// The latest alerts. The steps that an alert asks for are buttons here, not names of routes.
import { freeze } from './actions.js';
import { told } from './advice.js';
import { time, withTimes } from './format.js';
import { element, put, replace } from './page.js';

const SEVERITY = { info: 'quiet', warning: 'warn', critical: 'bad' };

/** @type {Record<string, () => Element>} */
const BUTTONS = {
  spenders: () => link('#spenders', 'See who spends'),
  limit: () => link('#limit-input', 'Change the limit'),
  budget: () => link('#budget', 'See what is reliable'),
  relay: () => link('relay-check', 'Check the relay'),
  stop: () => {
    const button = element('button', { type: 'button', className: 'danger', textContent: 'Stop all minting' });
    button.addEventListener('click', () => freeze(true));
    return button;
  },
};

/** @param {string} href @param {string} textContent */
const link = (href, textContent) => element('a', { className: 'button', href, textContent });

/** @param {import('./api.d.ts').AlertsBody} alerts @param {{at: string, isFrozen: boolean}} now */
export function showAlerts({ alerts, webhook }, { at, isFrozen }) {
  const now = new Date(at);
  put('alerts-note', webhook ? 'sent to ALERT_WEBHOOK_URL' : 'in the log only: ALERT_WEBHOOK_URL is not set');
  const items = alerts.map(({ severity, what, advice, at: since, waiting, event }) => {
    const { title, buttons } = told(event);
    const useful = buttons.filter((name) => name !== 'stop' || !isFrozen);
    return element('li', {},
      element('span', { className: 'when small muted', textContent: time(new Date(since), now) }),
      element('span', { className: `mark ${SEVERITY[severity] ?? 'quiet'}`, textContent: title }),
      waiting ? element('span', { className: 'small muted', textContent: ' · not delivered yet' }) : null,
      element('p', { textContent: withTimes(what, now) }),
      element('p', { className: 'small muted', textContent: advice }),
      useful.length ? element('p', { className: 'buttons' }, ...useful.map((name) => BUTTONS[name]())) : null);
  });
  const made = items.length ? items : [element('li', { className: 'muted', textContent: 'None yet.' })];
  replace('alerts', made);
}
