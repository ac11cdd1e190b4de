//! The readings of a simulated broker: the provider's count of the true bytes, with what it may lack.

use super::prelude::*;

use super::world::PROBE_BYTES;
use turn_ledger::polls::spans::{Spans, spans};

/// The books take fewer grants at once.
const OTHERS: u128 = 300;

/// Bytes under identifiers that are not ours, if there are some. They are more than the books take at once.
fn others(missed: u64) -> impl Iterator<Item = (GrantId, Traffic)> {
    let first = match missed % 7 {
        0 => Some(0),
        1 => Some(u128::MAX << 64),
        _ => None,
    };
    let ids = first
        .into_iter()
        .flat_map(|first| (1..=OTHERS).map(move |nth| GrantId::new((first + nth).to_be_bytes())));
    ids.map(|id| (id, Traffic::new(0, 1)))
}

/// The start of the minute of an instant in milliseconds. The service counts whole minutes.
fn whole_minute(at: i64) -> Timestamp {
    Minute::of(Timestamp::from_millis(at)).start()
}

/// What the relay has carried for each grant since an instant.
fn relayed_by_grant(world: &World, since: u64) -> BTreeMap<GrantId, Traffic> {
    let carried = world.grants(IceSource::Relay).map(|id| (id, world.bytes_of_grant(id, since, world.now)));
    carried.filter(|(_, bytes)| *bytes > 0).map(|(id, bytes)| (id, Traffic::new(0, bytes))).collect()
}

impl<D: Disk> Broker<D> {
    /// Passes the provider's clock to the broker. That clock is right and comes with each count.
    pub(super) fn set_reference(&mut self, world: &mut World) -> Timestamp {
        self.time.set_reference(self.present(world), self.since_boot(world));
        self.off_until = None;
        self.advance(world)
    }

    /// Reads the provider's count up to `back` milliseconds before the wall clock, or up to the lag. It misses `missed`
    /// thousandths.
    pub(super) fn read(&mut self, world: &mut World, back: u64, missed: u64) {
        self.set_reference(world);
        let lag = self.settings.lag;
        let as_of = self.wall(world).as_millis() - i64::try_from(back.max(lag)).unwrap_or(0);
        let as_of = whole_minute(as_of);
        self.look_for_probes(world, as_of);
        self.read_days(world, as_of, missed);
        self.read_before(world, lag);
    }

    /// Reads what the provider counted before a new ledger began, if that is not known.
    fn read_before(&mut self, world: &World, lag: u64) {
        let Some((from, until)) = self.books.time_before() else { return };
        let [begin, end] = [from, until].map(|at| self.shown(SOURCE, at));
        let is_counted = u64::from(!self.settings.counts_nothing);
        let begin = begin.max(self.key_since);
        let of_key = |key| world.bytes_of_key(key, begin, end.min(world.visible()));
        let counted = self.keys().into_iter().filter(|key| self.is_counted(*key));
        let bytes = is_counted * counted.map(of_key).sum::<u64>();
        let is_final = world.now >= end + lag + 3_600_000;
        self.books.take_count_before(ByteCount::new(bytes), is_final);
        if bytes > 0 {
            // It is stored within a second.
            self.flush();
            self.lacks_since = Some((self.lost_at, millis(self.settings.tail(SOURCE))));
        }
    }

    /// Reads the counts of the days that the service asks for at `as_of`. They miss `missed` thousandths. Notes whether they lack bytes
    /// that arrive later.
    fn read_days(&mut self, world: &mut World, as_of: Timestamp, missed: u64) {
        let period = self.settings.billing_day().period_at(Day::until(as_of).start());
        let books = &self.books;
        let due = self.asked.due(period, as_of, |day| books.budget().is_agreed(SOURCE, day));
        for day in due {
            let until = day.end().min(as_of);
            let reading = self.reading(world, day, until, missed);
            match self.take_readings(world, &reading, missed) {
                ReadingOutcome::Taken => {}
                ReadingOutcome::Unproven => {
                    self.probe(world);
                    continue;
                }
                _ => continue,
            }
            self.asked.note(day, until, ());
            self.answered_wrong.take_if(|wrong| *wrong == day);
            if reading.other > ByteCount::ZERO {
                self.excuse(Excuse::Margin);
            }
            let [start, end] = [day.start(), until].map(|at| self.shown(SOURCE, at));
            if world.bytes_of_cloudflare(start.max(world.visible()), end) > 0 {
                self.lacking.insert(day);
            } else {
                self.lacking.remove(&day);
            }
            // A wall clock that was set back may ask for days of an earlier period.
            let current = self.books.budget().period;
            self.lacks = self.lacking.iter().any(|day| current.contains(day.start()));
            self.lacked |= self.lacks;
        }
    }

