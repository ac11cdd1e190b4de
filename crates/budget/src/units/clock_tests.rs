//! Tests of the books' time.

use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn new(seconds: i64, since_boot: u64) -> SteadyTime {
    SteadyTime::new(Timestamp::from_millis(seconds * 1_000), NonZeroU128::new(1), secs(since_boot))
}

#[test]
fn time_continues_at_its_pace_while_the_wall_clock_is_behind() {
    let wall = Timestamp::from_millis;
    let mut steady = new(9, 70);
    let mut read =
        |at, micros| steady.read(wall(at), secs(70) + Duration::from_micros(micros)).now.as_millis();
    assert_eq!(read(10_000, 0), 10_000);
    assert_eq!(read(4_000, 500_000), 10_500, "set back by six seconds and a half");
    for micros in 500_000..502_500 {
        let _ = read(4_000, micros);
    }
    assert_eq!(read(4_000, 2_000_000), 12_000, "many readings within a millisecond lose no time");
    assert_eq!(read(12_500, 2_400_000), 12_500, "caught up");
    assert_eq!(read(72_000, 2_500_000), 72_000, "a step ahead of a minute is accepted");
}

#[test]
fn a_reference_clock_that_differs_is_reported_while_it_is_known() {
    let mut steady = new(1_000, 0);
    hear(&mut steady, 1_300, 10);
    assert_eq!(moment(&mut steady, 1_010, 10).differs_by, secs(290), "the provider's clock is ahead");
    assert_eq!(moment(&mut steady, 1_050, 50).differs_by, secs(290));
    assert_eq!(moment(&mut steady, 1_110, 3_611).differs_by, Duration::ZERO, "it was heard too long ago");
}

const MONTH: i64 = 2_678_400;

/// What is read at these seconds of the wall clock and since boot.
fn moment(steady: &mut SteadyTime, wall: i64, since_boot: u64) -> Moment {
    steady.read(Timestamp::from_millis(wall * 1_000), secs(since_boot))
}

/// The books' time in seconds.
fn read(steady: &mut SteadyTime, wall: i64, since_boot: u64) -> i64 {
    moment(steady, wall, since_boot).now.as_secs()
}

/// A reference clock says these seconds.
fn hear(steady: &mut SteadyTime, date: i64, since_boot: u64) {
    steady.set_reference(Timestamp::from_millis(date * 1_000), secs(since_boot));
}

#[test]
fn a_jump_ahead_is_accepted_once_it_has_lasted() {
    let mut steady = new(1_000, 0);
    let mut read = |wall, since_boot| read(&mut steady, wall, since_boot);
    assert_eq!(read(1_000, 0), 1_000, "the first reading is accepted");
    assert_eq!(read(1_000 + MONTH, 10), 1_010);
    assert_eq!(read(1_200 + MONTH, 200), 1_200, "not yet");
    assert_eq!(read(1_250, 250), 1_250, "the clock was corrected");
    assert_eq!(read(1_260 + MONTH, 260), 1_260);
    assert_eq!(read(1_559 + MONTH, 559), 1_559, "the delay starts again");
    assert_eq!(read(1_560 + MONTH, 560), 1_560 + MONTH, "the jump has lasted");
    assert_eq!(read(1_561, 561), 1_561 + MONTH, "time never decreases");
}

#[test]
fn a_jump_at_the_end_of_the_doubt_is_not_accepted_with_the_first_one() {
    let mut steady = new(1_000, 0);
    assert_eq!(read(&mut steady, 1_000, 0), 1_000);
    assert_eq!(read(&mut steady, 9_010, 10), 1_010);
    assert_eq!(read(&mut steady, 9_309 + MONTH, 309), 1_309, "a further jump");
    assert_eq!(read(&mut steady, 9_310 + MONTH, 310), 1_310, "the doubt begins again");
    assert_eq!(read(&mut steady, 9_311, 311), 1_311, "and again");
    assert_eq!(read(&mut steady, 9_610, 610), 1_610);
    assert_eq!(read(&mut steady, 9_651, 611), 9_651, "a small step changes nothing");
}

#[test]
fn an_accepted_jump_is_stated_once() {
    let mut steady = new(1_000, 0);
    // The first reading is no jump, nor is a minute.
    for (wall, since_boot, jumped, in_doubt) in [
        (1_000, 0, 0, false),
        (1_060, 0, 0, false),
        (9_010, 10, 0, true),
        (9_310, 310, 7_940, false),
        (9_311, 311, 0, false),
    ] {
        let moment = moment(&mut steady, wall, since_boot);
        assert_eq!((moment.jumped.as_secs(), moment.in_doubt), (jumped, in_doubt), "{wall}");
    }
}

