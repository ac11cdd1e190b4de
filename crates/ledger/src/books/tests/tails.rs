//! A proven tail replaces the default for new promises, and bytes after it take the default back for all.

use std::collections::BTreeMap;

use turn_budget::{
    CountsTaken, CredentialEnd, GrantCounts, IdDigest, MINT_SLACK, TailTrial, Traffic, TrialStep,
};

use super::*;
use crate::grants::row::RevocationAnswer::{self, Revoked, Unknown};

const CLOUDFLARE: IceSource = IceSource::Cloudflare;
const DAY: u64 = 86_400_000;
const HOUR: u64 = 3_600_000;
const DEFAULT: u64 = 7_200;
/// What the trials of [`proven`] prove: 590 s were billed, and 5 minutes are added.
const PROVEN: u64 = 900;

fn broker(mode: BudgetMode) -> Broker {
    let mut setup = setup(mode);
    setup.terms.limit = ByteCount::new(1_000 * GB);
    setup.sources[0].takes_proofs = true;
    // Shortly before a minute is over, as in the trial.
    Broker::open(setup, at(10_000))
}

/// A trial that relays for so many seconds, and of whose minutes those are billed that `is_billed` says.
fn trial(broker: &mut Broker, end: CredentialEnd, seconds: u64, is_billed: impl Fn(u64) -> bool) {
    trial_of(broker, CLOUDFLARE, end, seconds, is_billed);
}

fn trial_of(
    broker: &mut Broker,
    owner: impl Into<CountOwner>,
    end: CredentialEnd,
    seconds: u64,
    is_billed: impl Fn(u64) -> bool,
) {
    let owner = owner.into();
    let began_at = broker.books.now();
    let mut trial = TailTrial::new(end, began_at, Duration::from_secs(60));
    let mut billed = BTreeSet::new();
    for second in (0..10_000).step_by(15) {
        let now = began_at.plus_millis(second * 1_000);
        match trial.step(now, Duration::from_secs(DEFAULT)) {
            TrialStep::Relay { .. } => {
                trial.sent(now, second < seconds, second >= seconds);
                if second < seconds && is_billed(second) {
                    billed.insert(Minute::of(now));
                }
            }
            TrialStep::Revoke => trial.revoked(now),
            TrialStep::Wait | TrialStep::Finish => {}
        }
    }
    broker.books.begin_trial(owner, end);
    broker.books.note_trial(owner, end, trial);
    let billed = owner.source.is_counted_by_provider().then_some(&billed);
    broker.books.count_trial(owner, end, billed).unwrap();
}

/// Three trials, a day apart, the last one now.
fn proven(mode: BudgetMode) -> Broker {
    let mut broker = broker(mode);
    for _ in 0..3 {
        trial(&mut broker, CredentialEnd::Expiry, 660, |second| second < 650);
        broker.books.advance(broker.books.now().plus_millis(DAY));
    }
    broker
}

/// How long a grant is promised after its expiry, in seconds, without the clocks and what rounding adds.
fn tail_of(broker: &Broker, grant: &Grant) -> u64 {
    let until = broker.books.grants().any(grant.id).unwrap().promised.unwrap().until.start();
    let (clocks, slack) = (CLOCKS * 60, MINT_SLACK.as_secs());
    (until.since(grant.expires_at).as_secs() - clocks - slack) / 60 * 60
}

/// So many bytes of a grant were counted, which flowed from one instant to another.
fn counted(broker: &mut Broker, grant: &Grant, until: Timestamp, bytes: u64) {
    let by_grant = BTreeMap::from([(grant.id, Traffic::new(0, bytes))]);
    let from = broker.books.grants().counted_until(CLOUDFLARE);
    let counts = GrantCounts { from, until, by_grant, is_complete: true, ..GrantCounts::default() };
    assert_eq!(broker.books.take_grant_counts(CLOUDFLARE, &counts), CountsTaken::Whole);
}

