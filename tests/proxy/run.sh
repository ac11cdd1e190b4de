#!/bin/sh
# Tests the nginx and Caddy examples of docs/OPERATE.md and docs/Caddyfile, each in front of a broker, in a network namespace with
# only `lo`: HTTP, and a WebSocket of each signaling protocol. Also its settings for an app server, and those for a Matrix homeserver with Caddy.
# Takes ten seconds after the build. Prints each check with its result. The exit status is 0 or 1.
#   TURN_BROKER_BIN  the binary to test instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh
# shellcheck source=tests/documented.sh
. tests/documented.sh

need node=nodejs curl=curl openssl=openssl ip=iproute2 unshare=util-linux
unpack usr/sbin/nginx=nginx usr/bin/caddy=caddy
PATH=$PATH:$unpacked/usr/sbin:$unpacked/usr/bin

broker .
WORK_DIR=$(mktemp -d)
HERE=$here
export HERE TURN_BROKER_BIN WORK_DIR PATH
trap 'rm -rf "$WORK_DIR"' EXIT

for example in nginx caddyfile; do documented 'Behind a proxy' $example "$WORK_DIR/$example"; done
cp docs/Caddyfile "$WORK_DIR/caddyfile-of-compose"
documented 'A Matrix homeserver' caddyfile "$WORK_DIR/caddyfile-of-matrix"
documented 'A Matrix homeserver' ini "$WORK_DIR/matrix.env"
documented 'An app server with a key' ini "$WORK_DIR/app.env"
# The broker trusts the network that Caddy is in, and no other.
subnet=$(sed -n 's/.*subnet: \([0-9./]*\).*/\1/p' docs/compose.caddy.yaml)
grep -qF "TRUSTED_PROXIES: $subnet" docs/compose.caddy.yaml || {
    echo "docs/compose.caddy.yaml: TRUSTED_PROXIES is not the subnet $subnet" >&2
    exit 1
}
isolate sh "$here/checks.sh"
