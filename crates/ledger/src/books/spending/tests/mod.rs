use super::*;
use crate::changes::{Head, Stored};
use crate::client::ClientKey;
use crate::connection::Report;
use crate::grants::listing::{GrantFilter, GrantPage, GrantPlace, ListedGrant};
use crate::grants::requester::Requester;
use crate::open::Setup;
use crate::reports::Caller;
use crate::source::MINT_SLACK;
use crate::spender::{Call, Label, Spender};
use crate::spenders::key::{SpenderKey, SpenderKind};
use crate::spenders::listing::SpenderSums;
use crate::spenders::sums::PeriodBytes;
use crate::spenders::terms::{KeptAddresses, SpenderTerms};
use crate::testing;
use crate::token::Grant;
use crate::units::Timestamp;
use crate::units::period::BillingDay;
use crate::verdict::BudgetMode;
use std::time::Duration;

mod chains;
mod counts;
mod ending;
mod full;
mod left;
mod limits;
mod listing;
mod parts;
mod recent;
mod resets;
mod servers;

const SOURCE: IceSource = IceSource::Cloudflare;
/// 2 Mbps for a minute.
const MINUTE_BYTES: u64 = 15_000_000;
/// With the slack for minting, five minutes.
const SHORT: u64 = 296;
const MB: u64 = 1_000_000;

/// 2025-01-31T22:00Z, two hours before a reset, plus so many seconds.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_738_360_800_000).plus_millis(seconds * 1_000)
}

fn setup(mode: BudgetMode, spenders: SpenderTerms) -> Setup {
    let mut setup = testing::setup(mode);
    setup.terms.limit = ByteCount::new(1_000_000 * MB);
    (setup.sources[0].tail, setup.sources[0].sampling) = (Duration::ZERO, 0);
    setup.bounds.spenders = spenders;
    setup
}

fn user(name: &str) -> User {
    User::new(name).unwrap()
}

fn requester(name: &str) -> Requester {
    let spender = Spender { user: User::new(name), label: Label::new("room-1"), ..Spender::default() };
    let client = Some(ClientKey::of("203.0.113.9".parse().unwrap()));
    Requester { client, spender: spender.known(), ..Requester::default() }
}

/// Books, and what is stored of them.
struct Broker {
    setup: Setup,
    books: Books,
    stored: Stored,
    minted: u64,
}

impl Broker {
    fn new(mode: BudgetMode, spenders: SpenderTerms) -> Self {
        let setup = setup(mode, spenders);
        let books = setup.open(Some(Stored::default()), at(0));
        Self { setup, books, stored: Stored::default(), minted: 0 }
    }

    fn with_limit(mode: BudgetMode, limit: u64) -> Self {
        Self::new(mode, SpenderTerms { user_limit: Some(ByteCount::new(limit)), ..SpenderTerms::default() })
    }

    fn flush(&mut self) {
        let batch = self.books.take_batch();
        self.stored.apply(batch);
    }

    fn restart(&mut self) {
        let now = self.books.now();
        self.flush();
        let head = self.stored.head.as_ref().unwrap();
        let read: Head = postcard::from_bytes(&postcard::to_allocvec(head).unwrap()).unwrap();
        assert_eq!(read, *head);
        self.books = self.setup.open(Some(self.stored.clone()), now);
    }

    fn mint(&mut self, requester: Requester, life: u64) -> Option<Grant> {
        let life = Duration::from_secs(life);
        let hold = self.books.reserve(SOURCE, life, MINT_SLACK, &requester).ok()?;
        self.minted += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.minted.to_be_bytes());
        let issued_at = self.books.now();
        let grant = Grant {
            id: GrantId::new(id),
            source: SOURCE,
            issued_at,
            expires_at: issued_at.plus(hold.life()),
        };
        let commit = self.books.commit(hold, &grant, Some("name"), requester).unwrap();
        self.stored.apply(self.books.take_batch());
        self.books.note_written(&commit, crate::books::commit::Written::Yes).unwrap();
        Some(grant)
    }

    fn count(&mut self, until: Timestamp, is_final: bool, bytes: &[(GrantId, u64)], other: u64) -> bool {
        let by_grant = bytes.iter().map(|(id, bytes)| (*id, Traffic::new(0, *bytes))).collect();
        let from = self.books.grants().counted_until(SOURCE);
        let other = Traffic::new(0, other);
        let counts = GrantCounts { from, until, by_grant, other, is_complete: true, is_final };
        self.take(&counts)
    }

    fn take(&mut self, counts: &GrantCounts) -> bool {
        std::iter::repeat_with(|| self.books.take_grant_counts(SOURCE, counts))
            .find_map(|taken| taken)
            .unwrap()
    }

    fn beat(&mut self, grant: Grant, bytes: u64) {
        let report = Report { bytes_received: Some(bytes), relayed: Some(true), ..Report::default() };
        self.books.heartbeat(Caller::Grant(grant), "c", report).unwrap();
    }

    /// The row of a user.
    fn row(&self, name: &str) -> SpenderSums {
        self.find(&SpenderKey::User(user(name))).unwrap()
    }

    /// The row of a key, whatever the period has used.
    fn find(&self, key: &SpenderKey) -> Option<SpenderSums> {
        let period = PeriodBytes { used: ByteCount::new(u64::MAX), ..self.books.period_bytes() };
        let rows = testing::walk(&self.books, key.kind()).rows(&period);
        rows.into_iter().find(|row| row.key.as_ref() == Some(key))
    }

    /// Measured, claimed and all bytes of a user.
    fn of(&self, name: &str) -> Option<(u64, u64, u64)> {
        self.sums(SpenderKind::User, name)
    }

    /// Measured, claimed and all bytes of a key.
    fn sums(&self, kind: SpenderKind, key: &str) -> Option<(u64, u64, u64)> {
        let row = self.find(&SpenderKey::parse(kind, key).unwrap())?;
        Some((row.sums.measured().get(), row.sums.claimed().get(), row.sums.bytes().get()))
    }
}

