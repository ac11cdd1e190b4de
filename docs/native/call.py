# A call from Python. Nothing is renewed: TURN_TTL_SECONDS must be longer than the longest call. pip install aiortc aiohttp
import asyncio

import aiohttp
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection


async def start_call(broker):
    """Returns a peer connection, and a task that reports it: cancel the task before you close the connection."""
    async with aiohttp.ClientSession() as http, http.get(f"{broker}/api/turn-credentials") as answer:
        minted = await answer.json()
    if "iceServers" not in minted:  # BUDGET_EXHAUSTED, USER_BLOCKED, …
        raise RuntimeError(f"{minted['code']}: {minted['message']}")
    pc = RTCPeerConnection(RTCConfiguration([RTCIceServer(**server) for server in minted["iceServers"]]))
    return pc, asyncio.create_task(report(broker, minted.get("grant"), pc))


async def report(broker, grant, pc):
    headers, url = {"Authorization": f"Bearer {grant}"}, f"{broker}/api/connections"
    async with aiohttp.ClientSession(headers=headers) as http:
        while grant and pc.connectionState in ("new", "connecting"):
            await asyncio.sleep(1)
        opened = await (await http.post(url, json={})).json() if grant else {}
        while "connectionId" in opened and pc.connectionState == "connected":
            await asyncio.sleep(opened["heartbeatSeconds"])
            got = sum(one.bytesReceived for one in (await pc.getStats()).values() if one.type == "transport")
            await http.post(f"{url}/{opened['connectionId']}/heartbeat", json={"bytesReceived": got} if got else {})
