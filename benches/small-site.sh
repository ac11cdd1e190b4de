#!/usr/bin/env bash
# How long the callers of a small site wait: one mint each second, at a provider that takes 150 ms. Prints the median and how many took less
# than 20 ms, the same of /health, and how many credentials minted ahead are ready, were handed out, and were wasted.
#   benches/small-site.sh      CALLERS=180, one a second; TURN_BROKER_BIN and FAKE_CLOUDFLARE_BIN, programs to measure instead of building them
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/machine.sh
need curl=curl
if [ -z "${FAKE_CLOUDFLARE_BIN:-}" ]; then
    # shellcheck disable=SC2086
    FAKE_CLOUDFLARE_BIN=$(cargo build $one_build --example fake-cloudflare && realpath "$built/examples/fake-cloudflare")
fi
broker .
state=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$state"' EXIT
port=$((20000 + RANDOM % 10000))
"$FAKE_CLOUDFLARE_BIN" --latency-ms 150 --port $((port + 1)) >"$state/cloudflare.log" 2>&1 &
env PORT=$port HOST=127.0.0.1 STATE_DIR="$state" RATE_LIMIT_REQUESTS=10000 OPERATOR_TOKEN=operator-of-the-small-site RUST_LOG=warn \
    CLOUDFLARE_API_BASE=http://127.0.0.1:$((port + 1)) CLOUDFLARE_TURN_KEY_ID=demo CLOUDFLARE_TURN_API_TOKEN=demo-token \
    RELAY_PROBE=off "$TURN_BROKER_BIN" >"$state/broker.log" 2>&1 &
curl -sf --retry 50 --retry-connrefused --retry-delay 1 -o "$state/ready" "http://127.0.0.1:$port/ready"
# took NAME PATH: a caller with a connection of its own, as different pages have.
took() { curl -sf -o "$state/answer" -w '%{time_total}\n' "http://127.0.0.1:$port$2" >>"$state/$1"; }
for _ in $(seq "${CALLERS:=180}"); do
    took health /health
    took mint '/api/turn-credentials?ttl=3600'
    grep -q '"degraded":false' "$state/answer"
    sleep 1
done
for each in health mint; do
    sort -n "$state/$each" | awk -v "name=$each" '{ ms[NR] = $1 * 1000; fast += ms[NR] < 20 }
        END { printf "%s, %d callers: p50 %.1f ms, longest %.0f ms, %d below 20 ms\n", name, NR, ms[int((NR + 1) / 2)], ms[NR], fast }'
done
curl -sf -H 'Authorization: Bearer operator-of-the-small-site' "http://127.0.0.1:$port/api/overview" | grep -o '"pool":{[^}]*}'
