// The latest alerts. The steps that an alert asks for are buttons here, not names of routes.
import { freeze } from './actions.js';
import { time, withTimes } from './format.js';
import { element, put, replace } from './page.js';

const SEVERITY = { info: 'quiet', warning: 'warn', critical: 'bad' };

/** What each part of the page is for. @type {Record<string, string>} */
const LINKS = { spenders: 'See who spends', 'provider-title': 'See the provider', 'limit-input': 'Change the limit', budget: 'See what is reliable' };

/** A section `by-…` is a list of spenders, or one row of it. @param {string} section */
const linkText = (section) => LINKS[section.startsWith('by-') ? 'spenders' : section] ?? '';

function stop() {
  const button = element('button', { type: 'button', className: 'danger', textContent: 'Stop all minting' });
  button.addEventListener('click', () => freeze(true));
  return button;
}

/** @param {string} href @param {string} textContent */
const link = (href, textContent) => element('a', { className: 'button', href, textContent });

/** @param {import('./api.d.ts').Schemas['AlertsBody']} alerts @param {{at: string, isFrozen: boolean}} now */
export function showAlerts({ alerts, webhook }, { at, isFrozen }) {
  const now = new Date(at);
  put('alerts-note', webhook ? 'sent to ALERT_WEBHOOK_URL' : 'in the log only: ALERT_WEBHOOK_URL is not set');
  const items = alerts.map(({ severity, what, advice, command, section, at: since, waiting, event }) => {
    const title = event.replace(/[._]/g, ' ');
    const isSpent = severity === 'critical' && /^(budget|limit)\./.test(event);
    const buttons = [
      ...(linkText(section) && severity !== 'info' ? [link(`#${section}`, linkText(section))] : []),
      ...(isSpent && !isFrozen ? [stop()] : []),
    ];
    return element('li', {},
      element('span', { className: 'when small muted', textContent: time(new Date(since), now) }),
      element('span', { className: `mark ${SEVERITY[severity] ?? 'quiet'}`, textContent: title }),
      waiting ? element('span', { className: 'small muted', textContent: ' · not delivered yet' }) : null,
      element('p', { textContent: withTimes(what, now) }),
      element('p', { className: 'small muted', textContent: advice }),
      command ? element('p', { className: 'small code', textContent: command }) : null,
      buttons.length ? element('p', { className: 'buttons' }, ...buttons) : null);
  });
  const made = items.length ? items : [element('li', { className: 'muted', textContent: 'None yet.' })];
  replace('alerts', made);
}
