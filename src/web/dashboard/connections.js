// The live connections, the most expensive first.
import { revoke } from './actions.js';
import { span } from './format.js';
import { $, put } from './page.js';
import { Table } from './table.js';
import { listed } from './verdicts.js';

/** @typedef {import('./api.d.ts').Schemas['OpenConnectionBody']} Connection */

let now = 0;
/** @param {string} instant */
const since = (instant) => (now - Date.parse(instant)) / 1000;
/** @param {Connection} connection */
const path = ({ relayed }) => (relayed === null ? 'unknown' : relayed ? 'relayed' : 'direct');

/** @type {Table<Connection>} */
const table = new Table($('connections'), {
  label: 'Live connections, the most expensive first',
  key: ({ connectionId, grant }) => JSON.stringify([connectionId, grant]),
  words: ({ connectionId, grant, user, label }) => [connectionId, grant ?? 'reporter', user, label].join(' '),
  search: $('connections-head'),
  none: () => 'No connection is open.',
  order: 9,
  columns: [
    { name: 'Id', isId: true, text: ({ connectionId }) => connectionId },
    { name: 'User', isId: true, text: ({ user }) => user ?? '–' },
    { name: 'Label', isId: true, show: 'on-medium', text: ({ label }) => label ?? '–' },
    { name: 'Credential', isId: true, show: 'on-wide', text: ({ grant }) => grant ?? 'reporter' },
    { name: 'Source', show: 'on-wide', text: ({ source }) => source },
    { name: 'Path', show: 'on-medium', text: path },
    { name: 'Open for', isNumber: true, show: 'on-wide', by: ({ openedAt }) => since(openedAt), text: ({ openedAt }) => span(since(openedAt)) },
    { name: 'Seen', isNumber: true, show: 'on-small', by: ({ lastSeenAt }) => lastSeenAt, text: ({ lastSeenAt }) => `${span(since(lastSeenAt))} ago` },
    { name: 'Received', show: 'on-wide', bytes: ({ bytesReceived }) => bytesReceived },
    { name: 'Charged', bytes: ({ chargedBytes }) => chargedBytes },
    { name: '', button: ({ grant, connectionId }) => (grant === null ? null : { word: 'Revoke', of: `the credential of ${connectionId}`, isDangerous: true, press: () => revoke(grant) }) },
  ],
});

/** @param {import('./api.d.ts').Schemas['ConnectionsBody']} open @param {string} at */
export function showConnections({ connections, total }, at) {
  now = Date.parse(at);
  table.show(connections);
  put('connections-note', total === 0 ? '' : listed(connections, total, 'connection'));
}
