//! A model of calls that are much shorter than their credentials, in strict mode: how many members are refused in a day, and how
//! long the credentials of the others live (strict mode shortens lives as room gets scarce), with and without the release of what
//! was promised for a member that has left (docs/adr/0025-what-is-gone-is-released.md). Runs the books that ship, in simulated time:
//! `cargo run --release -p turn-ledger --example short_calls`.

#![expect(clippy::print_stdout, clippy::disallowed_macros, reason = "a command line program")]

mod setup;

use std::collections::VecDeque;
use std::time::Duration;

use turn_ledger::{
    Books, BudgetMode, ByteCount, Day as UtcDay, Grant, GrantId, IceSource, MINT_SLACK, Reading, Requester,
    SourceTerms, Stored, Timestamp, Written,
};

use setup::setup;

const SOURCE: IceSource = IceSource::Relay;
/// 2025-01-01T00:00Z: a reset.
const BEGIN: i64 = 1_735_689_600_000;
const MINUTES: u64 = 1_440;
const LIFE: Duration = Duration::from_secs(3_600);
/// Minutes that a call lasts. It has two members.
const CALL: u64 = 5;
/// One member in a hundred relays, at 2 Mbps.
const RELAYED_ONE_IN: u64 = 100;
const BYTES_A_MINUTE: u64 = 15_000_000;
const LIMIT: u64 = 100_000_000_000;

struct Member {
    left: u64,
    grant: GrantId,
    is_relayed: bool,
}

#[derive(Default)]
struct Day {
    /// Members that asked for a credential.
    asked: u64,
    refused: u64,
    /// The lives of all credentials together, in seconds.
    lives: u64,
    /// The most bytes that were promised at once.
    most: u64,
}

fn main() {
    println!("| calls an hour | released | refused | mean life | most promised at once |");
    println!("| --- | --- | --- | --- | --- |");
    for calls_an_hour in [300, 600, 1_200, 2_400] {
        for is_released in [false, true] {
            let Day { asked, refused, lives, most } = day(calls_an_hour, is_released);
            let permille = (refused * 1_000).div_ceil(asked);
            println!(
                "| {calls_an_hour} | {} | {}.{} % of {asked} | {} min | {} GB |",
                if is_released { "yes" } else { "no" },
                permille / 10,
                permille % 10,
                lives / 60 / (asked - refused).max(1),
                most.div_ceil(1_000_000_000)
            );
        }
    }
}

fn day(calls_an_hour: u64, is_released: bool) -> Day {
    let mut books = books();
    let (mut members, mut bytes) = (VecDeque::<Member>::new(), 0);
    let mut counts = Day::default();
    for minute in 0..MINUTES {
        books.advance(at(minute));
        let relayed = members.iter().filter(|member| member.is_relayed).map(|_| BYTES_A_MINUTE);
        bytes += relayed.sum::<u64>();
        let (as_of, granted) = (at(minute), ByteCount::new(bytes));
        let _ = books.ledger_mut().take_reading(
            SOURCE,
            &Reading { day: UtcDay::of(as_of), as_of, granted, other: ByteCount::ZERO },
        );
        while members.front().is_some_and(|member| member.left <= minute) {
            if let Some(member) = members.pop_front() {
                let _ = books.revoke(member.grant);
            }
        }
        if is_released {
            let _ = books.release_gone(SOURCE, |_| false);
        }
        for _ in 0..calls_an_hour * 2 / 60 {
            counts.asked += 1;
            match mint(&mut books, counts.asked) {
                Some((grant, life)) => {
                    let is_relayed = counts.asked.is_multiple_of(RELAYED_ONE_IN);
                    counts.lives += life.as_secs();
                    members.push_back(Member { left: minute + CALL, grant, is_relayed });
                }
                None => counts.refused += 1,
            }
        }
        let figures = books.snapshot().figures;
        counts.most = counts.most.max(figures.committed.minus(figures.used).get());
        books.forget_expired();
        let _ = books.take_batch();
    }
    counts
}

fn mint(books: &mut Books, number: u64) -> Option<(GrantId, Duration)> {
    let hold = books.reserve(SOURCE, LIFE, MINT_SLACK, &Requester::default()).ok()?;
    let life = hold.life();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let (id, issued_at) = (GrantId::new(id), books.now());
    let grant = Grant { id, source: SOURCE, issued_at, expires_at: issued_at.plus(life) };
    let commit = books.commit(hold, &grant, None, Requester::default()).ok()?;
    books.note_written(&commit, Written::Yes).ok().map(|()| (id, life))
}

fn at(minute: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN).plus_millis(minute * 60_000)
}

fn books() -> Books {
    let source =
        SourceTerms { source: SOURCE, tail: Duration::ZERO, cut_tail: None, sampling: 0, is_read: true };
    setup(BudgetMode::Strict, LIMIT, source).open(Some(Stored::default()), at(0))
}
