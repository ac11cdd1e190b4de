//! How long each step holds the lock of the books, with a large table: `lock_holds GRANTS`, 400,000 by default, issues that many grants
//! to 100,000 users, and prints one line for each kind of step: how many there were, the longest and all together.
//! `cargo run --release -p turn-ledger --example lock_holds`. A step is what the service does under one lock. On a machine that does other
//! work, let it run before that: `nice -n -15`.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a command line program that measures time"
)]

mod setup;

use std::time::{Duration, Instant};

use turn_ledger::{
    APART, BillingDay, Books, BudgetMode, ByteCount, ClientKey, CountsTaken, Grant, GrantCounts, GrantFilter,
    GrantId, GrantPage, IceSource, Listing, MINT_SLACK, ProofRule, Requester, SourceTerms, Spender,
    SpenderKey, SpenderKind, SpenderWalk, Stored, Timestamp, Traffic, User, Written,
};

use setup::setup;

/// 2025-01-31T20:00Z: four hours before a reset.
const BEGIN: Timestamp = Timestamp::from_millis(1_738_353_600_000);
const LIFE: Duration = Duration::from_secs(3_600);
const TAIL: Duration = Duration::from_secs(7_200);
const MINUTE: u64 = 60_000;
const USERS: u64 = 100_000;
/// As many as a source counts between two looks of a busy broker.
const COUNTED: usize = 30_000;
const PAGE: usize = 100;

type AnyError = Box<dyn std::error::Error>;

/// Prints the longest of some steps.
#[derive(Default)]
struct Steps(Vec<Duration>);

impl Steps {
    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = step();
        self.0.push(begin.elapsed());
        result
    }

    fn print(&mut self, name: &str) {
        self.0.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (steps, all): (_, Duration) = (self.0.len(), self.0.iter().sum());
        let [median, longest] = [self.0.get(steps / 2), self.0.last()].map(|time| ms(*time.unwrap_or(&all)));
        println!(
            "{name:<44} {steps:>7} steps, median {median:>9.3} ms, longest {longest:>9.3} ms, together {:>7.0} ms",
            ms(all)
        );
    }
}

fn once<T>(name: &str, step: impl FnOnce() -> T) -> T {
    let mut steps = Steps::default();
    let result = steps.time(step);
    steps.print(name);
    result
}

fn main() -> Result<(), AnyError> {
    let grants = std::env::args().nth(1).map_or(Ok(400_000), |text| text.parse())?;
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        println!("{mode:?}");
        of_cloudflare(mode, grants)?;
        of_coturn(mode, grants)?;
    }
    Ok(())
}

fn of_cloudflare(mode: BudgetMode, grants: u64) -> Result<(), AnyError> {
    let mut books = open(mode, IceSource::Cloudflare);
    let ids = fill(&mut books, IceSource::Cloudflare, grants)?;
    once("batch of all rows", || drop(books.take_batch()));
    counts(&mut books, &ids);
    let (mut looks, mut page) = (Steps::default(), GrantPage::new(GrantFilter::default(), PAGE, None, None));
    while !looks.time(|| page.look(books.grants(), books.now())) {}
    looks.print("look for a page of grants");
    once("page of grants", || page.rows(books.grants(), books.now()));
    let (mut looks, mut sums) = (Steps::default(), SpenderWalk::new(SpenderKind::User, None));
    while !looks.time(|| sums.look(books.grants())) {}
    looks.print("look for the sums of users");
    let user = User::new("user-7").ok_or("a user")?;
    once("revocation of a user", || books.revoke_all_of(&SpenderKey::User(user.clone())));
    once("stop of minting", || books.override_freeze(true));
    books.override_freeze(false);
    let next = books.now().plus_millis(MINUTE);
    books.advance(next);
    in_parts(&mut books, "look at all live grants", Books::tidy);
    let now = books.now();
    let reset = BillingDay::new(1).ok_or("a day")?.period_at(now).end;
    let end = now.plus(LIFE).plus(TAIL).plus(MINT_SLACK).plus_millis(MINUTE);
    books.advance(end);
    in_parts(&mut books, "end of all grants", Books::tidy);
    let ids = fill(&mut books, IceSource::Cloudflare, grants)?;
    drop(books.take_batch());
    counts(&mut books, &ids);
    once("reset", || books.advance(reset));
    in_parts(&mut books, "tidy after the reset", Books::tidy);
    Ok(())
}

