//! What stays promised because the clock of the provider may differ.

use std::collections::BTreeMap;

use super::*;

/// What happens to a session.
type Change = fn(&mut Books);

/// Tracks with video that are promised in a minute which has begun.
fn tracks_in(books: &Books, minute: u64) -> u64 {
    books.budget().promised_in(IceSource::Sfu, Minute::of(at(minute * MINUTE))).get() / TRACK_MINUTE
}

/// Three tracks until a change in the third minute.
#[test]
fn a_restart_knows_minute_by_minute_what_is_still_promised_of_before() {
    const CHANGED: u64 = 2;
    let changed = |minutes: u64| at((CHANGED + minutes) * MINUTE + MINUTE / 2);
    // What is promised in the minute of the change, and in those after it: the next two may be of before by the clock of the provider.
    let cases: [(Change, [u64; 8]); 6] = [
        (|books| end(books, "a"), [3, 3, 3, 0, 0, 0, 0, 0]),
        (|books| look(books, "a", 0), [3, 3, 3, 0, 0, 0, 0, 0]),
        (|books| look(books, "a", 1), [3, 3, 3, 1, 1, 1, 1, 1]),
        (|books| [2, 1].into_iter().for_each(|tracks| look(books, "a", tracks)), [3, 3, 3, 1, 1, 1, 1, 1]),
        // What it took in between may be counted beside it.
        (|books| [1, 2].into_iter().for_each(|tracks| look(books, "a", tracks)), [3, 3, 3, 2, 2, 2, 2, 2]),
        (
            |books| {
                look(books, "a", 2);
                books.advance(books.now().plus_millis(MINUTE));
                look(books, "a", 1);
            },
            [3, 3, 3, 2, 1, 1, 1, 1],
        ),
    ];
    for (case, (change, promised)) in cases.into_iter().enumerate() {
        let mut setup = setup_of(BudgetMode::Estimate, None);
        // Its row leaves the table as soon as nothing of it may be counted any more.
        setup.bounds.spenders.ended_max = 0;
        let (mut books, mut disk) = (setup.open(Some(Stored::default()), at(0)), Stored::default());
        look(&mut books, "a", 3);
        books.advance(changed(0));
        change(&mut books);
        disk.apply(books.take_batch());
        let mut first = setup.open(Some(disk.clone()), books.now());
        for (later, promised) in (0..).zip(promised) {
            let now = changed(later).max(books.now());
            let minute = CHANGED + later;
            for books in [&mut books, &mut first] {
                books.advance(now);
                books.tidy();
            }
            disk.apply(books.take_batch());
            let again = setup.open(Some(disk.clone()), now);
            for (books, when) in [(&books, "none"), (&first, "after the change"), (&again, "now")] {
                let what = format!("change {case}, {later} minutes later, restart: {when}");
                assert_eq!(tracks_in(books, minute), promised, "{what}");
                assert_eq!(committed(books), committed(&again), "{what}");
                let is_known = promised > 0 || books.sfu_sessions().next().is_some();
                assert_eq!(books.grants.count(), usize::from(is_known), "{what}");
                assert_eq!(books.snapshot().live_grants, again.snapshot().live_grants, "{what}");
            }
        }
    }
}

#[test]
fn without_room_a_session_that_takes_less_needs_none_for_the_minutes_that_are_promised() {
    for (less, is_closed, of_user) in [(6, false, false), (7, true, false), (6, false, true), (7, true, true)]
    {
        // One byte counts as reserved by somebody whose first session takes more than a credential.
        let limit = 8 * PROMISED * TRACK_MINUTE + 1;
        let mut setup = setup_of(BudgetMode::Strict, of_user.then_some(limit));
        setup.terms.limit = ByteCount::new(if of_user { 100_000_000_000 } else { limit });
        let mut books = setup.open(Some(Stored::default()), at(0));
        set(&mut books, "a", 0, 0);
        assert_eq!(pull(&mut books, 8), Ok(()), "all that there is");
        set(&mut books, "a", 8, 8);
        assert!(pull(&mut books, 1).is_err());
        books.advance(at(MINUTE));
        // Of eight tracks, the three last minutes are released. Of fewer ones, a minute more is needed.
        let kept = CLOCKS + 2 + CLOCKS;
        assert_eq!((PROMISED - kept, AHEAD + 1 - (2 + CLOCKS)), (3, 4));
        look(&mut books, "a", less);
        assert_eq!(!to_close(&books).is_empty(), is_closed, "{less}");
        assert_eq!(committed(&books), 8 * PROMISED * TRACK_MINUTE, "{less}");
    }
}

