//! The readings of all sources, and what qualifies them: late counts, jumps of the time, sessions that are not cut.
//! Tests: `src/ledger_tests.rs`.
//!
//! A source that is not known changes nothing here.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use super::Ledger;
use crate::day::DayCount;
use crate::minute_usage::Basis;
use crate::reading::{Carried, LateCounts, Reading, ReadingOutcome};
use crate::source::IceSource;
use crate::timeline::Timeline;
use crate::timeline::measured::MeasuredUsage;
use crate::trial::Excesses;
use crate::units::slot::{Day, Minute};
use crate::units::{ByteCount, Timestamp};
use crate::usage_change::{ChangeKind, UsageChange};
use crate::verdict::{BudgetMode, Figures};

impl Ledger {
    /// Takes a reading of a source. One of Cloudflare counts the bytes of its SFU too, so from then on nothing that is estimated
    /// for the SFU before its end counts beside it.
    pub fn take_reading(&mut self, source: IceSource, reading: &Reading) -> ReadingOutcome {
        let counts_sfu = source == IceSource::Cloudflare;
        let sfu = self.of(IceSource::Sfu).filter(|_| counts_sfu);
        let of_sfu = sfu.map_or(0, |sfu| sfu.promised_before(reading));
        let taken = self.take_one(source, reading, !self.is_doubtful, of_sfu);
        if taken == ReadingOutcome::Taken && counts_sfu {
            let elsewhere = Reading { granted: ByteCount::ZERO, other: ByteCount::ZERO, ..*reading };
            self.take_one(IceSource::Sfu, &elsewhere, false, 0);
        }
        taken
    }

    fn take_one(
        &mut self,
        source: IceSource,
        reading: &Reading,
        tests_rate: bool,
        elsewhere: u128,
    ) -> ReadingOutcome {
        let limit = self.terms.limit;
        self.with(source, |timeline| timeline.take_reading(reading, tests_rate, limit, elsewhere))
            .unwrap_or(ReadingOutcome::Older)
    }

    /// Whether a probe of this source would help a count to be believed. `bytes`: what it would relay. In strict mode it must not be what
    /// passes the limit. If more is promised already, only a count that is believed releases it.
    pub fn needs_probe(&self, source: IceSource, bytes: ByteCount) -> bool {
        let Figures { committed, limit, .. } = self.figures();
        let passes =
            self.terms.mode == BudgetMode::Strict && committed <= limit && committed.plus(bytes) > limit;
        !passes && self.of(source).is_some_and(|source| source.state.proof.needs_probe())
    }

    /// Sets whether a count of this source without bytes is believed only if it shows a probe.
    pub fn set_probed(&mut self, source: IceSource, is_probed: bool) {
        self.with(source, |timeline| timeline.terms.is_probed = is_probed);
    }

    /// Counts what a probe is about to relay, until a count replaces it.
    pub fn charge_probe(&mut self, source: IceSource, bytes: ByteCount) {
        let kind = ChangeKind::AddBytes { bytes, from: self.now, to: self.now };
        self.apply(UsageChange { source, basis: Basis::Ungranted, kind });
    }

    /// A probe has relayed in this minute.
    pub fn note_probe(&mut self, source: IceSource, minute: Minute) {
        self.with(source, |timeline| timeline.state.proof.note(minute));
    }

    /// The minutes of probes that no count has shown.
    pub fn unshown_probes(&self, source: IceSource) -> Vec<Minute> {
        self.of(source).map(|source| source.state.proof.unshown().collect()).unwrap_or_default()
    }

    /// A count shows the probe of this minute.
    pub fn show_probe(&mut self, source: IceSource, minute: Minute) {
        self.with(source, |timeline| timeline.state.proof.show(minute));
    }

    /// Takes what a source that is watched here has carried since its last count. Not while it is unknown how much time has passed.
    pub fn carry(&mut self, source: IceSource, carried: &Carried) {
        self.with(source, |timeline| timeline.carry(carried, true));
    }

