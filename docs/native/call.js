// A call from React Native. Nothing is renewed: TURN_TTL_SECONDS must be longer than the longest call. npm i react-native-webrtc
import { RTCPeerConnection } from 'react-native-webrtc';

export async function startCall(broker) {
  const { iceServers, grant, code, message } = await (await fetch(`${broker}/api/turn-credentials`)).json();
  if (!iceServers) throw new Error(`${code}: ${message}`); // BUDGET_EXHAUSTED, USER_BLOCKED, …
  const pc = new RTCPeerConnection({ iceServers });
  const headers = { Authorization: `Bearer ${grant}`, 'Content-Type': 'application/json' };
  const post = async (path, body) => (await fetch(`${broker}/api/connections${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).text();
  let timer;
  pc.addEventListener('connectionstatechange', async () => {
    if (pc.connectionState === 'closed') clearInterval(timer);
    if (pc.connectionState !== 'connected' || timer || !grant) return;
    timer = setInterval(() => {}, 60_000); // one connection for each call
    const { connectionId, heartbeatSeconds } = JSON.parse(await post('', {}));
    clearInterval(timer);
    timer = setInterval(async () => {
      const stats = [...(await pc.getStats()).values()];
      const { bytesReceived } = stats.find(({ type }) => type === 'transport') ?? {};
      post(`/${connectionId}/heartbeat`, { bytesReceived }).catch(console.warn);
    }, heartbeatSeconds * 1000);
  });
  return pc;
}
