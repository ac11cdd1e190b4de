//! A count releases only what is promised to its owner: a TURN key of one account.

use super::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const LIFE: u64 = 20 * 3_600;

/// So many milliseconds after 2025-01-15T00:00Z.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_736_899_200_000).plus_millis(millis)
}

fn key(id: &str) -> CountOwner {
    CountOwner { source: IceSource::Cloudflare, issuer: Some(IdDigest::of(id)) }
}

/// What the account counts beside our keys.
const REST: IceSource = IceSource::Cloudflare;

/// A broker with these TURN keys, in this account.
fn setup_with(keys: &[&str], account: &str) -> Setup {
    let mut setup = setup(BudgetMode::Estimate);
    let counted_in = Some(IdDigest::of(account));
    let rest = SourceTerms { proof: ProofRule::Unneeded, counted_in, sampling: 0, ..setup.sources[0] };
    let terms = |id: &&str| SourceTerms { owner: key(id), proof: ProofRule::Probe, ..rest };
    setup.sources = keys.iter().map(terms).chain([rest]).collect();
    setup.turn_keys = keys.iter().map(|id| (*id).into()).collect();
    setup.terms.limit = ByteCount::new(1_000 * GB);
    setup
}

fn open(keys: &[&str]) -> Broker {
    Broker::open(setup_with(keys, "account"), at(0))
}

fn mint(broker: &mut Broker, id: &str) -> Grant {
    broker.mint(Requester { issuer: key(id).issuer, ..Requester::default() }, LIFE).unwrap()
}

/// A count of the day until a minute.
fn count(broker: &mut Broker, owner: impl Into<CountOwner>, until: u64, bytes: u64) -> ReadingOutcome {
    crate::testing::take(&mut broker.books, owner, crate::testing::reading(at(until * MINUTE), bytes))
}

fn reserved(broker: &Broker) -> u64 {
    let figures = broker.books.snapshot().figures;
    figures.committed.minus(figures.used).get()
}

#[test]
fn bytes_of_one_key_release_nothing_of_another() {
    let mut broker = open(&["a", "b"]);
    for id in ["a", "b"] {
        mint(&mut broker, id);
    }
    let before = reserved(&broker);
    broker.books.advance(at(30 * MINUTE));
    assert_eq!(count(&mut broker, key("a"), 20, 1_000), ReadingOutcome::Taken);
    assert_eq!(count(&mut broker, REST, 20, 5_000), ReadingOutcome::Taken);
    assert_eq!(count(&mut broker, key("b"), 20, 0), ReadingOutcome::Unproven);
    assert_eq!(before - reserved(&broker), 20 * 15_000_000, "the minutes of the first alone");
    assert!(broker.books.budget().needs_probe(key("b"), ByteCount::ZERO));
    assert!(!broker.books.budget().needs_probe(key("a"), ByteCount::ZERO));
    broker.books.advance(at(90 * MINUTE));
    assert_eq!(count(&mut broker, key("b"), 80, 0), ReadingOutcome::Unproven);
    let snapshot = broker.books.snapshot();
    assert_eq!(snapshot.measured.disbelieved, Some(key("b")));
    assert!(!snapshot.bound_holds());
    // A probe with the other key shows nothing of this one.
    for (owner, outcome) in [(key("a"), ReadingOutcome::Unproven), (key("b"), ReadingOutcome::Taken)] {
        broker.books.note_probe(owner, Minute::of(at(85 * MINUTE)));
        broker.books.show_probe(owner, Minute::of(at(85 * MINUTE)));
        assert_eq!(count(&mut broker, key("b"), 88, 0), outcome);
    }
    assert!(broker.books.snapshot().bound_holds());
}

#[test]
fn a_promise_and_its_claims_belong_to_the_key_that_minted() {
    let mut broker = open(&["a", "b"]);
    let grant = mint(&mut broker, "b");
    assert_eq!(broker.books.grants().get(grant.id).unwrap().owner(), key("b"));
    broker.books.open(Caller::Grant(grant), "c", None).unwrap();
    broker.books.advance(at(10 * MINUTE));
    let used = broker.used();
    assert!(used > 0);
    count(&mut broker, key("a"), 9, 0);
    assert_eq!(broker.used(), used, "its count replaces nothing");
    count(&mut broker, key("b"), 9, 1);
    assert!(broker.used() < used);
    let before = (broker.used(), reserved(&broker));
    broker.restart();
    assert_eq!((broker.used(), reserved(&broker)), before);
}

