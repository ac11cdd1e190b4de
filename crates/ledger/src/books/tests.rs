//! Tests of the books over random histories of connections and mints.

use super::*;
use crate::grants::requester::Requester;
use crate::open::Setup;
use crate::promise::LiveDelta;
use crate::reading::{Reading, ReadingOutcome};
use crate::testing::setup;
use crate::timeline::terms::SourceTerms;
use crate::token::{Grant, GrantId};
use crate::units::BitRate;
use crate::units::period::BillingDay;
use crate::units::slot::{Day, Minute};
use crate::verdict::BudgetMode;
use proptest::prelude::*;
use std::time::Duration;

mod clock;
mod commits;
mod crashes;
mod days;
mod promises;
mod released;
mod sfu;
mod spenders;
mod strangers;

/// 2025-01-31T22:00Z: two hours before a reset.
const START: i64 = 1_738_360_800_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START).plus_millis(millis)
}

fn books() -> Books {
    books_in(BudgetMode::Estimate)
}

/// Books that know the grants of [`client`], which promise nothing.
fn books_in(mode: BudgetMode) -> Books {
    let mut books = setup(mode).open(None, at(0));
    for n in 0..4 {
        let grant = client(n).grant().unwrap();
        books.grants.issue(grant.id, GrantRow::new(&grant, None, None));
    }
    books
}

/// Books whose changes are recorded.
fn stored_books(mode: BudgetMode) -> Books {
    setup(mode).open(Some(Stored::default()), at(0))
}

/// The books, advanced to that time.
fn advanced(books: &mut Books, now: Timestamp) -> &mut Books {
    books.advance(now);
    books
}

fn client(n: u8) -> Caller {
    Caller::Grant(Grant {
        id: GrantId::new([n; 16]),
        source: IceSource::Cloudflare,
        issued_at: at(0),
        expires_at: at(86_400_000),
    })
}

/// A grant without reports.
fn minted(now: Timestamp, life: u64) -> Grant {
    Grant {
        id: GrantId::new([255; 16]),
        source: IceSource::Cloudflare,
        issued_at: now,
        expires_at: now.plus(Duration::from_secs(life)),
    }
}

fn received(bytes: u64) -> Report {
    Report { bytes_received: Some(bytes), relayed: Some(true), ..Report::default() }
}

fn used(books: &Books) -> u64 {
    books.snapshot().figures.used.get()
}

#[test]
fn usage_rises_while_a_connection_is_open_and_stops_when_it_closes() {
    let mut books = books();
    advanced(&mut books, at(0)).open(client(1), "c", None).unwrap();
    books.advance(at(4_000));
    assert_eq!(used(&books), 1_000_000);
    let closed =
        advanced(&mut books, at(8_000)).close(client(1), "c", Report::default()).unwrap().value.unwrap();
    books.advance(at(600_000));
    assert_eq!((used(&books), closed.charged.get()), (2_000_000, 2_000_000));
}

#[test]
fn a_connection_that_stops_reporting_is_charged_one_interval() {
    for now in [30_000, 90_000, 3_600_000] {
        let mut books = books();
        advanced(&mut books, at(0)).open(client(1), "c", None).unwrap();
        books.advance(at(now));
        assert_eq!(used(&books), 30 * 250_000, "after {now} ms");
        assert_eq!(books.take_given_up().len(), usize::from(now >= 90_000));
    }
}

#[test]
fn reported_bytes_replace_the_estimate_in_the_total() {
    let mut books = books();
    advanced(&mut books, at(0)).open(client(1), "c", None).unwrap();
    let _ = advanced(&mut books, at(20_000)).heartbeat(client(1), "c", received(3_000)).unwrap();
    books.advance(at(60_000));
    assert_eq!(used(&books), 3_000);
}