#[test]
fn new_promises_take_the_proven_tail_and_older_ones_keep_theirs() {
    let mut broker = broker(BudgetMode::Estimate);
    for nth in 0..3 {
        let before = broker.mint_any(3_600);
        assert_eq!(tail_of(&broker, &before), DEFAULT, "after {nth} trials");
        trial(&mut broker, CredentialEnd::Expiry, 660, |second| second < 650);
    }
    let grant = broker.mint_any(3_600);
    assert_eq!(tail_of(&broker, &grant), PROVEN);
    let proven = broker.books.ledger().proven_tail(CLOUDFLARE, CredentialEnd::Expiry).unwrap();
    assert_eq!((proven.tail.as_secs(), proven.measured_at), (PROVEN, at(10_000)));
    broker.restart();
    assert_eq!(tail_of(&broker, &grant), PROVEN, "a restart keeps proofs and promises");
    let next = broker.mint_any(3_600);
    assert_eq!(tail_of(&broker, &next), PROVEN);
}

#[test]
fn trials_that_prove_nothing_change_nothing() {
    let mut broker = broker(BudgetMode::Estimate);
    for _ in 0..4 {
        trial(&mut broker, CredentialEnd::Expiry, 660, |second| second >= 60);
    }
    let grant = broker.mint_any(3_600);
    assert_eq!(tail_of(&broker, &grant), DEFAULT);
}

#[test]
fn old_proofs_end_for_new_promises_and_others_keep_what_they_assumed() {
    let mut broker = proven(BudgetMode::Strict);
    let before = broker.mint_any(172_800);
    broker.books.advance(broker.books.now().plus_millis(7 * DAY));
    let long = broker.mint_any(3_600);
    assert_eq!(tail_of(&broker, &long), DEFAULT);
    broker.restart();
    assert_eq!(tail_of(&broker, &before), PROVEN, "nothing speaks against it");
}

#[test]
fn bytes_after_a_tail_whose_proofs_are_too_old_take_the_default_back_for_promises_that_rely_on_it() {
    let mut broker = proven(BudgetMode::Strict);
    broker.books.advance(broker.books.now().plus_millis(5 * DAY));
    let live = broker.mint_any(172_800);
    assert_eq!(tail_of(&broker, &live), PROVEN);
    broker.books.advance(broker.books.now().plus_millis(DAY + DAY / 2));
    assert_eq!(broker.books.ledger().proven_tail(CLOUDFLARE, CredentialEnd::Expiry), None);
    broker.books.note_after_expiry(CLOUDFLARE, Duration::from_secs(2_400));
    assert_eq!(tail_of(&broker, &live), DEFAULT);
}

#[test]
fn a_credential_whose_turn_key_is_not_known_yet_reserves_the_longest_tail() {
    let keys = ["a", "b"].map(|id| CountOwner { source: CLOUDFLARE, issuer: Some(IdDigest::of(id)) });
    let mut setup = setup(BudgetMode::Strict);
    setup.terms.limit = ByteCount::new(1_000 * GB);
    let of_source = setup.sources[0];
    setup.sources = keys.map(|owner| SourceTerms { owner, takes_proofs: true, ..of_source }).into();
    let mut broker = Broker::open(setup, at(10_000));
    for _ in 0..3 {
        trial_of(&mut broker, keys[0], CredentialEnd::Expiry, 660, |second| second < 650);
        broker.books.advance(broker.books.now().plus_millis(DAY));
    }
    let (life, slack) = (Duration::from_secs(3_600), MINT_SLACK);
    let hold = broker.books.reserve(CLOUDFLARE, life, slack, &Requester::default()).unwrap();
    let minutes = hold.promised().until.since(Minute::of(broker.books.now()));
    broker.books.release(&hold);
    assert!(minutes * 60 >= 3_600 + DEFAULT, "{minutes}");
    assert_eq!(broker.books.ledger().tail(keys[0]).as_secs(), PROVEN + CLOCKS * 60);
}

#[test]
fn a_longer_trial_takes_the_place_of_the_proven_tail_for_live_promises_too() {
    let mut broker = proven(BudgetMode::Estimate);
    let grant = broker.mint_any(3_600);
    trial(&mut broker, CredentialEnd::Expiry, 1_200, |second| second < 1_190);
    assert_eq!(tail_of(&broker, &grant), 1_440);
}

