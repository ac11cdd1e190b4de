#!/usr/bin/env bash
# The project's check, and what CI runs: everything that README and docs promise, except for what CONTRIBUTING.md lists.
#   tests/run.sh           all steps
#   tests/run.sh quick     the inner loop
#   tests/run.sh release   before a tag: the archives, made twice, and the image that contains their program
#   tests/run.sh STEP...   only these
# Three steps run at the same time, beside one that waits most of the time. The output of a step appears when it ends. A table of all times
# is the end.
# After a failure no further step begins.
# Needs the Rust toolchain. The steps install the rest: Debian packages as root or with sudo (coturn, chromium, nodejs, PostgreSQL,
# buildah and others), and npm and Python packages inside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/machine.sh
. tests/machine.sh
# Clippy's driver compiles our packages, so that lints need no build of their own. All steps use it: another compiler would compile them again.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__

# step NAME PURPOSE COMMAND...
names=()
declare -A purposes commands
step() { names+=("$1") purposes[$1]=$2 commands[$1]="${*:3}"; }

# Compares the format of the code, and the size of each package.
form() {
    cargo fmt --all --check
    tests/sizes.sh
}

# Compiles all programs, tests and benches with the lints.
build() {
    test_programs >/dev/null
    # shellcheck disable=SC2086
    cargo build $one_build --bench figures
}

# Runs the tests, two of their programs at a time, each with eight threads, because most integration tests wait. The tests of the ledger in
# PostgreSQL start a server of their own.
workspace_tests() {
    local programs memory
    need /usr/lib/postgresql/*/bin/initdb=postgresql setpriv=util-linux openssl=openssl
    programs=$(test_programs)
    # Their ledgers and databases are in memory where it has room: a write that waits seconds for a busy disk is a fault to a broker.
    if [ "$(df --output=avail /dev/shm | tail -n 1)" -gt 2000000 ]; then
        memory=$(mktemp -d -p /dev/shm)
        # shellcheck disable=SC2064
        trap "rm -rf $memory" EXIT
        # The database runs as another user.
        chmod 0755 "$memory"
        export TMPDIR=$memory
    fi
    printf '%s\n' "$programs" |
        RUST_TEST_THREADS=8 xargs -P 2 -L 1 bash -c '
            output=$(cd "$0" && "$1" 2>&1) || result=255
            printf "%s\n%s\n" "${1##*/}" "$output" | grep -vE "^test .* \.\.\. (ok|ignored)|^$"
            exit ${result:-0}'
    # shellcheck disable=SC2086
    cargo test $one_build --doc
}

step form 'the code has one form, and no package more lines than tests/sizes.txt allows' form
step build 'no warning of the compiler or of clippy' build
step web 'browser module and pages without a browser; their types and examples; links of the documents' tests/web/run.sh
step manifests 'the image has every manifest; the notices name the crates of others alone' tests/image/manifests.sh
step supply-chain 'sources and licenses of the crates, each of which is used; no unsafe workflow' tests/supply_chain.sh
# The steps up to here compile. The others use what `build` has compiled, and begin with what takes longest.
compiling=("${names[@]}") names=()
step tests 'unit, property and integration tests, and the simulation' workspace_tests
step hostile 'floods and unfinished requests of strangers take no more than their share of memory and sockets' tests/hostile/run.sh
step examples 'every code block of the documents, as it stands' tests/examples/run.sh
browser() { step "$1" "$2" tests/browser/run.sh "$1"; }
browser ayame-relay 'video calls over signaling are counted and cut, at the built-in relay and at coturn'
browser needed 'a call that connects directly mints nothing'
browser cut 'budget, revocation and expiry end calls at a real coturn'
browser users 'a user over USER_LIMIT_GB is refused, an alert is sent, the operator blocks that user'
browser ayame 'the unmodified SDK of Ayame'
browser peerjs 'the unmodified peerjs'
browser yjs 'the unmodified y-webrtc'
browser rooms 'the unmodified partysocket, in a room of Orange'
browser replicas 'members at two replicas meet again after the leader was killed: Ayame, PeerJS, y-webrtc, partysocket'
browser servers 'Janus, Selkies, dimos, Prosody, ejabberd, Talk, writers of files and programs for the API of Cloudflare mint with server keys; a data channel of Janus is relayed'
browser partytracks 'the unmodified partytracks over the SFU proxy, until the budget is spent'
# It writes so much to the disk that it begins when the tests have ended.
step image 'the Dockerfile makes a container that runs without root and answers, and its demo relays' tests/image/run.sh
step api 'the API does what /openapi.json says' tests/api/run.sh
step compose 'broker and Caddy start as the compose files have them; of two replicas the leader is killed' tests/deploy/compose.sh
step balancers 'nginx and Caddy as the documents have them, before three replicas that start again and one that hangs' tests/deploy/balancers.sh
step proxy 'nginx and Caddy as docs/OPERATE.md has them, with a WebSocket of each protocol' tests/proxy/run.sh
step deploy 'alert rules, Kubernetes manifests and systemd unit' tests/deploy/run.sh
# These draw a lot, so they run when the image is built.
browser pages 'dashboard and relay check as an operator and a developer use them, no error, no finding of axe'
browser demo '`turn-broker demo` as somebody meets it'
using=("${names[@]}") names=()
# These wait most of the time. They run one after the other, beside three of the others.
step fleet 'three real coturns: load, death and return' tests/coturn/fleet.sh
step exact 'short sessions at real coturns are counted exactly' tests/coturn/exact.sh
browser renewal 'a call over the second of two coturns, the first dead, outlasts two renewals and a restart; browser, broker and coturn count the same bytes'
browser p2pcf 'the unmodified p2pcf'
step deployed 'broker and coturn as docs/OPERATE.md sets them up' tests/coturn/deployed.sh
step machines 'two replicas on machines of their own, of which one is lost' tests/deploy/machines.sh
step coturn 'doctor examines a real coturn' tests/coturn/run.sh
waiting=("${names[@]}")
# By hand, before a tag: its optimized builds take longer than all other steps.
step release 'the archives of a release can be made again, run on x86-64 and arm64, and are the image' tests/release/run.sh

