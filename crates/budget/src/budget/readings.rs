//! The readings of all sources, and what qualifies them: late counts, jumps of the time, sessions that are not cut.
//! Tests: `src/budget_tests.rs`.
//!
//! An owner that is not known changes nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Budget;
use crate::evidence::{
    Carried, CountOwner, DayCount, Excesses, GrantCounts, IdDigest, Reading, ReadingOutcome,
};
use crate::source::IceSource;
use crate::timeline::{MeasuredUsage, Timeline};
use crate::units::{ByteCount, Day, Minute, Timestamp};
use crate::verdict::{BudgetMode, Figures};

/// A count by grant that is not final is taken for an owner if the owner's own count ends less than this before the count by grant.
const COUNTED_TOGETHER: Duration = Duration::from_secs(3_600);
/// Counts end with whole minutes.
const MINUTE: Duration = Duration::from_secs(60);

impl Budget {
    /// Takes a reading of an owner.
    pub fn take_reading(&mut self, owner: impl Into<CountOwner>, reading: &Reading) -> ReadingOutcome {
        let owner = owner.into();
        let total = |budget: &Self| Some(budget.owned_by(owner)?.minutes.days.get(reading.day).total());
        let before = total(self).unwrap_or_default();
        let taken = self.with(owner, |timeline| timeline.take_reading(reading));
        self.share_counts(owner);
        if owner.issuer.is_some() && reading.day.start() < self.period.start {
            let more = total(self).unwrap_or_default().minus(before);
            self.with(owner.source.into(), |rest| rest.minutes.count_past_elsewhere(reading.day, more));
        }
        taken.unwrap_or(ReadingOutcome::Older)
    }

    /// Sets until when grants may relay that the ledger does not have.
    pub fn set_lacks_until(&mut self, until: Timestamp) {
        self.timelines.iter_mut().for_each(|timeline| timeline.lacks_until = until);
    }

    /// Gives the counts of a source's TURN keys to its owner without a key. An app server's report without a grant does not say which key
    /// relayed its bytes. So these bytes are compared with all that is counted at the source.
    pub fn share_counts(&mut self, owner: CountOwner) {
        if owner.issuer.is_none() {
            return;
        }
        let mut elsewhere = BTreeMap::<_, ByteCount>::new();
        for timeline in self.all_of(owner.source).filter(|timeline| timeline.terms.owner.issuer.is_some()) {
            for (day, count) in timeline.minutes.days.of(self.period) {
                let sum = elsewhere.entry(day).or_default();
                *sum = sum.plus(count.total());
            }
        }
        self.with(owner.source.into(), |rest| rest.minutes.set_counted_elsewhere(elsewhere));
    }

    /// Whether a probe with the key of this owner would help its counts to be believed. `bytes`: what it would relay. In strict mode the
    /// probe must not be what passes the limit. If the limit is passed already, a probe helps: only a count that is believed releases
    /// promises.
    pub fn needs_probe(&self, owner: impl Into<CountOwner>, bytes: ByteCount) -> bool {
        let Figures { committed, limit, .. } = self.figures();
        let has_room =
            self.terms.mode != BudgetMode::Strict || committed > limit || committed.plus(bytes) <= limit;
        has_room && self.owned_by(owner.into()).is_some_and(|timeline| timeline.state.proof.needs_probe())
    }

    /// Whether two answers agree on all counts of a source for a day, up to its end.
    pub fn is_agreed(&self, source: IceSource, day: Day) -> bool {
        let mut read = self.all_of(source).filter(|timeline| timeline.is_asked());
        read.all(|timeline| {
            let count = timeline.minutes.days.get(day);
            // A higher last answer may be wrong.
            let margin = ByteCount::saturating(count.agreed.bytes.share_up(count.sampling));
            count.agreed.until >= day.end() && count.total() <= count.agreed.bytes.plus(margin)
        })
    }

    /// The bytes of a whole day on which two answers agree; `None` if they do not have all of it.
    pub fn agreed_bytes(&self, source: IceSource, day: Day) -> Option<ByteCount> {
        let mut read = self.all_of(source).filter(|timeline| timeline.is_asked());
        read.try_fold(ByteCount::ZERO, |sum, timeline| {
            let agreed = timeline.minutes.days.get(day).agreed;
            (agreed.until >= day.end()).then(|| sum.plus(agreed.bytes))
        })
    }

    /// Whether a second answer of a provider decides about something now: whether calls end at the limit, or what strict mode may promise.
    pub fn awaits_answer(&self) -> bool {
        self.terms.mode == BudgetMode::Strict || self.figures().is_spent() && !self.is_limit_proven()
    }

