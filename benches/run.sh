#!/usr/bin/env bash
# Measures the performance targets of the design and writes the table into docs/PERFORMANCE.md.
#   benches/run.sh                     measures everything and writes the document
#   benches/run.sh TOPIC...            measures only these topics and prints their rows
#   BASE_BIN=/path/to/turn-broker ...  also measures the topics local and ttl with that build, and prints the ratios
# Topics: status credentials local open ttl live holds growth memory start signaling binary.
#
# Builds the programs, starts them on free loopback ports and stops them by pid. Programs that are compared are measured in
# turns, ROUNDS times (odd), in rounds of DURATION seconds or MINTS mints. The load of a busy machine changes more slowly than
# a round. So results are compared within a round, and the median of the rounds counts. Requires cargo, curl, wrk and node.
set -euo pipefail

ROUNDS=${ROUNDS:-21}
DURATION=${DURATION:-1}
MINTS=${MINTS:-1500}
BASE_BIN=${BASE_BIN:-}
CALLERS=64
PROVIDER_MS=80
# Size of the pool. In the three minutes before the rounds, POOL_CALLERS callers create the demand that fills it.
POOL=2048
POOL_CALLERS=8
CONNECTIONS=100000
CLIENTS=1000000

root=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
bin=$CARGO_TARGET_DIR/release
program=$bin/turn-broker
document=$root/docs/PERFORMANCE.md
status_path=/api/bandwidth-status
work=$(mktemp -d)
pids=()
operator_token=bench-operator-token