/// One session takes more and less, at any time and for any time, half of them over a reset. By each clock that differs by at most two
/// minutes, what it takes is promised, and all that is promised counts against its user.
#[test]
fn whatever_a_session_takes_is_promised_by_any_clock_of_the_provider_and_to_its_user() {
    const RESET: u64 = 120;
    for (seed, mut dice) in crate::testing::Dice::cases(300) {
        let mut setup = setup_of(BudgetMode::Strict, Some(100_000_000_000));
        setup.terms.limit = ByteCount::new(100_000_000_000);
        let mut books = setup.open(Some(Stored::default()), at(0));
        let begin = if seed % 2 == 0 { 10 } else { RESET - 20 };
        let (mut now, mut tracks) = (begin * MINUTE, 0);
        books.advance(at(now));
        set(&mut books, "a", 0, 0);
        let mut needed = BTreeMap::new();
        while now < (begin + 40) * MINUTE {
            let less = u32::try_from(dice.below(u64::from(tracks) + 1)).unwrap();
            match dice.below(5) {
                0 => {
                    pull(&mut books, 1).unwrap();
                    // The SFU takes some of them.
                    tracks = less + 1;
                    set(&mut books, "a", tracks, 0);
                }
                1 => {
                    tracks = less;
                    set(&mut books, "a", tracks, 0);
                }
                2 => {
                    set(&mut books, "a", tracks, 0);
                    books.extend_sfu_session("a");
                }
                3 => drop(books.tidy()),
                _ => {}
            }
            let until = now + 1_000 * (1 + dice.below(200));
            let clocks = CLOCKS * MINUTE;
            for minute in (now - clocks) / MINUTE..=(until - 1 + clocks) / MINUTE {
                let needed = needed.entry(minute).or_default();
                *needed = u64::from(tracks).max(*needed);
            }
            now = until;
            books.advance(at(now));
        }
        books.advance(at(now + 20 * MINUTE));
        let is_counted = |minute: u64| begin < RESET - 40 || minute >= RESET;
        for (minute, needed) in needed.into_iter().filter(|(minute, _)| is_counted(*minute)) {
            assert!(tracks_in(&books, minute) >= needed, "seed {seed}, minute {minute}, {needed}");
        }
        for _ in 0..2 {
            let share = books.user_share(&User::new("ann").unwrap()).unwrap();
            assert_eq!(share.committed.get(), committed(&books), "seed {seed}");
            books.tidy();
        }
    }
}

/// What a session takes that pauses and goes on is promised once.
#[test]
fn a_session_that_pauses_again_and_again_is_promised_no_more_than_one_that_does_not() {
    for minutes in [1, 3] {
        let mut books =
            setup_of(BudgetMode::Strict, Some(100_000_000_000)).open(Some(Stored::default()), at(0));
        set(&mut books, "a", 0, 0);
        books.advance(at(10 * MINUTE));
        for pause in 0..10 {
            books.advance(at((10 + pause * minutes) * MINUTE));
            pull(&mut books, 1).unwrap();
            set(&mut books, "a", 1, 1);
            books.advance(at((10 + pause * minutes) * MINUTE + MINUTE / 2));
            look(&mut books, "a", 0);
        }
        books.advance(at(60 * MINUTE));
        // From two minutes before the first to two minutes after the last one.
        let all = CLOCKS + 9 * minutes + 1 + CLOCKS;
        assert_eq!(committed(&books), all * TRACK_MINUTE, "each {minutes} minutes");
    }
}
