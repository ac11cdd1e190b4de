use super::*;
use crate::{
    BilledDirections, BillingDay, BitRate, Bounds, BudgetMode, Call, Caller, ClientKey, Grant, GrantFilter,
    GrantPage, GrantPlace, Head, KeptAddresses, Label, ListedGrant, MINT_SLACK, Rates, Report, Requester,
    Setup, SourceTerms, Spender, SpenderKey, SpenderKind, SpenderTerms, Stored, Sums, Terms, Timestamp,
    UsageRules,
};
use std::time::Duration;

mod days;
mod full;
mod held;
mod limits;
mod model;
mod parts;

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
    let rate = BitRate::new(2_000_000);
    Setup {
        terms: Terms {
            limit: ByteCount::new(1_000_000 * MB),
            billing_day: BillingDay::new(1).unwrap(),
            mode,
            rates: Rates {
                estimated: rate,
                liability: rate,
                promises_cap_claims: mode == BudgetMode::Strict,
            },
        },
        sources: vec![SourceTerms {
            source: SOURCE,
            tail: Duration::ZERO,
            cut_tail: None,
            sampling: 0,
            is_read: true,
        }],
        rules: UsageRules {
            heartbeat: Duration::from_secs(30),
            billed: BilledDirections::Egress,
            estimated_rate: rate,
        },
        bounds: Bounds { spenders, ..Bounds::default() },
        default_source: SOURCE,
    }
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
        self.books.note_written(&commit, crate::books::Written::Yes).unwrap();
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

    /// Measured, claimed and all bytes of a key.
    fn sums(&self, kind: SpenderKind, key: &str) -> Option<(u64, u64, u64)> {
        let row = self.books.grants().spenders().get(&SpenderKey::parse(kind, key).unwrap())?;
        Some((row.sums.measured().get(), row.sums.claimed().get(), row.sums.bytes().get()))
    }
}

#[test]
fn up_to_a_count_its_bytes_count_and_after_it_the_claims() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let (ann, bob) =
        (broker.mint(requester("ann"), 3_600).unwrap(), broker.mint(requester("bob"), 3_600).unwrap());
    broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
    broker.books.advance(at(20));
    broker.beat(ann, 4 * MB);
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((0, 4 * MB, 4 * MB)));
    assert!(broker.count(at(15), false, &[(ann.id, 248), (bob.id, 3 * MB)], 0));
    assert_eq!(
        broker.sums(SpenderKind::User, "ann"),
        Some((248, MB, MB + 248)),
        "a quarter came after the count"
    );
    assert_eq!(broker.sums(SpenderKind::User, "bob"), Some((3 * MB, 0, 3 * MB)));
    for (kind, key) in [(SpenderKind::Label, "room-1"), (SpenderKind::Address, "203.0.113.9")] {
        assert_eq!(broker.sums(kind, key), Some((3 * MB + 248, MB, 4 * MB + 248)));
    }
    broker.restart();
    assert_eq!(broker.sums(SpenderKind::Label, "room-1"), Some((3 * MB + 248, MB, 4 * MB + 248)));
    assert!(broker.count(at(20), true, &[(bob.id, 3 * MB)], 0));
    assert_eq!(
        broker.sums(SpenderKind::User, "ann"),
        Some((248, 0, 248)),
        "a count that leaves a grant out counted nothing"
    );
    broker.books.advance(at(40));
    broker.beat(ann, 6 * MB);
    broker.books.close(Caller::Grant(ann), "c", Report::default()).unwrap();
    for _ in 0..2 {
        assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((248, 2 * MB, 2 * MB + 248)));
        broker.restart();
    }
    let shown = broker.books.grants().spenders().get(&SpenderKey::User(user("ann"))).unwrap();
    assert_eq!((shown.live, shown.sums.grants()), (1, 1));
    assert_eq!((shown.sums.first_seen, shown.sums.last_seen), (at(0), at(40)));
}

