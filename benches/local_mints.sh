# Topics of run.sh: durable mints from a source that needs no network. The source is coturn: the broker signs its credentials
# itself. So only the broker, its ledger and the disk take time.
#   local  closed loop with 1, 4, 16 and 64 callers; with 64, /health of the same process
#   open   open loop, with heartbeats beside the mints
#   ttl    CPU time of a mint by the life of its credential
#   live   CPU time of a mint beside many live grants, and their memory
#   holds  how long a step holds the lock of the books, with many live grants
#   growth CPU time of a mint beside fewer live grants, with many users, and on a month-old ledger; mints while many grants end

# Mints of a round with 64 callers: about a second.
LOCAL_MINTS=${LOCAL_MINTS:-24000}
# Fewer callers mint less in that time. The number of mints is divided by this value.
declare -A SHARE=([1]=12 [4]=4 [16]=2 [64]=1)
WARM_UP=500
OPEN_SECONDS=${OPEN_SECONDS:-60}
OPEN_ROUNDS=${OPEN_ROUNDS:-3}
OPEN_MINTS=2000
OPEN_HEARTBEATS=1000
LIVE_GRANTS=${LIVE_GRANTS:-400000}
# They take longer than other rounds.
LIVE_ROUNDS=$((ROUNDS < 9 ? 3 : ROUNDS / 3))
USERS=${USERS:-100000}
ENDING_GRANTS=${ENDING_GRANTS:-50000}
mint_path=/api/turn-credentials

# local_broker [NAME=VALUE]...: starts $program with an empty ledger in $ledger.
local_broker() {
  ledger=$(mktemp -d "$work/ledger.XXXXXX")
  broker ICE_SOURCES=coturn,stun COTURN_URLS=turn:relay.example COTURN_SECRET=bench-fixture-secret BANDWIDTH_LIMIT_GB=1000000 \
    RATE_LIMIT_REQUESTS=10000 RATE_LIMIT_WINDOW_SECONDS=1 "STATE_DIR=$ledger" "$@"
  load "$port" $WARM_UP GET $mint_path '' >/dev/null
}
stop_local() { stop "$1"; rm -rf "$2"; }

# mint_round NAME COUNT [NAME=VALUE]...: one round with a new broker.
mint_round() {
  local name=$1 count=$2
  shift 2
  local_broker "$@"
  measured "$name" "$pid" load "$port" "$count" GET $mint_path ''
  [[ $name != local_64 ]] || measured health "$pid" load "$port" "$count" GET /health ''
  all_minted "$port" $((WARM_UP + count))
  stop_local "$pid" "$ledger"
}

# mint_rounds NAME COUNT [NAME=VALUE]...: one round with each build.
mint_rounds() {
  mint_round "$@"
  [[ -z $BASE_BIN ]] || program=$BASE_BIN mint_round "base_$1" "${@:2}"
}

measure_local() {
  local i callers
  for ((i = 0; i < ROUNDS; i++)); do
    for callers in 1 4 16 64; do mint_rounds "local_$callers" $((LOCAL_MINTS / SHARE[$callers])); done
  done
  rounds local_64 / health 1
}

measure_ttl() {
  local i ttl
  for ((i = 0; i < ROUNDS; i++)); do
    for ttl in 300 86400 172800; do mint_rounds "ttl_$ttl" "$LOCAL_MINTS" "TURN_TTL_SECONDS=$ttl"; done
  done
  rounds ttl_86400 / ttl_300 4
  rounds ttl_172800 / ttl_300 4
}

# Each heartbeat goes to a different connection. The reporter has opened all of them before.
measure_open() {
  local i token=bench-reporter-token id='00000000-0000-4000-8000-{n}' heartbeats=$((OPEN_SECONDS * OPEN_HEARTBEATS))
  local mints=$((OPEN_SECONDS * OPEN_MINTS)) beside
  for ((i = 0; i < OPEN_ROUNDS; i++)); do
    local_broker REPORTER_TOKEN=$token "HEARTBEAT_SECONDS=$OPEN_SECONDS"
    measured opened "$pid" load "$port" $heartbeats POST /api/connections "{\"connectionId\":\"$id\"}" \
      "authorization: Bearer $token"
    rate=$OPEN_HEARTBEATS measured heartbeats "$pid" load "$port" $heartbeats POST "/api/connections/$id/heartbeat" \
      '{"bytesReceived":15000000,"relayed":true}' "authorization: Bearer $token" &
    beside=$!
    rate=$OPEN_MINTS measured open "$pid" load "$port" $mints GET $mint_path ''
    wait "$beside" || die "the heartbeats failed"
    all_minted "$port" $((WARM_UP + mints))
    stop_local "$pid" "$ledger"
  done
}

