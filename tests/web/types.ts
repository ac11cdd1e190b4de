// Type checks only, never run. The compiler must reject each line under `@ts-expect-error`.
import { createTurnClient, TurnClientError, type TurnStatus } from '../../src/web/turn-client/turn-client.js';

const client = createTurnClient({
  baseUrl: 'https://broker.example',
  ttl: 600,
  storage: window.localStorage,
  fetch: window.fetch,
  onError: (error) => console.warn(error.code, error.retryAfterSeconds ?? 0),
  onStatus: ({ degraded, expiresAt }: TurnStatus) => console.log(degraded, expiresAt?.toISOString()),
});
createTurnClient();
createTurnClient({ storage: null });

const pc = new RTCPeerConnection({ iceServers: await client.iceServers() });
const watch = client.watch(pc, { connectionId: 'room-9.alice', onRenew: ({ restart, relayed }) => restart && relayed === true });
client.watch(pc, { onRenew() {} });
const direct = new RTCPeerConnection({ iceServers: await client.iceServers({ when: 'needed' }) });
client.watch(direct, { when: 'needed', relayAfterSeconds: 2 });
createTurnClient({ stunUrls: ['stun:turn.example:3478'] });
const { start, end } = client.call({ when: 'needed' });
const started: RTCPeerConnection | null = await start();
started?.addTrack(new MediaStreamTrack());
await end();
const id: string | null = watch.connectionId;
await watch.stop();
await client.close();
const fault: unknown = new Error(id ?? '');
if (fault instanceof TurnClientError && fault.code === 'NETWORK') console.log(fault.status);
console.log(new TurnClientError('NETWORK', 'no answer', { status: 502 }).code);

// @ts-expect-error the message is required
new TurnClientError('NETWORK');
// @ts-expect-error ttl is a number
createTurnClient({ ttl: '600' });
// @ts-expect-error iceServers() is a promise
new RTCPeerConnection({ iceServers: client.iceServers() });
// @ts-expect-error read only
watch.connectionId = 'other';
// @ts-expect-error the call may have ended meanwhile
(await client.call().start()).close();
// @ts-expect-error no such time
await client.iceServers({ when: 'later' });
// @ts-expect-error no such option
createTurnClient({ base: '' });