    /// Counts in full what a relay that crashed can have carried since its last reading. `until`: when it had ended at the latest.
    pub(crate) fn count_lost(&mut self, source: IceSource, until: Timestamp) {
        self.with(source, |timeline| timeline.count_lost(until));
    }

    /// Sets whether more time may have passed than the books know, and the latest time that it may be. Readings do not test the
    /// assumed rate then.
    pub(crate) fn set_doubtful(&mut self, is_doubtful: bool, latest: Timestamp) {
        self.is_doubtful = is_doubtful;
        self.latest = latest;
    }

    /// Sets until when sessions of this source were cut whose grant was over.
    pub(crate) fn set_cut_until(&mut self, source: IceSource, until: Timestamp) {
        self.with(source, |timeline| timeline.state.cut_until = until);
    }

    /// Until when sessions of this source were cut whose grant was over; 1970 if never.
    pub(crate) fn cut_until(&self, source: IceSource) -> Timestamp {
        self.of(source).map_or(Timestamp::default(), |timeline| timeline.state.cut_until)
    }

    /// See [`Trial::record`](crate::trial::Trial::record).
    pub(crate) fn note_excess(&mut self, source: IceSource, seen: Excesses) {
        self.with(source, |timeline| timeline.note_excess(seen));
    }

    /// Sets how late this source's counts settle.
    pub fn set_late_counts(&mut self, source: IceSource, late: LateCounts) {
        self.with(source, |timeline| timeline.state.late = Some(late));
    }

    /// Forgets how late this source's counts settle if the configured lag is as long as the measured one.
    pub fn forget_late_counts(&mut self, source: IceSource, configured: Duration) {
        self.with(source, |timeline| {
            timeline.state.late = timeline.state.late.filter(|late| late.lag > configured);
        });
    }

    /// Marks the start of reading. The time in which no process ran does not make a count stale.
    pub(crate) fn begin_readings(&mut self) {
        self.sources.iter_mut().for_each(Timeline::begin_readings);
    }

    /// How long a credential of each metered source counts as alive after its expiry, as of now.
    pub fn tails(&self) -> Vec<(IceSource, Duration)> {
        let mints = self.metered().filter(|source| source.terms.source.issues_credentials());
        mints.map(|source| (source.terms.source, source.tail(self.latest()))).collect()
    }

    /// How long a grant of a source that is issued now counts as alive after its expiry; zero for an unknown source.
    pub fn tail(&self, source: IceSource) -> Duration {
        self.of(source).map_or(Duration::ZERO, |source| source.tail(self.latest()))
    }

    /// The tail of a source while its sessions are not cut; zero for an unknown source.
    pub fn long_tail(&self, source: IceSource) -> Duration {
        self.of(source).map_or(Duration::ZERO, Timeline::long_tail)
    }

    /// The tail of a source while we cut its sessions; `None` if we cannot.
    pub fn cut_tail(&self, source: IceSource) -> Option<Duration> {
        self.of(source)?.terms.cut_tail
    }

    /// Whether sessions of this source whose grant is over are cut.
    pub fn is_cut(&self, source: IceSource) -> bool {
        self.of(source).is_some_and(|source| source.is_cut(self.latest()))
    }

    /// The latest time that it may be: that of a wall clock that is ahead and not accepted.
    pub(super) fn latest(&self) -> Timestamp {
        self.now.max(self.latest)
    }

    /// What is known of a source on a day; `None` for an unknown source.
    pub fn day(&self, source: IceSource, day: Day) -> Option<DayCount> {
        Some(self.of(source)?.minutes.days.get(day))
    }

    /// The readings of all metered sources, combined.
    pub fn measured(&self) -> MeasuredUsage {
        let mut measured = MeasuredUsage::default();
        self.metered().for_each(|source| source.add_to(&mut measured));
        measured
    }
}