measure_live() {
  local i live_pid live_port live_ledger minted=$((WARM_UP + LIVE_GRANTS)) mints=$((LOCAL_MINTS / 2))
  local_broker; live_pid=$pid live_port=$port live_ledger=$ledger
  load "$port" "$LIVE_GRANTS" GET $mint_path '' >&2
  live_mb=$(resident_mb "$pid")
  for ((i = 0; i < LIVE_ROUNDS; i++)); do
    measured live "$live_pid" load "$live_port" $mints GET $mint_path ''
    mint_round fresh $mints
    minted=$((minted + mints))
  done
  all_minted "$live_port" $minted
  stop_local "$live_pid" "$live_ledger"
  rounds live / fresh 4
}

# grown NAME PORT PID: one round at a broker that runs. Each request has the next token of `LINES`.
grown() { measured "$1" "$3" load "$2" $((LOCAL_MINTS / 2)) GET $mint_path '' 'authorization: Bearer {line}'; }

# user_tokens SECRET: a JWT of each user, one a line.
user_tokens() {
  node -e 'const { createHmac } = require("node:crypto");
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1000) + 86_400;
    for (let n = 0; n < process.argv[2]; n++) {
      const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: `user-${n}`, exp })}`;
      console.log(`${text}.${createHmac("sha256", process.argv[1]).update(text).digest("base64url")}`);
    }' "$1" "$USERS"
}

measure_growth() {
  local i secret=bench-secret-of-32-characters-and-more brokers=() each name few=$((LIVE_GRANTS / 4))
  local -A before=([few]=$few [users]=$USERS)
  user_tokens $secret >"$work/tokens"
  local_broker; brokers+=("new $port $pid $ledger")
  local_broker; brokers+=("few $port $pid $ledger")
  load "$port" $few GET $mint_path '' >&2
  local_broker "AUTH_JWT_SECRET=$secret"; brokers+=("one_user $port $pid $ledger")
  local_broker "AUTH_JWT_SECRET=$secret"; brokers+=("users $port $pid $ledger")
  LINES=$work/tokens load "$port" "$USERS" GET $mint_path '' 'authorization: Bearer {line}' >&2
  "$bin/examples/old-ledger" "$work/grown-month" 31 1000 >/dev/null
  local_broker "STATE_DIR=$work/grown-month"; brokers+=("old $port $pid $ledger")
  head -n 1 "$work/tokens" >"$work/token"
  for ((i = 0; i < LIVE_ROUNDS; i++)); do
    for each in "${brokers[@]}"; do
      read -r name port pid ledger <<<"$each"
      case $name in
        users) LINES=$work/tokens grown "$name" "$port" "$pid" ;;
        one_user) LINES=$work/token grown "$name" "$port" "$pid" ;;
        *) measured "$name" "$pid" load "$port" $((LOCAL_MINTS / 2)) GET $mint_path '' ;;
      esac
    done
  done
  for each in "${brokers[@]}"; do
    read -r name port pid ledger <<<"$each"
    [[ $name == old ]] || all_minted "$port" $((WARM_UP + ${before[$name]:-0} + LIVE_ROUNDS * (LOCAL_MINTS / 2)))
    stop_local "$pid" "$ledger"
  done
  rounds few / new 4
  rounds users / one_user 4
  rounds old / new 4

  local_broker TURN_EXPIRY_TAIL_SECONDS=0
  load "$port" "$ENDING_GRANTS" GET "$mint_path?ttl=60" '' >/dev/null
  rate=$OPEN_MINTS measured ending "$pid" load "$port" $((OPEN_MINTS * 150)) GET $mint_path ''
  all_minted "$port" $((WARM_UP + ENDING_GRANTS + OPEN_MINTS * 150))
  [[ $(status_of "$port" live) == $((WARM_UP + OPEN_MINTS * 150)) ]] || die "some grants have not ended"
  stop_local "$pid" "$ledger"
}

measure_holds() {
  local i
  for ((i = 0; i < ROUNDS; i++)); do
    "$bin/examples/lock_holds" "$LIVE_GRANTS" >"$work/holds.$i"
    cat "$work/holds.$i" >&2
  done
}

# --- The rows of the table ------------------------------------------------------------------------------------------------

rows_local() {
  local callers
  local -A target=([1]=0.35 [4]=0.48 [16]=0.75)
  row "durable mints, source without network, \`STATE_DIR\` on $(disk), 64 callers" '≥ 30,000/s' \
    "$(spread local_64 1 %.0f) mints/s, $(median local_64 4 %.1f) µs CPU each" '' "$(verdict least 30000 "$(median local_64 1 %.0f)" %.0f/s)"
  row 'the same, CPU of a mint' '≤ 42 µs' "$(spread local_64 4 %.1f) µs" '' "$(verdict most 42 "$(median local_64 4 %.1f)" '%.1f µs')"
  row 'the same, mints per second' '≥ 0.28 × /health of the same process' "$(spread local_64_to_health 1 %.2f) ×" \
    "/health: $(median health 1 %.0f)/s, $(median health 4 %.1f) µs CPU each" "$(verdict least 0.28 "$(median local_64_to_health 1 %.2f)" %.2f)"
  row 'durable mints, 64 callers, p99' '≤ 4 ms' "$(spread local_64 3 %.2f) ms, p50 $(spread local_64 2 %.2f) ms" '' \
    "$(verdict most 4 "$(median local_64 3 %.2f)" '%.2f ms')"
  for callers in 1 4 16; do
    row "durable mints, callers: $callers" "p50 ≤ ${target[$callers]} ms" \
      "$(spread "local_$callers" 2 %.2f) ms, p99 $(spread "local_$callers" 3 %.2f) ms, $(median "local_$callers" 1 %.0f) mints/s" '' \
      "$(verdict most "${target[$callers]}" "$(median "local_$callers" 2 %.2f)" '%.2f ms')"
  done
}

rows_open() {
  # open_row NAME TARGET COLUMN [NOTE]
  open_row() {
    row "open loop, $(thousands $OPEN_MINTS) mints/s and $(thousands $OPEN_HEARTBEATS) heartbeats/s for $OPEN_SECONDS s, $1 of the mints" \
      "≤ $2 ms" "$(spread open "$3" %.2f) ms${4:-}" '' "$(verdict most "$2" "$(median open "$3" %.2f)" '%.2f ms')"
  }
  open_row p50 0.7 2 ", heartbeats $(spread heartbeats 2 %.2f) ms"
  open_row p99 5 3 ", heartbeats $(spread heartbeats 3 %.2f) ms, the loader's own delay $(median open 6 %.2f) ms"
  open_row p99.9 20 5 ", heartbeats $(spread heartbeats 5 %.2f) ms"
}

rows_ttl() {
  local ttl ratio
  for ttl in 86400 172800; do
    ratio=$(median ttl_${ttl}_to_ttl_300 1 %.3f)
    row "CPU time of a mint at ttl $(thousands $ttl) s" 'that at ttl 300 s ± 10 %' \
      "$ratio × ($(range ttl_${ttl}_to_ttl_300 %.2f)): $(median ttl_$ttl 4 %.1f) µs, at ttl 300 s $(median ttl_300 4 %.1f) µs" '' \
      "$(verdict most 0.1 "$(awk -v r="$ratio" 'BEGIN { print r < 1 ? 1 - r : r - 1 }')" %.3f)"
  done
}

rows_live() {
  figures() { echo "$(median "$1" 4 %.1f) µs CPU each, p50 $(spread "$1" 2 %.2f) ms, $(median "$1" 1 %.0f) mints/s"; }
  row "a mint beside $(thousands "$LIVE_GRANTS") live grants" 'CPU ≤ 1.15 × that of a new broker' \
    "$(spread live_to_fresh 1 %.2f) ×: $(figures live)" "a new broker: $(figures fresh)" "$(verdict most 1.15 "$(median live_to_fresh 1 %.2f)" %.2f)"
  memory_row "$(thousands "$LIVE_GRANTS") live grants" 120 "$live_mb" ''
}

rows_growth() {
  # growth_row TEXT NAME BASE: the CPU of a mint, as a multiple of that of another broker.
  growth_row() {
    row "$1" 'no target' "$(spread "$2_to_$3" 1 %.2f) ×: $(median "$2" 4 %.1f) µs CPU each" "$4: $(median "$3" 4 %.1f) µs" ''
  }
  growth_row "a mint beside $(thousands $((LIVE_GRANTS / 4))) live grants" few new 'a new broker'
  growth_row "mints of $(thousands "$USERS") users with sign-in, who have a grant each" users one_user 'mints of one user with sign-in'
  growth_row 'a mint on a month-old ledger' old new 'a new broker'
  row "open loop, $(thousands $OPEN_MINTS) mints/s, while $(thousands "$ENDING_GRANTS") grants end in one minute" 'no target' \
    "p50 $(median ending 2 %.2f) ms, p99 $(median ending 3 %.2f) ms, p99.9 $(median ending 5 %.2f) ms" '' ''
}

rows_holds() {
  # longest NAME MODE STEP...: the longest of these steps, one line for each round.
  longest() {
    local i name=$1 mode=$2
    shift 2
    for ((i = 0; i < ROUNDS; i++)); do
      awk -v mode="$mode" -v steps="$(printf '|%s' "$@")|" '
        NF == 1 { is_mode = $1 == mode }
        { step = $0; sub(/  .*/, "", step) }
        is_mode && index(steps, "|" step "|") && match($0, /longest *[0-9.]+/) {
          ms = substr($0, RSTART + 7, RLENGTH - 7) + 0; if (ms > most) most = ms
        }
        END { if (most == "") exit 1; print most }' "$work/holds.$i" >>"$work/$name" || die "no step is like $*"
    done
  }
  local mode what="longest hold of the books' lock, $(thousands "$LIVE_GRANTS") live grants"
  for mode in Estimate Strict; do
    longest "ends_$mode" $mode 'end of all grants'
    longest "mints_$mode" $mode mint
    longest "resets_$mode" $mode reset 'tidy after the reset'
    longest "tails_$mode" $mode 'coturn not read for 16 s' 'raise of all promises' \
      'listing of a coturn that is read again' 'lowering of all promises'
    row "$what, ${mode,} mode: all end in one minute" '≤ 5 ms' "$(spread "ends_$mode" 1 %.1f) ms" '' \
      "$(verdict most 5 "$(median "ends_$mode" 1 %.1f)" '%.1f ms')"
    row 'the same: a mint' 'no target' "$(spread "mints_$mode" 1 %.1f) ms" '' ''
    row 'the same: the reset' 'no target' "$(spread "resets_$mode" 1 %.1f) ms" '' ''
    row 'the same: coturn cannot be read, and is read again' 'no target' "$(spread "tails_$mode" 1 %.1f) ms" '' ''
  done
}

# --- The comparison with another build ------------------------------------------------------------------------------------

# base_row TEXT NAME: misses when this build is worse in every round.
base_row() {
  local ratio=$2_to_base_$2 mints cpu verdict=met
  rounds "$2" / "base_$2" 1; mints=$(spread "$ratio" 1 %.2f)
  awk '$1 >= 1 { no_worse = 1 } END { exit !no_worse }' "$work/$ratio" || verdict='**missed in every round**'
  rounds "$2" / "base_$2" 4; cpu=$(spread "$ratio" 1 %.2f)
  awk '$1 <= 1 { no_worse = 1 } END { exit !no_worse }' "$work/$ratio" || verdict='**missed in every round**'
  row "$1, against the base" "$mints ×" "$cpu ×" "$verdict"
}

# base_table TOPIC...
base_table() {
  local topic each
  [[ -n $BASE_BIN && " $* " =~ ' '(local|ttl)' ' ]] || return 0
  echo
  row "this build against the base, $("$BASE_BIN" --version)" mints/s 'CPU time of a mint' verdict
  row --- --- --- ---
  for topic in "$@"; do
    case $topic in
      local) for each in 1 4 16 64; do base_row "durable mints, callers: $each" "local_$each"; done ;;
      ttl) for each in 300 86400 172800; do base_row "mint at ttl $each s" "ttl_$each"; done ;;
    esac
  done
}
