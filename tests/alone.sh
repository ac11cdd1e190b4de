#!/usr/bin/env bash
# Runs each test of the workspace in a process of its own, two at a time and in random order: no test needs another one, or an order.
#   tests/alone.sh          in a new order
#   tests/alone.sh SEED     in that order again
# Prints the seed, each test that fails, and how many have passed. Exits with 1 if one fails.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/machine.sh
. tests/machine.sh
seed=${1:-$RANDOM} work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "the seed is $seed"

# one DIRECTORY PROGRAM TEST: runs one test, and adds a letter to `passed` or its name to `failed`.
one() {
    local output=$work/$BASHPID
    cd "$1"
    if "$2" --exact "$3" >"$output" 2>&1; then
        printf . >>"$work/passed"
    else
        printf '%s: %s\n' "$2" "$3" | tee -a "$work/failed"
        cat "$output"
    fi
    rm "$output"
}
export -f one
export work

: >"$work/passed"
test_programs >"$work/programs"
while read -r directory program; do
    (cd "$directory" && "$program" --list --format terse) |
        sed -n "s|\(.*\): test$|$directory\n$program\n\1|p"
done <"$work/programs" | paste - - - | shuf --random-source=<(yes "$seed") >"$work/tests"
tr '\t' '\n' <"$work/tests" | xargs -d '\n' -n 3 -P 2 bash -c 'one "$@"' bash
printf '%d of %d tests pass, each alone\n' "$(wc -c <"$work/passed")" "$(wc -l <"$work/tests")"
[ ! -e "$work/failed" ]