#[test]
fn a_connection_across_the_reset_is_charged_to_each_period_in_part() {
    let mut books = books();
    let reset = 7_200_000;
    advanced(&mut books, at(reset - 10_000)).open(client(1), "c", None).unwrap();
    let _ = advanced(&mut books, at(reset + 30_000)).heartbeat(client(1), "c", received(4_000_000)).ok();
    let previous = books.ledger().past()[0].1.get();
    assert_eq!((previous, used(&books)), (1_000_000, 3_000_000));
}

#[derive(Clone, Debug)]
enum Op {
    Wait { millis: u64 },
    StepBack { millis: u64 },
    Open { who: u8, relayed: Option<bool> },
    Beat { who: u8, bytes: Option<u64>, relayed: Option<bool> },
    Close { who: u8 },
    Mint { life: u64, fails: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let relayed = || prop::option::of(any::<bool>());
    prop_oneof![
        5 => (0u64..40_000).prop_map(|millis| Op::Wait { millis }),
        1 => (0u64..7_200_000).prop_map(|millis| Op::Wait { millis }),
        1 => (0u64..7_200_000).prop_map(|millis| Op::StepBack { millis }),
        4 => (0u8..4, relayed()).prop_map(|(who, relayed)| Op::Open { who, relayed }),
        6 => (0u8..4, prop::option::of(0u64..1 << 32), relayed()).prop_map(|(who, bytes, relayed)| Op::Beat { who, bytes, relayed }),
        2 => (0u8..4).prop_map(|who| Op::Close { who }),
        2 => (60u64..90_000, any::<bool>()).prop_map(|(life, fails)| Op::Mint { life, fails }),
    ]
}

fn apply(books: &mut Books, op: &Op, clock: &mut u64) {
    let id = "c";
    match *op {
        Op::Wait { millis } => *clock += millis,
        Op::StepBack { millis } => *clock = clock.saturating_sub(millis),
        Op::Open { who, relayed } => drop(advanced(books, at(*clock)).open(client(who), id, relayed)),
        Op::Beat { who, bytes, relayed } => {
            let report = Report { bytes_received: bytes, relayed, ..Report::default() };
            let _ = advanced(books, at(*clock)).heartbeat(client(who), id, report);
        }
        Op::Close { who } => drop(advanced(books, at(*clock)).close(client(who), id, Report::default())),
        Op::Mint { life, fails } => {
            let slack = Duration::from_secs(4);
            books.advance(at(*clock));
            if let Ok(hold) =
                books.reserve(IceSource::Cloudflare, Duration::from_secs(life), slack, &Requester::default())
            {
                if fails {
                    books.release(&hold);
                } else {
                    let _ =
                        books.commit(hold, &minted(at(*clock), life), None, Requester::default()).unwrap();
                }
            }
        }
    }
    books.advance(at(*clock));
}

proptest! {
    /// Within a period, usage falls only when a report (or a second open) replaces the estimate of its own connection. It
    /// falls by at most that estimate.
    #[test]
    fn within_a_period_usage_falls_only_when_a_report_replaces_an_estimate(ops in prop::collection::vec(op(), 1..80)) {
        let mut books = books();
        let mut clock = 0;
        for op in &ops {
            // Time advances first, so that the report is the only change that is compared.
            let before_time = books.snapshot().figures;
            books.advance(at(clock));
            let before = books.snapshot().figures;
            if before.period == before_time.period {
                prop_assert!(before.used >= before_time.used);
            }
            let estimated: u64 = books.connections().iter().map(|c| c.charged(before.now, books.connections().rules()).get()).sum();
            apply(&mut books, op, &mut clock);
            let after = books.snapshot().figures;
            if after.period != before.period {
                continue;
            }
            match op {
                Op::Beat { .. } | Op::Open { .. } => prop_assert!(after.used.get() + estimated + 4 >= before.used.get(), "{op:?}"),
                _ => prop_assert!(after.used >= before.used, "{op:?} lowered usage"),
            }
        }
    }

    #[test]
    fn used_never_exceeds_committed_and_every_connection_is_closed_in_the_end(ops in prop::collection::vec(op(), 1..80)) {
        let mut books = books();
        let mut clock = 0;
        for op in &ops {
            apply(&mut books, op, &mut clock);
            let figures = books.snapshot().figures;
            prop_assert!(figures.used <= figures.committed);
        }
        let quiet = books.snapshot().figures.now.plus(Duration::from_secs(90));
        books.advance(quiet);
        prop_assert_eq!(books.snapshot().open_connections, 0, "every connection is closed");
    }

    #[test]
    fn the_charges_of_all_connections_add_up_to_the_ledgers_total(ops in prop::collection::vec(op(), 1..60)) {
        let mut books = books();
        let mut clock = 0;
        let mut charged = 0u64;
        for op in &ops {
            if let Op::Close { who } = op {
                let closed = advanced(&mut books, at(clock)).close(client(*who), "c", Report::default());
                charged += closed.ok().and_then(|outcome| outcome.value).map_or(0, |closed| closed.charged.get());
            } else {
                apply(&mut books, op, &mut clock);
            }
            charged += books.take_given_up().iter().map(|closed| closed.charged.get()).sum::<u64>();
        }
        books.advance(books.snapshot().figures.now.plus(Duration::from_secs(90)));
        charged += books.take_given_up().iter().map(|closed| closed.charged.get()).sum::<u64>();
        let figures = books.snapshot().figures;
        let reset = at(7_200_000);
        prop_assume!(figures.now < reset.plus(Duration::from_secs(28 * 86_400)));
        let total = used(&books) + books.ledger().past().first().map_or(0, |(_, used)| used.get());
        // A connection's charge is rounded up once, the ledger's in each minute.
        let minutes = 4 * 60 * u64::try_from(ops.len()).unwrap();
        let slack = minutes;
        prop_assert!(charged.abs_diff(total) <= slack, "connections {charged}, ledger {total}");
    }

    /// Holds in every period, even if clients report false counts.
    #[test]
    fn strict_mode_never_commits_more_than_the_limit(ops in prop::collection::vec(op(), 1..120)) {
        let mut books = books_in(BudgetMode::Strict);
        let mut clock = 0;
        for op in &ops {
            apply(&mut books, op, &mut clock);
            let figures = books.snapshot().figures;
            prop_assert_eq!(figures.overshoot_bound(), ByteCount::ZERO, "{:?}", op);
            prop_assert!(figures.used <= figures.committed && figures.committed_next <= figures.limit);
        }
    }
}

#[test]
fn a_close_with_the_last_counts_charges_exactly_those() {
    let mut books = books();
    advanced(&mut books, at(0)).open(client(1), "c", None).unwrap();
    let closed =
        advanced(&mut books, at(20_000)).close(client(1), "c", received(3_000)).unwrap().value.unwrap();
    assert_eq!((closed.charged.get(), used(&books)), (3_000, 3_000));
}

#[test]
fn the_extension_of_a_grant_by_a_report_survives_a_restart() {
    let setup = setup(BudgetMode::Estimate);
    let mut books = setup.open(Some(Stored::default()), at(0));
    let hold = books
        .reserve(IceSource::Cloudflare, Duration::from_secs(60), Duration::ZERO, &Requester::default())
        .unwrap();
    let grant = minted(at(0), 60);
    let _ = books.commit(hold, &grant, None, Requester::default()).unwrap();
    let mut stored = Stored::default();
    stored.apply(books.take_batch());
    let caller = Caller::Grant(grant);
    books.open(caller, "c", Some(true)).unwrap();
    for seconds in (0..7_400).step_by(20) {
        let _ = advanced(&mut books, at(seconds * 1_000)).heartbeat(caller, "c", received(seconds)).unwrap();
    }
    stored.apply(books.take_batch());
    let again = setup.open(Some(stored), books.now());
    assert_eq!(again.snapshot().live_grants, 1);
    assert_eq!(again.snapshot().figures, books.snapshot().figures);
}
