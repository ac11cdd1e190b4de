// The live connections, the most expensive first.
import { revoke } from './actions.js';
import { size, span } from './format.js';
import { $, put } from './page.js';
import { Table, buttonIn, write } from './table.js';
import { connectionWords } from './verdicts.js';

/** @typedef {import('./api.d.ts').OpenConnectionBody} Connection */

let now = 0;
/** @param {string} instant */
const since = (instant) => (now - Date.parse(instant)) / 1000;
/** @param {Connection} connection */
const path = ({ relayed }) => (relayed === null ? 'unknown' : relayed ? 'relayed' : 'direct');
/** @param {HTMLTableCellElement} cell @param {string} text @param {string} [show] */
const id = (cell, text, show = '') => {
  cell.className = `id code ${show}`;
  cell.title = text;
  write(cell, text);
};

/** @type {Table<Connection>} */
const table = new Table($('connections'), {
  label: 'Live connections, the most expensive first',
  key: ({ connectionId, grant }) => JSON.stringify([connectionId, grant]),
  words: ({ connectionId, grant }) => `${connectionId} ${grant ?? 'reporter'}`,
  none: 'No connection is open.',
  order: 8,
  columns: [
    { name: 'Id', by: ({ connectionId }) => connectionId, fill: (cell, { connectionId }) => id(cell, connectionId) },
    { name: 'Credential', show: 'on-medium', by: ({ grant }) => grant ?? '', fill: (cell, { grant }) => id(cell, grant ?? 'reporter', 'on-medium') },
    { name: 'Source', show: 'on-wide', by: ({ source }) => source, fill: (cell, { source }) => write(cell, source) },
    { name: 'Path', show: 'on-small', by: path, fill: (cell, connection) => write(cell, path(connection)) },
    { name: 'Open for', isNumber: true, show: 'on-wide', by: ({ openedAt }) => since(openedAt), fill: (cell, { openedAt }) => write(cell, span(since(openedAt))) },
    { name: 'Seen', isNumber: true, by: ({ lastSeenAt }) => lastSeenAt, fill: (cell, { lastSeenAt }) => write(cell, `${span(since(lastSeenAt))} ago`) },
    { name: 'Received', isNumber: true, show: 'on-wide', by: ({ bytesReceived }) => bytesReceived, fill: (cell, { bytesReceived }) => write(cell, size(bytesReceived)) },
    { name: 'Sent', isNumber: true, show: 'on-wide', by: ({ bytesSent }) => bytesSent, fill: (cell, { bytesSent }) => write(cell, size(bytesSent)) },
    { name: 'Charged', isNumber: true, by: ({ chargedBytes }) => chargedBytes, fill: (cell, { chargedBytes }) => write(cell, size(chargedBytes)) },
    { name: '', fill: fillRevoke },
  ],
});

/** @param {HTMLTableCellElement} cell @param {Connection} connection */
function fillRevoke(cell, { grant, connectionId }) {
  if (!grant) return;
  const button = buttonIn(cell, 'danger', () => revoke(grant));
  write(button, 'Revoke');
  button.setAttribute('aria-label', `Revoke the credential of ${connectionId}`);
}

const search = $('connections-search', HTMLInputElement);
search.addEventListener('input', () => table.search(search.value));

/** @param {import('./api.d.ts').ConnectionsBody} listed @param {string} at */
export function showConnections({ connections, total }, at) {
  now = Date.parse(at);
  table.show(connections);
  search.hidden = connections.length <= table.size;
  put('connections-note', total === 0 ? '' : connectionWords(connections.length, total));
}
