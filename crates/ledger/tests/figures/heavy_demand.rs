//! A model of heavy demand in strict mode: how many calls are refused in a month, with and without renewals that extend
//! a promise (docs/adr/0004-promises.md), with a shorter tail, and when only the calls that need a relay mint
//! (docs/BUDGET.md). Runs the books that ship, in simulated time, and prints one table row for each case:
//! `cargo run --release -p turn-ledger --example heavy_demand`. All cases relay the same bytes if nothing is refused, unless their calls
//! are shorter. So they differ only in what is promised.

#![expect(clippy::print_stdout, clippy::disallowed_macros, reason = "a command line program")]

mod setup;

use std::net::Ipv4Addr;
use std::time::Duration;

use turn_ledger::{
    Books, BudgetMode, ByteCount, ClientKey, Day, Grant, GrantId, IceSource, ProofRule, Reading, Requester,
    SourceTerms, Stored, Timestamp,
};

use setup::setup;

const SOURCE: IceSource = IceSource::Cloudflare;
/// 2025-01-01T00:00Z: a reset.
const BEGIN: i64 = 1_735_689_600_000;
const DAYS: u64 = 30;
const LIMIT: u64 = 1_000_000_000_000;
/// 300 an hour.
const CALLS_A_MINUTE: u64 = 5;
/// If all calls mint, one in so many relays: 0.6 %.
const RELAYED_ONE_IN: u64 = 167;
/// What such a call relays in a minute: 2 Mbps.
const BYTES_A_MINUTE: u64 = 15_000_000;
/// The shortest life of a credential in strict mode: a quarter of Cloudflare's tail.
const LIFE: Duration = Duration::from_secs(1_800);
/// Cloudflare's tail.
const TAIL: Duration = Duration::from_secs(7_200);
const SLACK: Duration = Duration::from_secs(4);
/// Minutes from a mint to its renewal: three quarters of the life.
const RENEWAL: u64 = 22;
/// Minutes from one reading to the next.
const TEN: u64 = 10;

/// What clients do in one case.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Minutes that a call lasts.
    call: u64,
    tail: Duration,
    /// Whether a renewal names the grant that it renews. If not, the ledger takes it for a new credential.
    is_chained: bool,
    calls_a_minute: u64,
    /// One call in so many needs a relay. Only these mint, and they all relay. None: every call mints when it begins.
    needed_one_in: Option<u64>,
    limit: u64,
    /// The address of all calls; `None`: no call has the bounds of an address.
    client: Option<ClientKey>,
}

impl Case {
    const fn every_call_mints(name: &'static str, call: u64, is_chained: bool) -> Self {
        let (calls_a_minute, needed_one_in) = (CALLS_A_MINUTE, None);
        let (tail, limit, client) = (TAIL, LIMIT, None);
        Self { name, call, tail, is_chained, calls_a_minute, needed_one_in, limit, client }
    }

    const fn needed(name: &'static str, calls_a_minute: u64, one_in: u64) -> Self {
        let needed_one_in = Some(one_in);
        Self { calls_a_minute, needed_one_in, ..Self::every_call_mints(name, 30, true) }
    }

    /// The mean over all calls of a minute is the same share of the limit in each case.
    fn relayed_a_minute(&self) -> u64 {
        let one_in = self.needed_one_in.unwrap_or(RELAYED_ONE_IN);
        let relayed = BYTES_A_MINUTE * one_in * CALLS_A_MINUTE / (RELAYED_ONE_IN * self.calls_a_minute);
        relayed / (LIMIT / self.limit)
    }
}

struct Call {
    begun: u64,
    grant: Grant,
    is_relayed: bool,
}

#[derive(Default)]
struct Counts {
    asked: u64,
    refused: u64,
    renewals: u64,
    renewals_refused: u64,
    minted: u64,
}

