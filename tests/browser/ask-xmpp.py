# Asks an XMPP server for its STUN and TURN servers (XEP-0215), as several users at once: password, host, port, how often each asks, a room that
# each joins then (or an empty text), JIDs. A JID without a user is a guest. Prints for each what came last: the services, or the condition of the error. Also how many credentials came,
# and what the session answered first: each asks for the server's features (`disco`) right after the first of its questions.
import asyncio
import json
import sys
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

EXTDISCO = "urn:xmpp:extdisco:2"
TIMEOUT_SECONDS = 30
# More sign-ins at once can take a busy machine longer than that.
AT_ONCE = 20


async def ask(jid: str, password: str, host: str, port: str, times: str, room: str) -> dict:
    client = ClientXMPP(jid, password)
    client.enable_direct_tls = client.enable_starttls = False
    client.enable_plaintext = True
    client.plugin["feature_mechanisms"].unencrypted_plain = True
    client.register_plugin("xep_0030")
    client.register_plugin("xep_0045")
    client.connect(host, int(port))
    await client.wait_until("session_start", TIMEOUT_SECONDS)
    order = []

    async def services() -> dict:
        iq = client.make_iq_get(ito=client.boundjid.domain)
        iq.append(ElementTree.Element(f"{{{EXTDISCO}}}services"))
        try:
            answer = await iq.send(timeout=TIMEOUT_SECONDS)
            found = answer.xml.findall(f"{{{EXTDISCO}}}services/{{{EXTDISCO}}}service")
            return {"services": [service.attrib for service in found]}
        except IqError as error:
            return {"condition": error.iq["error"]["condition"], "type": error.iq["error"]["type"]}
        finally:
            order.append("services")

    async def features() -> set:
        info = await client["xep_0030"].get_info(jid=client.boundjid.domain, timeout=TIMEOUT_SECONDS)
        order.append("disco")
        return info["disco_info"]["features"]

    questions = [services() for _ in range(int(times))]
    questions.insert(1, features())
    try:
        answers = await asyncio.gather(*questions)
        if room:
            await client["xep_0045"].join_muc_wait(room, client.boundjid.user, timeout=TIMEOUT_SECONDS)
    finally:
        await client.disconnect()
    listed = answers.pop(min(int(times), 1))
    names = {service["username"] for answer in answers for service in answer.get("services", []) if "username" in service}
    return {**(answers[-1] if answers else {}), "credentials": len(names), "first": order[0], "listed": EXTDISCO in listed}


async def ask_all(password: str, host: str, port: str, times: str, room: str, *jids: str) -> list:
    places = asyncio.Semaphore(AT_ONCE)

    async def ask_one(jid: str) -> dict:
        async with places:
            return await ask(jid, password, host, port, times, room)

    return await asyncio.gather(*(ask_one(jid) for jid in jids))


print(json.dumps(asyncio.run(ask_all(*sys.argv[1:]))))
