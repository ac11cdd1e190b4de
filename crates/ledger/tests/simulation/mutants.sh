#!/usr/bin/env bash
# Mutation tests: breaks a copy of the ledger on purpose, in one way at a time, and expects a unit test or the simulation
# to fail each time. Prints one line per mutant. Exits with 1 if one survives. An argument limits the run to the mutants
# whose name contains it.
set -euo pipefail
cd "$(dirname "$0")/../../../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants SEEDS=${SEEDS:-40}

# name | file in src | text | replacement. A bar in a text is written as \|, a line break as \n.
mutants=(
    'the tail is forgotten|verdict.rs|let overhead = slack.saturating_add(tail);|let overhead = slack;'
    'the time in which a credential is made is forgotten|verdict.rs|let overhead = slack.saturating_add(tail);|let overhead = tail;'
    'the second period is forgotten|verdict.rs|&& there.saturating_mul(per_minute) <= self.next|'
    'strict mode admits what does not fit|verdict.rs|let fits = room.fits(|let fits = true \|\| room.fits('
    'grants end a minute early|ledger/admission.rs|Minute::from_end(self.now.plus(life).plus(wish.overhead))|Minute::of(self.now.plus(life).plus(wish.overhead))'
    'a renewal is not promised|promise.rs|self.reserved_from.min(self.until)..self.until|(if self.reserved_from > self.from { self.until } else { self.reserved_from.min(self.until) })..self.until'
    'a renewal may begin after the promise that it extends|ledger/admission.rs|let reserved_from = request.promised_until.unwrap_or_default().max(now);|let reserved_from = request.promised_until.map_or(now, \|end\| end.next().next()).max(now);'
    'a renewal of nothing is free|books/commit.rs|renewed.and_then(\|row\| row.promised).map(\|time\| time.chain_until());|renews.map(\|_\| Minute::from_end(self.now().plus(life).plus(life))); let _ = renewed;'
    'future minutes are not committed|minutes/mod.rs|let ahead = self.rates.promised(later);|let ahead = self.rates.promised(later.min(0));'
    'claims are not capped by promises|rates.rs|granted.min(cap)|granted'
    'the worst case is the lower figure|minutes/counted.rs|worst: used.max(self.rates.promised(|worst: used.min(self.rates.promised('
    'grants do not cross the reset|minutes/mod.rs|self.begun.push(current);|self.begun.push(Cell::default()); self.ahead.clear();'
    'a grant that ends with the current minute lives on|minutes/mod.rs|if start < end && end == ahead {|if start > end && end == ahead {'
    'minutes after the reset count before it|minutes/mod.rs|*ahead = ahead.shifted(end.min(reset).since(from), by);|*ahead = ahead.shifted(end.since(from), by);'
    'a new minute forgets the grants that begin in it|minutes/mod.rs|next.change_live(delta);|next.change_live(LiveDelta { live: delta.live.min(0), per_minute: delta.per_minute.min(0), ..delta });'
    'a release gives back twice|books/commit.rs|self.replace_promise(Some(&hold.promise), None);|self.replace_promise(Some(&hold.promise), None); self.replace_promise(Some(&hold.promise), None);'
    'a grant is not written|source_ledger.rs|self.record(time.reserved().start, level);|let _ = time.reserved().start;'
    'the end of a grant is not written|source_ledger.rs|self.record(time.reserved().end, level.negated());|'
    'grants of the period before are not read back|minutes/stored.rs|\|sum, (_, by)\| sum.plus(*by)|\|sum, _\| sum'
    'grants that begin later are not read back|minutes/stored.rs|stored.deltas.range(current.next()..)|stored.deltas.range(current.next()..).take(0)'
    'estimate and count are added|minutes/counted.rs|return MinuteFigures { used: 0, worst: 0 };|return MinuteFigures { used: self.estimate_of(cell), worst: 0 };'
    'measured bytes count twice|minutes/mod.rs|granted.saturating_add(other).saturating_add(self.sums.used)|granted.saturating_mul(2).saturating_add(other).saturating_add(self.sums.used)'
    'the margin for sampling is forgotten|minutes/counted.rs|let sampled = at_most(granted, self.sampling);|let sampled = granted;'
    'a crash of the relay: what it carried since its last reading is lost|books/mod.rs|books.ledger.count_lost(IceSource::Relay, until);|let _ = until;'
    'a crash of the relay: the time after its end counts, too|books/mod.rs|then.plus(UNWRITTEN_MAX).min(moment.now).max(then)|moment.now.max(then)'
    'a crash of the relay: an orderly end counts as a crash|books/mod.rs|self.standing.is_closed = true;|'
    'a crash of the relay: a crash counts as an orderly end|books/mod.rs|Standing { is_closed: false, ..stored.standing }|stored.standing'
    'the bytes of a key that joins use up the promise|minutes/counted.rs|before.at_most.saturating_add(moved)|before.at_most.saturating_add(moved.min(0))'
    'the margin of a removed source is forgotten|reading.rs|self.sampling.max(configured)|configured'
    'a lower margin never takes effect|minutes/mod.rs|(self.period, self.sampling) = (period, sampling);|(self.period, self.sampling) = (period, self.sampling.max(sampling));'
    'a count in doubt is not written|source_ledger.rs|            doubt,\n        }|            doubt: doubt.filter(\|_\| false),\n        }'
    'a count in doubt is not read back|source_ledger.rs|            doubt: rows.doubt.unwrap_or_default(),|            doubt: CountDoubt::default(),'
    'a jump of the time leaves the end of unknown grants|books/mod.rs|.max(self.lacks_until));|);'
    'the margin exceeds the promised bytes|minutes/counted.rs|if granted > promised { sampled }|if granted > promised.min(0) { sampled }'
    'the upper bound of a reading is not read back|reading.rs|let stored = self.at_most.max(self.reading.granted).get().into();|let stored = self.reading.granted.plus(self.reading.granted).get().into();'
    'the unread part of a minute is not promised|minutes/counted.rs|worst: self.promised_in(cell, rest) };|worst: self.promised_in(cell, rest.min(0)) };'
    'minutes that were read stay promised|minutes/counted.rs|return MinuteFigures { used: 0, worst: 0 };|return MinuteFigures { used: 0, worst: self.rates.promised(cell.live.into()) };'
    'a reading reaches into the future|reading.rs|self.as_of = self.as_of.min(now);|let _ = now;'
    'a lower count is accepted|reading.rs|return Err(ReadingOutcome::Fell);|return Ok(self);'
    'an older reading is accepted|reading.rs|return Err(ReadingOutcome::Older);|return Ok(self);'
    'a reading outlives its period|minutes/mod.rs|        self.counted = CountedPart::at_start_of(period);|'
    'a reading is not written|source_ledger.rs|let (previous, reading) = if totals == self.stored { (None, None) } else { totals };|let (previous, reading) = (totals.0, None);'
    'a reading is not read back|timeline.rs|if last.reading.period == timeline.period() {|if last.reading.period == timeline.period() && timeline.now < timeline.period().start {'
    'the rate that was observed is not used|trial.rs|observed.map_or(self.assumed, \|observed\| observed.max(self.assumed))|observed.map_or(self.assumed, \|_\| self.assumed)'
    'bytes that change their key count twice|reading.rs|if self.total() < before.total() {|self.granted = self.granted.max(before.granted); self.other = self.other.max(before.other); if self.total() < before.total() {'
    'the trial forgets points older than an hour|trial.rs|self.hours.push(point);|'
    'the trial starts empty after a restart|timeline.rs|timeline.trial.add(timeline.point_of(&last.reading), last.reading.granted);|let _ = timeline.point_of(&last.reading);'
    'the observed rate is lost at the reset|timeline/readings.rs|        self.last\n    }|        self.last.filter(\|_\| self.reading().is_some())\n    }'
    'an old count keeps the readings fresh|source_ledger.rs| && now.since(reading.as_of) <= GOOD_FOR| && GOOD_FOR > Duration::ZERO'
    'an override of the limit is not written|books/mod.rs|overrides: is_dirty(Whole::Overrides).then_some(self.overrides),|overrides: None,'
    'an override of the limit is not read back|books/mod.rs|books.overrides = stored.overrides;|'
    'time stands still while the wall clock is behind|time.rs|let is_refused = steady > wall \|\| has_jumped|let is_refused = (steady > wall && wall > steady) \|\| has_jumped'
    'a commit: its batch does not contain the grant|books/commit.rs|let batch = is_metered.then(\|\| self.take_batch());|let batch = is_metered.then(\|\| { let mut batch = self.take_batch(); batch.grants.clear(); batch });'
    'a commit: a grant that was not written keeps its promise|books/commit.rs|                    self.ledger.apply_all(removed);\n|                    drop(removed);\n'
    'a commit: a grant that was not written keeps its row|books/commit.rs|self.grants.remove(commit.grant);|'
    'a commit: a grant that may be written is undone|books/commit.rs|Written::Unknown => {\n                self.grants.settle(commit.grant);\n                Err(NotRecorded)\n            }\n            Written::No => {|Written::Unknown \| Written::No => {'
    'a commit: an override during the mint is ignored|books/commit.rs|if is_blocked \|\| self.has_stopped(renews) {|if is_blocked {'
    'a commit: the undoing changes are not written|source_ledger.rs|signed(before, after).filter(\|(time, _)\| !time.is_held)|signed(before.filter(\|_\| after.is_some()), after).filter(\|(time, _)\| !time.is_held)'
    'a clock in doubt: a hold ends by the time of the books|books/commit.rs|slack.saturating_add(ahead)|slack'
    'a clock in doubt: metered credentials are minted at any difference|books/commit.rs|ahead > CLOCK_AHEAD_MAX|ahead > Duration::MAX'
    'a clock in doubt: a reference clock that contradicts is ignored|time.rs|time > date.plus(JUMP) => Some(false)|time > date.plus(JUMP) => None'
    'a clock in doubt: a reference clock is never too old|time.rs|(age <= REFERENCE_AGE_MAX)|(age <= Duration::MAX)'
    'opening: the stored time is ignored|open.rs|let then = stored.now.unwrap_or(moment.now);|let then = moment.now;'
    'a restart: the time of another boot continues as if it was the same|time.rs|self.0 != 0 && self == other|self.0 != 0 \|\| self == other'
    'a restart: a jump that may be wrong is not noted|standing.rs|if !moment.may_be_wrong {|if moment.may_be_wrong \|\| !moment.may_be_wrong {'
    'a restart: the clocks are not stored|books/mod.rs|standing: self.standing,|standing: Standing::default(),'
    'opening: a removed source is forgotten|ledger.rs|sources.iter().copied().chain(removed).map(open).collect();|sources.iter().copied().chain(removed.take(0)).map(open).collect();'
    'opening: the counts of another period are taken|open.rs|.filter(\|(of, _)\| *of == period)|.filter(\|(of, _)\| *of == period \|\| *of != period)'
    'opening: running connections are not charged|books/mod.rs|            books.ledger.apply(change);|            let _ = change;'
    'opening: grants are not read back|books/mod.rs|books.grants.restore(stored.grants, |books.grants.restore([], '
    'opening: an older sum counts as the previous period|timeline.rs|stored.previous.filter(\|ended\| ended.period.end == timeline.period().start);|stored.previous;'
    'a grant row: a revocation is not recorded|grants.rs|            change(row);\n            self.dirty.note(id);|            change(row);'
    'a grant row: an extension is not recorded|grants/promises.rs|        self.dirty.note(id);\n        self.replace_promise|        self.replace_promise'
    'a grant row: an extended grant is not promised|source_ledger.rs|self.timeline.change_live(end(before)..end(after), after.level());|'
    'a grant row: the end is computed again|books/commit.rs|Some(promise.time))|Some(PromisedTime { until: Minute::from_end(grant.expires_at), ..promise.time }))'
    'a grant row: a grant renews twice|grants.rs|        row.renewed = true;|'
    'a grant row: a revoked grant renews|grants.rs|!row.renewed && row.revoked_at.is_none()|!row.renewed'
    'a grant row: one with an open connection is forgotten|grants/row.rs|until.start() > now) \|\| self.is_in_use(now)|until.start() > now) \|\| self.expires_at > now'
    'coturn: a changed session is not written|coturn/sessions.rs|Some(before) if row.has_changed_since(&before) => self.dirty.note(session.id),|Some(before) if row.has_changed_since(&before) => {}'
    'coturn: an ended session stays on disk|coturn/sessions.rs|self.dirty.note_removed(id);|'
    'coturn: a restart forgets when sessions were seen|coturn/sessions.rs|row.seen_at = row.seen_at.max(sums.complete_at);|'
    'coturn: its sums are not written|books/sessions.rs|self.dirty.note(Whole::Coturn);|'
    'coturn: the grace at start is forgotten|books/sessions.rs|self.coturn.complete_at().max(self.opened_at);|self.coturn.complete_at();'
    'coturn: sessions count as cut although it does not answer|books/sessions.rs|            self.set_cutting(false);|'
    'coturn: a spent budget cuts nothing|books/sessions.rs|self.grants.end_of(grant, expiry, figures.is_spent(), figures.now)|self.grants.end_of(grant, expiry, false, figures.now)'
    'coturn: a gap forgets the estimate|coturn/usage.rs|*granted = (*granted).max(used.minus(*other));|'
    'coturn: a gap releases promises|books/sessions.rs|if is_after_gap \|\| self.clock_ahead()|if is_after_gap && now < period.start \|\| self.clock_ahead()'
    'coturn: bytes of a gap are forgotten at a restart|timeline.rs|timeline.minutes.set_unseen(last.unseen.get().into());|'
    'coturn: a pause leaves the short tails|books/sessions.rs|unseen.saturating_add(self.clock_ahead()) > UNSEEN_TOLERATED|unseen > UNSEEN_TOLERATED'
    'coturn: another billing day starts at zero|coturn/usage.rs|if self.period.is_none_or(|if true \|\| self.period.is_none_or('
    'coturn: a listing that is not complete counts as a cut|books/sessions.rs|if read.is_some() {\n            self.set_cutting|if read.is_some() \|\| !listing.is_complete {\n            self.set_cutting'
    'coturn: a failed cut is ignored|books/sessions.rs|self.set_cutting(self.coturn.cuts_work());|self.set_cutting(true);'
    'tails: a longer one is not promised|books/sessions.rs|self.ledger.apply_all(raised);|drop(raised);'
    'tails: a longer one ends by the earlier clock|grants/row.rs|self.expires_at.plus_millis(self.clock_ahead_millis)|self.expires_at'
    'tails: the short one holds although sessions are not cut|books/sessions.rs|if stops {|if stops && is_cutting {'
    'tails: an old listing counts as a recent one|books/sessions.rs|is_some_and(\|tail\| listed_ago <= tail)|is_some_and(\|_\| true)'
    'tails: a grant is forgotten before its tail has ended|grants/history.rs|Some(row) if row.is_live(now) =>|Some(row) if row.is_in_use(now) =>'
    'a raised margin never takes effect|reading.rs|if self.sampling < sampling {|if self.sampling < sampling && sampling > 100 {'
    'the margin is left out of the bound|verdict.rs|self.committed.plus(self.margin).minus(self.limit)|self.committed.minus(self.limit)'
    'a key that is put back counts as a flow|reading.rs|self.granted.minus(before.granted).min(|self.granted.minus(before.granted).max('
    'an overruled override returns|overrides.rs|self.limit = self.limit.filter(\|set\| set.configured == configured);|'
    'the observed rate is lost at a restart|timeline.rs|Trial::new(rates.liability, margin, last.assumption)|Trial::new(rates.liability, margin, Assumption::default())'
    'coverage forgets the slack|books/mod.rs|self.ledger.tail(grant.source)).plus(MINT_SLACK)|self.ledger.tail(grant.source))'
    'a commit: its batch does not contain the reading that admitted it|books/commit.rs|self.take_batch());|{ let mut batch = self.take_batch(); for rows in batch.sources.values_mut() { rows.reading = None; } batch });'
    'tails: sessions that ended in a gap keep the short one|books/sessions.rs|{ seen_at.min(self.now()) }|{ self.now().max(seen_at) }'
    'the hourly points are lost at a restart|timeline.rs|timeline.trial.restore_hours(hours, last.reading.period);|let _ = hours;'
    'an address: bytes ignore its allowance|allowance.rs|let taken = wanted.min(self.vouched.unwrap_or_else(\|\| ByteCount::new(left())));|let taken = self.vouched.map_or(wanted, \|room\| wanted.min(room)); let _ = left;'
    'an address: past time ignores its allowance|allowance.rs|let taken = millis.min(left.unwrap_or(u64::MAX));|let taken = millis; let _ = left;'
    'an address: clocks ignore its allowance|allowance.rs|if self.vouched.is_none() && !self.scopes.iter().flatten().all(fits) {|if self.vouched.is_none() && !self.scopes.iter().flatten().all(fits) && self.clamped {'
    'an address: running clocks use up nothing|allowance.rs|let gained = terms.rate.saturating_sub(estimated).saturating_mul(millis);|let gained = terms.rate.saturating_mul(millis);'
    'an address: a lost connection goes on saving|allowance.rs|allowance.left = allowance.left.saturating_sub(unused);|let _ = unused;'
    'an address: everything unused is saved|allowance.rs|rate.saturating_mul(u64::try_from(saved.as_millis()).unwrap_or(u64::MAX))|u64::MAX'
    'an address: time that is given back is saved without a limit|allowance.rs|self.left = self.left.min(terms.saved_max);|'
    'an address: its own allowance is forgotten|clients.rs|[own.map(\|row\| (&mut row.claims, terms(client))), wide|[None, wide'
    'an address: the allowance of its 48 is forgotten|clients.rs|for key in [client, group] {|for key in [client] {'
    'an address: one connection more fits always|clients.rs|open < CONNECTIONS_PER_CLIENT_MAX.saturating_mul(key.factor())|open < CONNECTIONS_PER_CLIENT_MAX.saturating_mul(key.factor()) \|\| open > 0'
    'an address: its share of a strict budget is not checked|verdict.rs|if minutes.saturating_sub(wish.covered) > of_client {|if minutes.saturating_sub(wish.covered) > of_client && of_client > minutes {'
    'an address: its promises are forgotten at a restart|grants/history.rs|let _ = self.replace_promise(None, Some(promise));|let _ = self.replace_promise(None, Some(&crate::promise::Promise { client: None, ..promise.clone() }));'
    'an address: its promises never end|clients.rs|self.reserved.retain(\|(end, _)\| *end > now);|let _ = now;'
    'an address: a release gives nothing back|grants/promises.rs|self.clients.release(client, time.until, time.reserved_bytes());|let _ = client;'
    'an address: it is not in the row|books/commit.rs|.issued_to(client, address)|.issued_to(None, address)'
    'an address: a row without one never gets one|grants.rs|\|row\| row.client = Some(client)|\|row\| drop(row.client)'
    'a reporter: its reports are clamped|reports.rs|matches!(self, Self::Member(_) \| Self::Reporter)|matches!(self, Self::Member(_))'
    'a member of a call: its reports are clamped|reports.rs|matches!(self, Self::Member(_) \| Self::Reporter)|matches!(self, Self::Reporter)'
    'a reporter: nothing is kept for it|connections.rs|self.rows_max.checked_div(REPORTER_SHARE)|self.rows_max.checked_div(usize::MAX)'
    'a revoked grant goes on reporting|books/mod.rs|caller.grant().is_some_and(\|grant\| self.grants.is_revoked(grant.id))|caller.grant().is_some_and(\|grant\| self.grants.is_revoked(grant.id) && self.is_frozen())'
    'a revoked grant keeps its connections|connections.rs|slots.into_iter().filter_map(|slots.into_iter().take(0).filter_map('
    'a freeze leaves claims as they are|books/operator.rs|self.is_frozen().then_some(promised)|self.is_frozen().then_some(promised).filter(\|_\| false)'
    'a freeze leaves what was saved|allowance.rs|self.left = 0;|'
    'a slice keeps claims that a reading covers|minutes/counted.rs|if minute < self.counted.begun { cell.counted.into() }|if minute < self.counted.begun && cell.live > u32::MAX - 1 { cell.counted.into() }'
    'a row of a connection loses its clock|connection/row.rs|let clock = self.clock.map_or(0, \|clock\| HAS_CLOCK|let clock = self.clock.map_or(0, \|clock\| 0'
    'a user: what was promised is not checked|verdict.rs|if of_user.is_some_and(\|room\| !room.fits(|if of_user.is_some_and(\|room\| room.minutes_left > u128::MAX - 1 && !room.fits('
    'a user: a limit that is used up is not checked|verdict.rs|if wish.user.is_some_and(|if mode == BudgetMode::Strict && wish.user.is_some_and('
    'a user: a mint takes no row|books/commit.rs|self.grants.hold_row(user);|'
    'a user: a mint that failed keeps its row|books/commit.rs|None);\n        self.give_row_back(hold);|None);'
    'a user: a mint keeps its row beside that of its grant|books/commit.rs|        self.give_row_back(&hold);\n|'
    'a user: a mint loses its row at the reset|spenders.rs|            row.promised.is_some() \|\| row.minting > 0\n|            row.promised.is_some()\n'
    'a user: a hold promises nothing|grants/promises.rs|self.spenders.promise(user, *source, time, true);|if !time.is_held { self.spenders.promise(user, *source, time, true) }'
    'a user: a hold that is released stays promised|grants/promises.rs|self.spenders.promise(user, *source, time, false);|if !time.is_held \|\| after.is_some() { self.spenders.promise(user, *source, time, false) }'
    'a user: a grant without a row promises nothing|books/commit.rs|source.is_metered() && self.grants.is_full()|source.is_metered() && self.grants.is_full() && renews.is_some()'
    'a user: promises are not read back|grants/history.rs|promises.extend(row.promise());|promises.extend(row.promise().filter(\|promise\| promise.user.is_none()));'
    'a user: a count that lacks grants gives back|grants/counts.rs|if counts.is_final && !counts.is_complete {|if counts.is_final && !counts.is_complete && counts.until < counts.from {'
    'a user: a gap between two listings gives back|books/sessions.rs|self.grants.assume(IceSource::Coturn, seen_at, now, counted);|let _ = counted;'
    'a user: a grant that leaves the history gives back|grants/history.rs|let bytes = row.promised_between(from, row.ends_in());|let bytes = row.promised_between(from, from);'
    'a user: a grant that leaves the history takes its bytes along|spenders.rs|\|row\| row.kept.get_or_insert_default().add(share)|\|row\| drop(row.kept.get_or_insert_default())'
    'a user: a longer tail is not promised|grants/promises.rs|        self.replace_promise(before.as_ref(), after.as_ref())|        let after = after.map(\|after\| Promise { user: after.user.clone().filter(\|_\| before.as_ref().is_none_or(\|before\| before.time.until >= after.time.until)), ..after });\n        self.replace_promise(before.as_ref(), after.as_ref())'
    'a user: minutes after the reset are not promised|spenders/user.rs|promised.between(source, end, Minute::new(i64::from(u32::MAX)))|promised.between(source, end, end)'
    'a user: a row with bytes makes room for another user|spenders.rs|!(keeps_bytes && self.weight() > ByteCount::ZERO)|!(!keeps_bytes && self.weight() > ByteCount::ZERO)'
    'a user: the margin of the count is forgotten|grants/spent.rs|at_most(self.closed.get().into(), sampling)|at_most(self.closed.get().into(), sampling.min(0))'
    'a user: a smaller count lowers what was measured|grants/spent.rs|if total > self.measured {|if total != self.measured {'
    'a user: a final count is taken again|grants/counts.rs|        if counts.is_final {\n            counted.until = counts.until;\n        }|'
    'a user: claims of open connections count twice after a start|grants/spent.rs|let ended = charged.saturating_sub(open);|let ended = charged.saturating_sub(open.min(0));'
    'a user: bytes without a grant are part of what is promised|spenders/sums.rs|settled: claimed, first_seen|first_seen'
    'a user: a count takes back charges of the period before|connections.rs|{ grants.period_start() }|{ Timestamp::default() }'
    'a user: a renewal promises only what the renewed grant leaves|promise.rs|self.from.min(self.until)..self.until|self.reserved_from.min(self.until)..self.until'
    'a user: a renewal needs only the room that the renewed grant leaves|verdict.rs|room\| !room.fits(0, minutes|room\| !room.fits(wish.covered, minutes'
    'a spender: a claim counts also for the time before the count|grants/spent.rs|        self.claimed = later_part(self.claimed, from, self.seen_at, until);|        let _ = (from, until);'
    'a spender: a late claim counts for the time before the count|grants/spent.rs|charge.from.max(self.period), charge.at, counted_until)|charge.from.max(self.period), charge.at, counted_until.min(self.period))'
    'a spender: a count that leaves a grant out leaves its claims|grants/counts.rs|\|id\| counts.is_complete \|\| counts.by_grant.contains_key(&id)|\|id\| counts.by_grant.contains_key(&id)'
    'a spender: bytes without a key are in no row|spenders/listing.rs|rest.bytes() > ByteCount::ZERO|rest.bytes() == ByteCount::ZERO'
    'a user: bytes go on in the next period|grants/history.rs|self.spenders.clear();|'
    'a user: one that is blocked is forgotten|books/mod.rs|books.blocked = stored.blocked;|'
    'the SFU: what a session takes is not promised|books/sfu.rs|if promised < per_minute {|if promised > per_minute {'
    'the SFU: a promise is not made anew|books/mod.rs|self.next_session(now));|self.next_session(now).filter(\|_\| false));'
    'the SFU: what lies behind is released|grants/sessions.rs|self.replace_promise(Some(&before), behind.as_ref())|self.replace_promise(Some(&before), behind.as_ref().filter(\|_\| false))'
    'the SFU: time for which nothing was promised is free|grants/sessions.rs|if row.tracks() > 0 { minute } else|if row.tracks() == 0 { minute } else'
    'the SFU: tracks are free while no process runs|books/mod.rs|books.ledger.apply_all(books.grants.active_tracks());|'
    'the SFU: a session is not promised after a restart|grants.rs|self.pulling.extend(row.pulls.as_ref().and(row.promised)|self.pulling.extend(row.pulls.as_ref().and(row.promised).filter(\|_\| false)'
    'the SFU: fewer tracks lower the minute that runs|books/sfu.rs|before.filter(\|time\| time.from == minute)|before.filter(\|time\| time.from > minute)'
    'the SFU: what it is asked for is not stored|grants/sessions.rs|(pulls.tracks, pulls.has_no_room) = (tracks, has_no_room);|pulls.has_no_room = has_no_room; let _ = tracks;'
    'the SFU: what has no room goes on|books/sfu.rs|was_full \|\| more == 0)|was_full)'
    'the SFU: what has no room for more tracks is closed|books/sfu.rs|was_full \|\| more == 0)|true)'
    'the SFU: a session without room stays open after another pull was refused|books/sfu.rs|was_full \|\| more == 0)|more == 0)'
    'the SFU: the bytes of a session count for nobody|grants/sessions.rs|let sum = spent.measured().plus(|let sum = spent.measured().max('
    'the SFU: a user is not charged what nobody counted|grants/sessions.rs|spent.assumed = spent.assumed.plus(ByteCount::new(bytes))|spent.assumed = spent.assumed.max(ByteCount::new(bytes.min(0)))'
    'the SFU: the first tracks of a client need no share|books/commit.rs|let least = u64::from(streams > 1);|let least = u64::from(streams > 9_999);'
    'the SFU: a blocked user goes on|books/sfu.rs|self.is_blocked(user)) \|\| self.grants|self.is_blocked(user) && is_spent) \|\| self.grants'
    'the SFU: a revoked session pulls|books/sfu.rs|if row.revoked_at.is_some() {|if row.revoked_at.is_some() && row.tracks() == 0 {'
    'the SFU: a session that has ended counts on|grants/sessions.rs|let changes = clocks(pulls.active, active);|let changes = clocks(pulls.active, active.max(1));'
    'a user: a block during the mint is ignored|books/commit.rs|if is_blocked \|\| self.has_stopped(renews) {|if self.has_stopped(renews) {'
    'a release: a grant that has a session is released|grants/promises.rs|&& !has_session(*id)|&& (!has_session(*id) \|\| row.is_some())'
    'a release: the renewal loses the minutes of the renewed grant|grants/promises.rs|row.is_some_and(\|row\| self.no_renewal_relies_on(row)) && |row.is_some() && '
    'a release: a renewal that is revoked is taken for one that is gone|grants/renewals.rs|renewal.is_some_and(GrantRow::is_released)|renewal.is_some_and(\|renewal\| renewal.revoked_at.is_some())'
    'a release: a renewal that is not known is taken for one that is gone|grants/renewals.rs|renewal.is_some_and(GrantRow::is_released)|renewal.is_none_or(GrantRow::is_released)'
    'a release: the renewal of a grant is not stored|grants/renewals.rs|row.renewed_by = Some(Box::new(by))|drop(by)'
    'a release: the minute that runs is released|grants/promises.rs|Minute::of(now).next()|Minute::of(now)'
    'a release: minutes before the time of a clock that is ahead are released|books/operator.rs|self.now().plus(self.clock_ahead())|self.now()'
    'a release: its row goes before its credential expires by the other clock|grants/row.rs|self.is_released() && self.latest_expiry() > now|self.is_released() && self.expires_at > now'
    'a release: a renewal releases minutes of the renewed grant|promise.rs|self.until.max(self.reserved_from)|self.until'
    'a release: a commit is undone after its release|grants/promises.rs|self.state == GrantState::Live|matches!(self.state, GrantState::Live \| GrantState::Unsettled)'
    'a release: any source may say that a grant is gone|source.rs|matches!(self, Self::Relay)|self.is_metered()'
    'a release: a grant that is not revoked is released|grants/promises.rs|self.revoked_at.is_some() && self.source|self.source'
    'a release: a longer tail takes it back|grants/promises.rs|row.source == source && !row.is_released()|row.source == source'
    'a release: what is already released is released again|grants/promises.rs|row.source == source && row.may_be_released()|row.source == source && row.revoked_at.is_some()'
    'a promise: a lower rate gives room back|grants/promises.rs|time.per_minute.max(least.per_minute)|least.per_minute'
    'a promise: a higher rate does not count for what was promised|grants/promises.rs|per_minute: time.per_minute.max(least.per_minute)|per_minute: time.per_minute'
    'a promise: the present rate counts for all|rates.rs|minutes.bytes.max(|0.max('
    'a promise: grants that have left the table have no longer tail|grants/promises.rs|changes.extend(self.dropped.raise(source, least, since));|'
    'a promise: grants that have left the table are not read back|grants.rs|DroppedGrants::restore(dropped)|DroppedGrants::restore([].into())'
    'a promise: a tail that becomes longer during the mint is forgotten|books/commit.rs|Minute::from_end(hold.expires_by.plus(self.ledger.tail(source))).max(time.until)|time.until'
    'a copy: its bound is said to hold|books/mod.rs|if stored.is_copy {|if stored.is_copy && books.lacks_until > now {'
    'a copy: a token that should be known means nothing|books/mod.rs|        self.lack_grants();\n        if self.grants.is_full()|        if self.grants.is_full()'
    'a copy: what an unknown grant may relay is not promised|books/mod.rs|self.ledger.apply_all(change);\n    }\n\n    /// The ledger lacks|drop(change);\n    }\n\n    /// The ledger lacks'
)