finish() {
  local each
  for each in "${pids[@]}"; do kill "$each" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { echo "$*" >&2; }
die() { say "run.sh: $*"; exit 1; }

# --- Starting and stopping: the functions set $pid and $port of what they started -------------------------------------

pick_port() {
  port=$((20000 + RANDOM % 12000))
  while { : 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; do port=$((20000 + RANDOM % 12000)); done
}

# launch COMMAND...: discards its output and passes it no variable of the caller's environment.
launch() {
  (cd "$work" && exec env -i "$@") >/dev/null 2>"$work/stderr" &
  pid=$!
  pids+=("$pid")
}

# Waits until a server listens on $port. An attempt starts no process, because start_ms measures this wait.
connect() {
  until { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || die "the server ended at start: $(cat "$work/stderr")"
  done
}

# broker [NAME=VALUE]...: starts $program.
broker() { pick_port; launch HOST=127.0.0.1 "PORT=$port" "$@" "$program"; connect; }
bare() { pick_port; launch "$bin/bare" "$port" "$body_bytes"; connect; }
provider() {
  pick_port
  launch "$bin/examples/fake-cloudflare" --port "$port" --perfect --latency-ms "$PROVIDER_MS" --quiet
  connect
}
stop() { kill "$1"; wait "$1" 2>/dev/null || true; }

# --- Measuring -------------------------------------------------------------------------------------------------------

cpu_micros() { awk -v tick="$(getconf CLK_TCK)" '{ printf "%d", ($14 + $15) * 1e6 / tick }' "/proc/$1/stat"; }
resident_mb() { awk '$1 == "VmRSS:" { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$1/status"; }

state_of() { kill -0 "$1" 2>/dev/null && echo "the server is running: $(cat "$work/stderr")" || echo "the server has ended"; }

# measured NAME PID LOADER...: adds a line to $work/NAME: requests/s, p50 and p99 in ms, CPU time of PID in µs per request.
# The loader of benches/bare adds two columns: p99.9 and its own delay in ms.
measured() {
  local name=$1 server=$2 before after line
  shift 2
  before=$(cpu_micros "$server")
  line=$("$@" | sed -n 's/^result //p') || die "$name: no result, $(state_of "$server")"
  after=$(cpu_micros "$server")
  [[ $(cut -d' ' -f2 <<<"$line") == 0 ]] || die "$name: some responses failed: $line"
  awk -v cpu=$((after - before)) '{ print $1 * 1e6 / $3, $4 / 1000, $5 / 1000, cpu / $1, $6 / 1000, $7 / 1000 }' <<<"$line" |
    tee -a "$work/$name" | sed "s/^/  $name: /" >&2
}

# status_of PORT FIELD: a number of the status response.
status_of() { curl -sf "http://127.0.0.1:$1$status_path" | sed "s/.*\"$2\":\([0-9]*\).*/\1/"; }
wrk_status() { wrk -t1 -c$CALLERS -d"$2s" -s "$root/benches/report.lua" "http://127.0.0.1:$1$status_path"; }
# metric_of PORT NAME: a number of /metrics.
metric_of() {
  curl -sf -H "authorization: Bearer $operator_token" "http://127.0.0.1:$1/metrics" | sed -n "s/^turn_broker_$2 //p"
}
# load PORT COUNT METHOD PATH BODY [HEADER]...: $callers callers, in a closed loop unless $rate is set.
load() { local at=$1 count=$2; shift 2; "$bin/load" "127.0.0.1:$at" "${callers:-$CALLERS}" "$count" "${rate:-0}" "$@"; }
# all_minted PORT COUNT: a response without a credential is fast and also a 200, so this counts the credentials.
all_minted() { [[ $(status_of "$1" issued) == "$2" ]] || die "some responses had no credential"; }

first_answer() {
  printf 'GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n' $status_path >&3
  read -r first_line <&3
  [[ $first_line == HTTP/1.1\ 200* ]] || die "the first response was $first_line"
}

# start_ms NAME broker|bare [SETTING]...: from before the fork to the first line of the first response, into $work/NAME.
start_ms() {
  local name=$1 from=${EPOCHREALTIME/./}
  shift
  "$@"
  first_answer
  echo "$((${EPOCHREALTIME/./} - from))" | awk '{ print $1 / 1000 }' >>"$work/$name"
  stop "$pid"
}

# median NAME COLUMN FORMAT
median() {
  cut -d' ' -f"$2" "$work/$1" | sort -g | awk -v f="$3" '{ v[NR] = $1 } END { printf f, v[int((NR + 1) / 2)] }'
}
# range NAME FORMAT [COLUMN]: lowest and highest, of the first column by default.
range() {
  cut -d' ' -f"${3:-1}" "$work/$1" | sort -g | awk -v f="$2" 'NR == 1 { low = $1 } END { printf f " to " f, low, $1 }'
}
# spread NAME COLUMN FORMAT: the median, and the range in brackets.
spread() { echo "$(median "$1" "$2" "$3") ($(range "$1" "$3" "$2"))"; }

# rounds A OPERATOR B COLUMN: the ratio (/) or difference (-) of each round, into $work/A_to_B.
rounds() {
  paste -d' ' <(cut -d' ' -f"$4" "$work/$1") <(cut -d' ' -f"$4" "$work/$3") |
    awk -v op="$2" '{ print op == "/" ? $1 / $2 : $1 - $2 }' >"$work/$1_to_$3"
}

# verdict least|most TARGET VALUE FORMAT
verdict() {
  awk -v which="$1" -v target="$2" -v value="$3" -v f="$4" 'BEGIN {
    missing = which == "least" ? target - value : value - target
    if (missing > 0) printf "**missed by " f "**", missing; else printf "met"
  }'
}

thousands() { sed ':a; s/\([0-9]\)\([0-9]\{3\}\)\(,\|$\)/\1,\2\3/; ta' <<<"$1"; }
row() { local IFS='|'; echo "|$*|" | sed 's/|/ | /g; s/^ //; s/ $//'; }

# --- The rows --------------------------------------------------------------------------------------------------------

build() {
  profile() { sed -n '/^\[profile.release\]/,/^$/{/=/p}' "$1"; }
  diff <(profile "$root/Cargo.toml") <(profile "$root/benches/bare/Cargo.toml") >&2 ||
    die "the release profiles of benches/bare/Cargo.toml and Cargo.toml differ"
  cp "$root/Cargo.lock" "$root/benches/bare/Cargo.lock"
  (cd "$root" && nice cargo build --quiet --release --locked --example fake-cloudflare --example old-ledger)
  (cd "$root" && nice cargo build --quiet --release --locked -p turn-ledger --example lock_holds)
  # By itself, as it ships: examples turn on features of its crates.
  (cd "$root" && nice cargo build --quiet --release --locked --bin turn-broker)
  (cd "$root/benches/bare" && nice cargo build --quiet --release)
}

measure_status() {
  local bare_pid bare_port loud_pid loud_port quiet_pid quiet_port i
  broker OPERATOR_TOKEN=$operator_token; loud_pid=$pid loud_port=$port
  broker RUST_LOG=warn; quiet_pid=$pid quiet_port=$port
  bare; bare_pid=$pid bare_port=$port
  for port in "$bare_port" "$loud_port" "$quiet_port"; do wrk_status "$port" 1 >/dev/null; done
  for ((i = 0; i < ROUNDS; i++)); do
    measured bare "$bare_pid" wrk_status "$bare_port" "$DURATION"
    measured loud "$loud_pid" wrk_status "$loud_port" "$DURATION"
    measured quiet "$quiet_pid" wrk_status "$quiet_port" "$DURATION"
  done
  # A log that drops lines under load costs less, so the row shows the lost lines.
  lines_lost=$(metric_of "$loud_port" log_lines_lost)
  stop "$bare_pid"; stop "$loud_pid"; stop "$quiet_pid"
  rounds loud / bare 1
  rounds quiet / bare 1
}

measure_mints() {
  local provider_pid provider_port memory_pid memory_port i mint settings
  mint=(POST /v1/turn/keys/demo/credentials/generate-ice-servers '{"ttl":86400,"customIdentifier":"{n}"}'
    'authorization: Bearer demo-token' 'content-type: application/json')
  provider; provider_pid=$pid provider_port=$port
  settings=("CLOUDFLARE_API_BASE=http://127.0.0.1:$port" CLOUDFLARE_TURN_KEY_ID=demo
    CLOUDFLARE_TURN_API_TOKEN=demo-token RATE_LIMIT_REQUESTS=10000 RATE_LIMIT_WINDOW_SECONDS=1 TURN_POOL_MAX=0)
  broker "${settings[@]}"; memory_pid=$pid memory_port=$port
  broker "${settings[@]}" "STATE_DIR=$work/mint-state"
  load "$memory_port" 500 GET /api/turn-credentials '' >/dev/null
  load "$port" 500 GET /api/turn-credentials '' >/dev/null
  for ((i = 0; i < ROUNDS; i++)); do
    measured provider "$provider_pid" load "$provider_port" "$MINTS" "${mint[@]}"
    measured mint "$memory_pid" load "$memory_port" "$MINTS" GET /api/turn-credentials ''
    measured durable "$pid" load "$port" "$MINTS" GET /api/turn-credentials ''
  done
  all_minted "$memory_port" $((500 + ROUNDS * MINTS))
  all_minted "$port" $((500 + ROUNDS * MINTS))
  stop "$pid"; stop "$memory_pid"; stop "$provider_pid"
  rounds mint - provider 2
  rounds durable - provider 2
}

# The broker fills the pool only after three whole minutes of demand, so this takes that long.
measure_pool() {
  local provider_pid i mints=$((POOL / 2)) minted handed_out
  provider; provider_pid=$pid
  broker "CLOUDFLARE_API_BASE=http://127.0.0.1:$port" CLOUDFLARE_TURN_KEY_ID=demo CLOUDFLARE_TURN_API_TOKEN=demo-token \
    RATE_LIMIT_REQUESTS=10000 RATE_LIMIT_WINDOW_SECONDS=1 TURN_POOL_MAX=$POOL OPERATOR_TOKEN=$operator_token \
    "STATE_DIR=$work/pool-state"
  # While the pool is empty, each caller waits for the provider.
  until [[ $(metric_of "$port" pool_ready) -gt 0 ]]; do
    callers=$POOL_CALLERS load "$port" $((POOL_CALLERS * 50)) GET /api/turn-credentials '' >/dev/null
  done
  for ((i = 0; i < ROUNDS; i++)); do
    until [[ $(metric_of "$port" pool_ready) -ge $mints ]]; do sleep 0.2; done
    handed_out=$(metric_of "$port" pool_handed_out_total)
    measured pool "$pid" load "$port" $mints GET /api/turn-credentials ''
    minted=$(($(metric_of "$port" pool_handed_out_total) - handed_out))
    [[ $minted == "$mints" ]] || die "$minted of $mints came from the pool"
  done
  stop "$pid"; stop "$provider_pid"
  rounds pool / provider 1
}

measure_credentials() { measure_mints; measure_pool; }

measure_memory() {
  local token=bench-reporter-token body open
  # Uses the kill switch: the client for the provider is built, and no request waits for the provider.
  local settings=(CLOUDFLARE_TURN_KEY_ID=demo CLOUDFLARE_TURN_API_TOKEN=demo-token TURN_ENABLED=false)
  bare; first_answer; bare_idle_mb=$(resident_mb "$pid"); stop "$pid"
  broker "${settings[@]}"; first_answer; idle_mb=$(resident_mb "$pid"); stop "$pid"

  broker "${settings[@]}" REPORTER_TOKEN=$token HEARTBEAT_SECONDS=3600
  # The id is as long as those of crypto.randomUUID().
  body='{"connectionId":"00000000-0000-4000-8000-{n}"}'
  measured opening "$pid" load "$port" $CONNECTIONS POST /api/connections "$body" "authorization: Bearer $token"
  open=$(status_of "$port" activeConnections)
  [[ $open == "$CONNECTIONS" ]] || die "$open connections are open"
  connections_mb=$(resident_mb "$pid"); stop "$pid"

  # There are more clients than rows in the limiter. Most share a few rows and are refused, so the responses are not checked.
  broker "${settings[@]}" TRUSTED_PROXIES=127.0.0.0/8
  load "$port" $CLIENTS GET /api/turn-credentials '' 'x-forwarded-for: {ip}' >&2
  clients_mb=$(resident_mb "$pid"); stop "$pid"
}

measure_start() {
  local i
  "$bin/examples/old-ledger" "$work/month" 31 1000 >/dev/null
  for ((i = 0; i < 3 * ROUNDS; i++)); do
    start_ms bare_start bare
    start_ms start broker "STATE_DIR=$work/state-$i"
    start_ms start_month broker "STATE_DIR=$work/month" ICE_SOURCES=coturn COTURN_URLS=turn:relay.example \
      COTURN_SECRET=bench-fixture-secret
  done
}

measure_signaling() {
  local i
  for ((i = 0; i < ROUNDS; i++)); do node "$root/benches/signaling.mjs" "$program" | tee -a "$work/signaling" >&2; done
}

measure_binary() { :; }

size_mb() { awk -v bytes="$(stat -c %s "$bin/$1")" 'BEGIN { printf "%.1f", bytes / 1e6 }'; }
http() { echo "$(median "$1" 1 %.0f) requests/s, p50 $(median "$1" 2 %.2f) ms, $(median "$1" 4 %.1f) µs CPU each"; }
memory_row() { row "resident memory: $1" "≤ $2 MB" "$3 MB" "$4" "$(verdict most "$2" "$3" '%.1f MB')"; }
disk() { df --output=fstype "$work" | tail -n1; }

rows_status() {
  local ratio quiet_ratio
  ratio=$(median loud_to_bare 1 %.2f) quiet_ratio=$(median quiet_to_bare 1 %.2f)
  row 'status, all layers on, default log' '≥ 0.75 × bare' \
    "$ratio × ($(range loud_to_bare %.2f)): $(http loud), ${lines_lost:-no} log lines lost" "$(http bare)" \
    "$(verdict least 0.75 "$ratio" %.2f)"
  row 'status, `RUST_LOG=warn`' '≥ 0.8 × bare' "$quiet_ratio × ($(range quiet_to_bare %.2f)): $(http quiet)" 'as above' \
    "$(verdict least 0.8 "$quiet_ratio" %.2f)"
}

rows_credentials() {
  local extra durable pooled
  extra=$(median mint_to_provider 1 %.2f) durable=$(median durable_to_provider 1 %.2f)
  pooled=$(median pool_to_provider 1 %.1f)
  row "credentials from the pool, \`STATE_DIR\` on $(disk), $CALLERS callers, provider at $PROVIDER_MS ms" \
    'p50 ≤ 1 ms' "$(http pool)" 'as below' "$(verdict most 1 "$(median pool 2 %.2f)" '%.2f ms')"
  row 'the same, mints per second' '≥ 20 × a server that asks the provider for each' \
    "$pooled × ($(range pool_to_provider %.1f))" 'as below' "$(verdict least 20 "$pooled" '%.1f')"
  row "credentials, pool off, ledger in memory, $CALLERS callers, provider at $PROVIDER_MS ms" 'provider + ≤ 1 ms at p50' \
    "+ $extra ms ($(range mint_to_provider %.2f)): $(http mint)" "the provider asked directly: $(http provider)" \
    "$(verdict most 1 "$extra" '%.2f ms')"
  row "credentials, pool off, \`STATE_DIR\` on $(disk)" 'provider + ≤ 0.8 ms at p50' \
    "+ $durable ms ($(range durable_to_provider %.2f)): $(http durable)" 'as above' "$(verdict most 0.8 "$durable" '%.2f ms')"
}

rows_memory() {
  memory_row idle 15 "$idle_mb" "$bare_idle_mb MB"
  memory_row "$(thousands $CONNECTIONS) live connections" 50 "$connections_mb" ''
  memory_row "$(thousands $CLIENTS) client addresses seen" 26 "$clients_mb" ''
}

rows_start() {
  local start month
  start=$(median start 1 %.1f) month=$(median start_month 1 %.1f)
  row 'start to first response, `STATE_DIR` empty' '≤ 50 ms' "$start ms ($(range start %.1f))" \
    "$(median bare_start 1 %.1f) ms" "$(verdict most 50 "$start" '%.1f ms')"
  row 'start to first response, month-old ledger' '≤ 40 ms' "$month ms ($(range start_month %.1f))" '' \
    "$(verdict most 40 "$month" '%.1f ms')"
}

rows_signaling() {
  row 'signaling: from `register` to `accept` with a mint, p50' 'no target' "$(spread signaling 1 %.2f) ms" '' ''
  row 'signaling: messages from one member of a room to the other' 'no target' "$(spread signaling 2 %.0f)/s" '' ''
  row 'resident memory: 4,096 idle sockets' '≤ 60 MB' "$(spread signaling 4 %.1f) MB, $(median signaling 5 %.1f) kB each" '' \
    "$(verdict most 60 "$(median signaling 4 %.1f)" '%.1f MB')"
  row 'resident memory: 4,096 sockets, after a ping of all at once' '≤ 80 MB' \
    "$(spread signaling 7 %.1f) MB, all answered within $(median signaling 6 %.0f) ms" '' \
    "$(verdict most 80 "$(median signaling 7 %.1f)" '%.1f MB')"
}

rows_binary() {
  row 'release binary, stripped' '≤ 14 MB' "$(size_mb turn-broker) MB" "$(size_mb bare) MB" \
    "$(verdict most 14 "$(size_mb turn-broker)" '%.1f MB')"
}

# table TOPIC...
table() {
  local topic
  row what target measured 'bare axum route, same run' verdict
  row --- --- --- --- ---
  for topic in "$@"; do "rows_$topic"; done
}

# missed <TABLE: lists the rows that miss their target, and by how much.
missed() {
  local list
  list=$(sed -n 's/^| \([^|]*\) |.*\*\*\(missed [^*]*\)\*\* |$/- \1: \2/p')
  echo "${list:+Targets missed:$'\n'}${list:-All targets are met.}"
}

machine() {
  echo "$(date -u +%F), $("$bin/turn-broker" --version), $(rustc --version | cut -d' ' -f1,2), Linux $(uname -r)," \
    "$(nproc) cores ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed -n 1p)), shared by server and loader," \
    "load average before the run $load_before; $ROUNDS rounds," \
    "$CALLERS callers unless a row says otherwise, status body $body_bytes bytes." \
    "The lowest and the highest round are in brackets after a figure."
}

publish() {
  local begin='<!-- benches/run.sh writes from here -->' end='<!-- to here -->'
  if ! grep -qxF -- "$begin" "$document" || ! grep -qxF -- "$end" "$document"; then die "$document has no begin and end marks"; fi
  awk -v begin="$begin" -v end="$end" -v result="$work/result" '
    $0 == end { while ((getline line <result) > 0) print line; inside = 0 }
    !inside { print }
    $0 == begin { inside = 1 }' "$document" >"$work/document"
  cat "$work/document" >"$document"
}

source "$root/benches/local_mints.sh"

topics=("$@")
(($#)) || topics=(status credentials local open ttl live holds growth memory start signaling binary)
for topic in "${topics[@]}"; do declare -F "rows_$topic" >/dev/null || die "$topic is not a topic"; done
for tool in cargo curl wrk node; do command -v $tool >/dev/null || die "$tool is missing (Debian: apt-get install wrk curl nodejs)"; done
[[ -z $BASE_BIN ]] || BASE_BIN=$(realpath -e "$BASE_BIN")
load_before=$(cut -d' ' -f1 /proc/loadavg)
say 'building'; build
broker; body_bytes=$(curl -sf "http://127.0.0.1:$port$status_path" | wc -c); stop "$pid"
for topic in "${topics[@]}"; do say "$topic: requests/s, p50 ms, p99 ms, CPU µs, p99.9 ms, delay ms"; "measure_$topic"; done
{ table "${topics[@]}"; base_table "${topics[@]}"; } >"$work/table"
{ machine; echo; cat "$work/table"; echo; missed <"$work/table"; } | tee "$work/result"
(($#)) || publish
