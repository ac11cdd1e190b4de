// Titles and buttons of alerts. Pure.

/** The title of each alert, and its buttons. @type {Record<string, [string, ...('spenders' | 'limit' | 'stop' | 'relay' | 'budget')[]]>} */
const TOLD = {
  'provider.down': ['Cloudflare does not mint', 'relay'],
  'provider.up': ['Cloudflare mints again'],
  'assumption.broken': ['Credentials use more than assumed', 'spenders'],
  'assumption.holds': ['The assumed rate holds'],
  'analytics.stale': ['The provider’s count is stale', 'budget'],
  'analytics.fresh': ['The provider’s count is read again'],
  'coturn.unreachable': ['coturn does not answer', 'budget'],
  'coturn.reachable': ['coturn answers again'],
  'counts.late': ['The provider’s counts settle late', 'budget'],
  'counts.settled': ['The provider’s counts settle in time'],
  'counts.unknown': ['Bytes of unknown credentials', 'spenders', 'budget'],
  'counts.known': ['Few bytes are of unknown credentials'],
  'ledger.incomplete': ['The ledger lacks credentials', 'budget'],
  'ledger.complete': ['The ledger is complete'],
  'clock.ahead': ['Minting waits', 'budget'],
  'clock.right': ['Minting goes on'],
  test: ['A test'],
};

/** The operator chooses the percents. @param {string} event @returns {typeof TOLD[string] | null} */
function aboutUsage(event) {
  const percent = Number(/^budget\.used_(\d+)$/.exec(event)?.[1] ?? NaN);
  if (Number.isNaN(percent)) return null;
  const title = percent < 100 ? `${percent} % of the limit is used` : 'The limit is reached';
  return percent < 80 ? [title, 'spenders'] : percent < 95 ? [title, 'spenders', 'limit'] : [title, 'spenders', 'limit', 'stop'];
}

/** An unknown event is its own title. @param {string} event */
export function told(event) {
  const [title, ...buttons] = aboutUsage(event) ?? TOLD[event] ?? [event.replace(/[._]/g, ' ')];
  return { title, buttons };
}
