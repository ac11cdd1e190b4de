#!/usr/bin/env bash
# Mutation tests: breaks a copy of the project on purpose, in one way at a time, and expects a test to fail each time.
#   tests/mutants/run.sh            all mutants
#   tests/mutants/run.sh PATTERN    those whose line in ledger.txt or replicas.txt matches the regular expression
# Prints one line per mutant. Exits with 1 if one survives. Those of replicas.txt need PostgreSQL.
#
# A line of a list is `name|tests|file|text|replacement`; a bar in a text is written as \|, a line break as \n. The tests are `ledger`
# (the ledger's unit tests, then its simulation), or a program and a part of the names of its tests: `lib` (unit tests of the service), `it`
# (tests of the service from outside), `sfu` (unit tests of the proxy of the SFU), `store` (of what is stored), `simulation` (of the ledger).
set -euo pipefail
cd "$(dirname "$0")/../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants CARGO_PROFILE_DEV_DEBUG=0 CI=1

# build OPTIONS: compiles one program of tests; prints its path.
build() {
    RUSTFLAGS=--cap-lints=allow cargo test --locked --no-run --message-format=json "$@" 2>"$copy/build.log" |
        sed -n 's/.*"name":"\(turn_broker\|turn_ledger\|turn_sfu_proxy\|turn_store\|it\|simulation\)".*"executable":"\([^"]*\)".*/\2/p'
}

# fails PROGRAM [FILTER]: whether one of its tests fails, or it ends in another way. Stops at the first one, whose name is in `test` then.
fails() {
    test=$(timeout 300 "$@" 2>/dev/null | sed -nE 's/^test (.*) \.\.\. FAILED$/\1/;Te;p;q;:e;s/^test result: ok.*/passed/p')
    [ "$test" != passed ]
}

# ledger_fails: the unit tests without optimization are the fastest to build, and find most. Many small tests run beside a long one.
ledger_fails() {
    local -x RUST_TEST_THREADS=8 SEEDS=${SEEDS:-100}
    local program
    program=$(build --config 'profile.dev.package.turn-ledger.opt-level=0' -p turn-ledger --lib) || return 2
    fails "$program" || fails "$(build -p turn-ledger --lib)" || fails "$(build -p turn-ledger --test simulation)"
}

# is_caught TESTS: 0 if one of these tests fails, 1 if all pass, 2 if the mutant does not build.
is_caught() {
    local program
    case $1 in
    ledger)
        ledger_fails
        return
        ;;
    lib*) program=$(build -p turn-broker --lib) || return 2 ;;
    it*) program=$(build -p turn-broker --test it) || return 2 ;;
    sfu*) program=$(build -p turn-sfu-proxy --lib) || return 2 ;;
    store*) program=$(build -p turn-store --lib) || return 2 ;;
    simulation*)
        program=$(build -p turn-ledger --test simulation) || return 2
        # Some need a scenario that few seeds have.
        local -x SEEDS=${SEEDS:-1000}
        ;;
    esac
    fails "$program" "${1#* }"
}

# change MUTANT: changes the file that the mutant names.
change() {
    MUTANT="$1" python3 - <<'PATCH'
import os, re, sys

_, _, path, before, after = [part.replace("\\|", "|").replace("\\n", "\n") for part in re.split(r"(?<!\\)\|", os.environ["MUTANT"])]
text = open(path).read()
if text.count(before) != 1:
    sys.exit(f"{path} does not contain exactly once: {before}")
open(path, "w").write(text.replace(before, after))
PATCH
}

mkdir "$copy/tree"
git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t "$copy/tree"
cd "$copy/tree"
survivors=0 tried=0
while IFS= read -r mutant <&3; do
    [[ $mutant =~ ${1:-} ]] || continue
    IFS='|' read -r name tests file _ <<<"$mutant"
    tried=$((tried + 1)) caught=0
    cp "$file" "$copy/original"
    change "$mutant"
    is_caught "$tests" || caught=$?
    case $caught in
    0) echo "caught: $name (${test:-did not end})" ;;
    1) echo "SURVIVED: $name" ;;
    *) echo "does not build: $name" && tail -5 "$copy/build.log" ;;
    esac
    [ $caught = 0 ] || survivors=$((survivors + 1))
    cp "$copy/original" "$file"
done 3< <(cat tests/mutants/ledger.txt tests/mutants/replicas.txt)
echo "$tried mutants, $survivors not caught"
[ "$survivors" = 0 ]