#[test]
fn a_hold_moves_to_the_key_that_minted() {
    let mut broker = open(&["a", "b"]);
    let hold = broker.reserve(LIFE, &Requester::default()).unwrap();
    let before = reserved(&broker);
    let requester = Requester { issuer: key("b").issuer, ..Requester::default() };
    let _ = broker.commit(hold, requester).unwrap();
    assert_eq!(reserved(&broker), before);
    broker.books.advance(at(10 * MINUTE));
    count(&mut broker, key("a"), 9, 1);
    assert_eq!(reserved(&broker), before, "nothing is promised to the first key");
}

#[test]
fn counts_of_an_account_are_forgotten_when_another_one_is_configured() {
    let mut broker = open(&["a"]);
    mint(&mut broker, "a");
    broker.books.advance(at(30 * MINUTE));
    count(&mut broker, key("a"), 20, 7);
    count(&mut broker, REST, 20, 60 * GB);
    let (used, first) = (broker.used(), reserved(&broker));
    broker.restart();
    assert_eq!((broker.used(), reserved(&broker)), (used, first), "the same account");
    broker.setup = setup_with(&["a"], "another");
    broker.restart();
    assert_eq!(broker.used(), 0);
    assert_eq!(reserved(&broker), first + 20 * 15_000_000, "its minutes are promised again");
    assert!(broker.books.snapshot().bound_holds());
    assert_eq!(count(&mut broker, REST, 20, 3), ReadingOutcome::Taken, "it is lower, and nobody doubts it");
    assert_eq!(count(&mut broker, key("a"), 20, 4), ReadingOutcome::Taken);
    broker.restart();
    assert_eq!((broker.used(), reserved(&broker)), (7, first), "the account is known");
}

#[test]
fn a_key_that_has_left_the_settings_is_counted_as_before() {
    let mut broker = open(&["a", "b"]);
    mint(&mut broker, "a");
    broker.books.advance(at(30 * MINUTE));
    count(&mut broker, key("a"), 20, 7);
    let before = reserved(&broker);
    broker.setup = setup_with(&["b"], "account");
    broker.restart();
    assert_eq!((broker.used(), reserved(&broker)), (7, before));
    let asked: Vec<_> = broker.books.budget().counted_turn_keys().into_values().collect();
    assert_eq!(asked.iter().map(|id| &**id).collect::<std::collections::BTreeSet<_>>(), ["a", "b"].into());
    assert_eq!(count(&mut broker, key("a"), 25, 7), ReadingOutcome::Unproven);
    broker.books.advance(at(100 * MINUTE));
    assert_eq!(count(&mut broker, key("a"), 90, 7), ReadingOutcome::Unproven);
    assert!(broker.books.snapshot().bound_holds(), "its promise stays, and nobody can make a probe");
    assert_eq!(count(&mut broker, key("a"), 90, 8), ReadingOutcome::Taken);
    broker.setup = setup_with(&["b"], "another");
    broker.restart();
    assert_eq!(count(&mut broker, key("a"), 95, 9), ReadingOutcome::Taken, "nobody asks for it");
    assert!(!broker.books.budget().counted_turn_keys().contains_key(&IdDigest::of("a")));
}

#[test]
fn hours_that_the_provider_loses_stay_promised_and_later_ones_are_believed() {
    let mut broker = open(&["a"]);
    mint(&mut broker, "a");
    let before = reserved(&broker);
    // It counts nothing of the probes of three hours, and then that of the fourth.
    for minute in [10, 60, 110, 160, 210] {
        broker.books.advance(at((minute + 1) * MINUTE));
        assert_eq!(count(&mut broker, key("a"), minute, 0), ReadingOutcome::Unproven);
        broker.books.note_probe(key("a"), Minute::of(at(minute * MINUTE)));
    }
    assert!(!broker.books.snapshot().bound_holds());
    broker.books.show_probe(key("a"), Minute::of(at(210 * MINUTE)));
    broker.books.advance(at(230 * MINUTE));
    assert_eq!(count(&mut broker, key("a"), 220, 300_000), ReadingOutcome::Taken);
    assert!(broker.books.snapshot().bound_holds());
    // An hour before the last probe on is released. What lies before stays reserved until the reset.
    assert_eq!(before - reserved(&broker), (220 - 150) * 15_000_000);
    broker.restart();
    assert_eq!(before - reserved(&broker), (220 - 150) * 15_000_000);
}

