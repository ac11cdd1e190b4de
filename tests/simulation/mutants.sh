#!/usr/bin/env bash
# Shows that the simulation can fail: breaks the ledger on purpose, one way at a time, in a copy, and expects every
# break to be caught. Takes some ten minutes on two cores. Prints one line a mutant; exit status 1 if one survives. With
# an argument only mutants whose name holds it.
set -euo pipefail
cd "$(dirname "$0")/../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants SEEDS=${SEEDS:-40}

# name | file | what stands there | what is put in its place
mutants=(
    'the tail is forgotten|src/budget/ledger.rs|let overhead = slack.saturating_add(tail);|let overhead = slack;'
    'the time in which it is made is forgotten|src/budget/ledger.rs|let overhead = slack.saturating_add(tail);|let overhead = tail;'
    'the second period is forgotten|src/budget/verdict.rs|&& there.saturating_mul(per_minute) <= self.next|'
    'strict mode admits what does not fit|src/budget/verdict.rs|if room.fits(wish.minutes(life, into_minute), wish.per_minute)|if true'
    'grants end at the minute before|src/budget/cells.rs|.div_ceil(MINUTE_MILLIS) {|.saturating_div(MINUTE_MILLIS) {'
    'what is ahead is not committed|src/budget/cells.rs|let ahead = self.promised(later);|let ahead = self.promised(later.min(0));'
    'claims are not capped by promises|src/budget/cells.rs|granted.min(cap)|granted'
    'the worst case is the better one|src/budget/cells.rs|self.estimate_of(cell).max(|self.estimate_of(cell).min('
    'grants do not cross the reset|src/budget/cells.rs|self.minutes.drain(..self.current.min(self.minutes.len()));|self.minutes.clear();'
    'a release gives back twice|src/budget/ledger.rs|lane.timeline.remove_grant(hold.from, hold.until);|lane.timeline.remove_grant(hold.from, hold.until); lane.timeline.remove_grant(hold.from, hold.until);'
    'a grant is not written|src/account/books.rs|lanes: vec![lane],|lanes: { drop(lane); vec![] },'
    'the end of a grant is written too early|src/budget/ledger.rs|mark(marks, until.minute_end(), |mark(marks, until.minute_start(), '
    'grants of the period before are not read back|src/budget/cells.rs|stored.marks.range(..first).map(\|(_, mark)\| mark.live).sum();|0;'
    'time stands still while the wall clock is behind|src/clock.rs|if steady > wall {|if steady > wall && wall > steady {'
)

survivors=0 tried=0
for mutant in "${mutants[@]}"; do
    # A bar that belongs to the text is written as \|.
    IFS=$'\x1f' read -r name file from to < <(sed -e 's/\\|/\x1e/g' -e 's/|/\x1f/g' -e 's/\x1e/|/g' <<<"$mutant")
    [[ $name == *"${1:-}"* ]] || continue
    tried=$((tried + 1))
    rm -rf "$copy/tree" && mkdir "$copy/tree"
    cp -r Cargo.toml Cargo.lock src tests "$copy/tree/"
    FROM="$from" TO="$to" python3 - "$copy/tree/$file" <<'PATCH'
import os, sys
path, before, after = sys.argv[1], os.environ["FROM"], os.environ["TO"]
text = open(path).read()
if text.count(before) < 1:
    sys.exit(f"{path} does not hold: {before}")
open(path, "w").write(text.replace(before, after))
PATCH
    if ! (cd "$copy/tree" && cargo build --quiet --test simulation 2>"$copy/build.log"); then
        echo "does not build: $name"
        tail -5 "$copy/build.log"
        survivors=$((survivors + 1))
    elif (cd "$copy/tree" && cargo test --quiet --test simulation >"$copy/run.log" 2>&1); then
        echo "SURVIVED: $name"
        survivors=$((survivors + 1))
    else
        echo "caught: $name"
    fi
done
echo "$tried mutants, $survivors not caught"
[ "$survivors" = 0 ]
