//! What the charts need beside the ledger: who spent most in each five minutes of the last day and in each hour of the last month, and what
//! the operator did. Tests: below, `tests/it/spenders.rs`.
//! It is in memory, so it begins with the process. Each span of five minutes is read twice: as reported, when the span ends; and as
//! counted, just before it is older than [`turn_ledger::RECENT_MAX`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Account, SpentIn};
use turn_ledger::{Books, ByteCount, Minute, RECENT_MAX, SpenderKey, SpenderKind, Timestamp};

/// Minutes in a young span.
const YOUNG_MINUTES: i64 = 5;
/// Minutes in an old span.
const OLD_MINUTES: i64 = 60;
/// The age at which young spans become an old one.
const YOUNG_FOR: Duration = Duration::from_secs(86_400);
/// The age at which an old span is removed.
const KEPT_FOR: Duration = Duration::from_secs(31 * 86_400);
/// Most spenders of a kind in one span.
const NAMED_MAX: usize = 10;
/// How many spenders a chart shows.
const SHOWN: usize = 5;
/// Most marks that are kept, the latest.
const MARKS_MAX: usize = 64;
/// The time between two checks whether a span has ended.
const PAUSE: Duration = Duration::from_secs(1);

/// The bytes of the largest spenders of each kind in one span of time.
type Span = BTreeMap<SpenderKey, ByteCount>;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The spans of five minutes, by their beginnings.
    young: BTreeMap<Timestamp, Span>,
    /// The spans of an hour, by their beginnings.
    old: BTreeMap<Timestamp, Span>,
    /// What the operator did, oldest first.
    marks: VecDeque<(Timestamp, String)>,
    /// How many times names were removed.
    removals: u64,
}

/// The bytes of one spender over time.
#[derive(Debug, PartialEq, Eq)]
pub struct SpenderSeries {
    /// Who.
    pub key: SpenderKey,
    /// The spans in which the spender was among those who spent most.
    pub spans: Vec<SpentSpan>,
}

/// What a spender spent in one span.
#[derive(Debug, PartialEq, Eq)]
pub struct SpentSpan {
    /// The beginning.
    pub at: Timestamp,
    /// The length.
    pub length: Duration,
    /// The bytes in it.
    pub bytes: ByteCount,
}

/// The beginning of the span, `minutes` long, in which an instant lies.
fn begin_of(at: Timestamp, minutes: i64) -> Timestamp {
    let minute = Minute::of(at).number();
    Minute::new(minute.saturating_sub(minute.rem_euclid(minutes))).start()
}

const fn span_length(minutes: i64) -> Duration {
    Duration::from_secs(60 * minutes.unsigned_abs())
}

/// Drops all but the [`NAMED_MAX`] largest of each kind.
fn shorten(span: &mut Span) {
    for kind in SpenderKind::ALL {
        let mut of_kind: Vec<_> = span.iter().filter(|(key, _)| key.kind() == kind).collect();
        of_kind.sort_by_key(|(key, bytes)| (Reverse(**bytes), (*key).clone()));
        let small: Vec<_> = of_kind.into_iter().skip(NAMED_MAX).map(|(key, _)| key.clone()).collect();
        for key in small {
            span.remove(&key);
        }
    }
}

impl History {
    /// Sets the young span that begins at `at`, in place of what was set for it before. Joins young spans of more than a day ago into one
    /// span for each hour, and removes old spans of more than a month ago.
    fn put(&mut self, at: Timestamp, mut span: Span, now: Timestamp) {
        shorten(&mut span);
        self.young.insert(at, span);
        let first_young = begin_of(now.minus(YOUNG_FOR), OLD_MINUTES);
        while let Some(entry) = self.young.first_entry().filter(|entry| *entry.key() < first_young) {
            let (at, span) = entry.remove_entry();
            let hour = self.old.entry(begin_of(at, OLD_MINUTES)).or_default();
            for (key, bytes) in span {
                let sum = hour.entry(key).or_default();
                *sum = sum.plus(bytes);
            }
            shorten(hour);
        }
        self.old.retain(|at, _| *at >= now.minus(KEPT_FOR));
    }

    /// The [`SHOWN`] largest spenders of a kind in the spans between two instants, most bytes first. A span counts in full if a part of it
    /// is between the two.
    fn largest(&self, kind: SpenderKind, from: Timestamp, to: Timestamp) -> Vec<SpenderSeries> {
        let old = self.old.iter().map(|(at, span)| (*at, OLD_MINUTES, span));
        let young = self.young.iter().map(|(at, span)| (*at, YOUNG_MINUTES, span));
        let mut found: BTreeMap<&SpenderKey, (ByteCount, Vec<SpentSpan>)> = BTreeMap::new();
        for (at, minutes, span) in old.chain(young) {
            let length = span_length(minutes);
            if at.plus(length) <= from || at >= to {
                continue;
            }
            for (key, bytes) in span.iter().filter(|(key, _)| key.kind() == kind) {
                let (sum, spans) = found.entry(key).or_default();
                *sum = sum.plus(*bytes);
                spans.push(SpentSpan { at, length, bytes: *bytes });
            }
        }
        let mut all: Vec<_> = found.into_iter().collect();
        all.sort_by_key(|(_, (sum, _))| Reverse(*sum));
        all.into_iter()
            .take(SHOWN)
            .map(|(key, (_, spans))| SpenderSeries { key: key.clone(), spans })
            .collect()
    }

    /// Removes these names.
    pub(super) fn unname(&mut self, names: &BTreeSet<SpenderKey>) {
        for span in self.young.values_mut().chain(self.old.values_mut()) {
            span.retain(|key, _| !names.contains(key));
        }
        self.removals = self.removals.saturating_add(1);
    }

