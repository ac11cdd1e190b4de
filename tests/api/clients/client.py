"""A client that openapi-python-client makes from openapi.json. run.sh makes it and runs this: client.py URL"""
import sys

from turn_broker_client import AuthenticatedClient, Client
from turn_broker_client.api.budget import get_bandwidth_status
from turn_broker_client.api.connections import delete_connection, heartbeat_connection, open_connection
from turn_broker_client.api.credentials import get_turn_credentials
from turn_broker_client.api.sfu import update_sfu_data_channels
from turn_broker_client.models import (
    ConnectionRequest,
    SfuDataChannels,
    SfuRemoteDataChannel,
    SfuRemoteDataChannelLocation,
)

url = sys.argv[1]
broker = Client(base_url=url, raise_on_unexpected_status=True)
minted = get_turn_credentials.sync(client=broker, ttl=600)
assert minted.ttl == 600 and minted.ice_servers, minted

app = AuthenticatedClient(base_url=url, token=minted.grant, raise_on_unexpected_status=True)
opened = open_connection.sync(client=app, body=ConnectionRequest(relayed=True))
report = ConnectionRequest(bytes_received=1_000)
assert heartbeat_connection.sync(opened.connection_id, client=app, body=report).connection_id == opened.connection_id
assert delete_connection.sync_detailed(opened.connection_id, client=app).status_code == 204
assert get_bandwidth_status.sync(client=broker).grants.reported >= 1

channel = SfuRemoteDataChannel(
    location=SfuRemoteDataChannelLocation.REMOTE, session_id="a", data_channel_name="chat", can_reply=True
)
refused = update_sfu_data_channels.sync("a", client=broker, body=SfuDataChannels(data_channels=[channel]))
assert refused.error_code == "session_locked", refused
print("ok      openapi-python-client: the same")
