#!/bin/sh
# The broker with a real coturn and a real Chromium, in a network namespace with only `lo`.
# Installs missing Debian packages, builds the broker, and prints three counts of the same bytes. The exit status is 0 or 1.
#   run.sh renewal   a call with turn-client.js over two renewals and a restart of the broker
#   run.sh demo      `turn-broker demo` with two windows of its page, with pictures under target/pages
#   run.sh pages     the dashboard and the relay check, with pictures under target/pages
#   run.sh cut       calls without reports, ended by budget, revocation and expiry
#   run.sh users     calls of two users who sign in, one past USER_LIMIT_GB and then blocked, with pictures under target/pages
#   run.sh rooms     three browsers in an Orange room, with partysocket from npm
#   run.sh needed    calls that mint only when needed, between two networks with the direct path open and blocked
#   run.sh needed-cost   what that costs in connect time, against minting up front
#   run.sh ayame     calls over the broker's signaling with Ayame's SDK: a room, webhooks, a restart
#   run.sh ayame-relay   video calls over that signaling, over the relay in the broker and over a coturn: counted, cut, and held over an expiry
#   run.sh p2pcf     the p2pcf package, as npm has it, with the broker as its server, over a restart of the broker
#   run.sh peerjs    calls between peers with PeerJS, over a restart of the broker
#   run.sh yjs       shared documents with y-webrtc, over a restart of the broker
#   run.sh replicas  the four clients with sockets at two replicas, of which the leader is killed
#   run.sh partytracks   video over the SFU proxy with partytracks and an SFU on loopback, over a spent budget and a restart
#   run.sh servers   programs of others that mint with a server key: Janus, Selkies, dimos, the server part of partytracks, Prosody, ejabberd, Talk
#   TURN_BROKER_BIN  the binary to test instead of building one, for steps that need no short times      CHROMIUM  the browser to use
set -eu
[ -z "${TURN_BROKER_BIN:-}" ] || TURN_BROKER_BIN=$(realpath "$TURN_BROKER_BIN")
cd "$(dirname "$0")"
case ${1:-} in
renewal) script=renewal.mjs ;;
pages) script=pages.mjs ;;
cut) script=cut.mjs ;;
demo) script=demo.mjs ;;
users) script=users.mjs ;;
rooms) script=rooms.mjs ;;
needed | needed-cost) script=needed.mjs ;;
ayame) script=ayame.mjs ;;
ayame-relay) script=ayame-relay.mjs ;;
p2pcf) script=p2pcf.mjs ;;
peerjs) script=peerjs.mjs ;;
yjs) script=yjs.mjs ;;
replicas) script=replicas.mjs ;;
partytracks) script=partytracks.mjs ;;
servers) script=servers.mjs ;;
*) echo "usage: $0 renewal | pages | cut | demo | users | needed | needed-cost | ayame | ayame-relay | rooms | p2pcf | peerjs | yjs | replicas | partytracks | servers" >&2; exit 64 ;;
esac
PATH=$PATH:/usr/sbin:/sbin
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

# shellcheck source=tests/machine.sh
. ../machine.sh

need turnserver=coturn "$CHROMIUM=chromium" node=nodejs npm=npm ip=iproute2 unshare=util-linux
if [ "$script" = replicas.mjs ]; then need /usr/lib/postgresql/*/bin/initdb=postgresql setpriv=util-linux openssl=openssl; fi
npm_packages
if [ "$script" = renewal.mjs ]; then need iptables=iptables setpriv=util-linux; fi
if [ "$script" = servers.mjs ]; then
    need python3=python3-venv openssl=openssl mount=mount php=php-cli '/usr/share/php8*-curl/curl/curl.ini=php-curl' \
        /usr/share/php/GuzzleHttp/autoload.php=php-guzzlehttp-guzzle jq=jq luac5.4=lua5.4
    # Without what Selkies needs for pictures and sound, and dimos for robots.
    (cd ../.. && venv programs tests/browser/requirements.txt --no-deps)
    (cd ../.. && unpack usr/bin/janus=janus usr/bin/prosody=prosody usr/sbin/ejabberdctl=ejabberd)
    unpacked=$(cd ../.. && realpath -m "${CARGO_TARGET_DIR:-target}/unpacked")
    JANUS=$unpacked/usr/bin/janus JANUS_PARTS=$(dirname "$unpacked"/usr/lib/*/janus/plugins) PROGRAMS_PYTHON=$unpacked/../programs/bin/python
    if ldd "$JANUS" | grep -q 'not found'; then libraries janus; fi
    lua5.4 -e 'require "socket" require "lxp" require "lfs" require "ssl"' 2>/dev/null || libraries prosody
    command -v erlc >/dev/null || libraries ejabberd
    UNPACKED=$unpacked
    export UNPACKED JANUS JANUS_PARTS PROGRAMS_PYTHON
fi

case $script in
ayame-relay.mjs | cut.mjs | partytracks.mjs | renewal.mjs | users.mjs)
    # They wait for the ends of lives and for intervals (src/bounds.rs).
    TURN_BROKER_BIN=$(cd ../.. && cargo build $one_build --example short-lives && realpath "$built/examples/short-lives")
    ;;
*) broker ../.. ;;
esac
if [ "$script" = pages.mjs ] && [ -z "${FAKE_CLOUDFLARE_BIN:-}" ]; then
    FAKE_CLOUDFLARE_BIN=$(cd ../.. && cargo build $one_build --example fake-cloudflare && realpath "$built/examples/fake-cloudflare")
    export FAKE_CLOUDFLARE_BIN
fi
PICTURES=$(cd ../.. && realpath -m "${CARGO_TARGET_DIR:-target}/pages")
mkdir -p "$PICTURES"
export PICTURES
WORK_DIR=$(mktemp -d)
export TURN_BROKER_BIN CHROMIUM WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT
if [ "$script" = servers.mjs ]; then isolate node --test --test-reporter=dot ./*.test.mjs; fi
isolate node "$script" "${1:-}"