    fn mark(&mut self, at: Timestamp, text: String) {
        self.marks.push_back((at, text));
        while self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }
}

impl Account {
    /// Records who spends, every five minutes while this process leads. Never returns.
    pub async fn record_spenders(&self) {
        let mut last = Timestamp::default();
        loop {
            let now = self.read(Books::now);
            let end = begin_of(now, YOUNG_MINUTES);
            if end != last && self.holds_lease() {
                last = end;
                // An older span as counted, just before it is too old to be read. Then the span that has just ended, as reported.
                self.record_span(end.minus(RECENT_MAX), now).await;
                self.record_span(end.minus(span_length(YOUNG_MINUTES)), now).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Records the five minutes from this instant on.
    async fn record_span(&self, from: Timestamp, now: Timestamp) {
        let until = from.plus(span_length(YOUNG_MINUTES));
        let removals = self.history.lock().removals;
        let mut span = Span::new();
        for kind in SpenderKind::ALL {
            let list = self.list_spenders(kind, SpentIn::Between { from, until }).await;
            // One row more, because the row of the rest has no key and is left out.
            let rows = Arc::new(list).page(NAMED_MAX + 1, None).await.into_iter();
            span.extend(rows.filter_map(|row| Some((row.key?, row.sums.bytes()))));
        }
        let mut history = self.history.lock();
        // A list that was made before a removal can have the removed name.
        if history.removals == removals {
            history.put(from, span, now);
        }
    }

    /// The [`SHOWN`] largest spenders of a kind between two instants, as far as this process has seen them.
    pub fn largest_spenders(&self, kind: SpenderKind, from: Timestamp, to: Timestamp) -> Vec<SpenderSeries> {
        self.history.lock().largest(kind, from, to)
    }

    /// Keeps for the charts what the operator has done, in two or three words without a name.
    pub fn mark(&self, text: impl Into<String>) {
        let now = self.read(Books::now);
        self.history.lock().mark(now, text.into());
    }

    /// The latest [`MARKS_MAX`] things that the operator has done since the start of the process, the oldest first.
    pub fn marks(&self) -> Vec<(Timestamp, String)> {
        self.history.lock().marks.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn user(name: &str) -> SpenderKey {
        SpenderKey::parse(SpenderKind::User, name).unwrap()
    }

    fn span(of: &[(&str, u64)]) -> Span {
        of.iter().map(|(name, bytes)| (user(name), ByteCount::new(*bytes))).collect()
    }

    /// Who, in the order of the chart, and for each span its beginning, minutes and bytes.
    fn shown(history: &History, from: i64, to: i64) -> Vec<String> {
        let text = |SpenderSeries { key, spans }| {
            let span = |span: SpentSpan| {
                let (begin, minutes) = (span.at.to_utc().timestamp(), span.length.as_secs() / 60);
                format!(" {begin}+{minutes}m={}", span.bytes.get())
            };
            format!("{key}:{}", spans.into_iter().map(span).collect::<String>())
        };
        history.largest(SpenderKind::User, at(from), at(to)).into_iter().map(text).collect()
    }

    #[test]
    fn the_largest_of_the_whole_time_are_shown_and_a_span_that_is_set_again_is_replaced() {
        let mut history = History::default();
        history.put(at(0), span(&[("ann", 9), ("ben", 1)]), at(300));
        history.put(at(300), span(&[("ben", 4)]), at(600));
        history.put(at(0), span(&[("ann", 3), ("ben", 2)]), at(900));
        assert_eq!(shown(&history, 0, 600), ["ben: 0+5m=2 300+5m=4", "ann: 0+5m=3"]);
        assert_eq!(shown(&history, 300, 600), ["ben: 300+5m=4"]);
        assert_eq!(history.largest(SpenderKind::Label, at(0), at(600)), []);
    }

    #[test]
    fn of_many_the_ten_largest_are_kept_and_five_are_shown() {
        let names: Vec<_> = (10..40).map(|bytes| format!("user-{bytes}")).collect();
        let of: Vec<_> = names.iter().map(String::as_str).zip(10..).collect();
        let mut history = History::default();
        history.put(at(0), span(&of), at(300));
        assert_eq!(history.young[&at(0)].len(), NAMED_MAX);
        let largest = [39, 38, 37, 36, 35].map(|bytes| format!("user-{bytes}: 0+5m={bytes}"));
        assert_eq!(shown(&history, 0, 300), largest);
    }

    #[test]
    fn after_a_day_an_hour_is_one_span_and_after_a_month_none() {
        let mut history = History::default();
        for minute in [0, 5, 60] {
            history.put(at(minute * 60), span(&[("ann", 1)]), at(minute * 60 + 300));
        }
        history.put(at(DAY + 3_600), Span::new(), at(DAY + 3_600));
        assert_eq!(shown(&history, 0, DAY), ["ann: 0+60m=2 3600+5m=1"]);
        history.put(at(32 * DAY), Span::new(), at(32 * DAY));
        assert_eq!(shown(&history, 0, 33 * DAY), [""; 0]);
    }

    #[test]
    fn a_name_that_is_forgotten_is_in_no_span_and_marks_are_bounded() {
        let mut history = History::default();
        history.put(at(0), span(&[("ann", 1), ("ben", 1)]), at(300));
        history.put(at(2 * DAY), span(&[("ann", 1)]), at(2 * DAY));
        history.unname(&[user("ann")].into());
        assert_eq!(shown(&history, 0, 3 * DAY), ["ben: 0+60m=1"]);
        (0..100).for_each(|second| history.mark(at(second), "limit".into()));
        assert_eq!((history.marks.len(), history.marks[0].0), (MARKS_MAX, at(36)));
    }
}
