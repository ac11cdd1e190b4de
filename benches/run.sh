#!/usr/bin/env bash
# Measures every row of DESIGN.md §9 that applies so far and writes the table into docs/PERFORMANCE.md. One command:
#   benches/run.sh
# Builds what it needs, starts it on free loopback ports and stops it by its pid. What is compared is measured in
# turns, ROUNDS times (odd) for DURATION seconds each; of every figure the median counts. Needs cargo, curl and wrk.
set -euo pipefail

ROUNDS=${ROUNDS:-7}
DURATION=${DURATION:-3}
CALLERS=64
PROVIDER_MS=80
MINTS=4000                      # per round: about 5 s
CONNECTIONS=100000
CLIENTS=1000000
REPORTER_TOKEN=bench-reporter-token

root=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
bin=$CARGO_TARGET_DIR/release
document=$root/docs/PERFORMANCE.md
status_path=/api/bandwidth-status
work=$(mktemp -d)
pids=()

finish() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

die() { echo "run.sh: $*" >&2; exit 1; }
say() { echo "$*" >&2; }

# --- Starting and stopping -------------------------------------------------------------------------------------------

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    { : 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || { echo "$port"; return; }
  done
}

# launch COMMAND...: its pid in $pid. Standard output goes nowhere; no setting of the caller's reaches it.
launch() {
  (cd "$work" && exec env -i "$@") >/dev/null 2>>"$work/stderr" &
  pid=$!
  pids+=("$pid")
}

# answers PORT: waits until somebody listens there, without starting a process for each attempt.
answers() {
  until { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || die "it ended before it answered: $(cat "$work/stderr")"
  done
}

# broker [NAME=VALUE]...: pid and port in $pid and $port.
broker() {
  port=$(free_port)
  launch HOST=127.0.0.1 "PORT=$port" "$@" "$bin/turn-broker"
  answers "$port"
}

bare() {
  port=$(free_port)
  launch "$bin/bare" "$port" "$body_bytes"
  answers "$port"
}

stop() {
  kill "$1"
  wait "$1" 2>/dev/null || true
}

# --- Measuring -------------------------------------------------------------------------------------------------------

cpu_micros() { awk -v tick="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000000 / tick }' "/proc/$1/stat"; }
resident_mb() { awk '$1 == "VmRSS:" { printf "%.1f\n", $2 * 1024 / 1e6 }' "/proc/$1/status"; }

# measured NAME PID COMMAND...: runs a loader against PID and adds a line to $work/NAME: requests/s, p50 and p99 in ms,
# CPU microseconds of PID per request.
measured() {
  local name=$1 server=$2 before after line
  shift 2
  before=$(cpu_micros "$server")
  line=$("$@" | sed -n 's/^result //p')
  after=$(cpu_micros "$server")
  [[ $(cut -d' ' -f2 <<<"$line") == 0 ]] || die "$name: not every answer was good: $line"
  awk -v cpu="$((after - before))" '{ print $1 * 1e6 / $3, $4 / 1000, $5 / 1000, cpu / $1 }' <<<"$line" >>"$work/$name"
  say "  $name: $(tail -n1 "$work/$name")"
}

wrk_status() { wrk -t1 -c$CALLERS -d"$1" -s "$root/benches/report.lua" "http://127.0.0.1:$2$status_path"; }

# median FILE COLUMN [FORMAT]
median() {
  cut -d' ' -f"$2" "$work/$1" | sort -g |
    awk -v format="${3:-%.0f}" '{ v[NR] = $1 } END { printf format, v[int((NR + 1) / 2)] }'
}

# pairs A B COLUMN OPERATOR: what the rounds of A and B give with / or -, into $work/pairs.
pairs() {
  paste -d' ' <(cut -d' ' -f"$3" "$work/$1") <(cut -d' ' -f"$3" "$work/$2") |
    awk -v op="$4" '{ print op == "/" ? $1 / $2 : $1 - $2 }' >"$work/pairs"
}

# range FILE FORMAT: the lowest and the highest of its first column.
range() { cut -d' ' -f1 "$work/$1" | sort -g | awk -v f="$2" 'NR == 1 { low = $1 } END { printf f " to " f, low, $1 }'; }

# verdict VALUE TARGET FORMAT [least]: the target is the most that is wanted, or the least.
verdict() {
  awk -v value="$1" -v target="$2" -v format="$3" -v least="${4:-}" 'BEGIN {
    missing = least ? target - value : value - target
    if (missing > 0) printf "**missed** by " format, missing; else printf "reached"
  }'
}

# --- The rows --------------------------------------------------------------------------------------------------------

build() {
  profile() { sed -n '/^\[profile.release\]/,/^\[\|^$/p' "$1" | grep =; }
  diff <(profile "$root/Cargo.toml") <(profile "$root/benches/bare/Cargo.toml") ||
    die "give benches/bare/Cargo.toml the release profile of Cargo.toml"
  cp "$root/Cargo.lock" "$root/benches/bare/Cargo.lock"
  (cd "$root" && nice cargo build --quiet --release --locked --bin turn-broker --example fake-cloudflare)
  (cd "$root/benches/bare" && nice cargo build --quiet --release)
}

status_row() {
  local bare_pid bare_port quiet_pid quiet_port round
  broker RUST_LOG=warn; quiet_pid=$pid quiet_port=$port
  body_bytes=$(curl -sf "http://127.0.0.1:$port$status_path" | wc -c)
  broker
  bare; bare_pid=$pid bare_port=$port
  # The broker with the default log is the last but one that was started.
  local loud_pid=${pids[-2]} loud_port
  loud_port=$(tr '\0' '\n' <"/proc/$loud_pid/environ" | sed -n 's/^PORT=//p')
  for port in "$bare_port" "$loud_port" "$quiet_port"; do wrk_status 1s "$port" >/dev/null; done
  for ((round = 0; round < ROUNDS; round++)); do
    measured bare "$bare_pid" wrk_status "${DURATION}s" "$bare_port"
    measured status "$loud_pid" wrk_status "${DURATION}s" "$loud_port"
    measured status-quiet "$quiet_pid" wrk_status "${DURATION}s" "$quiet_port"
  done
  stop "$bare_pid"; stop "$loud_pid"; stop "$quiet_pid"
}