#[test]
fn a_jump_that_a_reference_clock_contradicts_is_not_accepted_however_long_it_lasts() {
    let mut steady = new(1_000, 0);
    assert_eq!(read(&mut steady, 1_000, 0), 1_000);
    hear(&mut steady, 1_000, 0);
    assert_eq!(read(&mut steady, 1_010 + MONTH, 10), 1_010);
    assert_eq!(read(&mut steady, 4_000 + MONTH, 3_000), 4_000);
    hear(&mut steady, 4_000, 3_000);
    assert_eq!(read(&mut steady, 7_600 + MONTH, 6_600), 7_600, "the reference clock was read an hour ago");
    assert_eq!(read(&mut steady, 7_601 + MONTH, 6_601), 7_601 + MONTH, "that is too long ago");
}

#[test]
fn a_reference_clock_from_before_a_jump_leaves_it_in_doubt() {
    let mut steady = new(1_000, 0);
    hear(&mut steady, 1_010, 10);
    for since_boot in [10, 20] {
        assert!(moment(&mut steady, 9_000 + MONTH, since_boot).in_doubt);
    }
    hear(&mut steady, 1_030, 30);
    let contradicted = moment(&mut steady, 9_000 + MONTH, 30);
    // The wall clock is wrong.
    assert_eq!((contradicted.now.as_secs(), contradicted.in_doubt), (1_030, false));
}

/// Otherwise a contradiction would be forgotten an hour after it was heard, and the wrong clock accepted.
#[test]
fn a_reference_clock_is_needed_until_the_jump_is_accepted_or_corrected() {
    let mut steady = new(1_000, 0);
    for (wall, since_boot, date, is_uncertain, ahead_for, why) in [
        (1_000, 0, None, false, 0, "no jump"),
        (1_010 + MONTH, 10, None, true, 0, "a jump"),
        (1_040 + MONTH, 40, Some(1_040), true, 30, "the wall clock is wrong"),
        (1_050, 50, None, false, 0, "it is corrected"),
        (1_060 + MONTH, 60, None, true, 0, "another jump"),
        (1_070 + MONTH, 70, Some(1_070 + MONTH), false, 0, "it is right"),
    ] {
        if let Some(date) = date {
            hear(&mut steady, date, since_boot);
        }
        let moment = moment(&mut steady, wall, since_boot);
        assert_eq!((moment.is_uncertain(), moment.ahead_for.as_secs()), (is_uncertain, ahead_for), "{why}");
    }
    let mut started = after_crash(1_000, &at_crash(true), 2, 5);
    assert!(moment(&mut started, 1_000, 5).is_uncertain(), "after a start of the machine");
}

#[test]
fn a_jump_that_a_reference_clock_confirms_is_accepted_at_once() {
    for (date, now) in
        [(0, 1_010 + MONTH), (60, 1_010 + MONTH), (61, 1_010), (-60, 1_010 + MONTH), (-61, 1_010)]
    {
        let mut steady = new(1_000, 0);
        assert_eq!(read(&mut steady, 1_000, 0), 1_000);
        hear(&mut steady, 1_010 + MONTH + date, 10);
        assert_eq!(read(&mut steady, 1_010 + MONTH, 10), now, "{date}");
    }
}

/// A virtual machine was moved: its time since boot jumps by a month, and its wall clock is right.
#[test]
fn a_jump_of_the_time_since_boot_is_left_out_whether_a_reference_clock_answers_or_not() {
    for (before, after, jump) in [
        (true, true, MONTH),
        (true, false, MONTH),
        (false, true, MONTH),
        (false, false, MONTH),
        (true, false, 1_800),
    ] {
        let mut steady = new(1_000, 0);
        if before {
            hear(&mut steady, 1_000, 0);
        }
        let _ = moment(&mut steady, 1_000, 0);
        let later = u64::try_from(jump).unwrap();
        let jumped = moment(&mut steady, 1_002, 2 + later);
        let seen = (jumped.now.as_secs(), jumped.jumped, jumped.may_lag(), jumped.is_uncertain());
        assert_eq!(seen, (1_002, Duration::ZERO, true, true), "{before} {after}");
        if after {
            hear(&mut steady, 1_003, 3 + later);
        }
        let known = moment(&mut steady, 1_003, 3 + later);
        let seen = (known.now.as_secs(), known.jumped, known.may_lag(), known.differs_by);
        assert_eq!(seen, (1_003, Duration::ZERO, !after, Duration::ZERO), "{before} {after}");
        assert_eq!(read(&mut steady, 900, 10 + later), 1_010, "it goes on at its pace");
        assert_eq!(read(&mut steady, 1_900, 1_010 + later), 2_010, "and does not jump");
    }
}

