//! What connections were charged, minute by minute, beside what is promised in each.

use std::collections::{BTreeMap, BTreeSet};

use turn_ledger::{Books, ByteCount, Day, DayCount, IceSource, Timestamp};

use super::figures::{Range, Span, promised};
use super::{Facts, Known, MINUTE, Model, minute_from, minute_of};

/// A connection was charged for this time: these bytes, evenly, or the time itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) source: IceSource,
    pub(super) is_granted: bool,
    pub(super) from: i64,
    pub(super) to: i64,
    /// When. Bytes of no time count here.
    pub(super) at: i64,
    pub(super) bytes: Option<u64>,
}

impl Flow {
    /// Its bytes before an instant. `rate`: of time, in bytes per millisecond.
    fn until(&self, at: i64, rate: u64) -> u128 {
        let part = u128::try_from(at.clamp(self.from, self.to) - self.from).unwrap_or(0);
        let whole = u128::try_from(self.to - self.from).unwrap_or(0);
        self.bytes.map_or(part * u128::from(rate), |bytes| u128::from(bytes) * part / whole)
    }

    /// Its bytes in each minute from a time on.
    fn minutes(self, since: i64, rate: u64) -> impl Iterator<Item = (i64, u128)> {
        let is_instant = self.from == self.to;
        let at_once = is_instant.then(|| (minute_of(self.at), u128::from(self.bytes.unwrap_or(0))));
        let minutes = minute_of(self.from.max(since))..minute_from(self.to);
        let spread = minutes.filter(move |_| !is_instant).map(move |minute| {
            let until = |at| self.until(at, rate);
            (minute, until((minute + 1) * MINUTE) - until((minute * MINUTE).max(since)))
        });
        spread.chain(at_once).filter(move |(minute, _)| *minute >= minute_of(since))
    }
}

/// What the minutes of a source add to the figures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimated {
    pub(super) used: u128,
    pub(super) worst: u128,
}

impl Facts {
    /// The bytes of connections in each minute of a source from a time on, with grants and without.
    fn claims(&self, source: IceSource, since: i64, now: i64, rate: u64) -> BTreeMap<i64, [u128; 2]> {
        let mut claims = BTreeMap::<_, [u128; 2]>::new();
        let open = self.connections.iter().flat_map(|it| it.times(now));
        let pages = self.sessions_of_pages.iter().flat_map(|session| session.flows(now));
        let flows = self.flows.iter().copied().chain(open).chain(pages);
        for flow in flows.filter(|flow| flow.source == source && flow.at.max(flow.to) >= since) {
            for (minute, bytes) in flow.minutes(since, rate) {
                claims.entry(minute).or_default()[usize::from(!flow.is_granted)] += bytes;
            }
        }
        claims
    }

    /// What the minutes of this period until now add to the figures of a source. The time that is counted adds nothing. `rate`: of a
    /// connection, in bytes per millisecond.
    pub(super) fn estimated(
        &self,
        books: &Books,
        source: IceSource,
        spans: &[Span],
        rate: u64,
        is_strict: bool,
    ) -> Estimated {
        let ledger = books.ledger();
        let (now, start) = (ledger.now().as_millis(), ledger.period().start.as_millis());
        let (first, last) = (minute_of(start), minute_of(now) + 1);
        let claims = self.claims(source, start, now, rate);
        let days: BTreeMap<_, _> = Day::between(ledger.period().start, ledger.now().plus_millis(1))
            .filter_map(|day| Some((day, ledger.day(source, day)?.as_of.as_millis())))
            .collect();
        let edges = spans.iter().flat_map(|span| [span.from, span.until]);
        let edges = edges.chain(claims.keys().flat_map(|minute| [*minute, minute + 1]));
        let edges = edges.chain(days.values().flat_map(|at| [minute_of(*at), minute_from(*at)]));
        let edges = edges.chain(days.keys().map(|day| minute_of(day.start().as_millis())));
        let edges: BTreeSet<_> =
            edges.filter(|edge| (first..last).contains(edge)).chain([first, last]).collect();
        let mut sums = Estimated::default();
        for (from, until) in edges.iter().zip(edges.iter().skip(1)) {
            let minutes = u128::try_from(until - from).unwrap_or(0);
            let promised = promised(spans, *from, from + 1, ledger.bytes_per_minute(source)).least;
            let begin = from * MINUTE;
            let counted = days.get(&Day::of(Timestamp::from_millis(begin))).copied().unwrap_or(begin);
            if counted >= until * MINUTE {
                continue;
            }
            if begin < counted {
                let rest = u128::try_from(begin + MINUTE - counted).unwrap_or(0);
                sums.worst += promised * rest / 60_000;
                continue;
            }
            let [granted, ungranted] = claims.get(from).copied().unwrap_or_default();
            let used = if is_strict { granted.min(promised) } else { granted } + ungranted;
            sums.used += used * minutes;
            sums.worst += used.max(promised) * minutes;
        }
        sums
    }
}

