use super::*;
use crate::testing::prelude::*;
use crate::testing::rules;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus_millis(seconds * 1_000)
}

/// A group that may claim 100 Mbps, with connections of 2 Mbps.
struct Group {
    allowance: Allowance,
    terms: AllowanceTerms,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            allowance: Allowance::default(),
            terms: AllowanceTerms::new(RELAY_RATE_MAX, &rules(2_000_000)),
        }
    }
}

impl Group {
    fn at(&mut self, now: Timestamp) -> Allowances<'_> {
        Allowances::new([None, Some((&mut self.allowance, self.terms)), None, None, None, None], now)
    }

    /// A vouched report of a grant's connection.
    fn vouched_at(&mut self, now: Timestamp) -> Allowances<'_> {
        let terms = AllowanceTerms::of_relay(&rules(2_000_000));
        Allowances::new([Some((&mut self.allowance, terms)), None, None, None, None, None], now)
            .vouched(true, None)
    }
}

const HUGE: ByteCount = ByteCount::new(u64::MAX);

#[test]
fn connections_of_a_group_share_one_rate() {
    let mut group = Group::default();
    group.at(at(0)).open();
    group.at(at(0)).open();
    assert_eq!(group.at(at(8)).take(HUGE, HUGE), ByteCount::new(100_000_000));
    assert_eq!(group.at(at(8)).take(HUGE, HUGE), ByteCount::ZERO);
    assert_eq!(group.at(at(16)).take(HUGE, HUGE), ByteCount::new(100_000_000));
}

#[test]
fn time_without_an_open_connection_adds_no_allowance() {
    let mut group = Group::default();
    group.at(at(0)).open();
    group.at(at(8)).close(at(8));
    group.at(at(1_000_000)).open();
    assert_eq!(group.at(at(1_000_000)).take(HUGE, HUGE), ByteCount::new(100_000_000));
}

#[test]
fn no_more_than_ten_minutes_are_saved() {
    let mut group = Group::default();
    group.at(at(0)).open();
    assert_eq!(group.at(at(86_400)).take(HUGE, HUGE), ByteCount::new(600 * 12_500_000));
}

#[test]
fn time_that_is_given_back_is_not_saved_beyond_ten_minutes() {
    let mut group = Group::default();
    group.at(at(0)).open();
    for round in 0..1_000 {
        let mut allowances = group.at(at(round * 30));
        let clocks = (0..64).filter(|_| allowances.start_clock()).count();
        let mut allowances = group.at(at(round * 30 + 30));
        for _ in 0..clocks {
            allowances.stop_clock();
            allowances.give_back(30_000);
        }
    }
    assert_eq!(group.at(at(30_000)).take(HUGE, HUGE), ByteCount::new(600 * 12_500_000));
}

#[test]
fn only_as_many_clocks_run_as_the_rate_allows() {
    let mut group = Group::default();
    for _ in 0..64 {
        group.at(at(0)).open();
    }
    let running = (0..64).filter(|_| group.at(at(0)).start_clock()).count();
    assert_eq!(running, 50, "of 2 Mbps each");
    assert_eq!(group.at(at(60)).take(HUGE, HUGE), ByteCount::ZERO, "they use all of it");
}

#[test]
fn the_clock_of_one_connection_always_fits() {
    let terms = AllowanceTerms::new(BitRate::new(1), &rules(200_000_000));
    let mut group = Group { terms, ..Group::default() };
    assert!(group.at(at(0)).start_clock());
    assert!(!group.at(at(0)).start_clock());
}

#[test]
fn what_is_vouched_for_uses_up_no_allowance_for_claims() {
    let mut group = Group::default();
    group.at(at(0)).open();
    let mut vouched = group.at(at(8)).vouched(true, None);
    assert_eq!((vouched.take(HUGE, HUGE), vouched.take_time(u64::MAX)), (HUGE, u64::MAX));
    assert!(!vouched.clamped);
    assert_eq!(group.at(at(8)).take(HUGE, HUGE), ByteCount::new(100_000_000));
}

