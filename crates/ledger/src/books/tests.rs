//! Tests of the books. Random histories are the simulation's.

mod clock;
mod commits;
mod crashes;
mod days;
mod owners;
mod promises;
mod released;
mod sfu;
mod spenders;
mod strangers;
mod tails;
mod vouched;

use crate::testing::prelude::*;
use crate::testing::{setup, setup_of};

use super::*;

const GB: u64 = 1_000_000_000;
/// Minutes by which the clock of the provider may differ from ours. They are promised at both ends.
const CLOCKS: u64 = 2;

/// So many milliseconds after 2025-01-31T22:00Z, which is two hours before a reset.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_738_360_800_000).plus_millis(millis)
}

fn received(bytes: u64) -> Report {
    Report { bytes_received: Some(bytes), relayed: Some(true), ..Report::default() }
}

fn used(books: &Books) -> u64 {
    books.snapshot().figures.used.get()
}

/// A renewal of that grant.
fn renewing(grant: GrantId) -> Requester {
    Requester { renews: Some(grant), ..Requester::default() }
}

/// A request of the user ann.
fn of_ann() -> Requester {
    let spender = Spender { user: User::new("ann"), ..Spender::default() }.known();
    Requester { spender, ..Requester::default() }
}

/// The count of a day of Cloudflare is taken.
fn count(books: &mut Books, as_of: Timestamp, granted: u64) {
    let reading = Reading { day: Day::of(as_of), ..crate::testing::reading(as_of, granted) };
    let outcome = crate::testing::take(books, IceSource::Cloudflare, reading);
    assert_eq!(outcome, ReadingOutcome::Taken);
}