impl Model {
    /// What the days of a source must say after so much was carried since the last count. In time that nobody observed, connections
    /// may have been charged for more, and the rest of what was promised may have been relayed.
    pub(in super::super) fn expect_carried(
        &self,
        books: &Books,
        (source, as_of): (IceSource, Timestamp),
        held: &[Span],
        (carried, is_after_gap): (u64, bool),
    ) -> Vec<(Day, DayCount)> {
        let (ledger, facts, rules) = (books.ledger(), &self.now, &self.rules);
        let (period, per_minute) = (ledger.period(), ledger.bytes_per_minute(source));
        let as_of = as_of.max(period.start.plus_millis(1)).min(ledger.now());
        let known = facts.grants.iter().filter(|known| known.source == source).map(Known::span);
        let spans: Vec<_> = known.chain(held.iter().copied()).collect();
        let claims = facts.claims(source, period.start.as_millis(), ledger.now().as_millis(), rules.rate);
        let days: Vec<_> = Day::between(period.start, as_of.plus_millis(1))
            .filter_map(|day| Some((day, ledger.day(source, day)?)))
            .collect();
        let counted = days.iter().filter(|(day, count)| count.as_of > day.start());
        let last = counted.map(|(_, count)| count.as_of).max().unwrap_or_default();
        let (mut left, mut expected) = (u128::from(carried), vec![]);
        for (day, before) in days {
            let (until, is_last) = (day.end().min(as_of), as_of < day.end());
            if before.as_of >= until && !is_last {
                continue;
            }
            let (mut bytes, mut most) = (0, 0);
            let (from, to) = (before.as_of.as_millis(), until.as_millis());
            let minutes = minute_of(from)..minute_from(to);
            let overlaps = |span: &&Span| span.from < minutes.end && span.until > minutes.start;
            let spans: Vec<_> = spans.iter().filter(overlaps).copied().collect();
            let is_unseen = is_after_gap || before.as_of < last;
            let is_any = !spans.is_empty() || claims.range(minutes.clone()).next().is_some();
            for minute in minutes.filter(|_| is_unseen && is_any && from < to) {
                let promised = promised(&spans, minute, minute + 1, per_minute).least;
                let part = to.min((minute + 1) * MINUTE) - from.max(minute * MINUTE);
                most += promised * u128::try_from(part).unwrap_or(0) / 60_000;
                if minute * MINUTE >= from {
                    let [granted, ungranted] = claims.get(&minute).copied().unwrap_or_default();
                    bytes += if rules.is_strict { granted.min(promised) } else { granted } + ungranted;
                }
            }
            if is_last {
                bytes = bytes.max(left);
            }
            left = left.saturating_sub(bytes);
            let plus = |sum: ByteCount, bytes| sum.plus(ByteCount::saturating(bytes));
            let after = DayCount {
                as_of: before.as_of.max(until),
                granted: plus(before.granted, bytes),
                at_most: plus(before.at_most, bytes),
                unseen: plus(before.unseen, most.saturating_sub(bytes)),
                ..before
            };
            expected.push((day, after));
        }
        expected
    }

    /// Compares the days of a source after it has carried something.
    pub(in super::super) fn note_carried(
        &mut self,
        books: &Books,
        source: IceSource,
        expected: &[(Day, DayCount)],
    ) {
        let is_wrong = |(day, count): &&(Day, DayCount)| books.ledger().day(source, *day) != Some(*count);
        let wrong = expected.iter().find(is_wrong).filter(|_| !self.now.is_rough && !self.now.is_reopened);
        self.expect(wrong.is_none(), || {
            let found = wrong.and_then(|(day, _)| books.ledger().day(source, *day));
            format!("{found:?} instead of {wrong:?} of {source}")
        });
    }
}

/// What is promised in the minutes after this one until a time.
pub(super) fn ahead(spans: &[Span], now: i64, end: i64, rate: u64) -> u128 {
    let Range { least, .. } = promised(spans, minute_of(now) + 1, minute_of(end), rate);
    least
}
