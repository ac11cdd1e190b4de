// What an alert is called, and which buttons it has. Pure.

/** The title of each alert, and its buttons. @type {Record<string, [string, ...('spenders' | 'limit' | 'stop' | 'relay' | 'budget')[]]>} */
const TOLD = {
  'budget.used_50': ['Half of the limit is used', 'spenders'],
  'budget.used_80': ['80 % of the limit is used', 'spenders', 'limit'],
  'budget.used_95': ['95 % of the limit is used', 'spenders', 'limit', 'stop'],
  'budget.used_100': ['The limit is reached', 'spenders', 'limit', 'stop'],
  'provider.down': ['The provider does not mint', 'relay'],
  'provider.up': ['The provider mints again'],
  'assumption.broken': ['Credentials use more than assumed', 'spenders'],
  'assumption.holds': ['The assumed rate holds again'],
  'analytics.stale': ['Cloudflare’s count is stale', 'budget'],
  'analytics.fresh': ['Cloudflare’s count is read again'],
  'coturn.unreachable': ['coturn does not answer', 'budget'],
  'coturn.reachable': ['coturn answers again'],
  'counts.late': ['Cloudflare’s counts settle late', 'budget'],
  'counts.settled': ['Cloudflare’s counts settle in time'],
  'counts.unknown': ['Bytes of unknown credentials', 'spenders', 'budget'],
  'counts.known': ['Few bytes are of unknown credentials again'],
  'rotation.failing': ['The TURN key cannot be replaced', 'budget'],
  'rotation.works': ['The TURN key can be replaced again'],
  test: ['A test'],
};

/** An event that this version does not know is shown by its name, without buttons. @param {string} event */
export function told(event) {
  const [title, ...buttons] = TOLD[event] ?? [event.replace(/[._]/g, ' ')];
  return { title, buttons };
}

/** Advice without the names of routes: the buttons are in their place. @param {string} advice */
export const withoutRoutes = (advice) => advice.replace(/ \((?:GET|POST|DELETE) [^)]*\)/g, '');