    /// Makes a probe like the service does, if that helps.
    fn probe(&mut self, world: &mut World) {
        let bytes = ByteCount::new(PROBE_BYTES);
        for key in self.keys() {
            let owner = self.owner_of(key);
            if self.books.budget().needs_probe(owner, bytes) {
                self.books.charge_probe(owner, bytes);
                self.books.note_probe(owner, Minute::of(self.books.now()));
                self.probed = self.probed.plus(bytes);
                self.flush();
                world.probe(key);
            }
        }
    }

    /// The keys at Cloudflare. One that is not named is the first.
    fn keys(&self) -> Vec<TurnKey> {
        let second = (self.settings.keys != Keys::One).then_some(TurnKey::Second);
        [TurnKey::First].into_iter().chain(second).collect()
    }

    /// Whose count has the bytes of a key.
    fn owner_of(&self, key: TurnKey) -> CountOwner {
        if self.settings.keys == Keys::One { SOURCE.into() } else { owner_of(key) }
    }

    /// Whose counts have the bytes of Cloudflare's TURN keys.
    pub(super) fn owners(&self) -> impl Iterator<Item = CountOwner> {
        self.keys().into_iter().map(|key| self.owner_of(key))
    }

    pub(super) fn is_counted(&self, key: TurnKey) -> bool {
        key == TurnKey::First || self.settings.keys != Keys::TwoAccounts
    }

    /// Asks for the probes whose minutes a count up to `as_of` contains.
    fn look_for_probes(&mut self, world: &World, as_of: Timestamp) {
        for key in self.keys() {
            let owner = self.owner_of(key);
            for minute in self.books.budget().unshown_probes(owner) {
                let end = Timestamp::from_millis(minute.end().as_millis() + self.settings.provider_ahead);
                let [from, to] = [minute.start(), minute.end()].map(|at| at.millis_since(self.begin));
                let is_kept = world.counted_parts(from, to) == [(from, to)];
                let is_counted = end.millis_since(self.begin) <= world.visible() && is_kept;
                let is_here = self.is_counted(key) && !self.settings.counts_nothing;
                if is_counted && is_here && end <= as_of {
                    self.books.show_probe(owner, minute);
                }
            }
        }
    }

