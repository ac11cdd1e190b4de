//! Tests that a ledger whose old rows were removed has the same figures as one that kept them.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase};

use crate::changes::{Changes, Contents};
use crate::rows::{self, Pruned};
use crate::tables;
use turn_budget::{
    BillingDay, BitRate, Budget, BudgetMode, ByteCount, ClaimedUsage, Figures, IceSource, Interval, Minute,
    MinuteRow, PeriodCounts, ProofRule, Rates, Slice, SourceRows, SourceTerms, Terms, Timestamp,
};
use turn_ledger::{Batch, Head, Stored};

/// 2025-03-01T00:00Z, after a short month.
const MARCH: i64 = 29_013_120;
const SOURCE: IceSource = IceSource::Coturn;
/// The longest period, in minutes.
const PERIOD_MAX: i64 = 31 * 1_440;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute * 60_000)
}

/// Rows of minutes: number, live grants and claimed bytes.
fn source_rows(minutes: &[(i64, u64, u64)]) -> SourceRows {
    let row = |&(minute, live, claimed): &(i64, u64, u64)| {
        let granted = ClaimedUsage { connection_millis: 0, claimed };
        (Minute::new(minute), MinuteRow { live, per_minute: 5 * live, granted, ..MinuteRow::default() })
    };
    SourceRows { minutes: minutes.iter().map(row).collect(), ..SourceRows::default() }
}

struct File(Database);

impl File {
    fn of(source: &SourceRows) -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        tables::make_all(&transaction).unwrap();
        let mut batch = Batch::default();
        batch.sources.insert(SOURCE.into(), source.clone());
        rows::write(&mut &transaction, &Changes::<()>::from(batch), &Pruned::default()).unwrap();
        transaction.commit().unwrap();
        Self(database)
    }

    /// Writes at this time.
    fn write(&self, now: Timestamp, pruned: &Pruned) -> Pruned {
        let batch = Batch { head: Head { now, ..Head::default() }, ..Batch::default() };
        let transaction = self.0.begin_write().unwrap();
        let pruned = rows::write(&mut &transaction, &Changes::<()>::from(batch), pruned).unwrap();
        transaction.commit().unwrap();
        pruned
    }

    /// Writes at this time, as often as there are rows. A restart before each write leaves out the minutes without a row.
    fn forget(&self, now: Timestamp) {
        for _ in self.rows().minutes.keys() {
            self.write(now, &Pruned::of(&self.stored()));
        }
    }

    fn stored(&self) -> Stored {
        let contents: Contents<()> = rows::read(&self.0.begin_read().unwrap(), &mut Err).unwrap();
        contents.books
    }

    fn rows(&self) -> SourceRows {
        self.stored().sources.get(&SOURCE.into()).cloned().unwrap_or_default()
    }
}

/// The figures of a ledger with these rows, at `now` and `later` minutes later.
fn figures_of(rows: &SourceRows, billing_day: u32, now: Timestamp, later: u64) -> Vec<(Figures, u64, Slice)> {
    let rate = BitRate::new(2_000_000);
    let terms = Terms {
        ends_calls: true,
        limit: ByteCount::new(1_000_000_000),
        billing_day: BillingDay::new(billing_day).unwrap(),
        rates: Rates { estimated: rate, liability: rate, promises_cap_claims: false },
        mode: BudgetMode::Estimate,
    };
    let sources = [SourceTerms {
        owner: SOURCE.into(),
        tail: Duration::from_secs(7_200),
        cut_tail: None,
        limit: None,
        sampling: 0,
        is_read: false,
        proof: ProofRule::Missing,
        counted_in: None,
    }];
    let stored = BTreeMap::from([(SOURCE.into(), rows.clone())]);
    let mut ledger = Budget::open(terms, &sources, now, PeriodCounts::default(), &stored);
    let mut figures_then = vec![];
    for instant in [now, now.plus_millis(later * 60_000)] {
        ledger.advance(instant);
        let figures = ledger.figures();
        figures_then.push((
            figures,
            ledger.live_grants(),
            ledger.slice(Interval::new(figures.period.start, figures.period.end)),
        ));
    }
    figures_then
}

fn rows_before(rows: &SourceRows, minute: i64) -> usize {
    rows.minutes.range(..Minute::new(minute)).count()
}

#[test]
fn the_first_minute_of_a_31_day_period_counts_until_its_last_minute() {
    let whole = source_rows(&[(MARCH, 1, 1_000_000_000)]);
    let file = File::of(&whole);
    let last_minute = at(MARCH + 31 * 1_440 - 1);
    file.forget(last_minute);
    assert_eq!(figures_of(&file.rows(), 1, last_minute, 1), figures_of(&whole, 1, last_minute, 1));
    assert_eq!(figures_of(&whole, 1, last_minute, 0)[0].0.used.get(), 1_000_000_000);
}

#[test]
fn each_write_removes_an_hour_of_old_minutes_and_a_repeated_write_no_more() {
    let minutes: Vec<_> = (0..150).map(|minute| (MARCH + minute, 1, 1)).collect();
    let file = File::of(&source_rows(&minutes));
    let now = at(MARCH + 100 + PERIOD_MAX);
    let mut pruned = Pruned::of(&file.stored());
    for left in [90, 50, 50] {
        file.write(now, &pruned);
        pruned = file.write(now, &pruned);
        assert_eq!(file.rows().minutes.len(), left);
    }
}

proptest! {
    // Each case goes through several months minute by minute.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn removing_old_rows_changes_no_figure_after_a_restart(
        minutes in prop::collection::vec((-120i64 * 1_440..=0, 0u64..5, 1u64..1 << 40), 0..40),
        forgets in prop::collection::vec(-100i64 * 1_440..=0, 1..4),
        billing_day in 1u32..=31,
        days in 0i64..60,
        later in 0u64..50_000,
    ) {
        let now = MARCH + days * 1_440 + 17;
        let minutes: Vec<_> =
            minutes.into_iter().map(|(minute, live, bytes)| (now + minute, live, bytes)).collect();
        let whole = source_rows(&minutes);
        let file = File::of(&whole);
        let mut forgets = forgets;
        forgets.sort_unstable();
        for minute in forgets {
            file.forget(at(now + minute));
        }
        let pruned = file.rows();
        prop_assert_eq!(figures_of(&pruned, billing_day, at(now), later), figures_of(&whole, billing_day, at(now), later));
        file.forget(at(now));
        let pruned = file.rows();
        prop_assert_eq!(figures_of(&pruned, billing_day, at(now), later), figures_of(&whole, billing_day, at(now), later));
        prop_assert_eq!(rows_before(&pruned, now - PERIOD_MAX), 0);
    }
}