#[test]
fn counts_continue_where_they_are_final_and_another_span_is_refused() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(0));
    assert!(broker.count(at(60), false, &[(ann.id, 5)], 0) && broker.count(at(60), true, &[(ann.id, 4)], 0));
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(60));
    broker.restart();
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(60), "it is stored");
    let again = GrantCounts { from: at(0), until: at(60), ..GrantCounts::default() };
    assert!(!broker.take(&again));
    assert!(broker.count(at(90), false, &[(ann.id, 3)], 0));
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((7, 0, 7)));
}

#[test]
fn bytes_of_identifiers_that_are_not_in_the_table_are_unknown() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 3_600).unwrap();
    let stranger = GrantId::new([9; 16]);
    assert!(broker.count(at(60), false, &[(ann.id, 5), (stranger, 7)], 2));
    assert!(broker.count(at(60), false, &[(ann.id, 5), (stranger, 8)], 2));
    assert_eq!(broker.books.grants().unknown_bytes().get(), 10);
    assert!(broker.count(at(60), true, &[(stranger, 8)], 2) && broker.count(at(90), false, &[], 3));
    broker.restart();
    assert_eq!(broker.books.grants().unknown_bytes().get(), 13);
    broker.books.advance(at(7_200));
    assert_eq!(broker.books.grants().unknown_bytes().get(), 0, "another period");
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
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((40 * MB, 2_500_000, 42_500_000)));
    let shown = broker.books.grants().spenders().get(&SpenderKey::User(user("ann"))).unwrap();
    assert_eq!((shown.sums.measured().get(), shown.sums.claimed().get()), (40 * MB, 2_500_000));
}

#[test]
fn unknown_bytes_are_reported_above_a_part_of_the_used_bytes_and_of_the_limit() {
    let broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let mut snapshot = broker.books.snapshot();
    snapshot.figures.limit = ByteCount::new(1_000 * MB);
    let mut is_reported = |used, unknown| {
        snapshot.figures.used = ByteCount::new(used);
        snapshot.unknown_bytes = ByteCount::new(unknown);
        snapshot.has_unknown_bytes()
    };
    assert!(!is_reported(MB - 1, MB - 1), "a period that has just begun");
    assert!(is_reported(MB, MB));
    assert!(!is_reported(200 * MB, 10 * MB));
    assert!(is_reported(200 * MB, 10 * MB + 1));
}

#[test]
fn an_ended_grant_stays_until_the_period_ends_and_does_nothing_more() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 600).unwrap();
    assert!(broker.count(at(60), true, &[(ann.id, 5)], 0));
    broker.books.advance(at(700));
    broker.books.forget_expired();
    let grants = broker.books.grants();
    assert_eq!((grants.count(), grants.ended_count(), grants.get(ann.id)), (0, 1, None));
    assert!(broker.books.revoke(ann.id).is_none() && !broker.books.take_renewal(&ann));
    assert!(broker.count(at(700), true, &[(ann.id, 6)], 0), "its counts come late");
    broker.restart();
    assert_eq!(broker.books.grants().ended_count(), 1);
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((11, 0, 11)));
    let shown = broker.books.grants().spenders().get(&SpenderKey::User(user("ann"))).unwrap();
    assert_eq!((shown.live, shown.sums.grants()), (0, 1));
    broker.books.advance(at(7_200));
    assert_eq!((broker.books.grants().ended_count(), broker.sums(SpenderKind::User, "ann")), (0, None));
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
    assert_eq!(
        broker.sums(SpenderKind::User, "ann"),
        Some((0, 0, 0)),
        "the report of 00:00 is of the time before"
    );
    broker.restart();
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((0, 0, 0)));
    broker.books.advance(at(7_230));
    broker.beat(ann, 7_230_000);
    broker.books.close(Caller::Grant(ann), "c", Report::default()).unwrap();
    broker.restart();
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((0, 30_000, 30_000)));
}

