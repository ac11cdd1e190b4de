#!/usr/bin/env bash
# Makes faults at several replicas under load and measures what the database costs. Prints the tables of docs/PERFORMANCE.md, "Several replicas".
#   benches/replicas.sh                                   all of it, in about 20 minutes after the build
#   ROUNDS=3 benches/replicas.sh faults|alone|full|figures...   only these
#   STEADY_SECONDS=3600 benches/replicas.sh steady        1,000 mints a second for so long: the sizes of the tables, vacuum, p99
# Needs PostgreSQL (Debian: apt-get install postgresql), and root if PostgreSQL must run as its own user. Everything runs on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
bin=$CARGO_TARGET_DIR/release
nice cargo build --quiet --release --locked --bin turn-broker
cp Cargo.lock benches/bare/Cargo.lock
(cd benches/bare && nice cargo build --quiet --release)
# It only waits and counts, so it need not be fast.
nice cargo build --quiet --locked --example replicas
"$bin/turn-broker" --version
(($#)) || set -- faults alone full figures
exec "$CARGO_TARGET_DIR/debug/examples/replicas" "$bin/turn-broker" "$bin/load" "${ROUNDS:-10}" "$@"
