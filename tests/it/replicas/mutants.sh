#!/usr/bin/env bash
# Mutation tests of replicas: breaks a copy of the service on purpose, in one way at a time, and expects the tests that the list names to
# fail each time. Prints one line per mutant. Exits with 1 if one survives. An argument limits the run to the mutants whose line matches it.
# Needs PostgreSQL.
set -euo pipefail
cd "$(dirname "$0")/../../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants CARGO_PROFILE_DEV_DEBUG=0 CI=1

# name | program and tests | file in src | text | replacement. A bar in a text is written as \|, a line break as \n. The programs are the
# unit tests (lib), those of the service (it), and the simulation of the ledger.
mutants=(
    'a write without its session|it replicas::store|journal/postgres/leader.rs|AND seq = $2 AND sessions[1] = $3 RETURNING 1|AND seq = $2 AND $3::text IS NOT NULL RETURNING 1'
    'a write without its epoch and its session|it replicas::store|journal/postgres/leader.rs|AND epoch = $1 AND seq = $2 AND sessions[1] = $3 RETURNING 1|AND $1::bigint IS NOT NULL AND seq = $2 AND $3::text IS NOT NULL RETURNING 1'
    'a write without its number|it replicas::store|journal/postgres/leader.rs|AND epoch = $1 AND seq = $2 AND sessions[1] = $3|AND epoch = $1 AND sessions[1] = $3'
    'rows are put by a leader that was replaced|it replicas::store|journal/postgres/leader.rs|$7::bytea[]) WHERE EXISTS (TABLE fence)|$7::bytea[]) WHERE true'
    'rows are removed by a leader that was replaced|it replicas::store|journal/postgres/leader.rs|item.kind = old.kind AND item.key = old.key AND EXISTS (TABLE fence)|item.kind = old.kind AND item.key = old.key'
    'marks are added by a leader that was replaced|it replicas::store|journal/postgres/leader.rs|                    WHERE EXISTS (TABLE fence)\n|                    WHERE true\n'
    'marks replace those of before|it replicas::store|journal/postgres/leader.rs|SET live = mark.live + EXCLUDED.live|SET live = EXCLUDED.live'
    'the first row is the answer, before the commit|it replicas::store|journal/postgres/leader.rs|let row = within(connection.client.query_one(write, values)).await?;|let mut answer = std::pin::pin!(within(connection.client.query_raw(write, values.iter().copied())).await?);\n        let row = within(futures_util::TryStreamExt::try_next(&mut answer)).await?.ok_or(DatabaseError::Deadline)?;'
    'a warning is no doubt|simulation replicas|journal/postgres/outcome.rs|(None, _) \| (_, true) => Self::Unknown|(None, _) => Self::Unknown, (Some(_), true) => Self::Written'
    'an error is no doubt|simulation replicas|journal/postgres/outcome.rs|(None, _) \| (_, true) => Self::Unknown|(None, _) => Self::Written, (_, true) => Self::Unknown'
    'a batch that was committed is sent again|it replicas::store|journal/postgres/leader.rs|                    rows = &empty;|                    let _ = &empty;'
    'a batch that was committed is answered without a further write|simulation replicas|journal/postgres/outcome.rs|Step::Confirm => self.seq += 1,|Step::Confirm => { self.seq += 1; return Step::Done; }'
    'a batch that was not committed is answered|simulation replicas|journal/postgres/outcome.rs|            0 if is_ours => Step::Send,|            0 if is_ours => Step::Confirm,'
    'a lower number counts as another leader|simulation replicas|journal/postgres/outcome.rs|..0 => Step::End(lost_since(kept, self.seq))|..0 => Step::End(Lost::Fenced)'
    'only the last takeover is looked at after lost writes|simulation replicas|journal/postgres/takeovers.rs|            last = takeover.began;|            last = last.max(takeover.began);'
    'a session that is not listed has lost nothing|simulation replicas|journal/postgres/outcome.rs|return Step::End(lost_since(self.elected - 1, self.seq)) };|return Step::End(Lost::Fenced) };'
    'an epoch begins with its election|it replicas::store|journal/postgres/leader.rs|began = (seq \|\| began)[1:16]|began = (seq + 1 \|\| began)[1:16]'
    'the next leader does not learn of lost writes|it replicas::store|journal/postgres/leader.rs|let Lost::Writes(_) = lost else { return };|return;'
    'an election without comparison|it replicas::store|journal/postgres/leader.rs|WHERE id = 1 AND epoch = $1 AND seq = $2 RETURNING epoch, seq|WHERE id = 1 AND $1::bigint IS NOT NULL AND $2::bigint IS NOT NULL RETURNING epoch, seq'
    'a write that hangs keeps the row|it replicas::store|journal/postgres/leader.rs|connection.execute(END_SESSION, view).await|connection.execute("SELECT $1::bigint, $2::bigint", view).await'
    'another format is led|it replicas::store|journal/postgres/leader.rs|if u32::try_from(seen.format) != Ok(FORMAT) {|if false {'
    'a released ledger is written by its old leader|lib journal|journal/postgres/outcome.rs|self.is_over = !is_held;|self.is_over = false;'
    'a release keeps the ledger|it replicas::store|journal/postgres/mod.rs|self.write_changes(last, false)|self.write_changes(last, true)'
    'old minutes stay|it replicas::store|journal/postgres/mod.rs|self.leader.tidy(self.minutes_from, to)|self.leader.tidy(to, to)'
    'the marks of old minutes are lost|it replicas::store|journal/postgres/leader.rs|sum(live)::bigint, sum(unreported)::bigint|min(live)::bigint, min(unreported)::bigint'
    'a pooler in transaction mode is taken|it replicas::store|journal/postgres/standby.rs|if of_one == of_other {|if of_one != of_one {'
    'TLS is not asked for|lib config|config/database.rs|_ => SslMode::Require,|_ => SslMode::Prefer,'
    'a moved ledger is taken from a running leader|it replicas::ledger_copy|journal/postgres/copy.rs|AND NOT EXISTS (SELECT FROM node WHERE seen_at > clock_timestamp() - interval|AND NOT EXISTS (SELECT FROM node WHERE seen_at > clock_timestamp() + interval'
    'a ledger is moved over another one|it replicas::ledger_copy|journal/postgres/copy.rs|WHERE id = 1 AND epoch = 0 AND NOT held|WHERE id = 1'
    'a fenced leader answers what waits|lib journal|journal/mod.rs|let _ = done.send(written.is_ok());|let _ = done.send(true);'
    'what is queued after a lost write gets no answer|lib journal|journal/mod.rs|request.done.map(\|done\| done.send(false));|drop(request.done);'
    'a batch that was committed is written once more|simulation replicas|journal/postgres/outcome.rs|Step::Confirm => self.seq += 1,|Step::Confirm => { self.seq += 1; return Step::Send; }'
    'a loss that was stated is stated by all|it replicas::store|journal/postgres/loss.rs|takeover.began >= $1 AND takeover.session = $3|takeover.began >= $1 AND takeover.session <> $3 AND false'
    'a statement of a loss leaves no mark|it replicas::store|journal/postgres/loss.rs|SELECT 0, $2, |SELECT 0, $2 \|\| $2, '
    'a standby takes a session that is not listed for one that has lost nothing|simulation replicas|lead/election.rs|.is_some_and(\|kept\| kept >= *seq)|.is_none_or(\|kept\| kept >= *seq)'
    'a standby forgets what it saw while it is cut off|simulation replicas|lead/election.rs|        self.view = None;\n|        (self.view, self.latest) = (None, None);\n'
    'silence counts while a standby is cut off|simulation replicas|lead/election.rs|        self.view = None;\n|'
    'silence counts while a standby stands still|simulation replicas|lead/election.rs|<= self.lease / 2)|<= self.lease * 100)'
    'half a lease is enough to stand|simulation replicas|lead/election.rs|lasts(view.unchanged_since, self.lease)|lasts(view.unchanged_since, self.lease / 2)'
    'a lead outlasts the lease|simulation replicas|lead/lease.rs|span: lease * 4 / 5|span: lease * 2'
    'a lease counts from the end of a write|it replicas::role|lead/campaign.rs|        write(&mut self.storage)?;\n        self.lead.lease.renew(began);|        write(&mut self.storage)?;\n        let began = began.max(self.clock.since_boot());\n        self.lead.lease.renew(began);'
    'a lease never ends|it replicas::role|account/lead.rs|lead.lease.holds(self.clock.since_boot())|lead.lease.holds(std::time::Duration::ZERO)'
    'the time is new after a takeover|it replicas::role|account/mod.rs|lead.as_ref().and_then(\|lead\| lead.followed)|lead.as_ref().and_then(\|_\| None)'
    'an address is believed without its MAC|it replicas::forward|forward/mac.rs|        self.0.signed(&format!("{}.{code}", signed_text(claims, request)))?;\n|        let _ = code;\n'
    'a forwarded request is forwarded again|it replicas::forward|forward/mod.rs|key.is_some_and(\|key\| key.check(request, now) != Forwarded::No)|key.is_some_and(\|_\| false && request.method() == Method::GET && now.as_millis() == 0)'
    'a POST is repeated|it replicas::forward|forward/mod.rs|let mut may_repeat = request.method().is_safe();|let mut may_repeat = true;'
    'a GET is repeated for ever|it replicas::forward|forward/mod.rs|Err(Failure::Sent) => may_repeat = false,|Err(Failure::Sent) => {}'
    'the refusal of a former leader is passed on|it replicas::forward|forward/mod.rs|if response.headers().contains_key(FORWARDED) {|if response.headers().contains_key(FORWARDED) && false {'
    'sockets to a former leader stay|it replicas::forward|forward/mod.rs|() = left(&mut target, Some(&address)) => SERVICE_RESTART,|() = std::future::pending() => { let _ = (&mut target, &address); SERVICE_RESTART }'
    'the sockets of a replica count for one client|it replicas::forward|serve/door.rs|        slot.exempt();\n|        let _ = &slot;\n'
    'a standby forgets that the database has lost writes|it replicas::role|lead/campaign.rs|let stated = self.electorate.state_loss(seq).await;|let (_, stated) = (seq, Ok::<(), E::Error>(()));'
    'a look that failed interrupts nothing|it replicas::campaign|lead/campaign.rs|        self.election.interrupt();\n|'
    'a shutdown keeps the ledger until it ends|it replicas::role|serve/mod.rs|        app.account.finish().await;\n        if is_drained|        if is_drained'
    'a forwarded request has the address of the replica|it replicas::forward|forward/mac.rs|        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.peer, 0)));\n|        let _ = &request;\n'
    'a leader that ends answers for the next one|it replicas::role|http/envelope.rs|app.draining.load(Ordering::Relaxed) && code|app.draining.load(Ordering::Relaxed) && false && code'
    'sockets of a lost lead close without a word|it replicas::role|serve/mod.rs|            app.signaling.close_all();\n|'
    'a lease is measured by the wall clock|it replicas::role|account/lead.rs|lead.lease.holds(self.clock.since_boot())|lead.lease.holds(std::time::Duration::from_millis(u64::try_from(self.clock.now().as_millis()).unwrap_or(0)))'
    'a standby sends alerts|it replicas::role|serve/replica.rs|        drop(app::build(&self.config, Arc::clone(&self.clock), None, self.lost_lines.clone())?);\n|        let early = app::build(&self.config, Arc::clone(&self.clock), None, self.lost_lines.clone())?;\n        tokio::spawn(async move {\n            let down = crate::alert::rules::SourceStates { provider: Some(false), coturn_uncut: false };\n            early.account.evaluate_alerts(down, &early.prices, early.alert_percents, true);\n            if let Some(dispatcher) = &early.dispatcher {\n                dispatcher.deliver(&*early.account, &CancellationToken::new()).await;\n            }\n        });\n'
    'a call to the provider comes before its write|it rotation|account/rotation.rs|self.recorded().await?;|self.flush();'
)

