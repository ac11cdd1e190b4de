use super::*;
use crate::testing::Dice;
use crate::units::BillingDay;

/// 15 MB a minute: 2 Mbps.
const PER_MINUTE: u128 = 15_000_000;

fn figures(used: u64, committed: u64, limit: u64) -> Figures {
    // 2025-01-15T12:00:00Z
    let now = Timestamp::from_millis(1_736_942_400_000);
    Figures {
        now,
        period: BillingDay::new(1).unwrap().period_at(now),
        used: ByteCount::new(used),
        committed: ByteCount::new(committed),
        margin: ByteCount::ZERO,
        committed_next: ByteCount::ZERO,
        limit: ByteCount::new(limit),
    }
}

/// One that renews nothing, at a source that is counted by our clock.
fn request(life: u64) -> Request {
    Request {
        source: IceSource::Coturn,
        life: Duration::from_secs(life),
        slack: Duration::from_secs(4),
        tail: Duration::from_secs(7_200),
        per_minute: 15_000_000,
        from: Minute::of(figures(0, 0, 0).now),
        reserved_from: Minute::default(),
        chain_before: 0,
        clients: [None; 3],
        limits: [None; 2],
    }
}

#[test]
fn a_renewal_needs_room_only_for_the_minutes_after_the_renewed_promise() {
    let fits = |covered, this, next| {
        let room = FreeBytes { this: this * PER_MINUTE, next: next * PER_MINUTE, minutes_left: 10 };
        room.after(covered, 30, PER_MINUTE).is_some()
    };
    for (covered, this, next) in [(0, 10, 20), (4, 6, 20), (10, 0, 20), (13, 0, 17), (30, 0, 0), (31, 0, 0)] {
        assert!(fits(covered, this, next), "{covered}");
        assert!(this == 0 || !fits(covered, this - 1, next), "{covered}");
        assert!(next == 0 || !fits(covered, this, next - 1), "{covered}");
    }
}

fn strict(figures: Figures, life: u64) -> Option<u64> {
    let request = Request { from: Minute::of(figures.now), ..request(life) };
    decide(BudgetMode::Strict, figures, &request).ok().map(|life| life.as_secs())
}

#[test]
fn estimate_mode_admits_one_byte_below_the_limit_and_refuses_at_the_limit() {
    let estimate = |figures| decide(BudgetMode::Estimate, figures, &request(86_400));
    assert_eq!(estimate(figures(99, 99, 100)), Ok(Duration::from_secs(86_400)));
    assert!(estimate(figures(100, 100, 100)).is_err());
    assert!(estimate(figures(0, 0, 0)).is_err(), "a limit of zero admits nothing");
}

#[test]
fn estimate_mode_admits_beyond_the_committed_limit_and_publishes_the_bound() {
    let promised = figures(10, 250, 100);
    assert!(decide(BudgetMode::Estimate, promised, &request(60)).is_ok());
    assert_eq!(promised.overshoot_bound(), ByteCount::new(150));
    let sampled = Figures { margin: ByteCount::new(7), ..promised };
    assert_eq!(sampled.overshoot_bound(), ByteCount::new(157));
}

#[test]
fn a_refusal_lasts_until_the_reset_unless_a_reading_may_free_room() {
    let refusal = |used, awaits_reading| {
        Refusal { figures: figures(used, 100, 100), awaits_reading, client_frees_at: None, limited: None }
            .retry_in()
            .as_secs()
    };
    // From noon of the 15th to the first.
    let reset = 16 * 86_400 + 43_200;
    assert_eq!(refusal(50, false), reset);
    assert_eq!(refusal(50, true), 60);
    assert_eq!(refusal(100, true), reset, "used bytes are not freed");
    let of_user = |used| {
        let (kind, limit) = (LimitKind::User, ByteCount::new(10));
        let limited = Some(LimitUsage { kind, limit, used: ByteCount::new(used) });
        let figures = figures(50, 100, 100);
        Refusal { figures, awaits_reading: true, client_frees_at: None, limited }.retry_in().as_secs()
    };
    assert_eq!((of_user(9), of_user(10)), (60, reset));
}

#[test]
fn a_refusal_to_an_address_lasts_until_the_first_of_its_promises_ends_and_a_second_at_least() {
    let figures = figures(50, 100, 100);
    for (millis, wait) in [(0, 1_000), (400, 1_000), (12_345, 12_345), (7_200_000, 7_200_000)] {
        let client_frees_at = Some(figures.now.plus_millis(millis));
        let refusal = Refusal { figures, awaits_reading: true, client_frees_at, limited: None };
        assert_eq!(refusal.retry_in(), Duration::from_millis(wait));
    }
}

#[test]
fn the_remaining_bytes_are_never_negative() {
    assert_eq!(figures(150, 150, 100).remaining(), ByteCount::ZERO);
}

