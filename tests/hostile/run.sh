#!/usr/bin/env bash
# Attacks the broker of this source tree. `tests/hostile/run.sh` runs the short form in about a minute, with the build of the tests:
# no result depends on speed. `tests/hostile/run.sh long` is about large floods, with release builds. It takes some minutes, and writes
# its table into docs/PERFORMANCE.md.
# Exits with 1 if an attack achieves more than its allowance, or if an honest client is not served.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/machine.sh
. tests/machine.sh

case ${1:-short} in
short) arguments=() build=$one_build programs=$built ;;
long) arguments=(--long --document docs/PERFORMANCE.md) build='--locked --release' programs=${CARGO_TARGET_DIR:-target}/release ;;
*)
    echo "usage: tests/hostile/run.sh [short|long]" >&2
    exit 2
    ;;
esac

# The attacker holds up to 9,000 sockets.
ulimit -n "$(ulimit -Hn)"
# shellcheck disable=SC2086
cargo build $build --bin turn-broker --example hostile
exec "$programs/examples/hostile" "${arguments[@]}"
