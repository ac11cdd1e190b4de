#!/usr/bin/env bash
# The project's check, and what CI runs: everything that README and docs promise, but for what takes hours (CONTRIBUTING.md).
#   tests/run.sh           all steps
#   tests/run.sh quick     the inner loop: form, lints, tests, web, manifests
#   tests/run.sh STEP...   only these
# Stops at the first step that fails. Each step prints its time, and the end is a table of all of them.
# Needs the Rust toolchain. The steps install the rest: Debian packages as root or with sudo (coturn, chromium, nodejs, PostgreSQL,
# buildah, a compiler for arm64 and others), and npm and Python packages inside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/machine.sh
. tests/machine.sh
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
quick=(form lints tests web manifests)
wanted=("$@")
[ "${1:-}" != quick ] || wanted=("${quick[@]}")
table=

# row NAME SECONDS REMARK: prints the time of a step, and keeps it for the end.
row() {
    local line
    line=$(printf '%-14s %4d s  %s' "$1" "$2" "$3")
    printf '== %s\n' "$line"
    table+=$line$'\n'
}

# is_wanted NAME: whether this run has that step. Without arguments, it has all of them.
is_wanted() { [ ${#wanted[@]} = 0 ] || [[ " ${wanted[*]} " == *" $1 "* ]]; }

# step NAME PURPOSE COMMAND...
step() {
    local name=$1 purpose=$2 tries=${tries:-1} begun=$SECONDS
    shift 2
    is_wanted "$name" || return 0
    printf '\n== %s: %s\n' "$name" "$purpose"
    until "$@"; do
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            row "$name" $((SECONDS - begun)) 'FAILED'
            printf '\n%s\nFAILED: the step "%s". Again: tests/run.sh %s\n' "$table" "$name" "$name" >&2
            exit 1
        fi
        row "$name" $((SECONDS - begun)) 'failed, is tried a second time'
    done
    row "$name" $((SECONDS - begun)) "$purpose"
}

# browser NAME PURPOSE COMMAND...: a step with a real browser that mostly waits for time to pass, in a network and with processes and files of
# its own. If several steps are wanted, `two_at_a_time` runs those. Only a step with a browser may be tried a second time.
browsers=()
browser() {
    if [ ${#wanted[@]} = 1 ]; then tries=2 step "$@"; elif is_wanted "$1"; then browsers+=("$1"); fi
}

# two_at_a_time: the steps with a browser. The output of each appears at its end. After a failure, none begins any more.
two_at_a_time() {
    local begun=$SECONDS logs rows name
    [ ${#browsers[@]} != 0 ] || return 0
    logs=$(mktemp -d)
    printf '%s\n' "${browsers[@]}" | xargs -P 2 -I STEP bash -c '
        tests/run.sh STEP >"$0/STEP" 2>&1 || result=255
        grep -vE "^(All of it passed|STEP +[0-9]+ s|$)" "$0/STEP"
        exit ${result:-0}' "$logs" || name=FAILED
    rows=$(grep -hE '^== [a-z0-9-]+ +[0-9]+ s  ' "$logs"/*) || true
    table+=$(sed 's/^== //' <<<"$rows")$'\n'
    rm -rf "$logs"
    row browsers $((SECONDS - begun)) "the steps with a browser, two at a time${name:+: $name}"
    [ -z "${name:-}" ] || { printf '\n%s\n' "$table" >&2 && exit 1; }
}

# All tests. Those of the ledger in PostgreSQL start a server of their own, and with CI set they are not skipped.
workspace_tests() {
    need /usr/lib/postgresql/*/bin/initdb=postgresql setpriv=util-linux openssl=openssl &&
        CI=1 cargo test --locked --workspace
}

for component in rustfmt clippy; do
    cargo "${component/rust/}" --version >/dev/null 2>&1 || rustup component add "$component"
done

step form 'the code has one form' cargo fmt --all --check
step lints 'no warning of the compiler or of clippy' cargo clippy --locked --workspace --all-targets -- -D warnings
step tests 'unit, property and integration tests' workspace_tests
if is_wanted tests; then
    # This build is the one that all further steps use. Image and release have to build their own.
    export TURN_BROKER_BIN=$target/debug/turn-broker FAKE_CLOUDFLARE_BIN=$target/debug/examples/fake-cloudflare
fi
step web 'browser module and pages without a browser; their types and examples; links of the documents' tests/web/run.sh
step manifests 'the image has every manifest and source; the notices name the crates of others alone' tests/image/manifests.sh
step supply-chain 'sources and licenses of the crates; each of them is used' tests/supply_chain.sh
step hostile 'an attacker with what a stranger has gets no more than the allowance' tests/hostile/run.sh
step api 'the API does what /openapi.json says' tests/api/run.sh
step proxy 'nginx and Caddy as docs/DEPLOYMENT.md has them, with a WebSocket of each protocol' tests/proxy/run.sh
step deploy 'alert rules, Kubernetes manifests and systemd unit' tests/deploy/run.sh
step compose 'broker and Caddy start as the compose files have them; of two replicas the leader is killed' tests/deploy/compose.sh
step machines 'two replicas on machines of their own, of which one is lost' tests/deploy/machines.sh
step coturn 'doctor examines a real coturn' tests/coturn/run.sh
step deployed 'broker and coturn as docs/DEPLOYMENT.md sets them up' tests/coturn/deployed.sh

tries=2 step examples 'every code block of the documents, as it stands' tests/examples/run.sh
# Installs what the others need, too.
tries=2 step call 'a call over coturn: browser, broker and coturn count the same bytes' tests/browser/run.sh
# These draw a lot.
tries=2 step pages 'dashboard, relay check and API page: what they show, no error, no finding of axe' tests/browser/run.sh pages
tries=2 step demo '`turn-broker demo` as somebody meets it' tests/browser/run.sh demo
# The longest one begins first.
browser ayame-relay 'calls over signaling are counted and cut, at the built-in relay and at coturn' tests/browser/run.sh ayame-relay
browser needed 'a call that connects directly mints nothing' tests/browser/run.sh needed
browser relay 'the built-in relay ends a call at the packet where the budget is spent' tests/browser/run.sh relay
browser renewal 'a call outlasts two renewals and a restart of the broker, and loses no message' tests/browser/run.sh renewal
browser cut 'budget, revocation and expiry end calls at a real coturn' tests/browser/run.sh cut
browser users 'a user over USER_LIMIT_GB is refused, an alert is sent, the operator blocks that user' tests/browser/run.sh users
browser video 'the ledger agrees with browser and relay about video' tests/browser/run.sh video
browser ayame 'the unmodified SDK of Ayame' tests/browser/run.sh ayame
browser peerjs 'the unmodified peerjs' tests/browser/run.sh peerjs
browser yjs 'the unmodified y-webrtc' tests/browser/run.sh yjs
browser p2pcf 'the unmodified p2pcf' tests/browser/run.sh p2pcf
browser rooms 'the unmodified partysocket, in a room of Orange' tests/browser/run.sh rooms
browser replicas 'members at two replicas meet again after the leader was killed: Ayame, PeerJS, y-webrtc, partysocket' tests/browser/run.sh replicas
browser partytracks 'the unmodified partytracks over the SFU proxy, until the budget is spent' tests/browser/run.sh partytracks
two_at_a_time

step image 'the container image is built, runs without root, answers, and its demo relays' tests/image/run.sh
step release 'the archives of a release can be made again, and run on x86-64 and arm64' tests/release/run.sh

printf '\n%s\nAll of it passed, in %d minutes.\n' "$table" $(((SECONDS + 59) / 60))