#[test]
fn a_sum_keeps_the_bytes_of_a_grant_that_left_the_history() {
    let spenders = SpenderTerms { ended_max: 1, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, spenders);
    for n in 1..=3 {
        let grant = broker.mint(requester("ann"), 60).unwrap();
        let now = broker.books.now();
        broker.books.advance(now.plus_millis(120_000));
        broker.books.forget_expired();
        let until = broker.books.now();
        assert!(broker.count(until, true, &[(grant.id, n)], 0));
    }
    assert_eq!(broker.books.grants().ended_count(), 1);
    for _ in 0..2 {
        assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((6, 0, 6)));
        let shown = broker.books.grants().spenders().get(&SpenderKey::User(user("ann"))).unwrap();
        assert_eq!(shown.sums.grants(), 3);
        broker.restart();
    }
    broker.books.advance(at(7_200));
    assert_eq!(broker.sums(SpenderKind::User, "ann"), None, "another period");
}

#[test]
fn a_full_table_moves_its_smallest_idle_row_into_the_others() {
    let mut broker = Broker::new(
        BudgetMode::Estimate,
        SpenderTerms { users_max: 2, others_max: 2, ..SpenderTerms::default() },
    );
    for (name, bytes) in [("ann", 5), ("bob", 3)] {
        let grant = broker.mint(requester(name), 60).unwrap();
        let until = broker.books.now();
        assert!(broker.count(until, true, &[(grant.id, bytes)], 0));
    }
    let eve = broker.mint(requester("eve"), 60).unwrap();
    assert!(broker.count(at(0), true, &[(eve.id, 7)], 0), "no row is idle");
    assert_eq!(broker.sums(SpenderKind::User, "eve"), None);
    broker.books.advance(at(120));
    broker.books.forget_expired();
    broker.mint(requester("joe"), 60).unwrap();
    let rows = |broker: &Broker| {
        let rows = broker.books.spenders(SpenderKind::User, 10, None);
        let rows = rows.into_iter().map(|row| (row.key.map(|key| key.to_string()), row.sums.bytes().get()));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(rows(&broker), [(None, 10), (Some("ann".into()), 5), (Some("joe".into()), 0)]);
    assert_eq!(broker.books.grants().spenders().counts_of(SpenderKind::User), (2, 1));
    broker.restart();
    assert_eq!(rows(&broker).iter().map(|(_, bytes)| bytes).sum::<u64>(), 15);
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
        assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((0, 9, 9)));
        broker.restart();
    }
}

#[test]
fn a_grant_that_relays_faster_than_assumed_is_named_until_it_is_revoked_or_ends() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let [slow, fast] = ["ann", "bob"].map(|name| broker.mint(requester(name), 3_600).unwrap());
    broker.books.advance(at(600));
    assert!(broker.count(at(600), true, &[(slow.id, 11 * MINUTE_BYTES), (fast.id, 11 * MINUTE_BYTES)], 0));
    assert_eq!(broker.books.snapshot().fastest, None);
    assert!(broker.count(at(1_200), false, &[(slow.id, MINUTE_BYTES), (fast.id, 20 * MINUTE_BYTES)], 0));
    for _ in 0..2 {
        let found = broker.books.snapshot().fastest.unwrap();
        assert_eq!((found.grant, found.rate), (fast.id, BitRate::new(4_000_000)));
        broker.restart();
    }
    broker.books.revoke(fast.id).unwrap();
    assert_eq!(broker.books.snapshot().fastest, None);
    assert!(broker.count(at(1_260), false, &[(slow.id, 40 * MINUTE_BYTES)], 0));
    assert_eq!(
        broker.books.snapshot().fastest.map(|found| found.grant),
        Some(slow.id),
        "though it is slower"
    );
    broker.books.advance(at(7_200));
    broker.books.forget_expired();
    assert_eq!(broker.books.snapshot().fastest, None);
}

