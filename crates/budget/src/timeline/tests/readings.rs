//! Tests of the timeline with readings: the estimates that they replace, the promises that they release, and the rate that
//! they show.

use super::*;

#[test]
fn a_reading_replaces_only_the_estimate_of_the_time_that_it_covers() {
    let mut timeline = timeline(START);
    timeline.change_clocks(Basis::Granted, 0, 1);
    timeline.advance(at(START + 20 * MINUTE));
    let a_minute = 2_000_000 / 8 * 60;
    assert_eq!(timeline.minutes.used(), ByteCount::new(20 * a_minute));
    assert_eq!(count(&mut timeline, START + 10 * MINUTE, 1_000, 7), ReadingOutcome::Taken);
    assert_eq!(timeline.minutes.used(), ByteCount::new(1_007 + 10 * a_minute));
    let late = ByteCount::new(500);
    timeline.add_bytes(Basis::Granted, Spread::new(late, at(START), at(START + 10 * MINUTE)));
    // The provider has counted that time.
    assert_eq!(timeline.minutes.used(), ByteCount::new(1_007 + 10 * a_minute));
}

#[test]
fn a_count_decides_about_grants_and_the_larger_of_it_and_what_was_vouched_for_without_one_is_used() {
    for (counted, used, committed, has_grant) in [
        (200, 200, 211, true),
        (200, 1_000, 1_000, false),
        (980, 980, 1_032, true),
        (980, 1_000, 1_032, false),
        (5_000, 5_000, 5_264, true),
    ] {
        let mut timeline = timeline_of(rates(true), START);
        timeline.advance(at(START + 60 * MINUTE));
        let vouch = |timeline: &mut Timeline, bytes| {
            let (bytes, from, to) = (ByteCount::new(bytes), at(START), at(START + 10 * MINUTE));
            let kind = if has_grant {
                ChangeKind::Vouch(Spread::new(bytes, from, to))
            } else {
                ChangeKind::AddBytes(Spread::new(bytes, from, to))
            };
            let basis = if has_grant { Basis::Granted } else { Basis::Ungranted };
            timeline.apply(UsageChange { owner: IceSource::Cloudflare.into(), basis, kind });
        };
        vouch(&mut timeline, 600);
        assert_eq!(count(&mut timeline, START + 20 * MINUTE, counted, 0), ReadingOutcome::Taken);
        // A report of that time that comes later.
        vouch(&mut timeline, 400);
        let figures =
            |timeline: &Timeline| (timeline.minutes.used().get(), timeline.minutes.committed().get());
        assert_eq!(figures(&timeline), (used, committed), "{counted}");
        let above = timeline.minutes.counted.vouched_above_day.get();
        assert_eq!(above, 1_000_u64.saturating_sub(counted * 100 / 95 + 1), "{counted}");
        timeline.minutes.set_liability(BitRate::new(4_000_000));
        assert_eq!(figures(&timeline), (used, committed), "all sums are computed again");
        let period = timeline.minutes.period;
        timeline.advance(period.end);
        assert_eq!(timeline.minutes.days.used(period).map(ByteCount::get), Some(used), "{counted}");
        assert_eq!(figures(&timeline), (0, 0), "the next period has nothing of it");
    }
}

#[test]
fn of_the_minute_in_which_a_count_ends_the_rest_is_promised_and_no_claim_is_added() {
    let mut timeline = timeline(START);
    timeline.minutes.change_live(minutes(at(START), at(START + 2 * MINUTE)), ONE);
    timeline.advance(at(START + 2 * MINUTE));
    timeline.add_bytes(
        Basis::Granted,
        Spread::new(ByteCount::new(600), at(START + MINUTE), at(START + 2 * MINUTE)),
    );
    assert_eq!(count(&mut timeline, START + MINUTE + MINUTE / 2, 1_000, 0), ReadingOutcome::Taken);
    let figures = (timeline.minutes.used().get(), timeline.minutes.committed().get());
    assert_eq!(figures, (1_000, 1_000 + 22_500_000 / 2));
}