    /// Reads what the provider counted for each grant, up to the end of the span that the service asks for, or up to `back` milliseconds
    /// ago. Some spans are not final, and some lack the grants with odd numbers. Some contain so many others, before ours or after them,
    /// that they are taken in parts. At times the process crashes in between.
    pub(super) fn read_by_grant(&mut self, world: &mut World, back: u64, missed: u64) {
        let from = self.books.grants().counted_until(SOURCE);
        let Some(Spans { open, skips, .. }) = spans(from, self.books.now(), self.settings.lag()) else {
            return;
        };
        let from = open.from;
        let until = self.books.now().as_millis() - i64::try_from(back.max(world.lateness)).unwrap_or(0);
        // A clock that is behind has not shown the last minutes.
        let until = open.until.min(Timestamp::from_millis(until + self.ahead(SOURCE).min(0)));
        if !self.settings.counts_by_grant() || until < from || self.settings.counts_nothing {
            return;
        }
        let (begin, end) = (self.shown(SOURCE, from), self.shown(SOURCE, until));
        let visible = world.visible_by_grant();
        self.expect(end <= visible, || {
            "a count replaces what was claimed for minutes that it does not have yet".into()
        });
        let end = end.min(visible);
        let is_complete = !missed.is_multiple_of(5);
        let seen = |grant: &GrantId| {
            let bytes = (world.bytes_of_grant(*grant, begin, end) * (1_000 - missed)).div_ceil(1_000);
            (bytes > 0 && (is_complete || grant.as_bytes()[7].is_multiple_of(2)))
                .then_some((*grant, Traffic::new(0, bytes)))
        };
        let mut by_grant: BTreeMap<_, _> = world
            .grants(SOURCE)
            .filter(|id| self.chains.contains_key(id) && self.is_counted(world.key_of(*id)))
            .filter_map(|id| seen(&id))
            .collect();
        by_grant.extend(others(missed));
        let counts = GrantCounts {
            from,
            until,
            by_grant,
            other: Traffic::ZERO,
            is_complete,
            is_final: !back.is_multiple_of(3),
            at: self.books.now(),
        };
        self.answer_wrong_by_grant(
            world,
            &counts,
            [100, 50, 140, 200][usize::try_from(missed % 4).unwrap_or(0)],
        );
        let mut taken = self.books.take_grant_counts(SOURCE, &counts);
        let crashes = taken == CountsTaken::InPart && back.is_multiple_of(4);
        if taken == CountsTaken::InPart {
            self.flush();
        }
        if crashes {
            self.restart(world);
        }
        while taken == CountsTaken::InPart {
            taken = self.books.take_grant_counts(SOURCE, &counts);
            self.flush();
        }
        self.expect(taken == CountsTaken::Whole, || "the span begins where the last one ended".into());
        self.judge_suspects(world);
        self.end_over_limit(world);
        // What is too old to be counted by grant, or too much, shows in the total alone.
        self.was_skipped |= skips || (counts.is_final && !is_complete);
        if is_complete {
            if !self.was_skipped && self.questions.is_empty() {
                self.expect_excess(world, end);
            }
            self.expect_ended(world, begin, end, missed);
        }
        self.by_grant_until = self.by_grant_until.max(end);
    }

    /// Wrong answers that come before the right ones take nothing from anybody: counts of an open span, and the first answer about each chain
    /// alone. Of a final count, the right answer comes first.
    fn answer_wrong_by_grant(&mut self, world: &World, right: &GrantCounts, percent: u64) {
        let minutes_ago = |minutes: u64| right.at.minus(Duration::from_secs(60 * minutes));
        let wrong = |bytes: Traffic| Traffic::new(0, bytes.received.get() / 100 * percent);
        let by_grant = right.by_grant.iter().map(|(id, bytes)| (*id, wrong(*bytes))).collect();
        let open = GrantCounts { by_grant, is_final: false, at: minutes_ago(3), ..right.clone() };
        let rates: Vec<_> = self.grants.iter().map(|held| self.rate_promised(held.grant.id)).collect();
        while self.books.take_grant_counts(SOURCE, &open) == CountsTaken::InPart {}
        for suspect in self.books.grants().suspects(SOURCE, usize::MAX) {
            let bytes_of = |id: &GrantId| {
                let [from, until] = [suspect.from, suspect.until].map(|at| self.shown(SOURCE, at));
                (*id, wrong(Traffic::new(0, world.bytes_of_grant(*id, from, until))))
            };
            let by_grant = suspect.grants.iter().map(bytes_of).collect();
            self.books.judge(SOURCE, &suspect, &by_grant, minutes_ago(3));
        }
        let is_same = self.grants.iter().map(|held| self.rate_promised(held.grant.id)).eq(rates);
        let revoked = self.books.revoke_over_limit();
        self.expect(is_same && revoked.is_empty(), || {
            "one answer by grant has ended or raised a chain".into()
        });
        if right.is_final {
            let first = GrantCounts { at: minutes_ago(1), ..right.clone() };
            let taken = self.books.take_grant_counts(SOURCE, &first);
            self.expect(taken == CountsTaken::Refused, || "one answer is final".into());
        }
    }

    /// Asks for each chain of which more was counted than promised, alone.
    fn judge_suspects(&mut self, world: &World) {
        let suspects = self.books.grants().suspects(SOURCE, usize::MAX);
        if self.settings.answers_late {
            self.questions = suspects;
        } else {
            self.answer(suspects, world);
        }
    }

