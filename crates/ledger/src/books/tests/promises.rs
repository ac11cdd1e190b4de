//! A promise keeps what was assumed when it was given: later settings make it larger, never smaller, and whatever ends it gives back
//! exactly what it holds.

use super::*;

const CLOUDFLARE: IceSource = IceSource::Cloudflare;
const HOUR: u64 = 3_600_000;
/// Bytes of a minute at 2 Mbps.
const MINUTE: u64 = 15_000_000;

/// A broker in strict mode with a limit of 100 GB, whose credentials have this tail in seconds.
fn with_tail(seconds: u64) -> Broker {
    let mut setup = setup(BudgetMode::Strict);
    setup.terms.limit = ByteCount::new(100 * GB);
    setup.sources[0].tail = Duration::from_secs(seconds);
    Broker::open(setup, at(0))
}

/// Another process opens the books with this tail.
fn restart_with_tail(broker: &mut Broker, seconds: u64) {
    broker.setup.sources[0].tail = Duration::from_secs(seconds);
    broker.restart();
}

#[test]
fn a_lower_assumed_rate_gives_no_room_back() {
    let assume = |broker: &mut Broker, mbps: u64| {
        broker.setup.terms.rates.liability = BitRate::new(mbps * 1_000_000);
        broker.restart();
    };
    let mut broker = with_tail(7_200);
    assume(&mut broker, 8);
    broker.mint_any(3_600);
    let before = broker.promised();
    assume(&mut broker, 2);
    assert_eq!(broker.promised(), before);
    broker.mint_any(3_600);
    assert!(broker.promised() < before + before / 3, "new grants are promised the lower rate");
    assume(&mut broker, 8);
    assert_eq!(broker.promised(), 2 * before, "a higher one counts for all");
    assume(&mut broker, 2);
    assert_eq!(broker.promised(), 2 * before, "and stays promised");
}

/// More grants than change in one step.
#[test]
fn a_higher_assumed_rate_counts_for_many_grants_at_once() {
    let mut broker = with_tail(60);
    for _ in 0..600 {
        broker.mint_any(300);
    }
    let before = broker.promised();
    broker.setup.terms.rates.liability = BitRate::new(4_000_000);
    broker.restart();
    assert_eq!(broker.promised(), 2 * before);
}

#[test]
fn the_rate_after_a_restart_is_an_average_over_what_the_longer_tail_promises() {
    let mut broker = with_tail(60);
    broker.mint_any(600);
    let count = |broker: &mut Broker, minute: u64, bytes: u64| {
        broker.books.advance(at((minute + 10) * 60_000));
        assert_eq!(
            testing::take(&mut broker.books, CLOUDFLARE, testing::reading(at(minute * 60_000), bytes)),
            ReadingOutcome::Taken
        );
    };
    count(&mut broker, 40, MINUTE);
    restart_with_tail(&mut broker, 7_200);
    count(&mut broker, 50, 11 * MINUTE);
    assert_eq!(broker.books.snapshot().measured.observed, Some(BitRate::new(2_000_000)));
}

#[test]
fn a_longer_tail_counts_for_grants_whose_shorter_one_is_over() {
    let mut broker = with_tail(600);
    for _ in 0..3 {
        broker.mint_any(300);
    }
    broker.books.advance(at(HOUR));
    assert!(broker.books.tidy());
    let before = broker.promised();
    assert_eq!(broker.books.grants().count(), 0);
    for _ in 0..2 {
        restart_with_tail(&mut broker, 7_200);
        // Each relays for 110 minutes more than the 20 that were promised.
        assert_eq!((broker.promised() - before) / MINUTE, 3 * 110);
        assert!(broker.books.snapshot().bound_holds());
    }
}

#[test]
fn no_bound_holds_while_grants_that_have_left_the_table_may_have_a_longer_tail() {
    let mut broker = with_tail(600);
    broker.setup.bounds.spenders.ended_max = 0;
    broker.setup.sources.iter_mut().for_each(|source| source.is_read = false);
    broker.restart();
    broker.mint_any(300);
    broker.books.advance(at(HOUR));
    assert!(broker.books.tidy());
    broker.restart();
    assert!(broker.books.snapshot().bound_holds(), "the tail is as long as before");
    restart_with_tail(&mut broker, 7_200);
    assert!(!broker.books.snapshot().bound_holds());
    restart_with_tail(&mut broker, 600);
    let end = broker.books.snapshot().lacks_until;
    let longest = 300_000 + 7_200_000 + CLOCKS * 60_000;
    assert_eq!(end, Minute::from_end(at(longest).plus(MINT_SLACK)).start());
    broker.books.advance(end);
    assert!(broker.books.snapshot().bound_holds());
}

