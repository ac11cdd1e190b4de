// What an alert is called, and which buttons it has. Pure.

/** @typedef {{title: string, buttons: ('spenders' | 'limit' | 'stop' | 'relay' | 'budget')[]}} Told */

/** @type {Record<string, Told>} */
const TOLD = {
  'budget.used_50': { title: 'Half of the limit is used', buttons: ['spenders'] },
  'budget.used_80': { title: '80 % of the limit is used', buttons: ['spenders', 'limit'] },
  'budget.used_95': { title: '95 % of the limit is used', buttons: ['spenders', 'limit', 'stop'] },
  'budget.used_100': { title: 'The limit is reached', buttons: ['spenders', 'limit', 'stop'] },
  'provider.down': { title: 'The provider does not mint', buttons: ['relay'] },
  'provider.up': { title: 'The provider mints again', buttons: [] },
  'assumption.broken': { title: 'Credentials use more than assumed', buttons: ['spenders'] },
  'assumption.holds': { title: 'The assumed rate holds again', buttons: [] },
  'analytics.stale': { title: 'Cloudflare’s count is stale', buttons: ['budget'] },
  'analytics.fresh': { title: 'Cloudflare’s count is read again', buttons: [] },
  'coturn.unreachable': { title: 'coturn does not answer', buttons: ['budget'] },
  'coturn.reachable': { title: 'coturn answers again', buttons: [] },
  'counts.late': { title: 'Cloudflare’s counts settle late', buttons: ['budget'] },
  'counts.settled': { title: 'Cloudflare’s counts settle in time', buttons: [] },
  'counts.unknown': { title: 'Bytes of unknown credentials', buttons: ['spenders', 'budget'] },
  'counts.known': { title: 'Few bytes are of unknown credentials again', buttons: [] },
  'rotation.failing': { title: 'The TURN key cannot be replaced', buttons: ['budget'] },
  'rotation.works': { title: 'The TURN key can be replaced again', buttons: [] },
  test: { title: 'A test', buttons: [] },
};

/** An event that this version does not know is shown by its name, without buttons. @param {string} event @returns {Told} */
export const told = (event) => TOLD[event] ?? { title: event.replace(/[._]/g, ' '), buttons: [] };

/** Advice without the names of routes: the buttons are in their place. @param {string} advice */
export const withoutRoutes = (advice) => advice.replace(/ \((?:GET|POST|DELETE) [^)]*\)/g, '');
