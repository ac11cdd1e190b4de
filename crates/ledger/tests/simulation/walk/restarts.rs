//! Starts of a simulated broker: after a crash, with other settings, from a copy. And its end, when nobody relays any more.

use super::prelude::*;

use turn_ledger::polls::days::CountedDays;

/// The time is known again after this, in milliseconds.
const DOUBT_MAX: u64 = 2 * 3_600_000;
/// The longest credential and tail are over after this time, in milliseconds.
const ALL_ENDED: u64 = 3 * DAY;

impl<D: Disk> Broker<D> {
    /// Restarts the process.
    pub(super) fn restart(&mut self, world: &mut World) {
        self.start(None, world);
    }

    /// Another machine, whose wall clock is behind, takes over after a while. It has followed the books' time since their last write.
    pub(super) fn take_over_books(&mut self, millis: u64, share: u64, behind: i64, world: &mut World) {
        self.set_ahead(0, world);
        self.be_down(millis, share, world);
        let Some(then) = self.disk.read().now() else { return self.restart(world) };
        // A second fault of a clock would hide that the books' time was in doubt.
        let is_exact = self.begin.plus_millis(self.written_at) == then;
        (self.machine, self.offset) = (self.machine + 1, if is_exact { behind } else { 0 });
        // It has seen for how long the machine before was off, unless that one has written since.
        self.off_until = self.off_until.filter(|at| *at <= self.written_at);
        let since = Duration::from_millis(world.now - self.written_at);
        self.start(Some((then, self.since_boot(world).saturating_sub(since))), world);
        // Its next start knows for how long it was off.
        self.flush();
    }

    /// No process runs for a while.
    pub(super) fn be_down(&mut self, millis: u64, share: u64, world: &mut World) {
        self.excuse_uncut();
        self.excuse_unwatched(world);
        world.pass_without_broker(millis, share);
        self.excuse_lost_days(world);
    }

    /// A process begins. `followed`: the time of the books that its machine has seen written, and that machine's time then.
    fn start(&mut self, followed: Option<(Timestamp, Duration)>, world: &mut World) {
        // What the relay carried while the time was in doubt counts in the period before, if it is not written yet.
        let written = self.disk.read().now().map(|then| self.settings.billing_day().period_at(then));
        let has_reset = written.is_some_and(|period| period.end <= self.present(world));
        // And what it carried for credentials that the books do not know is promised to nobody.
        let is_in_doubt = self.paused > 0 && has_reset;
        if (is_in_doubt || self.was_restored) && self.settings.sources.contains(&IceSource::Relay) {
            self.lost_until = self.settings.billing_day().period_at(self.present(world)).end;
        }
        self.unwritten = None;
        self.in_flight.clear();
        (self.questions, self.due_answers) = Default::default();
        // The sockets of its calls are gone.
        self.members.clear();
        // A reading that brought the bound down may be lost.
        if self.has_reporter {
            self.excuse(Excuse::Reporter);
        }
        if self.settings.cli {
            self.excuse(Excuse::Uncut);
        }
        // What was read or listed and not written is lost.
        (self.last_read, self.lacks) = (None, self.lacked);
        self.answered_wrong = self.answered_wrong.or(self.wrong_on_disk);
        self.seen.iter_mut().for_each(|seen| seen.listed_at = None);
        self.relays().for_each(|relay| world.lose_reports(relay));
        let (stored, wall, since_boot) = (self.disk.read(), self.wall(world), self.since_boot(world));
        // A new process has heard no time, and asks at once.
        self.asked_for_time = None;
        let boot = std::num::NonZeroU128::new(self.boot << 64 | u128::from(self.machine));
        self.time = stored.time(wall, boot, since_boot, followed);
        let moment = self.time.read(wall, since_boot);
        self.advanced_at = world.now;
        self.off_until = self.off_until.filter(|_| moment.jumped.is_zero());
        self.books = self.settings.open(stored, moment);
        // The relay in the process counts from zero.
        self.relayed_until = world.now;
        self.asked = CountedDays::default();
        self.admit_again(world);
        self.take_over_pages(world);
        // A rate that was seen and not written is forgotten.
        self.follow_rate(world);
    }