#[test]
fn an_undo_gives_back_what_the_promise_has_become() {
    let mut broker = with_tail(0);
    let hold = broker.reserve(300, &Requester::default()).unwrap();
    let (_, commit) = broker.commit(hold, Requester::default()).unwrap();
    broker.books.raise_tails(CLOUDFLARE.into(), Duration::from_secs(7_200), at(0));
    assert!(broker.promised() > 120 * MINUTE);
    let _ = broker.books.note_written(&commit, Written::No);
    assert_eq!(broker.promised(), 0);
}

/// A hold is no row, so a walk through the rows does not raise it.
#[test]
fn a_mint_that_was_under_way_is_promised_the_rate_that_is_assumed_at_its_end() {
    let mut broker = with_tail(0);
    let hold = broker.reserve(300, &Requester::default()).unwrap();
    broker.books.budget.raise_rate(CLOUDFLARE, BitRate::new(8_000_000), Excess::default());
    let (grant, _commit) = broker.commit(hold, Requester::default()).unwrap();
    assert_eq!(broker.books.grants().get(grant.id).unwrap().promised.unwrap().per_minute, 4 * MINUTE);
}

/// More than change in one step.
#[test]
fn no_bound_holds_and_strict_mode_mints_nothing_while_promises_are_being_raised() {
    let mut broker = with_tail(0);
    for _ in 0..600 {
        broker.mint_any(60);
    }
    broker.books.raise_tails(CLOUDFLARE.into(), Duration::from_secs(7_200), at(0));
    let refused = broker.reserve(300, &Requester::default()).unwrap_err();
    assert_eq!(refused, NotAdmitted::NotRecorded);
    assert!(!broker.books.snapshot().bound_holds());
    assert!(broker.books.tidy(), "the second step was the last one");
    assert!(broker.books.snapshot().bound_holds());
    assert_ne!(broker.reserve(300, &Requester::default()).unwrap_err(), NotAdmitted::NotRecorded, "no room");
}

#[test]
fn a_renewal_at_another_source_reserves_all_its_minutes() {
    let mut broker = with_tail(0);
    broker.setup.sources.push(SourceTerms { owner: IceSource::Relay.into(), ..broker.setup.sources[0] });
    broker.restart();
    let first = broker.mint_any(7_200);
    let before = broker.promised();
    broker.setup.default_source = IceSource::Relay;
    broker.mint(renewing(first.id), 300).unwrap();
    assert_eq!(broker.promised() - before, 6 * MINUTE, "the two are counted apart");
}

#[test]
fn the_minutes_of_a_renewal_follow_those_of_the_grant_that_it_renews() {
    let mut broker = with_tail(0);
    let first = broker.mint_any(600).id;
    let until = broker.books.grants().get(first).unwrap().alive_until().unwrap();
    broker.books.advance(at(540_000));
    let hold = broker.reserve(600, &renewing(first)).unwrap();
    assert_eq!(hold.promise.time.reserved_from, until);
    // A renewal may be counted in the minutes before it, too.
    let clocks = Duration::from_secs(CLOCKS * 60);
    for (now, from, when) in [
        (until.next().start(), until, "its last minutes may be those before the renewal"),
        (until.next().start().plus(clocks), until.next(), "it is over"),
    ] {
        broker.books.advance(now);
        let late = broker.reserve(600, &renewing(first)).unwrap();
        assert_eq!(late.promise.time.reserved_from, from, "{when}");
    }
}

#[test]
fn a_source_that_is_charged_promises_what_its_credentials_may_relay_and_passes_the_limit_unless_they_are_ended()
 {
    for source in IceSource::ALL {
        let sources = vec![SourceTerms::of_unconfigured(source)];
        let mut setup = Setup { sources, default_source: source, ..setup(BudgetMode::Estimate) };
        setup.terms.limit = ByteCount::new(1);
        let mut books = setup.open(None, Timestamp::default());
        assert!(
            books.reserve(source, Duration::from_millis(HOUR), Duration::ZERO, &Requester::default()).is_ok()
        );
        let (SourceFacts { charged, grants, ended_by, .. }, snapshot) = (source.facts(), books.snapshot());
        let is_promised = charged != Charged::Nothing && grants == GrantsAre::Credentials;
        let least = if is_promised { setup.terms.rates.liability.per_minute() * 60 } else { 0 };
        let committed = snapshot.figures.committed.get();
        assert!(committed >= least && (committed > 0) == is_promised, "{source}: {committed}");
        // Without its command line, coturn's go on.
        let goes_on = matches!(ended_by, EndedBy::Nobody | EndedBy::CommandLine) && is_promised;
        assert_eq!(snapshot.uncut_overshoot > ByteCount::ZERO, goes_on, "{source}");
    }
}