mkdir "$copy/tree"
cp -r Cargo.toml Cargo.lock .env.example README.md benches crates docs src tests "$copy/tree/"
cp -r crates/ledger/src "$copy/original"
survivors=0 tried=0
for mutant in "${mutants[@]}"; do
    name=${mutant%%|*}
    [[ $name == *"${1:-}"* ]] || continue
    tried=$((tried + 1))
    rm -rf "$copy/tree/crates/ledger/src" && cp -r "$copy/original" "$copy/tree/crates/ledger/src"
    MUTANT="$mutant" python3 - "$copy/tree/crates/ledger/src" <<'PATCH'
import os, re, sys

_, file, before, after = [part.replace("\\|", "|").replace("\\n", "\n") for part in re.split(r"(?<!\\)\|", os.environ["MUTANT"])]
path = os.path.join(sys.argv[1], file)
text = open(path).read()
if text.count(before) != 1:
    sys.exit(f"{path} does not contain exactly once: {before}")
open(path, "w").write(text.replace(before, after))
PATCH
    cd "$copy/tree"
    if ! RUSTFLAGS="--cap-lints=allow" cargo test --quiet -p turn-ledger --lib --no-run 2>"$copy/build.log"; then
        echo "does not build: $name"
        tail -5 "$copy/build.log"
        survivors=$((survivors + 1))
    elif ! RUSTFLAGS="--cap-lints=allow" cargo test --quiet -p turn-ledger --lib >"$copy/unit.log" 2>&1; then
        echo "caught by a unit test: $name ($(grep -m1 -oE '^    [a-z_]+(::[a-z_0-9]+)+' "$copy/unit.log" | tr -d ' '))"
    elif ! RUSTFLAGS="--cap-lints=allow" cargo test --quiet -p turn-ledger --test simulation >"$copy/run.log" 2>&1; then
        echo "caught by the simulation: $name"
    else
        echo "SURVIVED: $name"
        survivors=$((survivors + 1))
    fi
    cd - >/dev/null
done
echo "$tried mutants, $survivors not caught"
[ "$survivors" = 0 ]
