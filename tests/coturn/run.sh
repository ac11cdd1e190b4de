#!/bin/sh
# `turn-broker doctor` with a real coturn in a network namespace with only `lo`. Installs missing Debian packages,
# builds the tests, and prints the output of doctor. `tests/browser/run.sh cut` reads a real coturn and ends its sessions.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin

# shellcheck source=tests/machine.sh
. tests/machine.sh

need turnserver=coturn ip=iproute2 unshare=util-linux
cargo test $one_build --test it --no-run
WORK_DIR=$(mktemp -d)
export WORK_DIR
trap 'rm -rf "$WORK_DIR"' EXIT
isolate cargo test $one_build --offline --test it -- --ignored --nocapture --test-threads=1 real_coturn