#[test]
fn a_count_that_is_lower_than_two_answers_is_never_believed() {
    let mut broker = open(&["a"]);
    mint(&mut broker, "a");
    broker.books.advance(at(10 * MINUTE));
    count(&mut broker, key("a"), 9, 50 * GB);
    for hour in 1..5 {
        broker.books.advance(at(hour * 60 * MINUTE));
        assert_eq!(count(&mut broker, key("a"), hour * 60 - 10, GB), ReadingOutcome::Fell);
        broker.restart();
        assert_eq!(broker.used(), 50 * GB);
    }
    broker.books.advance(at(252 * MINUTE));
    assert!(broker.books.snapshot().measured.is_stale(), "which is said");
}

#[test]
fn what_the_pages_of_an_uncounted_key_say_is_not_replaced_by_counts_of_another() {
    let mut broker = open(&["a", "b"]);
    let grants = ["a", "b"].map(|id| {
        let grant = mint(&mut broker, id);
        broker.books.open(Caller::Grant(grant), id, None).unwrap();
        grant
    });
    broker.books.advance(at(20_000));
    let report = Report { bytes_received: Some(1_000), ..Report::default() };
    for (grant, id) in grants.iter().zip(["a", "b"]) {
        broker.books.heartbeat(Caller::Grant(*grant), id, report).unwrap();
    }
    broker.books.advance(at(2 * HOUR));
    count(&mut broker, key("a"), 110, 7);
    let counts = turn_budget::GrantCounts {
        from: at(0),
        until: at(110 * MINUTE),
        by_grant: [(grants[0].id, turn_budget::Traffic::new(0, 7))].into(),
        is_complete: true,
        ..Default::default()
    };
    assert_eq!(broker.books.take_grant_counts(IceSource::Cloudflare, &counts), CountsTaken::Whole);
    let claimed = |broker: &Broker, nth: usize| {
        let grants_table = broker.books.grants();
        grants_table.spent_of(grants_table.get(grants[nth].id).unwrap()).claimed.get()
    };
    assert_eq!(claimed(&broker, 0), 0);
    assert!(claimed(&broker, 1) >= 1_000);
}

#[test]
fn a_promise_of_an_owner_that_nobody_has_configured_counts() {
    let mut broker = open(&["a"]);
    let time = PromisedTime::new(Minute::of(at(0)), Minute::of(at(HOUR)), 15_000_000);
    let before = reserved(&broker);
    broker.books.budget.replace_promise(None, Some((key("gone"), time)));
    assert_eq!(reserved(&broker) - before, 60 * 15_000_000);
}

#[test]
fn what_an_app_server_vouches_for_without_a_grant_may_be_in_the_count_of_a_key_also_after_the_reset() {
    for (is_down, is_late) in [(false, false), (true, false), (false, true)] {
        let mut broker = open(&["a"]);
        broker.books.open(Caller::Reporter, "c", Some(true)).unwrap();
        broker.books.advance(at(20_000));
        broker.books.heartbeat(Caller::Reporter, "c", received(60_000_000)).unwrap();
        broker.books.close(Caller::Reporter, "c", Report::default()).unwrap();
        broker.books.advance(at(30 * MINUTE));
        let count_all = |broker: &mut Broker, until| {
            assert_eq!(count(broker, key("a"), until, 100_000_000), ReadingOutcome::Taken);
            assert_eq!(count(broker, REST, until, 0), ReadingOutcome::Taken);
        };
        if !is_late {
            count_all(&mut broker, 20);
            assert_eq!(broker.used(), 100_000_000);
        }
        let after_reset = at(20 * 24 * HOUR);
        if is_down {
            broker.flush();
            broker.crash_until(after_reset);
        }
        broker.books.advance(after_reset);
        if is_late {
            count_all(&mut broker, 24 * 60);
        }
        for _ in 0..2 {
            let (_, used) = broker.books.budget().past()[0];
            assert_eq!(used.get(), 100_000_000);
            broker.restart();
        }
    }
}