#[test]
fn a_revocation_does_not_make_measured_bytes_a_claim() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
    broker.books.advance(at(20));
    broker.beat(ann, 40 * MB);
    assert!(broker.count(at(20), true, &[(ann.id, 40 * MB)], 0));
    broker.books.advance(at(30));
    broker.books.revoke(ann.id).unwrap();
    assert_eq!(broker.of("ann"), Some((40 * MB, 2_500_000, 42_500_000)));
    let shown = broker.row("ann");
    assert_eq!((shown.sums.measured().get(), shown.sums.claimed().get()), (40 * MB, 2_500_000));
}

#[test]
fn an_ended_grant_stays_until_the_period_ends_and_does_nothing_more() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 600).unwrap();
    assert!(broker.count(at(60), true, &[(ann.id, 5)], 0));
    broker.books.advance(at(700));
    broker.books.tidy();
    let grants = broker.books.grants();
    assert_eq!((grants.count(), grants.ended_count(), grants.get(ann.id)), (0, 1, None));
    assert!(broker.books.revoke(ann.id).is_none() && !broker.books.take_renewal(&ann));
    assert!(broker.count(at(700), true, &[(ann.id, 6)], 0), "its counts come late");
    broker.restart();
    assert_eq!(broker.books.grants().ended_count(), 1);
    assert_eq!(broker.of("ann"), Some((11, 0, 11)));
    let shown = broker.row("ann");
    assert_eq!((shown.live, shown.sums.grants()), (0, 1));
    broker.books.advance(at(7_200));
    assert_eq!((broker.books.grants().iter().count(), broker.of("ann")), (0, None));
    broker.books.tidy();
    assert_eq!((broker.books.grants().ended_count(), broker.of("ann")), (0, None));
    broker.restart();
    assert_eq!((broker.books.grants().ended_count(), broker.stored.grants.len()), (0, 0));
}

#[test]
fn a_period_begins_with_no_bytes_of_the_grants_that_go_on() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 20_000).unwrap();
    broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
    for seconds in (30..=7_200).step_by(30) {
        broker.books.advance(at(seconds));
        broker.beat(ann, seconds * 1_000);
    }
    assert_eq!(broker.of("ann"), Some((0, 0, 0)), "the report of 00:00 is of the time before");
    broker.restart();
    assert_eq!(broker.of("ann"), Some((0, 0, 0)));
    broker.books.advance(at(7_230));
    broker.beat(ann, 7_230_000);
    broker.books.close(Caller::Grant(ann), "c", Report::default()).unwrap();
    broker.restart();
    assert_eq!(broker.of("ann"), Some((0, 30_000, 30_000)));
}

#[test]
fn a_sum_keeps_the_bytes_of_a_grant_that_left_the_history() {
    let spenders = SpenderTerms { ended_max: 1, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, spenders);
    for n in 1..=3 {
        let grant = broker.mint(requester("ann"), 60).unwrap();
        let now = broker.books.now();
        broker.books.advance(now.plus_millis(120_000));
        broker.books.tidy();
        let until = broker.books.now();
        assert!(broker.count(until, true, &[(grant.id, n)], 0));
    }
    assert_eq!(broker.books.grants().ended_count(), 1);
    for _ in 0..2 {
        assert_eq!(broker.of("ann"), Some((6, 0, 6)));
        let shown = broker.row("ann");
        assert_eq!(shown.sums.grants(), 3);
        broker.restart();
    }
    broker.books.advance(at(7_200));
    assert_eq!(broker.of("ann"), None, "another period");
}

#[test]
fn what_the_reporter_says_without_a_grant_counts_for_its_user() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    broker.books.open(Caller::Reporter, "r", Some(true)).unwrap();
    let by_reporter = Spender { user: User::new("ann"), ..Spender::default() };
    broker.books.report_spender(Caller::Reporter, "r", by_reporter);
    broker.books.advance(at(30));
    let report = Report { bytes_received: Some(9), ..Report::default() };
    broker.books.heartbeat(Caller::Reporter, "r", report).unwrap();
    for _ in 0..2 {
        assert_eq!(broker.of("ann"), Some((0, 9, 9)));
        broker.restart();
    }
}