fn of_coturn(mode: BudgetMode, grants: u64) -> Result<(), AnyError> {
    let mut books = open(mode, IceSource::Coturn);
    let listing = Listing { is_complete: true, ..Listing::default() };
    books.take_sessions(IceSource::Coturn, listing.clone(), BEGIN);
    books.advance(BEGIN.plus_millis(2_000));
    let now = books.now();
    books.take_sessions(IceSource::Coturn, listing.clone(), now);
    fill(&mut books, IceSource::Coturn, grants)?;
    drop(books.take_batch());
    let now = books.now();
    books.take_sessions(IceSource::Coturn, listing.clone(), now);
    once("coturn not read for 31 s", || books.advance(now.plus_millis(31_000)));
    in_parts(&mut books, "raise of all promises", Books::tidy);
    once("listing of a coturn that is read again", || {
        books.take_sessions(IceSource::Coturn, listing.clone(), now.plus_millis(31_000))
    });
    in_parts(&mut books, "end of that raise", Books::tidy);
    Ok(())
}

/// Counts by grant of an open and of a settled span.
fn counts(books: &mut Books, ids: &[GrantId]) {
    for is_final in [false, true] {
        let by_grant = ids
            .iter()
            .take(COUNTED)
            .map(|id| (*id, Traffic { sent: ByteCount::new(1_000_000), ..Traffic::ZERO }));
        let from = books.grants().counted_until(IceSource::Cloudflare);
        let counts = GrantCounts {
            from,
            until: books.now(),
            by_grant: by_grant.collect(),
            is_complete: true,
            is_final,
            at: books.now(),
            ..GrantCounts::default()
        };
        if is_final {
            let first = GrantCounts { at: counts.at.minus(APART), ..counts.clone() };
            assert_eq!(books.take_grant_counts(IceSource::Cloudflare, &first), CountsTaken::Refused);
        }
        in_parts(books, "counts of 30,000 grants", |books| {
            books.take_grant_counts(IceSource::Cloudflare, &counts) != CountsTaken::InPart
        });
    }
}

fn in_parts(books: &mut Books, name: &str, mut step: impl FnMut(&mut Books) -> bool) {
    let (mut steps, mut batches, mut is_done) = (Steps::default(), Steps::default(), false);
    while !is_done {
        is_done = steps.time(|| step(books));
        batches.time(|| drop(books.take_batch()));
    }
    steps.print(name);
    batches.print("batch after each");
}

fn open(mode: BudgetMode, source: IceSource) -> Books {
    let cut_tail = (source == IceSource::Coturn).then_some(Duration::from_secs(30));
    let terms = SourceTerms {
        owner: source.into(),
        tail: TAIL,
        cut_tail,
        limit: None,
        sampling: 0,
        is_read: true,
        proof: ProofRule::Unneeded,
        counted_in: None,
    };
    let mut setup = setup(mode, u64::MAX / 2, terms);
    setup.bounds.spenders.user_limit = (mode == BudgetMode::Strict).then_some(ByteCount::new(u64::MAX / 4));
    setup.open(Some(Stored::default()), BEGIN)
}

/// Issues grants that all end in one minute.
fn fill(books: &mut Books, source: IceSource, grants: u64) -> Result<Vec<GrantId>, AnyError> {
    let (mut steps, mut ids) = (Steps::default(), vec![]);
    for n in 0..grants {
        let id = id_of(books.now(), n);
        let user = User::new(&format!("user-{}", n % USERS));
        let requester = Requester {
            client: Some(ClientKey::V4(std::net::Ipv4Addr::from_bits(u32::try_from(n % 1_000_000)?))),
            spender: Spender { user, ..Spender::default() }.known(),
            ..Requester::default()
        };
        steps.time(|| -> Result<(), AnyError> {
            let hold = books.reserve(source, LIFE, MINT_SLACK, &requester);
            let hold = hold.map_err(|why| format!("no room: {why:?}"))?;
            let (issued_at, expires_at) = (books.now(), books.now().plus(hold.life));
            let grant = Grant { id, source, issued_at, expires_at };
            let commit = books
                .commit(hold, &grant, Some(&format!("{n:064x}")), requester)
                .map_err(|why| format!("{why:?}"))?;
            drop(books.take_batch());
            Ok(books.note_written(&commit, Written::Yes)?)
        })?;
        ids.push(id);
    }
    steps.print("mint");
    Ok(ids)
}

fn id_of(now: Timestamp, n: u64) -> GrantId {
    let mut id = [0; 16];
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ now.as_millis().unsigned_abs();
    id[..8].copy_from_slice(&scattered.to_be_bytes());
    id[8..].copy_from_slice(&n.to_be_bytes());
    GrantId::new(id)
}