    /// The provider has counted these chains alone.
    pub(super) fn answer(&mut self, suspects: Vec<Suspect>, world: &World) {
        for suspect in suspects {
            let [from, until] = [suspect.from, suspect.until].map(|at| self.shown(SOURCE, at));
            let bytes_of = |id: &GrantId| (*id, Traffic::new(0, world.bytes_of_grant(*id, from, until)));
            self.judge_whole_chain(&suspect, &suspect.grants.iter().map(bytes_of).collect());
        }
    }

    /// Each grant was counted up to an instant: if some relayed so much more than is assumed, the bound is not said to hold.
    fn expect_excess(&mut self, world: &World, until: u64) {
        let figures = self.books.snapshot().figures;
        let start = figures.period.start.millis_since(self.begin);
        let rate = self.books.budget().rate_at(SOURCE).get() / 8_000;
        let exceeded = |held: &Held| {
            let from = held.grant.issued_at.millis_since(self.begin).max(start);
            let bytes = world.bytes_of_grant(held.grant.id, from, until) / 100
                * u64::from(100 - self.settings.sampling);
            bytes.saturating_sub(rate * (until.saturating_sub(from) + 4 * 60_000))
        };
        let is_counted = |held: &&Held| {
            let row = self.books.grants().get(held.grant.id);
            let has_count = held.grant.source == SOURCE && self.is_counted(world.key_of(held.grant.id));
            has_count && row.is_none_or(|row| !row.extra().renewed)
        };
        let exceeded: u64 = self.grants.iter().filter(is_counted).map(exceeded).sum();
        // What a grant relays that the ledger lacks is no excess of a row. The bound does not hold while the ledger may lack it.
        let snapshot = self.books.snapshot();
        let is_said = !snapshot.rate_holds() || snapshot.lacks_grants();
        self.expect(exceeded <= figures.limit.get() / 50 || is_said, || {
            format!("grants have relayed {exceeded} more than is assumed, and the bound is said to hold")
        });
    }

    /// Reads the count of the whole previous period. It misses `missed` thousandths.
    pub(super) fn read_last(&mut self, world: &mut World, missed: u64) {
        self.set_reference(world);
        let Some((period, _)) = self.books.budget().past().first().copied() else { return };
        let [start, end] = [period.start, period.end].map(|at| self.shown(SOURCE, at));
        // By a clock that is behind, the period is not over. The service asks when the lag has passed.
        if world.now < end {
            return;
        }
        let is_all = self.settings.sources == ONE
            && !self.settings.leaves_out()
            && world.bytes_of_cloudflare(start, end) == world.bytes_between(start, end);
        let is_whole = is_all && world.bytes_of_cloudflare(start.max(world.visible()), end) == 0;
        let mut is_taken = true;
        for day in Day::between(period.start, period.end) {
            let reading = self.reading(world, day, day.end(), missed);
            is_taken &= self.take_readings(world, &reading, missed) == ReadingOutcome::Taken;
        }
        if is_taken {
            self.last_read = Some(period).filter(|_| is_whole);
        }
    }

    /// Reads what the relay has carried since its last count or its start, which is exact.
    pub(super) fn read_relay(&mut self, world: &World) {
        if self.settings.sources.contains(&IceSource::Relay) && self.books.may_count() {
            let since = std::mem::replace(&mut self.relayed_until, world.now);
            let granted = ByteCount::new(world.bytes_of(IceSource::Relay, since, world.now));
            let carried = Carried { as_of: self.books.now(), granted, is_shown: true, ..Carried::default() };
            self.books.carry(IceSource::Relay, &carried);
            if world.by_grant.is_some() {
                self.books.add_grant_traffic(IceSource::Relay, &relayed_by_grant(world, since));
            }
        }
    }

