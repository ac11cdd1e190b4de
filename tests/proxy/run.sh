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

if [ -z "${TURN_BROKER_BIN:-}" ]; then
    cargo build --locked --bin turn-broker
    TURN_BROKER_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/debug/turn-broker")
fi
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN WORK_DIR PATH
trap 'rm -rf "$WORK_DIR"' EXIT

# example LANGUAGE: the block of that language in the section on proxies.
example() {
    awk -v fence="\`\`\`$1" '
        /^## / { ours = /^## Behind a proxy$/ }
        ours && $0 == fence { inside = 1; next }
        /^```$/ { inside = 0 }
        inside' docs/DEPLOYMENT.md >"$WORK_DIR/$1"
    [ -s "$WORK_DIR/$1" ] || { echo "docs/DEPLOYMENT.md has no $1 example" >&2 && exit 1; }
}
example nginx
example caddyfile
isolate sh "$here/checks.sh"
