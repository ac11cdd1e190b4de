#!/usr/bin/env bash
# Measures the size of a ledger, and the duration of a start with it: after a month, after a year, and after a kill.
#   benches/ledger.sh            DAYS="31 365" MINTS=5000 (a day) STARTS=9 (odd)
# Uses a temporary directory and deletes it at the end. The start counts from exec to the first response over HTTP.
set -euo pipefail

DAYS=${DAYS:-31 365}
MINTS=${MINTS:-5000}
STARTS=${STARTS:-9}

root=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
bin=$CARGO_TARGET_DIR/release
work=$(mktemp -d)
pid=
finish() { [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM

port=$((20000 + RANDOM % 12000))
while { : 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; do port=$((20000 + RANDOM % 12000)); done

# Prints the microseconds from the start to the first response. Then kills the broker, so the next start finds an unclean file.
start_micros() {
  local begin=${EPOCHREALTIME/[.,]/}
  (cd "$work" && exec env -i HOST=127.0.0.1 "PORT=$port" "STATE_DIR=$1" RUST_LOG=warn ICE_SOURCES=coturn \
    COTURN_URLS=turn:relay.example COTURN_SECRET=bench-fixture-secret "$bin/turn-broker") >/dev/null &
  pid=$!
  until { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; do kill -0 "$pid"; done
  printf 'GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
  local line; read -r line <&3
  [[ $line == "HTTP/1.1 200"* ]] || { echo "not ready: $line" >&2; exit 1; }
  local end=${EPOCHREALTIME/[.,]/}
  exec 3<&- 3>&-
  kill -KILL "$pid"; wait "$pid" 2>/dev/null || true; pid=
  echo $((end - begin))
}

median_start() {
  for ((each = 0; each < STARTS; each++)); do start_micros "$1"; done | sort -n | sed -n "$((STARTS / 2 + 1))p"
}

cd "$root"
nice cargo build --quiet --release --locked --bin turn-broker --example old-ledger
for days in $DAYS; do
  echo "== $days days, $MINTS mints a day"
  "$bin/examples/old-ledger" "$work/$days" "$days" "$MINTS"
  echo "start_to_first_response_us $(median_start "$work/$days")"
done
mkdir "$work/empty"
echo "== empty"
echo "start_to_first_response_us $(median_start "$work/empty")"