    /// The minutes of probes that no count has shown.
    pub fn unshown_probes(&self, owner: impl Into<CountOwner>) -> Vec<Minute> {
        let found = self.owned_by(owner.into());
        found.map(|timeline| timeline.state.proof.unshown().collect()).unwrap_or_default()
    }

    /// Notes the ids of TURN keys. An owner has only the digest of its key.
    pub fn note_turn_keys(&mut self, ids: &[Arc<str>]) {
        for id in ids {
            let issuer = Some(IdDigest::of(id));
            let of_key = self.timelines.iter_mut().filter(|of| of.terms.owner.issuer == issuer);
            of_key.for_each(|timeline| timeline.state.turn_key = Some(Arc::clone(id)));
        }
    }

    /// The TURN keys whose bytes are asked for, with their ids: those of the settings, and others with something in this
    /// period or promised after it.
    pub fn counted_turn_keys(&self) -> BTreeMap<IdDigest, Arc<str>> {
        let asked = self.timelines.iter().filter(|timeline| timeline.is_asked());
        asked.filter_map(|of| of.terms.owner.issuer.zip(of.state.turn_key.clone())).collect()
    }

    /// The owners of a source whose own counts are missing for some of the time of these counts by grant. Final counts by grant are taken
    /// an hour later than the counts of days, so the count of the day must have all of their time.
    /// An owner whose counts need no proof is left out.
    pub fn uncounted(&self, source: IceSource, counts: &GrantCounts) -> Vec<CountOwner> {
        let GrantCounts { from, until, is_final, .. } = *counts;
        let may_end_earlier_by = if is_final { MINUTE } else { COUNTED_TOGETHER };
        let is_missing = |timeline: &&Timeline| {
            let start = timeline.minutes.period.start;
            // Counts end with whole minutes. So an owner's count has all of the time of a final count by grant if it ends later than a
            // minute before `until`.
            let due = until.minus(may_end_earlier_by).max(start);
            let is_uncounted = |day: Day| {
                let as_of = timeline.minutes.days.get(day).as_of;
                as_of < day.end() && as_of <= due
            };
            timeline.terms.proof.is_strict()
                && Day::between(Day::of(from.max(start)).start(), until).any(is_uncounted)
        };
        self.all_of(source).filter(is_missing).map(|timeline| timeline.terms.owner).collect()
    }

    pub(super) fn owned_by(&self, owner: CountOwner) -> Option<&Timeline> {
        self.timelines.iter().find(|timeline| timeline.terms.owner == owner)
    }

    /// Takes a count of what belongs to none of several relays, if all relays are read.
    pub fn carry_rest(&mut self, source: IceSource, carried: &Carried) {
        if self.owned_by(source.into()).is_some_and(|rest| rest.terms.is_read) {
            self.with(source.into(), |rest| rest.carry(carried));
        }
    }

    /// Sets the latest time that it may be now.
    pub fn set_latest(&mut self, latest: Timestamp) {
        self.latest = latest;
    }

    /// The latest time at which a listing showed that this owner's sessions are cut when their grant is over; 1970 if none did.
    pub fn cut_until(&self, owner: CountOwner) -> Timestamp {
        self.of(owner).map_or(Timestamp::default(), |timeline| timeline.state.cut_until)
    }

    /// See [`RateCheck::record`](crate::evidence::rate_check::RateCheck::record).
    pub fn note_excess(&mut self, source: IceSource, seen: Excesses) {
        self.with(source.into(), |timeline| timeline.rate_check.record(seen));
    }

    /// Marks the start of reading. The time in which no process ran does not make a count stale.
    pub fn begin_readings(&mut self) {
        self.timelines.iter_mut().for_each(Timeline::begin_readings);
    }

    /// Whether sessions of this owner whose grant is over are cut.
    pub fn is_cut(&self, owner: impl Into<CountOwner>) -> bool {
        self.of(owner).is_some_and(|timeline| timeline.is_cut(self.latest()))
    }

    /// The latest time that it may be now: that of a wall clock that is ahead and not accepted, or else the ledger's.
    pub(super) fn latest(&self) -> Timestamp {
        self.now.max(self.latest)
    }

    /// What is known of an owner on a day; `None` for an unknown owner.
    pub fn day(&self, owner: impl Into<CountOwner>, day: Day) -> Option<DayCount> {
        Some(self.owned_by(owner.into())?.minutes.days.get(day))
    }

    /// The readings of all metered sources, combined.
    pub fn measured(&self) -> MeasuredUsage {
        let mut measured = MeasuredUsage::default();
        self.metered().for_each(|timeline| timeline.add_to(&mut measured));
        measured
    }
}
