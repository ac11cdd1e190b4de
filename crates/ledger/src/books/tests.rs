//! Tests of the books. Random histories are the simulation's.

use super::*;
use crate::grants::requester::Requester;
use crate::open::Setup;
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
fn a_connection_across_the_reset_is_charged_to_each_period_in_part() {
    let mut books = books();
    let reset = 7_200_000;
    advanced(&mut books, at(reset - 10_000)).open(client(1), "c", None).unwrap();
    let _ = advanced(&mut books, at(reset + 30_000)).heartbeat(client(1), "c", received(4_000_000)).ok();
    let previous = books.ledger().past()[0].1.get();
    assert_eq!((previous, used(&books)), (1_000_000, 3_000_000));
}