# run NAME: runs a step and prints its time, also into the table.
run() {
    local begun=$SECONDS result computed
    printf '\n== %s: %s\n' "$1" "${purposes[$1]}"
    # Its own shell, because a condition would turn off `set -e`.
    set +e
    (set -e && eval "${commands[$1]}")
    result=$?
    set -e
    # User and system time of all that the step started and waited for.
    computed=$(awk '{ print int(($16 + $17) / 100) }' "/proc/$$/stat")
    [ $result = 0 ] || purposes[$1]="FAILED. Again: tests/run.sh $1"
    printf '%-14s %4d s, %4d of CPU  %s\n' "$1" $((SECONDS - begun)) "$computed" "${purposes[$1]}" | tee -a "${TABLE:-/dev/null}"
    return $result
}

# together COUNT NAME...: runs these of the wanted steps, so many at a time.
together() {
    local each chosen=() count=$1
    shift
    for each; do [[ " ${wanted[*]} " != *" $each "* ]] || chosen+=("$each"); done
    [ ${#chosen[@]} != 0 ] || return 0
    # After a failure no step begins, and those that run are waited for, because the next run would compile beside them. A step has 20 minutes.
    printf '%s\n' "${chosen[@]}" | xargs -P "$count" -I STEP bash -c '
        [ ! -e "$TABLE-failed" ] || exit 0
        timeout --kill-after=10 1200 tests/run.sh STEP >"$TABLE-STEP" 2>&1 || echo STEP >>"$TABLE-failed"
        cat "$TABLE-STEP"'
}

# all_passed: ends the run if a step has failed. The last lines say why.
all_passed() {
    [ -e "$TABLE-failed" ] || return 0
    {
        printf '\n%s\n' "$(cat "$TABLE")"
        while read -r each; do printf '\nFAILED: the end of %s\n%s\n' "$each" "$(tail -n 40 "$TABLE-$each")"; done <"$TABLE-failed"
    } >&2
    exit 1
}

wanted=("$@")
[ $# != 0 ] || wanted=("${compiling[@]}" "${waiting[@]}" "${using[@]}")
[ "$*" != quick ] || wanted=(form build web manifests tests)
for each in "${wanted[@]}"; do [ -n "${commands[$each]:-}" ] || { echo "no step has the name $each" >&2 && exit 64; }; done
for component in rustfmt clippy; do
    cargo "${component/rust/}" --version >/dev/null 2>&1 || rustup component add "$component"
done
if [ ${#wanted[@]} = 1 ]; then
    run "${wanted[0]}"
    exit
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export TABLE=$logs/table
together 3 "${compiling[@]}"
all_passed
if [[ " ${wanted[*]} " == *" build "* ]]; then
    export TURN_BROKER_BIN=$(realpath "$built/turn-broker") FAKE_CLOUDFLARE_BIN=$(realpath "$built/examples/fake-cloudflare")
fi
together 1 "${waiting[@]}" &
together 3 "${using[@]}"
wait
all_passed
printf '\n%s\nAll of it passed, in %d minutes.\n' "$(cat "$TABLE")" $(((SECONDS + 59) / 60))
