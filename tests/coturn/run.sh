#!/bin/sh
# A real coturn, read and cut by its command line, and examined by `turn-broker doctor` over UDP, TCP and TLS, in a network
# namespace that has nothing but `lo`. Installs what is missing (Debian packages), builds the tests, and prints what
# coturn's log, its listing and our book say of the same bytes, and what doctor says.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin

# shellcheck source=tests/machine.sh
. tests/machine.sh

need turnserver=coturn turnutils_uclient=coturn openssl=openssl ip=iproute2 unshare=util-linux
cargo test --locked --test it --no-run
WORK_DIR=$(mktemp -d)
export WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT
isolate cargo test --locked --offline --test it -- --ignored --nocapture --test-threads=1 real_coturn
