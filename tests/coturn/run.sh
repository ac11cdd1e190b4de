#!/bin/sh
# A real coturn, read and cut by its command line, and examined by `turn-broker doctor` over UDP, TCP and TLS, in a network
# namespace that has nothing but `lo`. Installs what is missing (Debian packages), builds the tests, and prints what
# coturn's log, its listing and our book say of the same bytes, and what doctor says.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin

# --- what the test needs -------------------------------------------------------------------------------------------
missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; }
need turnserver coturn
need turnutils_uclient coturn
need openssl openssl
need ip iproute2
need unshare util-linux
if [ -n "$missing" ]; then
    echo "installing:$missing"
    if [ "$(id -u)" = 0 ]; then root=; else root='sudo -n'; fi
    # shellcheck disable=SC2086 # both are lists of words
    if ! { $root apt-get -q update &&
        $root env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $missing; }; then
        echo "cannot install:$missing. Install these Debian packages as root, then run this again." >&2
        exit 1
    fi
fi
cargo test --locked --test it --no-run
WORK_DIR=$(mktemp -d)
export WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT

# --- a network of our own --------------------------------------------------------------------------------------------
# Process 1 of a process namespace: whatever it started dies with it, and it dies with `unshare`.
isolate='unshare --net --pid --mount-proc --fork --kill-child'
if ! $isolate true 2>/dev/null; then
    isolate='unshare --user --map-root-user --net --pid --mount-proc --fork --kill-child'
    if ! $isolate true; then
        echo 'cannot make a network namespace: run as root, or allow user namespaces.' >&2
        exit 1
    fi
fi
$isolate sh -c 'ip link set lo up && cargo test --locked --offline --test it -- --ignored --nocapture --test-threads=1 real_coturn' &
namespace=$!
trap 'kill -KILL $namespace; exit 130' INT TERM
wait $namespace