#[test]
fn an_absurd_count_of_a_grant_is_taken_only_if_the_next_one_confirms_it() {
    let absurd = 200_000 * MB;
    let spenders = SpenderTerms { user_limit: Some(ByteCount::new(1_000 * MB)), ..SpenderTerms::default() };
    for is_final in [false, true] {
        let mut broker = Broker::new(BudgetMode::Estimate, spenders);
        let grant = broker.mint(requester("ann"), 3_600).unwrap();
        broker.books.advance(at(60));
        let unknown = GrantId::new([9; 16]);
        for absurd in [(grant.id, absurd), (unknown, absurd), (grant.id, u64::MAX)] {
            assert!(!broker.count(at(60), is_final, &[absurd], 0));
            broker.restart();
            assert!(broker.mint(requester("ann"), 600).is_some());
            assert!(broker.count(at(60), false, &[(grant.id, 1)], 0), "a plausible one ends the doubt");
            let until = broker.books.now();
            assert!(!is_final || broker.count(until, true, &[(grant.id, 1)], 0));
        }
        assert!(!broker.count(at(60), false, &[], u64::MAX));
        assert!(broker.count(at(60), false, &[], 0));
        assert_eq!(broker.books.snapshot().unknown_bytes, ByteCount::ZERO);
        let until = at(120);
        broker.books.advance(until);
        for is_taken in [false, true] {
            assert_eq!(broker.count(until, is_final, &[(grant.id, absurd)], 0), is_taken);
        }
        assert!(broker.mint(requester("ann"), 600).is_none());
    }
}

fn page(broker: &Broker, filter: &GrantFilter, limit: usize, after: Option<GrantPlace>) -> Vec<ListedGrant> {
    let mut page = GrantPage::new(filter.clone(), limit, after);
    while !page.look(broker.books.grants(), broker.books.now()) {}
    page.rows(broker.books.grants(), broker.books.now())
}

#[test]
fn grants_are_listed_with_the_most_bytes_first_in_pages() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let grants = ["ann", "bob", "ann", "eve"].map(|name| broker.mint(requester(name), 600).unwrap());
    let bytes: Vec<_> = grants.iter().zip([3, 9, 5, 5]).map(|(grant, bytes)| (grant.id, bytes)).collect();
    assert!(broker.count(at(0), true, &bytes, 0));
    let list = |broker: &Broker, filter: &GrantFilter, limit, after| {
        let found = page(broker, filter, limit, after);
        let found = found.iter().map(|grant| (grant.row.bytes().get(), grant.live));
        found.collect::<Vec<_>>()
    };
    let all = GrantFilter::default();
    assert_eq!(list(&broker, &all, 10, None), [(9, true), (5, true), (5, true), (3, true)]);
    let first = page(&broker, &all, 2, None);
    assert_eq!(list(&broker, &all, 2, first.last().map(ListedGrant::place)), [(5, true), (3, true)]);
    let of_ann = GrantFilter { keys: vec![SpenderKey::User(user("ann"))], ..all.clone() };
    assert_eq!(list(&broker, &of_ann, 10, None), [(5, true), (3, true)]);
    let elsewhere = GrantFilter {
        keys: vec![SpenderKey::parse(SpenderKind::Address, "192.0.2.1").unwrap()],
        ..all.clone()
    };
    assert_eq!(list(&broker, &elsewhere, 10, None), []);
    broker.books.advance(at(700));
    broker.books.forget_expired();
    let live = GrantFilter { live: Some(true), ..all.clone() };
    assert_eq!((list(&broker, &live, 10, None), list(&broker, &all, 1, None)), (vec![], vec![(9, false)]));
}

#[test]
fn many_counts_and_a_long_list_are_taken_in_parts_and_a_crash_lets_no_part_count_twice() {
    const MANY: u64 = 2_100;
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ids: Vec<_> = (0..MANY).map(|_| broker.mint(requester("ann"), 600).unwrap().id).collect();
    let unknown = (GrantId::new([9; 16]), Traffic::new(0, 50));
    let by_grant = ids.iter().map(|id| (*id, Traffic::new(0, 3))).chain([unknown]).collect();
    let other = Traffic::new(0, 7);
    let counts =
        GrantCounts { from: at(0), until: at(60), by_grant, other, is_complete: true, is_final: true };
    for _ in 0..2 {
        assert_eq!(broker.books.take_grant_counts(SOURCE, &counts), None, "a part is taken");
        assert_eq!(broker.books.grants().counted_until(SOURCE), at(0));
        broker.restart();
    }
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((1_500, 0, 1_500)));
    assert!(broker.take(&counts));
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(60));
    assert_eq!(broker.books.grants().unknown_bytes().get(), 57);
    assert!(broker.count(at(90), false, &[(ids[0], 2)], 0));
    let sum = 3 * MANY + 2;
    assert_eq!(broker.sums(SpenderKind::User, "ann"), Some((sum, 0, sum)), "every grant counts once");
    let mut list = GrantPage::new(GrantFilter::default(), 1, None);
    assert!(!list.look(broker.books.grants(), at(0)), "not all are looked at");
    let rows = page(&broker, &GrantFilter::default(), 2, None);
    assert_eq!(rows.iter().map(|row| row.row.bytes().get()).collect::<Vec<_>>(), [5, 3]);
    assert_eq!(rows[0].id, ids[0]);
}

