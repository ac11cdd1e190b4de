# Asks an XMPP server for its STUN and TURN servers (XEP-0215), as a user: JID, password, host, port. Prints them, or the condition of the error.
import asyncio
import json
import sys
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

EXTDISCO = "urn:xmpp:extdisco:2"


async def ask(user: str, password: str, host: str, port: str) -> dict:
    client = ClientXMPP(user, password)
    client.enable_direct_tls = client.enable_starttls = False
    client.enable_plaintext = True
    client.plugin["feature_mechanisms"].unencrypted_plain = True
    client.connect(host, int(port))
    await client.wait_until("session_start", 20)
    iq = client.make_iq_get(ito=client.boundjid.domain)
    iq.append(ElementTree.Element(f"{{{EXTDISCO}}}services"))
    try:
        answer = await iq.send(timeout=20)
        services = answer.xml.findall(f"{{{EXTDISCO}}}services/{{{EXTDISCO}}}service")
        return {"services": [service.attrib for service in services]}
    except IqError as error:
        return {"condition": error.iq["error"]["condition"], "type": error.iq["error"]["type"]}
    finally:
        await client.disconnect()


print(json.dumps(asyncio.run(ask(*sys.argv[1:]))))
