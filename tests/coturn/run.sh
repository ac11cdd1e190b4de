#!/bin/sh
# Tests with a real coturn in a network namespace with only `lo`: the broker reads and ends its sessions over the command line,
# and `turn-broker doctor` checks it over UDP, TCP and TLS. Installs missing Debian packages and builds the tests. Prints the
# counts of the same bytes in coturn's log, its listing and our ledger, and the output of doctor.
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