#[test]
fn a_providers_count_releases_what_was_promised_until_its_end() {
    const MIDNIGHT: i64 = START + 1_440 * MINUTE;
    let terms = SourceTerms::of_unconfigured(IceSource::Cloudflare);
    let [begin, end] = [MIDNIGHT - 10 * MINUTE, MIDNIGHT + 10 * MINUTE];
    let mut timeline =
        Timeline::open(terms, BillingDay::new(1).unwrap(), rates(false), at(begin), &SourceRows::default());
    timeline.minutes.change_live(minutes(at(begin), at(end)), ONE);
    timeline.advance(at(end));
    for (as_of, promised) in [(-1, 11), (0, 10), (1, 9), (2, 8), (10, 0)] {
        assert_eq!(count(&mut timeline, MIDNIGHT + as_of * MINUTE, 0, 0), ReadingOutcome::Taken);
        for liability in [3_000_000, 4_000_000, 3_000_000] {
            // All sums are computed again.
            timeline.minutes.set_liability(BitRate::new(liability));
            let committed = timeline.minutes.committed().get();
            let assumed = promised * BitRate::new(liability).per_minute();
            assert_eq!(committed, assumed, "{as_of} minutes after midnight");
        }
    }
}

#[test]
fn what_the_clock_of_a_provider_counts_earlier_or_later_keeps_its_margin() {
    let terms = SourceTerms { sampling: SAMPLING, ..SourceTerms::of_unconfigured(IceSource::Cloudflare) };
    let minute = ONE.per_minute.unsigned_abs();
    // The grant relays for an hour. A clock that is two minutes ahead counts 28 minutes of it in its first half, one that is behind 32.
    for in_half in [28, 30, 32] {
        let start = at(START + 2 * MINUTE);
        let mut timeline =
            Timeline::open(terms, BillingDay::new(1).unwrap(), rates(false), start, &SourceRows::default());
        // By any such clock, what it relays is promised.
        timeline.minutes.change_live(minutes(at(START), at(START + 64 * MINUTE)), ONE);
        timeline.advance(at(START + 70 * MINUTE));
        for (as_of, relayed) in [(32, in_half), (70, 60)] {
            let counted = relayed * minute / 100 * 95;
            assert_eq!(count(&mut timeline, START + as_of * MINUTE, counted, 0), ReadingOutcome::Taken);
            let margin = timeline.minutes.margin().get();
            assert_eq!(counted + margin, relayed * minute, "{in_half} of an hour, until {as_of}");
        }
    }
}

#[test]
fn in_the_worst_case_a_reading_stands_for_no_more_than_was_promised() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + 60 * MINUTE)), ONE);
    timeline.advance(at(START + 60 * MINUTE));
    let before = timeline.minutes.committed();
    assert_eq!(count(&mut timeline, START + 60 * MINUTE, before.get(), 0), ReadingOutcome::Taken);
    assert_eq!(timeline.minutes.committed(), before);
}

#[test]
fn a_reading_of_the_previous_period_changes_only_its_sum() {
    const RESET: i64 = 1_738_368_000_000;
    let mut timeline = timeline(START);
    timeline.add_bytes(Basis::Granted, Spread::new(ByteCount::new(5), at(START), at(START)));
    timeline.advance(at(RESET + 20 * MINUTE));
    timeline.add_bytes(
        Basis::Granted,
        Spread::new(ByteCount::new(1_440_000), at(RESET - 1_440 * MINUTE), at(RESET)),
    );
    assert_eq!(previous(&timeline), Some(ByteCount::new(1_440_005)));
    assert_eq!(count(&mut timeline, RESET - MINUTE, 900, 0), ReadingOutcome::Taken);
    assert_eq!(previous(&timeline), Some(ByteCount::new(1_905)), "a minute is still estimated");
    assert_eq!(count(&mut timeline, RESET, 900, 77), ReadingOutcome::Taken);
    assert_eq!(previous(&timeline), Some(ByteCount::new(982)));
    assert_eq!(timeline.minutes.used(), ByteCount::ZERO);
    assert_eq!(timeline.counted(), None);
}

