#!/bin/sh
# The proxies of docs/DEPLOYMENT.md: its own nginx and Caddy examples, taken out of the page, each before a broker, in a network
# namespace that has nothing but `lo`. Fetches both from Debian and unpacks them under target/proxy: installed, each would start
# a service of its own. Six seconds once the broker is built; prints what was asked and got; exit status 0 or 1.
#   TURN_BROKER_BIN  test this binary instead of building one
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh
# shellcheck source=tests/documented.sh
. tests/documented.sh

need curl=curl openssl=openssl ip=iproute2 unshare=util-linux
cache=$(realpath -m "${CARGO_TARGET_DIR:-target}")/proxy
mkdir -p "$cache"
fetch() { (cd "$cache" && apt-get -qq download nginx caddy); }
if [ ! -x "$cache/usr/sbin/nginx" ] || [ ! -x "$cache/usr/bin/caddy" ]; then
    if ! fetch 2>/dev/null; then
        if [ "$(id -u)" = 0 ]; then root=; else root='sudo -n'; fi
        $root apt-get -q update
        fetch
    fi
    for package in "$cache"/*.deb; do dpkg -x "$package" "$cache"; done
    rm "$cache"/*.deb
fi
PATH=$PATH:$cache/usr/sbin:$cache/usr/bin

broker .
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN WORK_DIR PATH
trap 'rm -rf "$WORK_DIR"' EXIT

for example in nginx caddyfile; do documented 'Behind a proxy' $example "$WORK_DIR/$example"; done
isolate sh "$here/checks.sh"
