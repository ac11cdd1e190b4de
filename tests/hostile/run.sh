#!/usr/bin/env bash
# Attacks the broker of this source tree, with release builds. `tests/hostile/run.sh` runs the short form in about a minute.
# `tests/hostile/run.sh long` simulates hours and floods, takes some minutes and writes its table into docs/RELIABILITY.md.
# Exits with 1 if an attack achieves more than its allowance, or if an honest client is not served.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1:-short} in
short) arguments=() ;;
long) arguments=(--long --document docs/RELIABILITY.md) ;;
*)
    echo "usage: tests/hostile/run.sh [short|long]" >&2
    exit 2
    ;;
esac

# The attacker holds up to 9,000 sockets.
ulimit -n "$(ulimit -Hn)"
cargo build --release --locked --bin turn-broker --example hostile
exec "${CARGO_TARGET_DIR:-target}/release/examples/hostile" "${arguments[@]}"