#[test]
fn an_empty_count_of_a_day_before_the_reset_is_believed_if_nothing_was_live_or_a_probe_is_shown() {
    const RESET: i64 = 1_738_368_000_000;
    let over = |is_live: bool| {
        let mut timeline = timeline(START);
        timeline.terms.proof = ProofRule::Probe;
        // Else only on the day before, and after the reset.
        let from = if is_live { RESET - 60 * MINUTE } else { START };
        for from in [from, RESET + MINUTE] {
            timeline.minutes.change_live(minutes(at(from), at(from + 10 * MINUTE)), ONE);
        }
        timeline.advance(at(RESET + 20 * MINUTE));
        let stored = counts_of(&timeline);
        let mut again =
            Timeline::open(terms(SAMPLING), BillingDay::new(1).unwrap(), rates(false), timeline.now, &stored);
        again.terms.proof = ProofRule::Probe;
        again
    };
    assert_eq!(count(&mut over(false), RESET, 0, 0), ReadingOutcome::Taken, "it was idle");
    let mut live = over(true);
    assert_eq!(count(&mut live, RESET - 30 * MINUTE, 0, 0), ReadingOutcome::Unproven);
    let probe = Minute::of(at(RESET + 20 * MINUTE));
    live.state.proof.note(probe);
    live.state.proof.show(probe);
    assert_eq!(count(&mut live, RESET, 0, 0), ReadingOutcome::Taken);
}

#[test]
fn a_rate_that_was_seen_is_assumed_over_restarts_until_the_reset_or_until_the_setting_changes() {
    let end = BillingDay::new(1).unwrap().period_at(at(START)).end.as_millis();
    let mut timeline = timeline(end - 30 * MINUTE);
    timeline.minutes.change_live(minutes(at(end - 30 * MINUTE), at(end + 60 * MINUTE)), ONE);
    let (set, seen) = (rates(false), BitRate::new(7_500_000));
    timeline.raise_rate(BitRate::new(5_000_000), Excess::default());
    timeline.raise_rate(seen, Excess::default());
    let reopened = |timeline: &Timeline, rates| {
        let day = BillingDay::new(1).unwrap();
        Timeline::open(terms(SAMPLING), day, rates, timeline.now, &counts_of(timeline))
    };
    let mut again = reopened(&timeline, set);
    assert_eq!((again.assumed_rate(), again.minutes.rates.liability), (seen, seen));
    let other = Rates { liability: BitRate::new(4_000_000), ..set };
    assert_eq!(reopened(&again, other).assumed_rate(), other.liability);
    assert_eq!(reopened(&reopened(&again, other), set).assumed_rate(), set.liability);
    again.advance(at(end));
    assert_eq!((again.assumed_rate(), again.minutes.rates.liability), (set.liability, set.liability));
    assert_eq!(reopened(&again, set).assumed_rate(), set.liability);
}

/// Of a provider that is asked each minute and has all bytes at once, one answer is wrong.
#[test]
fn one_wrong_answer_releases_and_proves_nothing_and_the_next_one_takes_it_back() {
    let minute = ONE.per_minute.unsigned_abs();
    for (percent, is_used) in [(50, true), (140, true), (200, true), (100_000, true), (10, false)] {
        let terms = SourceTerms { is_read: true, ..SourceTerms::of_unconfigured(IceSource::Cloudflare) };
        let day = BillingDay::new(1).unwrap();
        let mut timeline = Timeline::open(terms, day, rates(true), at(START), &SourceRows::default());
        timeline.minutes.change_live(minutes(at(START), at(START + 600 * MINUTE)), ONE);
        let mut outcomes = vec![];
        for number in 1..=20 {
            let now = START + number * MINUTE;
            timeline.advance(at(now));
            let relayed = number.unsigned_abs() * minute / 2;
            let answered = if number == 15 { relayed * percent / 100 } else { relayed };
            let outcome = timeline.take_reading(&reading(now, answered, 0));
            if number == 15 {
                outcomes.push(outcome == ReadingOutcome::Taken);
            } else {
                assert_eq!(outcome, ReadingOutcome::Taken, "{percent}");
                assert_eq!(timeline.minutes.used().get(), relayed, "{percent}: minute {number}");
            }
            let agreed = (number.unsigned_abs() - 1) * minute / 2;
            assert!(timeline.minutes.proven().get() <= agreed.max(minute / 2), "{percent}: minute {number}");
            assert!(timeline.minutes.committed().get() >= relayed, "{percent}: minute {number}");
        }
        assert_eq!(outcomes, [is_used && percent > 90], "{percent}");
    }
}