/// The machine slept, and the battery of its wall clock is empty.
#[test]
fn a_jump_of_the_time_since_boot_that_a_reference_clock_confirms_is_taken_in_once() {
    let mut steady = new(1_000, 0);
    hear(&mut steady, 1_000, 0);
    let _ = moment(&mut steady, 1_000, 0);
    assert_eq!(read(&mut steady, 0, 8_000), 1_000);
    for (date, since_boot, now) in [(8_939, 8_001, 1_001), (9_063, 8_002, 1_002), (9_003, 8_003, 9_003)] {
        hear(&mut steady, date, since_boot);
        assert_eq!(read(&mut steady, 3, since_boot), now, "{date}");
    }
    let later = moment(&mut steady, 4, 8_004);
    assert_eq!((later.now.as_secs(), later.jumped), (9_004, Duration::ZERO));
}

#[test]
fn a_jump_of_the_time_since_boot_does_not_shorten_the_doubt_about_the_wall_clock() {
    let mut steady = new(1_000, 0);
    let _ = moment(&mut steady, 1_000, 0);
    assert_eq!(read(&mut steady, 9_010, 10), 1_010, "the wall clock has jumped");
    assert_eq!(read(&mut steady, 9_011, 1_011), 1_011, "and now the time since boot");
    assert_eq!(read(&mut steady, 9_310, 1_310), 1_310);
    assert_eq!(read(&mut steady, 9_311, 1_311), 9_311);
}

#[test]
fn a_minute_more_or_a_wall_clock_that_is_set_back_is_no_jump_of_the_time_since_boot() {
    for (wall, since_boot, now) in
        [(1_001, 61, 1_061), (1_001, 62, 1_001), (0, 60, 1_060), (9_000, 8_000, 9_000)]
    {
        let mut steady = new(1_000, 0);
        let _ = moment(&mut steady, 1_000, 0);
        assert_eq!(read(&mut steady, wall, since_boot), now, "{wall} {since_boot}");
    }
}

/// The time after a crash at `then`, 100 s since the first boot, with the clocks of the new process.
fn after_crash(then: i64, last: &Moment, boot: u128, since_boot: u64) -> SteadyTime {
    let then = Timestamp::from_millis(then * 1_000);
    SteadyTime::restore(then, last.mark, NonZeroU128::new(boot), secs(since_boot))
}

fn at_crash(has_reference: bool) -> Moment {
    let mut steady = new(900, 0);
    if has_reference {
        hear(&mut steady, 1_000, 100);
    }
    moment(&mut steady, 1_000, 100)
}

#[test]
fn a_restart_on_the_same_boot_continues_exactly_whatever_the_wall_clock_says() {
    for wall in [0, 1_000, 1_030, 9_000, MONTH] {
        let mut steady = after_crash(1_000, &at_crash(false), 1, 130);
        let moment = moment(&mut steady, wall, 130);
        assert_eq!((moment.now.as_secs(), moment.may_lag()), (1_030, false), "{wall}");
    }
}

#[test]
fn a_jump_in_doubt_stays_in_doubt_over_a_crash() {
    let mut steady = new(900, 0);
    let last = moment(&mut steady, 9_000, 100);
    assert!(last.in_doubt);
    let mut steady = after_crash(last.now.as_secs(), &last, 1, 110);
    assert_eq!(read(&mut steady, 9_010, 110), 1_010);
    assert_eq!(read(&mut steady, 9_309, 409), 1_309);
    let moment = moment(&mut steady, 9_310, 410);
    assert_eq!((moment.now.as_secs(), moment.jumped.as_secs(), moment.may_be_wrong), (9_310, 8_000, true));
}

#[test]
fn another_boot_is_in_doubt_until_a_reference_clock_or_time_settles_it() {
    // An unknown boot, and a time since boot that has decreased, are another boot too.
    for (boot, wall) in [(2, 1_000), (2, 1_050), (2, 400), (2, 4_600), (0, 1_000), (1, 1_000)] {
        let since = 10;
        let last =
            if boot == 0 { Moment { mark: ClockMark::default(), ..at_crash(true) } } else { at_crash(true) };
        let read = |steady: &mut SteadyTime, later: u64| {
            let wall = Timestamp::from_millis(wall * 1_000).plus(secs(later));
            steady.read(wall, secs(since + later))
        };
        let mut steady = after_crash(1_000, &last, boot, since);
        assert!(read(&mut steady, 0).may_lag() && read(&mut steady, 299).may_lag(), "{boot} {wall}");
        assert!(!read(&mut steady, 300).may_lag(), "{boot} {wall}: by time");
        let mut steady = after_crash(1_000, &last, boot, since);
        let now = read(&mut steady, 0).now;
        steady.set_reference(now.max(Timestamp::from_millis(wall * 1_000)), secs(since));
        assert!(!read(&mut steady, 1).may_lag(), "{boot} {wall}: by a reference clock");
    }
}

