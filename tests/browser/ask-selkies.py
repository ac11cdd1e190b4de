# Prints the relay servers that Selkies finds with these settings: a JSON object as argument. The code of the package is as PyPI has it.
import asyncio
import json
import sys
from types import SimpleNamespace

from selkies.webrtc_ice_config import get_rtc_configuration

settings = {
    "enable_cloudflare_turn": False, "rtc_config_json": "/nonexistent", "turn_rest_uri": "", "turn_rest_username": "selkies",
    "turn_rest_username_auth_header": "x-auth-user", "turn_rest_protocol_header": "x-turn-protocol", "turn_rest_tls_header": "x-turn-tls",
    "turn_protocol": "udp", "turn_tls": False, "turn_username": "", "turn_password": "", "turn_host": "", "turn_port": "", "turn_shared_secret": "",
    **json.loads(sys.argv[1]),
}
_, turn_uris, _, used = asyncio.run(get_rtc_configuration(SimpleNamespace(**settings)))
print(json.dumps({"turn": turn_uris, "by": [name for name, is_used in used.items() if is_used]}))