#[test]
fn the_grants_of_a_call_have_one_sum_and_a_renewal_stays_in_it() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let of = |spender: Spender| Requester { spender: spender.known(), ..Requester::default() };
    let in_call = Spender { call: Some(Call::of("ayame", "room-1")), ..Spender::default() };
    let first = broker.mint(of(in_call.clone()), 600).unwrap();
    let renewed = broker.mint(of(Spender::default().renewing(Some(&in_call))), 600).unwrap();
    let other = broker.mint(requester("ann"), 600).unwrap();
    assert!(broker.count(at(0), true, &[(first.id, 5), (renewed.id, 2), (other.id, 9)], 0));
    for _ in 0..2 {
        assert_eq!(broker.sums(SpenderKind::Call, "ayame/room-1"), Some((7, 0, 7)));
        let filter = GrantFilter { keys: vec![SpenderKey::Call(Call::of("ayame", "room-1"))], live: None };
        let found = page(&broker, &filter, 10, None);
        assert_eq!(found.iter().map(|grant| grant.id).collect::<Vec<_>>(), [first.id, renewed.id]);
        broker.restart();
    }
}

#[test]
fn what_is_kept_of_an_address_is_a_setting() {
    let address = "2001:db8:1:2::7".parse().unwrap();
    for (addresses, expected) in [
        (KeptAddresses::Full, Some("2001:db8:1:2::7")),
        (KeptAddresses::Prefix, Some("2001:db8:1:2::/64")),
        (KeptAddresses::None, None),
    ] {
        let mut broker =
            Broker::new(BudgetMode::Estimate, SpenderTerms { addresses, ..SpenderTerms::default() });
        let client = Some(ClientKey::of(std::net::IpAddr::V6(address)));
        broker.mint(Requester { client, address: Some(address), ..requester("ann") }, 600).unwrap();
        let rows = broker.books.spenders(SpenderKind::Address, 10, None);
        let keys: Vec<_> = rows.iter().filter_map(|row| row.key.as_ref()).map(ToString::to_string).collect();
        assert_eq!(keys.first().map(String::as_str), expected);
        let kept = broker.stored.grants.values().any(|row| row.extra().address.is_some());
        assert_eq!(kept, addresses == KeptAddresses::Full);
    }
}

#[test]
fn what_a_relay_counts_replaces_what_was_claimed_for_that_time() {
    let mut setup = setup(BudgetMode::Estimate, SpenderTerms::default());
    (setup.sources[0].source, setup.default_source) = (IceSource::Relay, IceSource::Relay);
    let mut books = setup.open(Some(Stored::default()), at(0));
    let hold =
        books.reserve(IceSource::Relay, Duration::from_secs(600), MINT_SLACK, &requester("ann")).unwrap();
    let (id, source) = (GrantId::new([1; 16]), IceSource::Relay);
    let grant = Grant { id, source, issued_at: at(0), expires_at: at(600) };
    let _ = books.commit(hold, &grant, Some("name"), requester("ann")).unwrap();
    books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
    books.advance(at(20));
    let report = Report { bytes_received: Some(4 * MB), relayed: Some(true), ..Report::default() };
    let _ = books.heartbeat(Caller::Grant(grant), "c", report).unwrap();
    let bytes = |books: &Books| {
        let spent = books.grants().get(id).unwrap().spent();
        [spent.measured().get(), spent.claimed().get()]
    };
    assert_eq!(bytes(&books), [0, 4 * MB]);
    books.add_grant_traffic(source, &BTreeMap::from([(id, Traffic::new(0, 3 * MB))]));
    assert_eq!(bytes(&books), [3 * MB, 0]);
}