#[test]
fn bytes_after_the_proven_tail_take_the_default_back_at_once_for_live_promises_too() {
    let mut broker = proven(BudgetMode::Strict);
    let grant = broker.mint_any(600);
    let live = broker.mint_any(86_400);
    let end = Minute::from_end(grant.expires_at.plus_millis((PROVEN + CLOCKS * 60) * 1_000)).start();
    broker.books.advance(end.plus_millis(HOUR));
    counted(&mut broker, &grant, end, GB / 100);
    let late = |broker: &Broker| broker.books.late(CLOUDFLARE, 9);
    assert!(late(&broker).is_empty(), "these flowed before");
    let before = broker.promised();
    counted(&mut broker, &grant, end.plus_millis(60_000), GB / 100);
    assert!(late(&broker).is_empty(), "no further bytes");
    counted(&mut broker, &grant, end.plus_millis(120_000), GB / 100 + 1);
    broker.restart();
    let [found] = late(&broker)[..] else { panic!("it is late") };
    assert_eq!((found.grant, found.end, found.from), (grant.id, CredentialEnd::Expiry, end));
    broker.books.judge_late(CLOUDFLARE, &found, None);
    assert_eq!([&grant, &live].map(|grant| tail_of(&broker, grant)), [PROVEN; 2], "sampling had missed them");
    assert!(late(&broker).is_empty());
    counted(&mut broker, &grant, end.plus_millis(180_000), GB / 100 + 2);
    let [found] = late(&broker)[..] else { panic!("it is late again") };
    broker.books.judge_late(CLOUDFLARE, &found, Some(end.plus_millis(60_000)));
    assert_eq!([&grant, &live].map(|grant| tail_of(&broker, grant)), [DEFAULT; 2]);
    assert!(broker.promised() > before);
    broker.restart();
    assert!(late(&broker).is_empty(), "no promise relies on a proof");
    assert_eq!(tail_of(&broker, &live), DEFAULT);
    let next = broker.mint_any(600);
    assert_eq!(tail_of(&broker, &next), DEFAULT);
}

#[test]
fn a_final_count_of_a_time_that_was_counted_before_is_no_late_byte() {
    let mut broker = proven(BudgetMode::Estimate);
    let (grant, begin) = (broker.mint_any(60), broker.books.now());
    broker.books.advance(begin.plus_millis(4 * HOUR));
    counted(&mut broker, &grant, begin.plus_millis(2 * HOUR), 0);
    let by_grant = BTreeMap::from([(grant.id, Traffic::new(0, GB))]);
    let from = broker.books.grants().counted_until(CLOUDFLARE);
    let until = begin.plus_millis(HOUR);
    let counts =
        GrantCounts { from, until, by_grant, is_complete: true, is_final: true, ..GrantCounts::default() };
    assert_eq!(broker.books.take_grant_counts(CLOUDFLARE, &counts), CountsTaken::Whole);
    assert!(broker.books.late(CLOUDFLARE, 9).is_empty());
}

#[test]
fn what_a_trial_relays_is_used_and_no_grant_is_suspected_of_it() {
    let mut broker = broker(BudgetMode::Estimate);
    broker.books.charge_trial(CLOUDFLARE, ByteCount::new(4_000_000));
    assert_eq!(broker.used(), 4_000_000);
    let now = at(30 * 60_000);
    broker.books.advance(now);
    count(&mut broker.books, at(20 * 60_000), 0);
    count(&mut broker.books, now, 4_000_000);
    assert_eq!(broker.used(), 4_000_000, "the count replaces it");
    let measured = broker.books.snapshot().measured;
    assert!(measured.agrees() && measured.excess.bytes == ByteCount::ZERO, "{measured:?}");
    broker.books.advance(at(40 * 60_000));
    count(&mut broker.books, at(40 * 60_000), GB);
    assert!(!broker.books.snapshot().measured.agrees(), "these are somebody else's");
}

#[test]
fn no_trial_begins_whose_bytes_would_pass_a_strict_limit() {
    let mut broker = broker(BudgetMode::Strict);
    let is_needed = |broker: &Broker, bytes| {
        broker.books.ledger().needs_trial(CLOUDFLARE, CredentialEnd::Expiry, ByteCount::new(bytes))
    };
    assert!(is_needed(&broker, GB) && !is_needed(&broker, 1_001 * GB));
    broker.books.begin_trial(CLOUDFLARE, CredentialEnd::Expiry);
    broker.restart();
    assert!(!is_needed(&broker, GB), "a restart begins no other one");
}

/// What the trials of [`proven_revocations`] prove: 620 s were billed, and 5 minutes are added.
const PROVEN_REVOKED: u64 = 960;