#[test]
fn what_is_vouched_for_must_fit_into_what_a_relay_can_carry() {
    let mut relay = Group::default();
    (0..64).for_each(|_| relay.vouched_at(at(0)).open());
    let running = (0..64).filter(|_| relay.vouched_at(at(0)).start_clock()).count();
    assert_eq!(running, 50, "of 2 Mbps each");
    (0..40).for_each(|_| relay.vouched_at(at(0)).stop_clock());
    assert_eq!(relay.vouched_at(at(8)).take_time(u64::MAX), 8_000 * 40, "what ten clocks leave");
    assert_eq!(relay.vouched_at(at(8)).take(HUGE, HUGE), ByteCount::ZERO);
    (0..10).for_each(|_| relay.vouched_at(at(8)).stop_clock());
    // All of it is saved.
    assert_eq!(relay.vouched_at(at(86_400)).take(HUGE, HUGE), ByteCount::new(86_392 * 12_500_000));
    assert!(relay.vouched_at(at(86_400)).start_clock());
}

#[test]
fn a_claim_must_fit_into_all_allowances() {
    let (mut wide, mut narrow) = (Allowance::default(), Allowance::default());
    let terms = |mbps: u64| AllowanceTerms::new(BitRate::new(mbps * 1_000_000), &rules(2_000_000));
    for (seconds, taken) in [(0, 0), (8, 50_000_000)] {
        let scopes = [None, Some((&mut wide, terms(100))), Some((&mut narrow, terms(50))), None, None, None];
        let mut allowances = Allowances::new(scopes, at(seconds));
        allowances.open();
        assert_eq!(allowances.take(HUGE, HUGE), ByteCount::new(taken));
        assert!(allowances.clamped);
    }
}

/// Whatever a group claims, by bytes, by running clocks and by past time, all together stays within its rate.
#[test]
fn bytes_and_time_charges_together_never_exceed_the_rate_times_the_time() {
    for (seed, mut dice) in Dice::cases(256) {
        let estimated = 1 + (dice.below(300_000_000) >> dice.below(28));
        let mut group =
            Group { terms: AllowanceTerms::new(RELAY_RATE_MAX, &rules(estimated)), ..Group::default() };
        let (mut now, mut clocks, mut charged, mut by_time) = (0_u64, 0_u128, 0_u128, vec![]);
        group.at(at(0)).open();
        for _ in 0..80 {
            let (wait, action, amount) = (dice.below(100), dice.below(6), dice.below(10_000_000_000));
            now += wait;
            charged += u128::from(estimated) * clocks * u128::from(wait) * 1_000;
            let mut allowances = group.at(at(now));
            match action {
                0 => clocks += u128::from(allowances.start_clock()),
                1 if clocks > 0 => {
                    clocks -= 1;
                    allowances.stop_clock();
                }
                2 => {
                    let millis = allowances.take_time(amount / 100_000);
                    charged += u128::from(estimated) * u128::from(millis);
                    by_time.push(millis);
                }
                3 => {
                    if let Some(millis) = by_time.pop() {
                        allowances.give_back(millis);
                        charged -= u128::from(estimated) * u128::from(millis);
                    }
                }
                _ => charged += u128::from(allowances.take(ByteCount::new(amount), HUGE).get()) * 8_000,
            }
            let rate = u128::from(RELAY_RATE_MAX.get().max(estimated));
            assert!(charged <= rate * u128::from(now) * 1_000, "{charged} after {now} s, seed {seed}");
        }
    }
}

#[test]
fn what_is_given_back_of_a_closed_connection_is_saved_up_to_the_limit() {
    let mut group = Group::default();
    group.at(at(0)).open();
    let mut allowances = group.at(at(100_000));
    allowances.give_back(50_000_000);
    allowances.close(at(100_000));
    assert_eq!(group.at(at(100_001)).take(HUGE, HUGE), ByteCount::new(600 * 12_500_000));
}

/// A freeze drops what was saved.
#[test]
fn time_before_a_forfeit_gives_no_allowance_after_it() {
    let mut group = Group::default();
    group.at(at(0)).open();
    group.allowance.forfeit(at(500));
    assert_eq!(group.at(at(508)).take(HUGE, HUGE), ByteCount::new(8 * 12_500_000));
}