#[test]
fn a_restart_of_the_process_does_not_settle_the_doubt_about_another_boot() {
    let mut steady = after_crash(1_000, &at_crash(true), 2, 10);
    let last = moment(&mut steady, 1_000, 10);
    let mut steady = after_crash(1_000, &last, 2, 20);
    assert!(moment(&mut steady, 1_010, 20).may_lag());
}

#[test]
fn a_follower_on_another_machine_continues_what_it_saw_and_does_not_follow_a_jump() {
    for (wall, now) in [(0, 1_005), (1_005, 1_005), (1_065, 1_065), (1_066, 1_005), (MONTH, 1_005)] {
        let last = at_crash(true);
        let mut steady = SteadyTime::following(last.now, last.mark, NonZeroU128::new(2), secs(7));
        let moment = moment(&mut steady, wall, 12);
        assert_eq!((moment.now.as_secs(), moment.may_lag()), (now, false), "{wall}");
        assert_eq!(moment.in_doubt, wall > 1_065, "{wall}");
    }
}

#[test]
fn a_follower_keeps_the_doubt_of_the_process_before_it() {
    let mut doubtful = after_crash(1_000, &at_crash(true), 2, 10);
    let last = moment(&mut doubtful, 1_000, 10);
    let mut steady = SteadyTime::following(last.now, last.mark, NonZeroU128::new(3), secs(500));
    let mut lags = |later: u64| moment(&mut steady, 1_000, 500 + later).may_lag();
    assert!((0..300).all(&mut lags) && !lags(300));
}

#[test]
fn a_follower_does_not_confirm_the_time_of_the_process_before_it() {
    for was_confirmed in [true, false] {
        let last = at_crash(was_confirmed);
        let mut steady = SteadyTime::following(last.now, last.mark, NonZeroU128::new(2), secs(7));
        hear(&mut steady, 9_000, 7);
        let moment = moment(&mut steady, 9_000, 7);
        assert_eq!((moment.jumped.as_secs(), moment.may_be_wrong), (8_000, !was_confirmed));
    }
}

#[test]
fn the_time_that_the_machine_was_off_is_known_if_a_reference_clock_agreed_before_and_after() {
    for (before, after, may_be_wrong) in
        [(true, true, false), (true, false, true), (false, true, true), (false, false, true)]
    {
        let mut steady = after_crash(1_000, &at_crash(before), 2, 5);
        assert_eq!(read(&mut steady, 9_000, 5), 1_000);
        if after {
            hear(&mut steady, 9_000, 5);
        }
        let moment = moment(&mut steady, 9_300, 305);
        assert_eq!(moment.jumped.as_secs(), 8_000);
        assert_eq!(moment.may_be_wrong, may_be_wrong, "{before} {after}");
    }
}

#[test]
fn a_clock_that_is_behind_at_one_start_and_right_at_the_next_may_have_lost_time() {
    // The wall clock lags by an hour after the second start of the machine, and is corrected later.
    let mut steady = after_crash(1_000, &at_crash(true), 2, 5);
    assert_eq!(read(&mut steady, 900, 5), 1_000);
    let last = moment(&mut steady, 1_300, 405);
    assert_eq!((last.now.as_secs(), last.may_lag()), (1_400, false), "time has settled it");
    for (boot, since_boot) in [(2, 405), (3, 5)] {
        let mut steady = after_crash(1_400, &last, boot, since_boot);
        hear(&mut steady, 4_900, since_boot);
        let moment = moment(&mut steady, 4_900, since_boot);
        assert_eq!((moment.jumped.as_secs(), moment.may_be_wrong), (3_500, true), "{boot}");
    }
}

#[test]
fn a_reference_clock_that_is_later_keeps_another_boot_in_doubt() {
    for (date, may_lag) in [(1_361, true), (1_360, false), (1_300, false), (100, false)] {
        let mut steady = after_crash(1_000, &at_crash(true), 2, 5);
        hear(&mut steady, date, 305);
        let moment = moment(&mut steady, 1_000, 305);
        assert_eq!((moment.now.as_secs(), moment.may_lag()), (1_300, may_lag), "{date}");
    }
}
