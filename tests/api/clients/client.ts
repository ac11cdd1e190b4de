// A client that openapi-typescript makes from openapi.json. run.sh compiles this in strict mode and runs it.
//   node client.js URL
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

declare const process: { argv: string[] };

const broker = createClient<paths>({ baseUrl: process.argv[2] ?? '' });

/** What an operation returned, if it is not an error. */
function ok<T>(data: T | undefined, error: { message?: string } | { errorDescription: string } | string | undefined): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const mint = await broker.GET('/api/turn-credentials', { params: { query: { ttl: 600, label: 'room-1' } } });
const { grant, iceServers, ttl } = ok(mint.data, mint.error);
if (ttl !== 600) throw new Error(`a life of ${ttl} s`);
const configuration: RTCConfiguration = { iceServers };

const headers = { Authorization: `Bearer ${grant}` };
const opened = await broker.POST('/api/connections', { headers, body: { relayed: true } });
const { connectionId } = ok(opened.data, opened.error);
const path = { id: connectionId };
const beat = await broker.POST('/api/connections/{id}/heartbeat', { headers, params: { path }, body: { bytesReceived: 1_000 } });
ok(beat.data, beat.error);
const closed = await broker.DELETE('/api/connections/{id}', { headers, params: { path } });
if (closed.response.status !== 204) throw new Error(JSON.stringify(closed.error));

const { data: status, error } = await broker.GET('/api/bandwidth-status');
if (ok(status, error).grants.reported < 1) throw new Error('the report did not arrive');

// Signaling. The SFU's calls need a session, whose cookie this client has not.
const id = await broker.GET('/peerjs/{key}/id', { params: { path: { key: 'peerjs' } }, parseAs: 'text' });
if (ok(id.data, id.error).length !== 36) throw new Error('no id');
const replies: components['schemas']['SfuDataChannels'] = {
  dataChannels: [{ location: 'remote', sessionId: 'a', dataChannelName: 'chat', canReply: true, ordered: false, maxRetransmits: 0 }],
};
const update = await broker.PUT('/partytracks/sessions/{sessionId}/datachannels/update', { params: { path: { sessionId: 'a' } }, body: replies });
if (!update.error || !('errorCode' in update.error) || update.error.errorCode !== 'session_locked') throw new Error(JSON.stringify(update.error));
const report = await broker.POST('/api/deadTrack', { body: { trackId: 'a/b', pullSessionTrace: '', pushedSessionTrace: '' } });
if (report.error?.code !== 'NOT_FOUND') throw new Error('there is no chat');

console.log(`ok      openapi-typescript: ${configuration.iceServers?.length} ICE servers, a connection, calls of signaling`);
