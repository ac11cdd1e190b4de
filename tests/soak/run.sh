#!/usr/bin/env bash
# Half an hour of mixed load with faults: honest callers, attackers, a provider that hangs, a full disk and a wall clock that
# steps. Prints a table and exits with 1 if a rule was broken.
#   tests/soak/run.sh            MINUTES=30 WRITE=1 (put the table into docs/PERFORMANCE.md)
# Needs root or user namespaces, for a small disk and a network of its own. Installs Debian's faketime.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$root/tests/machine.sh"

export MINUTES="${MINUTES:-30}"
if [ "${1:-}" = --inside ]; then
    shift
    mount -t tmpfs -o size=256m,mode=700 tmpfs "$SOAK_DISK"
    exec "$@"
fi

need faketime=faketime ip=iproute2
cd "$root"
cargo build --locked --release --bin turn-broker --example soak
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/release
SOAK_DISK=$(mktemp -d)
export SOAK_DISK
trap 'rm -rf "$SOAK_DISK"' EXIT
ulimit -n 16384
isolate unshare --mount --propagation private "$here/run.sh" --inside "$bin/examples/soak" "$SOAK_DISK" "$MINUTES" \
    ${WRITE:+"$root/docs/PERFORMANCE.md"}