/// Three trials of a revocation, a day apart, the last one now.
fn proven_revocations() -> Broker {
    let mut broker = broker(BudgetMode::Estimate);
    for _ in 0..3 {
        trial(&mut broker, CredentialEnd::Revocation, 660, |second| second < 650);
        broker.books.advance(broker.books.now().plus_millis(DAY));
    }
    broker
}

/// Revokes a grant. `answer`: of its source.
fn revoke(broker: &mut Broker, grant: &Grant, answer: RevocationAnswer) {
    broker.books.revoke(grant.id).unwrap();
    broker.books.note_revocation_answer(grant.id, answer);
}

/// How long a grant is promised from now on, in seconds, without the clocks, in whole minutes.
fn promised_for(broker: &Broker, grant: &Grant) -> u64 {
    let until = broker.books.grants().any(grant.id).unwrap().promised.unwrap().until.start();
    until.since(broker.books.now()).as_secs().saturating_sub(CLOCKS * 60) / 60 * 60
}

#[test]
fn a_revocation_releases_what_is_left_after_the_time_that_trials_have_proven() {
    let mut without_proof = broker(BudgetMode::Strict);
    trial(&mut without_proof, CredentialEnd::Revocation, 660, |second| second < 650);
    let grant = without_proof.mint_any(86_400);
    revoke(&mut without_proof, &grant, Revoked);
    assert_eq!(tail_of(&without_proof, &grant), DEFAULT, "one trial proves nothing");
    let mut broker = proven_revocations();
    let [unknown, revoked, short] = [86_400, 86_400, 600].map(|life| broker.mint_any(life));
    let before = broker.promised();
    revoke(&mut broker, &unknown, Unknown);
    revoke(&mut broker, &short, Revoked);
    assert_eq!([&unknown, &short].map(|grant| tail_of(&broker, grant)), [DEFAULT; 2]);
    assert_eq!(broker.promised(), before, "one that its source does not know, and one that expires first");
    revoke(&mut broker, &revoked, Revoked);
    assert_eq!(promised_for(&broker, &revoked), PROVEN_REVOKED);
    assert!(broker.promised() < before);
    broker.restart();
    assert_eq!(promised_for(&broker, &revoked), PROVEN_REVOKED, "a restart takes nothing back");
    broker.books.note_after_expiry(CLOUDFLARE, Duration::from_secs(9_000));
    assert_eq!(promised_for(&broker, &revoked), PROVEN_REVOKED, "bytes after an expiry are another matter");
}

#[test]
fn bytes_of_a_revoked_grant_after_the_proven_time_take_back_what_revocations_have_released() {
    let mut broker = proven_revocations();
    let grants = [86_400; 2].map(|life| broker.mint_any(life));
    for grant in &grants {
        revoke(&mut broker, grant, Revoked);
    }
    let end = broker.books.grants().any(grants[0].id).unwrap().promised.unwrap().until.start();
    broker.books.advance(end.plus_millis(HOUR));
    counted(&mut broker, &grants[0], end, GB / 100);
    let released = broker.promised();
    counted(&mut broker, &grants[0], end.plus_millis(60_000), GB / 100);
    let late = |broker: &Broker| broker.books.late(CLOUDFLARE, 9);
    assert!(late(&broker).is_empty(), "these flowed before");
    counted(&mut broker, &grants[0], end.plus_millis(120_000), GB / 100 + 1);
    broker.restart();
    let [found] = late(&broker)[..] else { panic!("it is late") };
    assert_eq!((found.grant, found.end, found.from), (grants[0].id, CredentialEnd::Revocation, end));
    broker.books.judge_late(CLOUDFLARE, &found, None);
    assert_eq!((broker.promised(), late(&broker).len()), (released, 0), "sampling had missed them before");
    counted(&mut broker, &grants[0], end.plus_millis(180_000), GB / 100 + 2);
    let [found] = late(&broker)[..] else { panic!("it is late again") };
    broker.books.judge_late(CLOUDFLARE, &found, Some(end.plus_millis(60_000)));
    assert_eq!(grants.map(|grant| tail_of(&broker, &grant)), [DEFAULT; 2]);
    assert!(broker.promised() > released);
    broker.restart();
    let next = broker.mint_any(86_400);
    revoke(&mut broker, &next, Revoked);
    assert_eq!([grants[1], next].map(|grant| tail_of(&broker, &grant)), [DEFAULT; 2]);
}