#[test]
fn a_strict_lifetime_shrinks_with_the_room_down_to_a_quarter_of_the_tail() {
    // A day and its tail are 1561 minutes, 23.4 GB: less than a hundredth of 10 TB.
    assert_eq!(strict(figures(0, 0, 10_000_000_000_000), 86_400), Some(86_400));
    // A hundredth of 1000 GB is 666 minutes, less 2 h and 4 s.
    assert_eq!(strict(figures(0, 0, 1_000_000_000_000), 86_400), Some(666 * 60 - 7_204));
    let later = Figures { now: figures(0, 0, 0).now.plus_millis(1), ..figures(0, 0, 1_000_000_000_000) };
    assert_eq!(
        decide(BudgetMode::Strict, later, &request(86_400)),
        Ok(Duration::from_secs(666 * 60 - 7_205)),
        "whole seconds"
    );
    // A hundredth of 100 GB is less than the tail needs, but half an hour fits into the whole.
    assert_eq!(strict(figures(0, 0, 100_000_000_000), 86_400), Some(1_800));
    assert_eq!(strict(figures(0, 0, 100_000_000_000), 120), Some(1_800), "whatever was asked for");
    // With a short tail, five minutes; shorter on request, down to a quarter of the tail.
    let short = |life| Request { tail: Duration::from_secs(400), ..request(life) };
    for (asked, given) in [(86_400, 300), (120, 120), (60, 100)] {
        let life = decide(BudgetMode::Strict, figures(0, 0, 1_000_000_000), &short(asked));
        assert_eq!(life, Ok(Duration::from_secs(given)), "{asked}");
    }
}

#[test]
fn a_strict_grant_needs_two_minutes_more_at_each_end_where_the_clock_of_a_provider_counts_it() {
    let now = figures(0, 0, 0).now;
    let minutes = Duration::from_secs(120);
    // Ten minutes before the reset, 12 of the 155 minutes lie before it: two because of the clock, and ten.
    let end = figures(0, 0, 0).period.end.minus(Duration::from_secs(600));
    for (now, this, next) in [(now, 155, 0), (end, 12, 143)] {
        let request = Request {
            source: IceSource::Cloudflare,
            tail: Duration::from_secs(7_200) + minutes,
            from: Minute::of(now.minus(minutes)),
            ..request(86_400)
        };
        let life = |this: u64, next: u64| {
            let full = 1_000_000_000_000;
            let [committed, committed_next] =
                [this, next].map(|free| ByteCount::new(full - free * 15_000_000));
            let figures = Figures { now, committed, committed_next, ..figures(0, 0, full) };
            decide(BudgetMode::Strict, figures, &request).ok()
        };
        // A quarter of the tail, without the minutes of the clock.
        assert_eq!(life(this, next), Some(Duration::from_secs(1_800)));
        assert_eq!(life(this - 1, next), None);
        assert!(next == 0 || life(this, next - 1).is_none());
    }
}

#[test]
fn a_strict_grant_is_refused_when_the_shortest_life_and_the_tail_do_not_fit() {
    // 9004 s cover 151 minutes.
    let needed = 151 * 15_000_000;
    assert_eq!(strict(figures(0, 0, needed), 86_400), Some(1_800));
    assert_eq!(strict(figures(0, 0, needed - 1), 86_400), None);
    assert_eq!(strict(figures(0, 1, needed), 86_400), None);
}

#[test]
fn a_strict_grant_that_crosses_the_reset_must_fit_into_both_periods() {
    let near_the_end = |committed, committed_next| {
        let figures = figures(0, committed, 100_000_000_000);
        // Ten minutes before the reset.
        let now = Timestamp::from_millis(figures.period.end.as_millis() - 600_000);
        Figures { now, committed_next: ByteCount::new(committed_next), ..figures }
    };
    assert_eq!(strict(near_the_end(0, 0), 86_400), Some(1_800));
    let full = 100_000_000_000;
    // This period has room for the last ten minutes only.
    assert_eq!(strict(near_the_end(full - 10 * 15_000_000, 0), 86_400), Some(1_800));
    assert_eq!(strict(near_the_end(full - 10 * 15_000_000 + 1, 0), 86_400), None);
    assert_eq!(strict(near_the_end(0, full - 141 * 15_000_000), 86_400), Some(1_800));
    assert_eq!(strict(near_the_end(0, full - 141 * 15_000_000 + 1), 86_400), None, "the next period is full");
}

#[test]
fn a_strict_grant_fits_and_lives_no_longer_than_requested_and_the_tail_requires() {
    let mut admitted_count = 0;
    for (seed, mut dice) in Dice::cases(1_000) {
        let [used, promised, next] = [(); 3].map(|()| dice.below(1 << 42) >> dice.below(12));
        let (limit, life) = (dice.below(1 << 42), 60 + dice.below(200_000));
        let end = figures(0, 0, 0).period.end.as_millis() - 1;
        let now = Timestamp::from_millis(end - i64::try_from(dice.below(2_000_000_000)).unwrap());
        let committed_next = ByteCount::new(next);
        let figures = Figures { now, committed_next, ..figures(used, used + promised, limit) };
        let from = Minute::of(now);
        let request = Request { from, ..request(life) };
        let Ok(admitted) = decide(BudgetMode::Strict, figures, &request) else { continue };
        admitted_count += 1;
        let shortest = Duration::from_secs(1_800);
        assert!((shortest..=Duration::from_secs(life).max(shortest)).contains(&admitted), "seed {seed}");
        let minutes = request.minutes(admitted, now.since(from.start()));
        assert!(FreeBytes::of(&figures, from).after(0, minutes, PER_MINUTE).is_some(), "seed {seed}");
    }
    assert!(admitted_count > 100, "{admitted_count}");
}
