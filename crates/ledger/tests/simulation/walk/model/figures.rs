//! The figures: the days as they are counted, and minute by minute what is promised in the time that is not.

use turn_ledger::{Books, Day, DayCount, IceSource, Minute, PromisedTime, Snapshot, Timestamp};

use super::flows::ahead;
use super::{Known, Model, minute_of, pages};

/// Minutes of a grant, and the bytes in each.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Span {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) per_minute: u64,
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

impl From<Span> for PromisedTime {
    fn from(Span { from, until, per_minute }: Span) -> Self {
        Self::new(Minute::new(from), Minute::new(until), per_minute)
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
    /// Compares the figures with the account. `held`: what is reserved for credentials that are being made, by source.
    pub(in super::super) fn check_figures(
        &self,
        books: &Books,
        snapshot: &Snapshot,
        held: &[(IceSource, PromisedTime)],
    ) -> Option<String> {
        let (figures, ledger, is_strict) = (snapshot.figures, books.ledger(), self.rules.is_strict);
        let [start, end, now] =
            [figures.period.start, figures.period.end, figures.now].map(Timestamp::as_millis);
        let (mut used, mut committed, mut next, mut margin) = (0_u128, 0_u128, 0_u128, 0_u128);
        let (mut live, mut measured, mut known_until) = (0, 0_u128, vec![]);
        for source in ledger.sources().filter(|source| source.is_metered()) {
            let rate = ledger.bytes_per_minute(source);
            let known = self.now.grants.iter().filter(|known| known.source == source).map(Known::span);
            let held = held.iter().filter(|(of, _)| *of == source).map(|(_, time)| Span::from(*time));
            let pages = self.now.sessions_of_pages.iter().filter(|_| source == IceSource::Sfu);
            let pages = pages.flat_map(pages::Session::spans);
            let spans = known.chain(held).chain(pages);
            let mut spans: Vec<_> = spans.filter(|span| span.until > span.from).collect();
            let minute = minute_of(now);
            live += spans.iter().filter(|span| (span.from..span.until).contains(&minute)).count();
            next += promised(&spans, minute_of(end), i64::MAX, rate).least;
            spans.retain(|span| span.until > minute_of(start) && span.from < minute_of(end));
            let (mut counted_until, mut counted) = (start, 0);
            for day in Day::between(figures.period.start, figures.period.end) {
                let Some(count) = ledger.day(source, day) else { continue };
                let DayCount { as_of, granted, at_most: granted_most, sampling, other, unseen, .. } = count;
                let other_most = at_most(other.get(), sampling);
                let total = u128::from(granted.plus(other).get());
                let sampled = u128::from(granted_most.get()) + other_most;
                counted += total;
                margin += if is_strict { 0 } else { sampled.saturating_sub(total) };
                committed += u128::from(unseen.get()) + if is_strict { sampled } else { total };
                if as_of > day.start() {
                    counted_until = as_of.as_millis();
                }
            }
            let estimated = self.now.estimated(books, source, &spans, self.rules.rate, is_strict);
            committed += estimated.worst + ahead(&spans, now, end, rate);
            (used, measured) = (used + counted + estimated.used, measured + counted);
            let found = u128::from(ledger.used_of(source).get());
            let is_exact = !self.now.is_rough && !self.now.is_reopened;
            if found != counted + estimated.used && is_exact {
                return Some(format!("{found} are used of {source}, not {counted} and {estimated:?}"));
            }
            known_until.extend(Some(counted_until).filter(|until| *until > start));
        }
        let as_of = snapshot.measured.as_of.map(Timestamp::as_millis);
        let expected = known_until.into_iter().min();
        if as_of != expected {
            return Some(format!("all is counted until {as_of:?}, not {expected:?}"));
        }
        let live = u128::try_from(live).unwrap_or(0);
        let is = |what: &str, found: u64, expected: u128| {
            (u128::from(found) != expected).then(|| format!("{what} is {found}, not {expected}"))
        };
        let measured = is("measured", snapshot.measured.bytes.get(), measured);
        let margin = is("the margin", figures.margin.get(), margin);
        measured
            .or(margin)
            .or_else(|| is("committed", figures.committed.get(), committed))
            .or_else(|| is("used", figures.used.get(), used))
            .filter(|_| !self.now.is_rough && !self.now.is_reopened)
            .or_else(|| is("committed next", figures.committed_next.get(), next))
            .or_else(|| is("live grants", snapshot.live_grants, live))
    }
}