    /// Takes the count of a day, with that of the SFU, which one query says. Returns what happened to the first that was not taken.
    fn take_readings(&mut self, world: &World, reading: &Reading, missed: u64) -> ReadingOutcome {
        let mut outcome = self.books.take_reading(SOURCE, reading);
        if self.settings.keys != Keys::One {
            for key in self.keys() {
                let of_key = |from, to| world.bytes_of_key(key, from, to) * u64::from(self.is_counted(key));
                let granted = self.seen_of(world, of_key, reading.day.start(), reading.as_of, missed);
                let of_key = Reading { granted, other: ByteCount::ZERO, ..*reading };
                let of_key = self.books.take_reading(owner_of(key), &of_key);
                outcome = if outcome == ReadingOutcome::Taken { of_key } else { outcome };
            }
        }
        if !self.settings.sfu {
            return outcome;
        }
        let granted = self.seen(world, IceSource::Sfu, reading.day.start(), reading.as_of, missed);
        let of_sfu = Reading { granted, other: ByteCount::ZERO, ..*reading };
        let of_sfu = self.books.take_reading(IceSource::Sfu, &of_sfu);
        if outcome == ReadingOutcome::Taken { of_sfu } else { outcome }
    }

    /// What the provider has counted of a source between two of its times, less what it misses.
    fn seen(
        &self,
        world: &World,
        source: IceSource,
        from: Timestamp,
        to: Timestamp,
        missed: u64,
    ) -> ByteCount {
        self.seen_of(world, |from, to| world.bytes_of(source, from, to), from, to, missed)
    }

    /// The same for what `bytes` says of two instants of the world.
    fn seen_of(
        &self,
        world: &World,
        bytes: impl Fn(u64, u64) -> u64,
        from: Timestamp,
        to: Timestamp,
        missed: u64,
    ) -> ByteCount {
        let [from, to] = [from, to].map(|at| self.shown(SOURCE, at));
        let counted = if self.settings.counts_nothing { 0 } else { 1_000 - missed };
        let parts = world.counted_parts(from, to.min(world.visible()));
        let relayed: u64 = parts.into_iter().map(|(from, to)| bytes(from, to)).sum();
        ByteCount::new((relayed * counted).div_ceil(1_000))
    }

    /// The provider's count of a day, which misses `missed` thousandths.
    fn reading(&self, world: &World, day: Day, as_of: Timestamp, missed: u64) -> Reading {
        let at = self.books.now();
        if self.settings.keys != Keys::One {
            return Reading { day, as_of, at, granted: ByteCount::ZERO, other: ByteCount::ZERO };
        }
        let of_source = |from, to| world.bytes_of(SOURCE, from, to);
        let granted = |from, to| of_source(self.key_since.max(from), to);
        // One query says what the other keys relayed.
        let other = |from, to| of_source(from, self.key_since.min(to).max(from));
        let [granted, other] = [
            self.seen_of(world, granted, day.start(), as_of, missed),
            self.seen_of(world, other, day.start(), as_of, missed),
        ];
        Reading { day, as_of, at, granted, other }
    }

    /// Whether the last answer about some day of a period was wrong.
    pub(super) fn is_answered_wrong(&self, period: Period) -> bool {
        self.answered_wrong.is_some_and(|day| period.contains(day.start()))
    }

    /// Reads a wrong count of the day: so many percent of what was counted last. The answers before and after it are right.
    pub(super) fn read_wrong(&mut self, world: &World, percent: u64) {
        if self.answered_wrong.is_some() {
            return;
        }
        self.was_misled = true;
        let lag = i64::try_from(self.settings.lag).unwrap_or(0);
        let as_of = whole_minute(self.wall(world).as_millis() - lag);
        let (day, owner) = (Day::until(as_of), self.owner_of(TurnKey::First));
        let Some(count) = self.books.budget().day(owner, day) else { return };
        self.answered_wrong = Some(day);
        let granted = ByteCount::new(count.total().get() / 100 * percent);
        let reading = Reading { day, as_of, at: self.books.now(), granted, other: ByteCount::ZERO };
        let _ = self.books.take_reading(owner, &reading);
    }

    /// Reads the provider's count up to a time in the future. It contains the bytes until now.
    pub(super) fn read_ahead(&mut self, world: &mut World, ahead: u64) {
        // With another clock, the minutes up to now would contain others than those until now.
        if self.ahead(SOURCE) != 0 {
            return;
        }
        self.was_misled = true;
        self.set_reference(world);
        let now = self.books.now();
        let period = self.books.snapshot().figures.period;
        self.read_days(world, now.plus_millis(ahead).min(period.end), 0);
    }
}
