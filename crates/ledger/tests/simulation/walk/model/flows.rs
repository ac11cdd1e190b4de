//! What connections were charged, minute by minute, beside what is promised in each.

use std::collections::{BTreeMap, BTreeSet};

use turn_ledger::{Books, Day, IceSource, Timestamp};

use super::figures::{Range, Span, promised};
use super::{Facts, MINUTE, minute_from, minute_of};

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
        let flows = self.flows.iter().copied().chain(open);
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

/// What is promised in the minutes after this one until a time.
pub(super) fn ahead(spans: &[Span], now: i64, end: i64, rate: u64) -> u128 {
    let Range { least, .. } = promised(spans, minute_of(now) + 1, minute_of(end), rate);
    least
}
