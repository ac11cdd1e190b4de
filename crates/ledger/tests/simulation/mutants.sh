#!/usr/bin/env bash
# Shows that the simulation can fail: breaks the ledger on purpose, one way at a time, in a copy, and expects every
# break to be caught, by the simulation or, where it leaves that out, by the ledger's own tests. Takes some ten minutes
# on two cores. Prints one line a mutant; exit status 1 if one survives. With an argument only mutants whose name holds it.
set -euo pipefail
cd "$(dirname "$0")/../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants SEEDS=${SEEDS:-40}

# name | file | what stands there | what is put in its place
mutants=(
    'the tail is forgotten|src/budget/verdict.rs|let overhead = slack.saturating_add(tail);|let overhead = slack;'
    'the time in which it is made is forgotten|src/budget/verdict.rs|let overhead = slack.saturating_add(tail);|let overhead = tail;'
    'the second period is forgotten|src/budget/verdict.rs|&& there.saturating_mul(per_minute) <= self.next|'
    'strict mode admits what does not fit|src/budget/verdict.rs|if room.fits(wish.minutes(life, into_minute), wish.per_minute)|if true'
    'grants end at the minute before|src/budget/cells/mod.rs|.div_ceil(MINUTE_MILLIS) {|.saturating_div(MINUTE_MILLIS) {'
    'what is ahead is not committed|src/budget/cells/mod.rs|let ahead = self.rates.promised(later);|let ahead = self.rates.promised(later.min(0));'
    'claims are not capped by promises|src/budget/rates.rs|granted.min(cap)|granted'
    'the worst case is the better one|src/budget/cells/measured.rs|worst: used.max(self.rates.promised(|worst: used.min(self.rates.promised('
    'grants do not cross the reset|src/budget/cells/mod.rs|self.minutes.drain(..self.current.min(self.minutes.len()));|self.minutes.clear();'
    'a release gives back twice|src/budget/ledger.rs|lane.timeline.remove_grant(hold.from, hold.until);|lane.timeline.remove_grant(hold.from, hold.until); lane.timeline.remove_grant(hold.from, hold.until);'
    'a grant is not written|src/account/books/mod.rs|lanes: vec![commit.changes()],|lanes: { let _ = commit; vec![] },'
    'the end of a grant is written too early|src/budget/lane.rs|mark(marks, until.minute_end(), |mark(marks, until.minute_start(), '
    'grants of the period before are not read back|src/budget/cells/mod.rs|stored.marks.range(..first).map(\|(_, mark)\| mark.live).sum();|0;'
    'estimate and count are added|src/budget/cells/measured.rs|return Counted { used: 0, worst: 0 };|return Counted { used: self.estimate_of(cell), worst: 0 };'
    'what is measured counts twice|src/budget/cells/mod.rs|ByteCount::saturating(granted.saturating_add(other).saturating_add(self.sums.used))|ByteCount::saturating(granted.saturating_mul(2).saturating_add(other).saturating_add(self.sums.used))'
    'the margin for sampling is forgotten|src/budget/cells/measured.rs|let sampled = at_most(granted, self.sampling);|let sampled = granted;'
    'the margin goes beyond what was promised|src/budget/cells/measured.rs|if granted > promised { sampled }|if granted > promised.min(0) { sampled }'
    'the most that was relayed is not read back|src/budget/timeline.rs|last.at_most.max(last.reading.granted);|last.reading.granted.plus(last.reading.granted);'
    'a minute that is read in part is not promised|src/budget/cells/measured.rs|worst: self.promised_in(cell, rest) };|worst: self.promised_in(cell, rest.min(0)) };'
    'what is read stays promised|src/budget/cells/measured.rs|return Counted { used: 0, worst: 0 };|return Counted { used: 0, worst: self.rates.promised(cell.live.into()) };'
    'a reading reaches into the future|src/budget/reading.rs|self.as_of = self.as_of.min(now);|let _ = now;'
    'a count that fell is believed|src/budget/reading.rs|return Err(ReadingOutcome::Fell);|return Ok(self);'
    'an older reading is believed|src/budget/reading.rs|return Err(ReadingOutcome::Older);|return Ok(self);'
    'a reading outlives its period|src/budget/cells/mod.rs|self.measured = Measured::default();|'
    'a reading is not written|src/budget/lane.rs|let reading = self.timeline.stored_reading();|let reading = None;'
    'a reading is not read back|src/budget/timeline.rs|if last.reading.period == timeline.period() {|if last.reading.period == timeline.period() && timeline.now < timeline.period().start {'
    'the rate that was observed is not used|src/budget/reading.rs|observed.map_or(self.assumed, \|observed\| observed.max(self.assumed))|observed.map_or(self.assumed, \|_\| self.assumed)'
    'bytes that change their key count twice|src/budget/reading.rs|if self.total() < before.total() {|self.granted = self.granted.max(before.granted); self.other = self.other.max(before.other); if self.total() < before.total() {'
    'the trial forgets what is older than an hour|src/budget/reading.rs|self.hours.push(oldest);|let _ = oldest;'
    'the trial begins anew after a restart|src/budget/timeline.rs|timeline.trial.hear(timeline.point_of(&last.reading));|let _ = timeline.point_of(&last.reading);'
    'what a reading taught is lost at the reset|src/budget/lane.rs|let reading = self.timeline.stored_reading();|let reading = self.timeline.stored_reading().filter(\|_\| self.timeline.reading().is_some());'
    'an old count keeps the readings fresh|src/budget/lane.rs| && now.since(reading.as_of) <= GOOD_FOR| && GOOD_FOR > Duration::ZERO'
    'an order about the limit is not written|src/account/books/mod.rs|orders: self.orders.take_unstored(),|orders: self.orders.take_unstored().filter(\|_\| false),'
    'an order about the limit is not read back|src/account/books/mod.rs|books.orders = Kept::restore(recovered.orders);|'
    'time stands still while the wall clock is behind|src/clock.rs|if steady > wall \|\| in_doubt {|if (steady > wall && wall > steady) \|\| in_doubt {'
)

survivors=0 tried=0
for mutant in "${mutants[@]}"; do
    # A bar that belongs to the text is written as \|.
    IFS=$'\x1f' read -r name file from to < <(sed -e 's/\\|/\x1e/g' -e 's/|/\x1f/g' -e 's/\x1e/|/g' <<<"$mutant")
    [[ $name == *"${1:-}"* ]] || continue
    tried=$((tried + 1))
    rm -rf "$copy/tree" && mkdir "$copy/tree"
    cp -r Cargo.toml Cargo.lock .env.example README.md benches docs src tests "$copy/tree/"
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
    elif ! (cd "$copy/tree" && cargo test --quiet --test simulation >"$copy/run.log" 2>&1); then
        echo "caught: $name"
    elif (cd "$copy/tree" && ! cargo test --quiet --lib budget:: >"$copy/unit.log" 2>&1) && grep -q '^failures:' "$copy/unit.log"; then
        echo "caught by the ledger's own tests: $name ($(grep -m1 -o '    budget::[a-z_:]*' "$copy/unit.log" | tr -d ' '))"
    else
        echo "SURVIVED: $name"
        survivors=$((survivors + 1))
    fi
done
echo "$tried mutants, $survivors not caught"
[ "$survivors" = 0 ]
