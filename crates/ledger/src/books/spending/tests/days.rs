//! Another billing day: what was spent belongs to the period that its day is in.

use super::*;
use crate::reading::{Reading, ReadingOutcome};
use crate::units::slot::Day;

const DAY: u64 = 86_400;
const GB: u64 = 1_000 * MB;

/// So many seconds after midnight on a day of February 2025; the first one is 1.
fn on(day: u64) -> Timestamp {
    at(7_200 + (day - 1) * DAY + 3_600)
}

impl Broker {
    fn restart_with(&mut self, billing_day: u32) {
        self.setup.terms.billing_day = BillingDay::new(billing_day).unwrap();
        self.restart();
    }

    /// A grant of this user has relayed these bytes by now, and ends.
    fn spend(&mut self, name: &str, now: Timestamp, bytes: u64) {
        self.books.advance(now);
        let grant = self.mint(requester(name), 600).unwrap();
        let until = now.plus_millis(1_000_000);
        self.books.advance(until);
        assert!(self.count(until, true, &[(grant.id, bytes)], 0));
        while !self.books.tidy() {}
    }

    fn used(&mut self) -> [u64; 2] {
        ["ann", "bob"].map(|name| self.books.user_share(&user(name)).unwrap().usage.used.get())
    }

    fn grants_of(&self, name: &str) -> u64 {
        let row = self.books.grants().spenders().get(&SpenderKey::User(user(name)));
        row.map_or(0, |row| row.sums.grants())
    }

    fn days(mode: BudgetMode, ended_max: usize) -> Self {
        let user_limit = Some(ByteCount::new(10 * GB));
        let mut broker = Self::new(mode, SpenderTerms { user_limit, ended_max, ..SpenderTerms::default() });
        broker.restart_with(15);
        broker
    }
}

#[test]
fn what_a_user_has_spent_belongs_to_the_period_of_its_day() {
    for (mode, ended_max) in [
        (BudgetMode::Estimate, 0),
        (BudgetMode::Estimate, 100),
        (BudgetMode::Strict, 0),
        (BudgetMode::Strict, 100),
    ] {
        let mut broker = Broker::days(mode, ended_max);
        broker.spend("ann", at(60), GB);
        broker.spend("ann", on(3), 6 * GB);
        broker.spend("bob", on(14), 3);
        broker.spend("ann", on(16), 5 * GB);
        broker.books.advance(on(20));
        assert_eq!(broker.used(), [5 * GB, 0]);
        for _ in 0..2 {
            broker.restart_with(1);
            assert_eq!(broker.used(), [11 * GB, 3], "January is over");
            assert_eq!(broker.grants_of("ann"), 2);
            assert!(broker.mint(requester("ann"), 600).is_none(), "the user is over the limit");
            broker.restart_with(15);
            assert_eq!(broker.used(), [5 * GB, 0], "and back");
            assert_eq!(broker.grants_of("ann"), 1);
            broker.restart_with(18);
            assert_eq!(broker.used(), [0, 0], "later than all of it");
            assert_eq!((broker.grants_of("ann"), broker.books.grants().ended_count()), (0, 0));
        }
        broker.restart_with(1);
        broker.books.advance(on(29));
        assert_eq!(broker.used(), [0, 0], "after the reset");
        broker.restart_with(15);
        assert_eq!(broker.used(), [5 * GB, 0], "the reset was in the period");
    }
}

#[test]
fn a_grant_that_crosses_the_billing_day_counts_for_its_last_day() {
    for (count_on, expected) in [(13, 0), (16, 7)] {
        let mut broker = Broker::days(BudgetMode::Estimate, 100);
        broker.restart_with(1);
        broker.books.advance(on(13));
        let ann = broker.mint(requester("ann"), 172_000).unwrap();
        broker.books.advance(on(count_on));
        let now = broker.books.now();
        assert!(broker.count(now, true, &[(ann.id, 7)], 0));
        broker.books.advance(on(16));
        broker.restart_with(15);
        assert_eq!(broker.used()[0], expected, "{count_on}");
        broker.restart_with(1);
        assert_eq!(broker.used()[0], 7, "{count_on}: and back");
    }
}

#[test]
fn what_nobody_counted_before_a_reset_stays_reserved_when_it_is_in_the_period_again() {
    let mut broker = Broker::days(BudgetMode::Strict, 100);
    broker.books.advance(on(14));
    broker.mint(requester("ann"), SHORT).unwrap();
    broker.books.advance(on(14).plus_millis(600_000));
    broker.books.tidy();
    broker.books.advance(on(20));
    broker.restart_with(1);
    let share = broker.books.user_share(&user("ann")).unwrap();
    assert_eq!((share.usage.used.get(), share.committed.get()), (0, 5 * MINUTE_BYTES));
}

#[test]
fn days_that_no_period_has_are_forgotten() {
    let mut broker = Broker::days(BudgetMode::Estimate, 0);
    for day in [1, 10, 20] {
        broker.spend("ann", on(day), day);
    }
    let stored = |broker: &mut Broker, day| {
        broker.books.advance(on(day));
        broker.books.tidy();
        broker.flush();
        broker.stored.spenders.len()
    };
    let rows = 3 * SpenderKind::ALL.len();
    assert_eq!(stored(&mut broker, 32), rows);
    assert_eq!(stored(&mut broker, 33), rows / 3 * 2);
    assert_eq!(stored(&mut broker, 60), 0);
    broker.restart();
    assert_eq!(broker.books.grants().spenders().counts_of(SpenderKind::User).0, 0);
}

/// What was relayed on the days that come back is no part of the rest.
#[test]
fn the_rows_of_another_billing_day_add_up_to_what_was_used_in_its_period() {
    let mut broker = Broker::days(BudgetMode::Estimate, 100);
    broker.spend("ann", on(3), 6 * GB);
    broker.spend("bob", on(16), 5 * GB);
    broker.books.advance(on(20));
    broker.restart_with(1);
    let (day, granted) = (Day::of(on(20)), ByteCount::new(12 * GB));
    let reading = Reading { day, as_of: on(20), granted, other: ByteCount::ZERO };
    assert_eq!(broker.books.ledger_mut().take_reading(SOURCE, &reading), ReadingOutcome::Taken);
    let rows = broker.books.spenders(SpenderKind::User, 9, None);
    let bytes = rows.iter().map(|row| row.sums.bytes().get());
    assert_eq!(bytes.collect::<Vec<_>>(), [6 * GB, 5 * GB, GB]);
}
