// The running calls of the broker's own signaling, those with the most bytes first.
import { endRoom } from './actions.js';
import { span } from './format.js';
import { $, put } from './page.js';
import * as words from './spending.js';
import { Table } from './table.js';
import { listed } from './verdicts.js';

/** @typedef {import('./spending.js').Overview} Overview */

/** @type {Overview | null} */
let overview = null;
/** @param {string} instant */
const since = (instant) => (Date.parse(overview?.at ?? instant) - Date.parse(instant)) / 1000;

/** @type {Table<import('./api.d.ts').Schemas['LiveCallBody']>} */
const table = new Table($('calls'), {
  label: 'Live calls, those with the most bytes first',
  key: ({ protocol, room }) => `${room} ${protocol}`,
  search: $('calls-head'),
  none: () => 'Nobody is in a call.',
  order: 4,
  columns: [
    { name: 'Room', isId: true, text: ({ room }) => room },
    { name: 'Protocol', show: 'on-medium', text: ({ protocol }) => protocol },
    { name: 'Members', isId: true, by: ({ members }) => members.length, text: ({ members }) => words.members(members) },
    { name: 'For', isNumber: true, show: 'on-medium', by: ({ startedAt }) => since(startedAt), text: ({ startedAt }) => span(since(startedAt)) },
    { name: 'Usage', bytes: ({ bytes }) => bytes },
    { name: 'Cost', isNumber: true, show: 'on-small', by: ({ bytes }) => bytes ?? -1, text: ({ bytes }) => (bytes === null || !overview ? '–' : words.cost(bytes, overview.cost)) },
    { name: '', button: ({ protocol, room }) => (words.canEnd(protocol) ? { word: 'End', of: room, isDangerous: true, press: () => endRoom(room) } : null) },
  ],
});

/** Hidden until there is a call. @param {import('./api.d.ts').Schemas['LiveCallsBody']} live @param {Overview} latest */
export function showCalls({ calls, total }, latest) {
  overview = latest;
  if (total > 0) $('calls-card').hidden = false;
  table.show(calls);
  put('calls-note', total === 0 ? '' : listed(calls, total, 'call'));
}