    /// The process ends in order.
    fn finish(&mut self) {
        self.books.finish();
    }

    /// Restarts the process with another setting.
    pub(super) fn change(&mut self, change: Change, world: &mut World) {
        self.read_relay(world);
        self.finish();
        self.flush();
        let (before, used) = (ByteCount::new(self.settings.limit), self.used_in_all());
        let was_cut = self.relays().any(|relay| self.books.budget().is_cut(self.settings.relay(relay)));
        self.settings.change(change);
        self.excuse(Excuse::Setting);
        (self.may_break, self.last_read) = (true, None);
        if let Change::Limit(limit) = change
            && ByteCount::new(limit) != before
        {
            self.limit = ByteCount::new(limit);
        }
        for source in METERED {
            let is_cut = source == IceSource::Coturn && was_cut;
            world.assume(source, self.settings.assumed(source), !is_cut);
        }
        if !self.settings.sources.contains(&IceSource::Relay) {
            world.end_all(IceSource::Relay);
        }
        self.restart(world);
        let period = self.books.budget().period;
        if matches!(change, Change::BillingDay(_)) && self.unwatched_until > period.start {
            self.lost_until = self.lost_until.max(period.end);
        }
        if let Some(used) = used
            && matches!(change, Change::BillingDay(_))
        {
            let found = self.used_in_all();
            let is_exact = found.is_none_or(|found| found == used);
            let is_more = found.is_none_or(|found| found >= used);
            let is_right = self.accepts(Inaccuracy::TakenBack, is_exact, is_more);
            self.expect(is_right, || format!("{found:?} are used in all periods, not {used}"));
        }
    }

    /// What is used in this period and in those before it. `None`: a part of a past day is counted, and the estimate of the rest is not
    /// exact, or counts wait because the time is in doubt.
    fn used_in_all(&self) -> Option<u64> {
        let (ledger, past) = (self.books.budget(), self.books.budget().past());
        let days = past.iter().flat_map(|(period, _)| Day::between(period.start, period.end));
        let owners = || METERED.map(CountOwner::from).into_iter().chain(self.owners());
        let is_partly = |day: Day| {
            owners().filter_map(|owner| ledger.day(owner, day)).any(|count| {
                count.estimated.is_some() && count.as_of > day.start() && count.as_of < day.end()
            })
        };
        let is_exact = !days.into_iter().any(is_partly);
        let used =
            past.iter().map(|(_, used)| used.get()).sum::<u64>() + self.books.snapshot().figures.used.get();
        (is_exact && self.books.may_count()).then_some(used)
    }

    /// Writes all changes, and returns the books that another process would restore.
    pub(crate) fn reopened(&mut self) -> Books {
        self.finish();
        self.flush();
        let moment = Moment { jumped: Duration::ZERO, may_be_wrong: false, ..self.books.moment() };
        let again = self.settings.open(self.disk.read(), moment);
        // What is reserved ends with the process.
        self.give_up(|_| true);
        again
    }

