#!/usr/bin/env bash
# Mutation tests of the ledger in PostgreSQL: breaks a copy of the store on purpose, in one way at a time, and expects a test of the
# journal or of the replicas to fail each time. Prints one line per mutant. Exits with 1 if one survives. An argument limits the run to
# the mutants whose name contains it. Needs PostgreSQL.
set -euo pipefail
cd "$(dirname "$0")/../../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants CARGO_PROFILE_DEV_DEBUG=0 CI=1

# name | file in src/journal | text | replacement. A bar in a text is written as \|, a line break as \n.
mutants=(
    'a write without its session|postgres/leader.rs|AND seq = $2 AND sessions[1] = $3 RETURNING 1|AND seq = $2 AND $3::text IS NOT NULL RETURNING 1'
    'a write without its number|postgres/leader.rs|AND epoch = $1 AND seq = $2 AND sessions[1] = $3|AND epoch = $1 AND sessions[1] = $3'
    'rows are put by a leader that was replaced|postgres/leader.rs|$7::bytea[]) WHERE EXISTS (TABLE fence)|$7::bytea[]) WHERE true'
    'rows are removed by a leader that was replaced|postgres/leader.rs|item.kind = old.kind AND item.key = old.key AND EXISTS (TABLE fence)|item.kind = old.kind AND item.key = old.key'
    'marks are added by a leader that was replaced|postgres/leader.rs|                    WHERE EXISTS (TABLE fence)\n|                    WHERE true\n'
    'marks replace those of before|postgres/leader.rs|SET live = mark.live + EXCLUDED.live|SET live = EXCLUDED.live'
    'the first row is the answer, before the commit|postgres/leader.rs|let row = within(connection.client.query_one(write, values)).await?;|let mut answer = std::pin::pin!(within(connection.client.query_raw(write, values.iter().copied())).await?);\n        let row = within(futures_util::TryStreamExt::try_next(&mut answer)).await?.ok_or(DatabaseError::Deadline)?;'
    'a warning is no doubt|postgres/outcome.rs|(None, _) \| (_, true) => Self::Unknown|(None, _) => Self::Unknown, (Some(_), true) => Self::Written'
    'an error is no doubt|postgres/outcome.rs|(None, _) \| (_, true) => Self::Unknown|(None, _) => Self::Written, (_, true) => Self::Unknown'
    'a batch that was committed is sent again|postgres/leader.rs|                    rows = &empty;|                    let _ = &empty;'
    'a batch that was committed is answered without a further write|postgres/outcome.rs|Step::Confirm => self.seq += 1,|Step::Confirm => { self.seq += 1; return Step::Done; }'
    'a batch that was not committed is answered|postgres/outcome.rs|            0 if is_ours => Step::Send,|            0 if is_ours => Step::Confirm,'
    'a lower number counts as another leader|postgres/outcome.rs|..0 => Step::End(lost_since(kept, self.seq))|..0 => Step::End(Lost::Fenced)'
    'only the last takeover is looked at after lost writes|postgres/takeovers.rs|            last = takeover.began;|            last = last.max(takeover.began);'
    'an epoch begins with its election|postgres/leader.rs|began = (seq \|\| began)[1:16]|began = (seq + 1 \|\| began)[1:16]'
    'the next leader does not learn of lost writes|postgres/leader.rs|let Lost::Writes(_) = lost else { return };|return;'
    'an election without comparison|postgres/leader.rs|WHERE id = 1 AND epoch = $1 AND seq = $2 RETURNING epoch, seq|WHERE id = 1 AND $1::bigint IS NOT NULL AND $2::bigint IS NOT NULL RETURNING epoch, seq'
    'a write that hangs keeps the row|postgres/leader.rs|connection.execute(END_SESSION, view).await|connection.execute("SELECT $1::bigint, $2::bigint", view).await'
    'another format is led|postgres/leader.rs|if u32::try_from(seen.format) != Ok(FORMAT) {|if false {'
    'a released ledger is written by its old leader|postgres/outcome.rs|self.is_over = !is_held;|self.is_over = false;'
    'a release keeps the ledger|postgres/mod.rs|self.write_changes(last, false)|self.write_changes(last, true)'
    'old minutes stay|postgres/mod.rs|self.leader.tidy(self.minutes_from, to)|self.leader.tidy(to, to)'
    'the marks of old minutes are lost|postgres/leader.rs|sum(live)::bigint, sum(unreported)::bigint|min(live)::bigint, min(unreported)::bigint'
    'a pooler in transaction mode is taken|postgres/standby.rs|if of_one == of_other {|if of_one != of_one {'
    'TLS is not asked for|../config/database.rs|_ => SslMode::Require,|_ => SslMode::Prefer,'
    'a moved ledger is taken from a running leader|postgres/copy.rs|AND NOT EXISTS (SELECT FROM node WHERE seen_at > clock_timestamp() - interval|AND NOT EXISTS (SELECT FROM node WHERE seen_at > clock_timestamp() + interval'
    'a ledger is moved over another one|postgres/copy.rs|WHERE id = 1 AND epoch = 0 AND NOT held|WHERE id = 1'
    'a fenced leader answers what waits|mod.rs|let _ = done.send(written.is_ok());|let _ = done.send(true);'
    'what is queued after a lost write gets no answer|mod.rs|request.done.map(\|done\| done.send(false));|drop(request.done);'
)

# build OPTIONS: compiles tests; prints the path of their program.
build() {
    RUSTFLAGS=--cap-lints=allow cargo test --locked -p turn-broker --no-run --message-format=json "$@" 2>"$copy/build.log" |
        sed -n 's/.*"name":"\(turn_broker\|it\)".*"executable":"\([^"]*\)".*/\2/p'
}

# fails PROGRAM FILTER: whether one of its tests fails, whose name is in `test` then, or does not end.
fails() {
    test=$(timeout 120 "$1" "$2" 2>/dev/null | sed -nE 's/^test (.*) \.\.\. FAILED$/\1/;Te;p;q;:e;s/^test result: ok.*/passed/p')
    [ "$test" != passed ]
}

mkdir "$copy/tree"
cp -r Cargo.toml Cargo.lock .env.example README.md CHANGELOG.md benches crates deploy docs src tests "$copy/tree/"
cp -r src "$copy/original"
survivors=0 tried=0
for mutant in "${mutants[@]}"; do
    name=${mutant%%|*}
    [[ $name == *"${1:-}"* ]] || continue
    tried=$((tried + 1))
    rm -rf "$copy/tree/src" && cp -r "$copy/original" "$copy/tree/src"
    MUTANT="$mutant" python3 - "$copy/tree/src/journal" <<'PATCH'
import os, re, sys

_, file, before, after = [part.replace("\\|", "|").replace("\\n", "\n") for part in re.split(r"(?<!\\)\|", os.environ["MUTANT"])]
path = os.path.join(sys.argv[1], file)
text = open(path).read()
if text.count(before) != 1:
    sys.exit(f"{path} does not contain exactly once: {before}")
open(path, "w").write(text.replace(before, after))
PATCH
    cd "$copy/tree"
    if ! library=$(build --lib) || ! program=$(build --test it); then
        echo "does not build: $name"
        tail -5 "$copy/build.log"
        survivors=$((survivors + 1))
    elif fails "$library" journal || fails "$library" config || fails "$program" replicas; then
        echo "caught: $name ($test)"
    else
        echo "SURVIVED: $name"
        survivors=$((survivors + 1))
    fi
    cd - >/dev/null
done
echo "$tried mutants, $survivors not caught"
[ "$survivors" = 0 ]