fn main() {
    let of_a_tenth = |name| Case { limit: LIMIT / 10, ..Case::needed(name, CALLS_A_MINUTE, 10) };
    let of_one_address = |name, calls, one_in| Case {
        client: Some(ClientKey::V4(Ipv4Addr::new(203, 0, 113, 1))),
        ..Case::needed(name, calls, one_in)
    };
    println!("| calls | new calls refused | renewals refused | relayed |\n| --- | --- | --- | --- |");
    for case in [
        Case::every_call_mints("10 minutes, no renewal", 10, false),
        Case::every_call_mints("30 minutes, each renewal a new promise", 30, false),
        Case::every_call_mints("30 minutes, a renewal extends the promise", 30, true),
        Case {
            tail: Duration::from_secs(3_600),
            ..Case::every_call_mints("the same, a tail of 60 minutes", 30, true)
        },
        Case {
            tail: Duration::from_secs(600),
            ..Case::every_call_mints("the same, a tail of 10 minutes", 30, true)
        },
        Case::needed("the same, the 10 % that need a relay mint", CALLS_A_MINUTE, 10),
        Case::needed("the same, the 20 % that need a relay mint", CALLS_A_MINUTE, 5),
        Case::needed("1,500 an hour, the 10 % that need a relay mint", 5 * CALLS_A_MINUTE, 10),
        Case::needed("3,000 an hour, the 10 % that need a relay mint", 10 * CALLS_A_MINUTE, 10),
        of_a_tenth("100 GB: 300 an hour, the 10 % that need a relay mint"),
        of_one_address("an office with one address: 6 an hour need a relay", 1, 10),
        of_one_address("the same: 12 an hour", 1, 5),
    ] {
        let (counts, bytes) = month(case);
        let share = |part: u64, all: u64| if all == 0 { 0 } else { (part * 1_000).div_ceil(all) };
        let (new, renewed) =
            (share(counts.refused, counts.asked), share(counts.renewals_refused, counts.renewals));
        println!(
            "| {} | {}.{} % of {} | {}.{} % of {} | {} GB |",
            case.name,
            new / 10,
            new % 10,
            counts.asked,
            renewed / 10,
            renewed % 10,
            counts.renewals,
            bytes / 1_000_000_000
        );
    }
}

fn month(case: Case) -> (Counts, u64) {
    let mut books = books(case.limit, case.tail);
    let (mut calls, mut counts, mut bytes) = (Vec::<Call>::new(), Counts::default(), vec![0_u64]);
    for minute in 0..DAYS * 1_440 {
        books.advance(at(minute));
        read(&mut books, minute, &bytes);
        for call in &mut calls {
            let age = minute - call.begun;
            if age > 0 && age.is_multiple_of(RENEWAL) && age < case.call {
                counts.renewals += 1;
                let renews = case.is_chained.then_some(call.grant.id);
                match mint(&mut books, &mut counts, case.client, renews) {
                    Some(grant) => call.grant = grant,
                    None => counts.renewals_refused += 1,
                }
            }
        }
        for nth in 0..case.calls_a_minute {
            counts.asked += 1;
            let call = minute * case.calls_a_minute + nth;
            if case.needed_one_in.is_some_and(|one_in| !call.is_multiple_of(one_in)) {
                continue;
            }
            let is_relayed = case.needed_one_in.is_some() || call.is_multiple_of(RELAYED_ONE_IN);
            match mint(&mut books, &mut counts, case.client, None) {
                Some(grant) => calls.push(Call { begun: minute, grant, is_relayed }),
                None => counts.refused += 1,
            }
        }
        calls.retain(|call| minute + 1 < call.begun + case.call);
        let relayed =
            calls.iter().filter(|call| call.is_relayed).map(|_| case.relayed_a_minute()).sum::<u64>();
        bytes.push(bytes.last().map_or(0, |sum| sum + relayed));
        books.tidy();
        let _ = books.take_batch();
    }
    (counts, bytes.last().copied().unwrap_or(0))
}

/// Every ten minutes the provider's count up to ten minutes ago is read.
fn read(books: &mut Books, minute: u64, bytes: &[u64]) {
    if minute >= TEN && minute.is_multiple_of(TEN) {
        let as_of = at(minute - TEN);
        let day = Day::until(as_of);
        let until = |at: Timestamp| {
            let index = usize::try_from(at.millis_since(self::at(0)) / 60_000).unwrap_or(0);
            bytes.get(index).copied().unwrap_or(0)
        };
        let granted = ByteCount::new(until(as_of).saturating_sub(until(day.start())));
        // The provider is asked each minute, so the next answer agrees a minute later.
        for at in [at(minute - 1), at(minute)] {
            let reading = Reading { day, as_of, at, granted, other: ByteCount::ZERO };
            let _ = books.take_reading(SOURCE, &reading);
        }
    }
}

fn mint(
    books: &mut Books,
    counts: &mut Counts,
    client: Option<ClientKey>,
    renews: Option<GrantId>,
) -> Option<Grant> {
    let requester = Requester { client, renews, ..Requester::default() };
    let hold = books.reserve(SOURCE, LIFE, SLACK, &requester).ok()?;
    counts.minted += 1;
    let mut id = [0; 16];
    id[..8].copy_from_slice(&counts.minted.to_be_bytes());
    let issued_at = books.now();
    let expires_at = issued_at.plus(hold.life);
    let grant = Grant { id: GrantId::new(id), source: SOURCE, issued_at, expires_at };
    books.commit(hold, &grant, None, requester).ok().map(|_| grant)
}

fn at(minute: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN).plus_millis(minute * 60_000)
}

fn books(limit: u64, tail: Duration) -> Books {
    let source = SourceTerms {
        owner: SOURCE.into(),
        tail,
        cut_tail: None,
        limit: None,
        sampling: 5,
        is_read: true,
        proof: ProofRule::Missing,
        counted_in: None,
    };
    setup(BudgetMode::Strict, limit, source).open(Some(Stored::default()), at(0))
}