/// What agrees is released a minute later than it was counted first.
#[test]
fn what_one_answer_counts_stays_promised_until_the_next_one() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + 60 * MINUTE)), ONE);
    timeline.advance(at(START + 60 * MINUTE));
    let (promised, hour) = (ONE.per_minute.unsigned_abs(), reading(START + 60 * MINUTE, 95, 0));
    let [first, second] = testing::agreeing(hour);
    let _ = timeline.take_reading(&first);
    assert_eq!(timeline.minutes.committed().get(), 60 * promised);
    assert_eq!((timeline.minutes.used().get(), timeline.minutes.proven().get()), (95, 0));
    let _ = timeline.take_reading(&second);
    assert_eq!((timeline.minutes.committed().get(), timeline.minutes.proven().get()), (100, 95));
    timeline.minutes.set_liability(BitRate::new(4_000_000));
    assert_eq!(timeline.minutes.committed().get(), 100, "all sums are computed again");
}

#[test]
fn no_claim_is_left_in_a_slice_that_a_reading_covers() {
    let mut timeline = timeline(START);
    let _ = count(&mut timeline, START, 5, 0);
    timeline.advance(at(START + 60 * MINUTE));
    timeline.add_bytes(
        Basis::Granted,
        Spread::new(ByteCount::new(30_000_000_000), at(START), at(START + 60 * MINUTE)),
    );
    let slices = |timeline: &Timeline| {
        let slice = |from, to| {
            timeline.slice(Interval::new(at(START + from * MINUTE), at(START + to * MINUTE))).used.get()
        };
        [slice(0, 30), slice(30, 60)]
    };
    assert_eq!(slices(&timeline), [15_000_000_000, 15_000_000_000]);
    let _ = count(&mut timeline, START + 10 * MINUTE, 100, 0);
    assert_eq!(slices(&timeline), [100 + 10_000_000_000, 15_000_000_000]);
    let _ = count(&mut timeline, START + 20 * MINUTE + 1, 200, 500);
    let _ = count(&mut timeline, START + 60 * MINUTE, 201, 540);
    let [early, late] = slices(&timeline);
    assert_eq!(early + late, 201 + 540);
    assert!(late < 41, "{late}");
}

#[test]
fn after_a_restart_a_slice_is_as_before() {
    let mut timeline = timeline(START);
    let _ = count(&mut timeline, START, 0, 0);
    let mut bytes = 0;
    for hour in 1..=4_i64 {
        timeline.advance(at(START + hour * 60 * MINUTE));
        bytes += [0, 1_000, 5_000, 0, 4_000][usize::try_from(hour).unwrap()];
        let _ = count(&mut timeline, START + hour * 60 * MINUTE, bytes, 0);
    }
    let stored = timeline.take_changes();
    let billing_day = BillingDay::new(1).unwrap();
    let restored =
        Timeline::open(terms(SAMPLING), billing_day, rates(false), at(START + 240 * MINUTE), &stored);
    let hours = |timeline: &Timeline| {
        let hour = |n: i64| {
            timeline.slice(Interval::new(at(START + n * 60 * MINUTE), at(START + (n + 1) * 60 * MINUTE)))
        };
        [0, 1, 2, 3].map(|n| hour(n).used.get())
    };
    assert_eq!(hours(&timeline), [1_000, 5_000, 0, 4_000]);
    assert_eq!(hours(&restored), [1_000, 5_000, 0, 4_000]);
}

/// The operator adds a TURN key that others have used. Its bytes were counted as those of others before, with their margin.
#[test]
fn the_bytes_of_a_key_that_joins_leave_the_promises_of_our_grants_their_margin() {
    let mut timeline = timeline_of(rates(true), START);
    timeline.minutes.change_live(minutes(at(START), at(START + 60 * MINUTE)), ONE);
    timeline.advance(at(START + 60 * MINUTE));
    let promised = 20 * ONE.per_minute.unsigned_abs();
    assert_eq!(count(&mut timeline, START + 10 * MINUTE, 0, 9_500_000_000), ReadingOutcome::Taken);
    let before = timeline.minutes.committed();
    let moved = reading(START + 30 * MINUTE, 9_500_000_000 + promised, 0);
    assert_eq!(
        {
            let [first, second] = testing::agreeing(moved);
            let _ = timeline.take_reading(&first);
            timeline.take_reading(&second)
        },
        ReadingOutcome::Taken
    );
    assert_eq!(timeline.minutes.committed(), before, "what was promised has flowed in full");
}