# build OPTIONS: compiles tests; prints the path of their program.
build() {
    RUSTFLAGS=--cap-lints=allow cargo test --locked --no-run --message-format=json "$@" 2>"$copy/build.log" |
        sed -n 's/.*"name":"\(turn_broker\|it\|simulation\)".*"executable":"\([^"]*\)".*/\2/p'
}

# program NAME: builds a program of tests.
program() {
    case $1 in
    lib) build -p turn-broker --lib ;;
    it) build -p turn-broker --test it ;;
    simulation) build -p turn-ledger --test simulation ;;
    esac
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
    [[ $mutant =~ ${1:-} ]] || continue
    tried=$((tried + 1))
    rm -rf "$copy/tree/src" && cp -r "$copy/original" "$copy/tree/src"
    # Prints the program and the tests.
    tests=$(MUTANT="$mutant" python3 - "$copy/tree/src" <<'PATCH'
import os, re, sys

_, tests, file, before, after = [part.replace("\\|", "|").replace("\\n", "\n") for part in re.split(r"(?<!\\)\|", os.environ["MUTANT"])]
path = os.path.join(sys.argv[1], file)
text = open(path).read()
if text.count(before) != 1:
    sys.exit(f"{path} does not contain exactly once: {before}")
open(path, "w").write(text.replace(before, after))
print(tests)
PATCH
    )
    cd "$copy/tree"
    if ! program=$(program "${tests% *}"); then
        echo "does not build: $name"
        tail -5 "$copy/build.log"
        survivors=$((survivors + 1))
    elif fails "$program" "${tests#* }"; then
        echo "caught: $name ($test)"
    else
        echo "SURVIVED: $name"
        survivors=$((survivors + 1))
    fi
    cd - >/dev/null
done
echo "$tried mutants, $survivors not caught"
[ "$survivors" = 0 ]
