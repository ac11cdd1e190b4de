//! What app servers vouch for counts in full, in both modes and in the period in which it flowed: with a grant until a count decides, without
//! one whether a count shows it or not.

use super::*;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const RESET: u64 = 120 * MINUTE;
const MB: u64 = 1_000_000;
const MODES: [BudgetMode; 2] = [BudgetMode::Estimate, BudgetMode::Strict];

/// A connection that a page opens with a grant of ten hours, or that the app server opens itself.
fn open(source: IceSource, mode: BudgetMode, limit: u64, begin: u64, has_grant: bool) -> Broker {
    let mut broker = Broker::open(setup_of(source, mode, ByteCount::new(limit)), at(begin));
    let caller = if has_grant { Caller::Grant(broker.mint_any(36_000)) } else { Caller::Reporter };
    broker.books.open(caller, "c", Some(true)).unwrap();
    broker
}

/// The app server reports at this time.
fn beat(broker: &mut Broker, millis: u64, bytes: u64) {
    broker.books.advance(at(millis));
    broker.books.heartbeat(Caller::Reporter, "c", received(bytes)).unwrap();
}

/// Used bytes of the last period and of this one.
fn periods(broker: &Broker) -> (u64, u64) {
    let past = broker.books.budget().past();
    (past.first().map_or(0, |(_, used)| used.get()), broker.used())
}

/// The whole last day of January is counted, and the count shows nothing.
fn count_nothing(broker: &mut Broker) {
    broker.books.advance(at(RESET + 20 * MINUTE));
    let outcome =
        crate::testing::take(&mut broker.books, IceSource::Cloudflare, crate::testing::reading(at(RESET), 0));
    assert_eq!(outcome, ReadingOutcome::Taken);
}

/// What is used before and after the count of the last day, each also after a restart.
fn assert_used(mut broker: Broker, expected: [(u64, u64); 2], what: &str) {
    for (counts, expected) in expected.into_iter().enumerate() {
        (0..counts).for_each(|_| count_nothing(&mut broker));
        for restarts in 0..2 {
            assert_eq!(periods(&broker), expected, "{what}, counts: {counts}, restarts: {restarts}");
            broker.restart();
        }
    }
}

#[test]
fn what_is_vouched_above_the_promise_is_used_and_reaches_the_limit_without_a_count() {
    for mode in MODES {
        let mut broker = open(IceSource::Http, mode, 20 * GB, 0, true);
        let before = broker.committed();
        beat(&mut broker, MINUTE, 75 * MB);
        assert_eq!(broker.committed(), before + 60 * MB, "what is above the promised 15 MB is committed");
        // 10 Mbps, five times what is promised. The last report reaches the limit.
        for minute in 2..=50 {
            beat(&mut broker, minute * MINUTE, minute * 75 * MB);
            let figures = broker.books.snapshot().figures;
            assert_eq!(figures.used.get(), minute * 75 * MB, "{mode:?}");
            assert!(figures.used <= figures.committed);
        }
        assert!(!broker.books.budget().is_limit_proven());
        broker.books.override_limit(Some(ByteCount::new(3_750 * MB)));
        for _ in 0..2 {
            assert!(
                broker.books.snapshot().figures.is_spent() && broker.books.budget().is_limit_proven(),
                "{mode:?}"
            );
            assert!(broker.mint(Requester::default(), 600).is_err());
            broker.restart();
        }
    }
}

#[test]
fn what_was_vouched_and_closed_before_the_reset_stays_in_its_period_until_a_count_decides_about_its_grant() {
    for (mode, has_grant) in MODES.into_iter().flat_map(|mode| [true, false].map(|has| (mode, has))) {
        let mut broker = open(IceSource::Cloudflare, mode, 1_000 * GB, RESET - 100 * SECOND, has_grant);
        beat(&mut broker, RESET - 25 * SECOND, 300 * MB);
        broker.books.close(Caller::Reporter, "c", Report::default()).unwrap();
        broker.books.advance(at(RESET + MINUTE));
        let what = format!("{mode:?}, with a grant: {has_grant}");
        assert_used(broker, [(300 * MB, 0), (if has_grant { 0 } else { 300 * MB }, 0)], &what);
    }
}

#[test]
fn a_report_over_the_reset_is_split_there_once() {
    // Below the highest rate of a grant, and at it.
    for (mode, has_grant, minute) in MODES.into_iter().flat_map(|mode| {
        [(true, 60), (false, 60), (true, 750), (false, 750)].map(|(has, minute)| (mode, has, minute * MB))
    }) {
        let mut broker = open(IceSource::Cloudflare, mode, 1_000 * GB, RESET - 90 * SECOND, has_grant);
        beat(&mut broker, RESET - 30 * SECOND, minute);
        beat(&mut broker, RESET + 10 * SECOND, minute * 5 / 3);
        broker.books.close(Caller::Reporter, "c", Report::default()).unwrap();
        let what = format!("{mode:?}, with a grant: {has_grant}, {minute}");
        let counted = if has_grant { 0 } else { minute * 3 / 2 };
        assert_used(broker, [(minute * 3 / 2, minute / 6), (counted, minute / 6)], &what);
    }
}

#[test]
fn a_connection_that_is_given_up_after_the_reset_keeps_what_was_vouched_before_it() {
    for (mode, has_grant) in MODES.into_iter().flat_map(|mode| [true, false].map(|has| (mode, has))) {
        let mut broker = open(IceSource::Cloudflare, mode, 1_000 * GB, RESET - 100 * SECOND, has_grant);
        beat(&mut broker, RESET - 20 * SECOND, 60 * MB);
        broker.books.advance(at(RESET + 5 * MINUTE));
        assert_eq!(broker.books.take_given_up().len(), 1);
        // It is charged by time for one more interval: 2 Mbps for 20 s before the reset, and for 10 s after it.
        let what = format!("{mode:?}, with a grant: {has_grant}");
        assert_used(broker, [(65 * MB, 2_500_000), (if has_grant { 0 } else { 60 * MB }, 2_500_000)], &what);
    }
}