#[test]
fn a_longer_trial_of_a_revocation_extends_what_was_revoked_before() {
    let mut broker = proven_revocations();
    let [revoked, old] = [172_800; 2].map(|life| broker.mint_any(life));
    revoke(&mut broker, &old, Revoked);
    broker.books.advance(broker.books.now().plus_millis(HOUR));
    revoke(&mut broker, &revoked, Revoked);
    broker.books.note_revocation_answer(revoked.id, RevocationAnswer::Unknown);
    trial(&mut broker, CredentialEnd::Revocation, 1_080, |second| second < 1_070);
    assert_eq!(promised_for(&broker, &revoked), PROVEN_REVOKED + 420);
    assert_eq!(promised_for(&broker, &old), 0, "that is over");
}

#[test]
fn a_renewal_that_fails_after_the_revocation_of_its_grant_releases_what_the_revocation_could_not() {
    let mut broker = proven_revocations();
    let grant = broker.mint_any(172_800);
    broker.books.advance(grant.refresh_after());
    assert!(broker.books.take_renewal(&grant));
    revoke(&mut broker, &grant, Revoked);
    assert!(promised_for(&broker, &grant) > PROVEN_REVOKED, "its renewal may rely on it");
    broker.books.give_renewal_back(grant.id);
    assert_eq!(promised_for(&broker, &grant), PROVEN_REVOKED);
}

#[test]
fn a_shorter_time_is_relied_on_only_from_the_next_trial_on() {
    let mut broker = broker(BudgetMode::Strict);
    trial(&mut broker, CredentialEnd::Revocation, 1_080, |second| second < 1_070);
    broker.books.advance(broker.books.now().plus_millis(3 * DAY));
    for _ in 0..4 {
        trial(&mut broker, CredentialEnd::Revocation, 660, |second| second < 650);
    }
    broker.books.advance(broker.books.now().plus_millis(6 * DAY));
    let times = [0, 1].map(|trials| {
        for _ in 0..trials {
            trial(&mut broker, CredentialEnd::Revocation, 660, |second| second < 650);
        }
        let grant = broker.mint_any(86_400);
        revoke(&mut broker, &grant, Revoked);
        promised_for(&broker, &grant)
    });
    assert_eq!(times, [PROVEN_REVOKED + 420, PROVEN_REVOKED]);
}

#[test]
fn where_nobody_counts_three_trials_make_a_source_seen_and_one_that_relays_longer_ends_that() {
    const HTTP: IceSource = IceSource::Http;
    let mut setup = setup(BudgetMode::Estimate);
    setup.terms.limit = ByteCount::new(1_000 * GB);
    setup.sources =
        vec![SourceTerms { owner: HTTP.into(), takes_proofs: true, is_read: false, ..setup.sources[0] }];
    (setup.unseen, setup.default_source) = (vec![HTTP], HTTP);
    let mut broker = Broker::open(setup, at(10_000));
    let grant = broker.mint_any(3_600);
    let unseen = |broker: &Broker| broker.books.snapshot().unseen;
    for seconds in [660, 600, 120] {
        assert_eq!(unseen(&broker), Some(HTTP));
        trial_of(&mut broker, HTTP, CredentialEnd::Expiry, seconds, |_| true);
    }
    assert_eq!(unseen(&broker), None);
    let proven = broker.books.ledger().proven_tail(HTTP, CredentialEnd::Expiry).unwrap();
    assert_eq!(proven.tail.as_secs(), PROVEN);
    broker.restart();
    let next = broker.mint_any(3_600);
    let promised = |broker: &Broker, grant: &Grant| {
        let until = broker.books.grants().any(grant.id).unwrap().promised.unwrap().until.start();
        until.since(grant.expires_at).as_secs() / 60 * 60
    };
    assert_eq!([&grant, &next].map(|grant| promised(&broker, grant)), [DEFAULT, PROVEN]);
    // Nobody else says that it relays for longer now.
    trial_of(&mut broker, HTTP, CredentialEnd::Expiry, 1_000_000, |_| true);
    assert_eq!(unseen(&broker), Some(HTTP));
    assert_eq!([&grant, &next].map(|grant| promised(&broker, grant)), [DEFAULT; 2]);
}