    /// Everything ends and is counted. Returns what is committed beyond that, if it should not be.
    pub(crate) fn count_all(&mut self, world: &mut World) -> Option<String> {
        self.set_ahead(0, world);
        (self.offset, world.lateness) = (0, 0);
        self.foreign.clear();
        for relay in self.relays() {
            self.seen[relay].cli = Cli::Works;
            world.set_dead(relay, false);
        }
        let is_read = self.settings.cli || !self.settings.sources.contains(&IceSource::Coturn);
        let may_be_doubted = self.settings.leaves_out()
            || self.may_break
            || self.was_uncut
            || self.present(world) < self.lost_until
            || !is_read
            || !self.books.snapshot().bound_holds();
        self.leave_pages(world);
        // Then the time is not in doubt any more, and a page that has left is seen to be gone.
        self.pass(DOUBT_MAX, 0, world);
        self.watch_sfu(world);
        self.pass(ALL_ENDED, 0, world);
        for _ in 0..4 {
            // What was counted too low is counted again. What was not believed is believed once it shows a probe.
            self.asked = CountedDays::default();
            self.pass(DAY / 24, 0, world);
            self.read(world, 0, 0);
            self.read_relay(world);
            self.list_sessions(world);
            self.tidy();
        }
        let Snapshot { figures, live_grants, .. } = self.books.snapshot();
        // What strict mode holds back for sampling is committed.
        let margin = if self.settings.strict { u64::from(self.settings.sampling) } else { 0 };
        let counted = (u128::from(figures.used.get()) * 100).div_ceil(u128::from(100 - margin)) + 62;
        // What was promised for time whose counts nothing has proven stays.
        let days = || Day::between(figures.period.start, figures.period.end);
        let ledger = self.books.budget();
        let of_keys = self.owners().filter(|owner| owner.issuer.is_some());
        let owners = METERED.into_iter().map(CountOwner::from).chain(of_keys);
        let unproven = owners.flat_map(|owner| days().filter_map(move |day| ledger.day(owner, day)));
        let most = unproven.map(|count| u128::from(count.unseen.get())).sum::<u128>() + counted;
        let is_open = u128::from(figures.committed.get()) > most || live_grants > 0;
        let truth = self.truth(world, figures.period);
        // No bytes have shown that the SFU counts a session to which nothing was sent.
        let is_silent = self.settings.sfu && !self.books.snapshot().bound_holds();
        (!may_be_doubted && !is_silent && (is_open || figures.used.get() < truth))
            .then(|| format!("after {truth} have ended and are counted, {live_grants} grants, {figures:?}"))
    }

    /// Two periods pass in which nothing is relayed.
    pub(crate) fn wind_down(&mut self, world: &mut World) {
        for millis in [40 * DAY, 600_000, 40 * DAY, 600_000] {
            self.time.set_reference(self.present(world), self.since_boot(world));
            self.pass(millis, 0, world);
            self.give_up_late(world);
            self.list_sessions(world);
            while !self.books.tidy() {}
            self.flush();
        }
    }

    /// Restores the last copy. The credentials that were handed out since are unknown.
    pub(super) fn restore_copy(&mut self, world: &mut World) {
        let Some(copy) = self.copy.take() else { return };
        self.disk = copy;
        self.begin_with_less(world);
        self.note_lack(world);
        self.lacks_since = Some((world.now, millis(self.settings.tail(SOURCE))));
    }

    /// The ledger is lost. Whether its keys have relayed before is known once the provider is asked.
    pub(super) fn lose_ledger(&mut self, world: &mut World) {
        // A new ledger begins at the wall clock's time, and knows no session of the SFU.
        if self.step > 0 || self.offset != 0 || !self.pages.is_empty() {
            return;
        }
        self.disk = D::new();
        (self.lacks_since, self.lost_at) = (None, world.now);
        self.begin_with_less(world);
        self.off_until = None;
    }

    /// A process begins with a ledger that lacks what happened lately.
    fn begin_with_less(&mut self, world: &mut World) {
        // It does not know of pauses since.
        (self.lags, self.was_restored) = (true, true);
        self.restart(world);
        self.limit = self.books.snapshot().figures.limit;
        // What coturn and the relay carried since the copy is in no figure of this period.
        if self.settings.sources != ONE {
            self.lost_until = self.settings.billing_day().period_at(self.present(world)).end;
        }
        let grants = self.books.grants();
        world.forget(|grant| grants.get(grant).is_some());
        self.excuse(Excuse::Restored);
        self.may_break = true;
    }
}
