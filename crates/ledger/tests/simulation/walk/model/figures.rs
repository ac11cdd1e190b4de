//! The figures: the days as they are counted, and minute by minute what is promised in the time that is not.

use turn_ledger::{Books, Day, DayCount, IceSource, PromisedTime, Snapshot, Timestamp};

use super::{Known, MINUTE, Model, minute_from, minute_of};

/// Minutes of a grant, and the bytes in each.
#[derive(Clone, Copy)]
pub(in super::super) struct Span {
    from: i64,
    until: i64,
    per_minute: u64,
}

impl Known {
    /// The minutes that it adds to those of the grants before it.
    pub(super) fn span(&self) -> Span {
        Span { from: self.reserved_from, until: self.until, per_minute: self.per_minute }
    }
}

impl From<PromisedTime> for Span {
    fn from(time: PromisedTime) -> Self {
        let (from, until) = (time.reserved_from.number(), time.until.number());
        Self { from, until, per_minute: time.per_minute }
    }
}

/// Bytes at least and at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) least: u128,
    pub(super) most: u128,
}

impl Range {
    pub(super) fn contains(self, found: u64) -> bool {
        (self.least..=self.most).contains(&found.into())
    }

    pub(super) fn add(&mut self, least: u128, most: u128) {
        (self.least, self.most) = (self.least + least, self.most + most);
    }
}

/// What the spans of a source promise in the minutes `[from, until)`. The rate in force is at least `rate` bytes in a minute.
pub(super) fn promised(spans: &[Span], from: i64, until: i64, rate: u64) -> Range {
    let (mut count, mut bytes, mut most) = (0_u128, 0_u128, 0_u128);
    for span in spans {
        let minutes = u128::try_from(span.until.min(until) - span.from.max(from)).unwrap_or(0);
        count += minutes;
        bytes += minutes * u128::from(span.per_minute);
        most += minutes * u128::from(span.per_minute.max(rate));
    }
    Range { least: bytes.max(count * u128::from(rate)), most }
}

/// What a user may relay because of a promise in these minutes: with it, and with the grants before it whose sessions go on.
pub(super) fn parts(time: &PromisedTime, from: i64, until: i64, rate: u64) -> u128 {
    let minutes = |first: i64| u128::try_from(time.until.number().min(until) - first.max(from)).unwrap_or(0);
    let times = u128::from(time.chain_before);
    let minutes = minutes(time.from.number()) + times * minutes(time.reserved_from.number());
    minutes * u128::from(time.per_minute.max(rate))
}

/// The most that bytes can be of which a count may have missed so many percent.
pub(super) fn at_most(bytes: u64, percent: u32) -> u128 {
    (u128::from(bytes) * 100).div_ceil(u128::from(100 - percent.min(99)))
}

impl Model {
    /// Compares the figures with the account. `held`: what is reserved for credentials that are being made, by source. `is_strict`: in
    /// strict mode, what was reported under grants is never more than what is promised.
    pub(in super::super) fn check_figures(
        &self,
        books: &Books,
        snapshot: &Snapshot,
        held: &[(IceSource, PromisedTime)],
        is_strict: bool,
        has_reporter: bool,
    ) -> Option<String> {
        let (figures, ledger) = (snapshot.figures, books.ledger());
        let [start, end, now] =
            [figures.period.start, figures.period.end, figures.now].map(Timestamp::as_millis);
        let (mut committed, mut next, mut counted, mut margin) =
            (Range::default(), Range::default(), 0, 0_u128);
        let (mut live, mut measured, mut known_until) = (0, 0_u128, vec![]);
        for source in ledger.sources().filter(|source| source.is_metered()) {
            let rate = ledger.bytes_per_minute(source);
            let known = self.now.grants.iter().filter(|known| known.source == source).map(Known::span);
            let held = held.iter().filter(|(of, _)| *of == source).map(|(_, time)| Span::from(*time));
            let mut spans: Vec<_> = known.chain(held).filter(|span| span.until > span.from).collect();
            let minute = minute_of(now);
            live += spans.iter().filter(|span| (span.from..span.until).contains(&minute)).count();
            let Range { least, most } = promised(&spans, minute_of(end), i64::MAX, rate);
            next.add(least, most);
            spans.retain(|span| span.until > minute_of(start) && span.from < minute_of(end));
            let mut counted_until = start;
            for day in Day::between(figures.period.start, figures.period.end) {
                let Some(count) = ledger.day(source, day) else { continue };
                let DayCount { as_of, granted, at_most: granted_most, sampling, other, unseen, .. } = count;
                let other_most = at_most(other.get(), sampling);
                let total = u128::from(granted.plus(other).get());
                let sampled = u128::from(granted_most.get()) + other_most;
                let settled = u128::from(unseen.get()) + if is_strict { sampled } else { total };
                (counted, measured) = (counted + total, measured + total);
                margin += if is_strict { 0 } else { sampled };
                committed.add(settled, settled);
                let from = as_of.as_millis();
                if as_of > day.start() {
                    counted_until = from;
                }
                let Range { least, most } =
                    promised(&spans, minute_from(from), minute_of(day.end().as_millis()), rate);
                committed.add(least, most);
                if from % MINUTE > 0 {
                    let rest = u128::try_from(MINUTE - from % MINUTE).unwrap_or(0);
                    let Range { least, most } = promised(&spans, minute_of(from), minute_of(from) + 1, rate);
                    committed.add(least * rest / 60_000, most * rest / 60_000);
                }
            }
            known_until.extend(Some(counted_until).filter(|until| *until > start));
        }
        let as_of = snapshot.measured.as_of.map(Timestamp::as_millis);
        let expected = known_until.into_iter().min();
        if as_of != expected {
            return Some(format!("all is counted until {as_of:?}, not {expected:?}"));
        }
        let estimated = u128::from(figures.used.get()).checked_sub(counted);
        let Some(estimated) = estimated else { return Some("used is less than what is counted".into()) };
        let is_in = |what: &str, found: u64, least: u128, most: u128| {
            let found = u128::from(found);
            (found < least || found > most).then(|| format!("{what} is {found}, not {least} to {most}"))
        };
        let margin = if is_strict { 0 } else { margin.saturating_sub(counted) };
        // What is reported is never more than what is promised, or it counts beside it.
        let beside = if is_strict && !has_reporter { 0 } else { estimated };
        is_in("committed", figures.committed.get(), committed.least, committed.most + beside)
            .or_else(|| is_in("committed next", figures.committed_next.get(), next.least, next.most))
            .or_else(|| is_in("the margin", figures.margin.get(), margin, margin))
            .or_else(|| is_in("measured", snapshot.measured.bytes.get(), measured, measured))
            .or_else(|| {
                is_in(
                    "live grants",
                    snapshot.live_grants,
                    live.try_into().unwrap_or(0),
                    live.try_into().unwrap_or(0),
                )
            })
    }
}
