//! What stays promised because the clock of the provider may differ.

use super::*;

/// What happens to a session.
type Change = fn(&mut Books);

/// Tracks with video that are promised in a minute which has begun.
fn tracks_in(books: &Books, minute: u64) -> u64 {
    books.ledger().promised_in(IceSource::Sfu, Minute::of(at(minute * MINUTE))).get() / TRACK_MINUTE
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
        (|books| [1, 2].into_iter().for_each(|tracks| look(books, "a", tracks)), [5, 5, 5, 2, 2, 2, 2, 2]),
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
    for (less, is_closed) in [(6, false), (7, true)] {
        let mut setup = setup_of(BudgetMode::Strict, None);
        // One byte counts as reserved by an address whose first session takes more than a credential.
        setup.terms.limit = ByteCount::new(8 * PROMISED * TRACK_MINUTE + 1);
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

/// One session takes more and less, at any time and for any time. By each clock that differs by at most two minutes, what it takes is
/// promised, and all that is promised counts against its user.
#[test]
fn whatever_a_session_takes_is_promised_by_any_clock_of_the_provider_and_to_its_user() {
    for (seed, mut dice) in crate::testing::Dice::cases(300) {
        let mut setup = setup_of(BudgetMode::Strict, Some(100_000_000_000));
        setup.terms.limit = ByteCount::new(100_000_000_000);
        let mut books = setup.open(Some(Stored::default()), at(0));
        let (mut now, mut tracks) = (10 * MINUTE, 0);
        books.advance(at(now));
        set(&mut books, "a", 0, 0);
        let mut needed = [0; 70];
        while now < 50 * MINUTE {
            let less = u32::try_from(dice.below(u64::from(tracks) + 1)).unwrap();
            match dice.below(4) {
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
                _ => {}
            }
            let until = now + 1_000 * (1 + dice.below(200));
            let clocks = CLOCKS * MINUTE;
            for minute in (now - clocks) / MINUTE..=(until - 1 + clocks) / MINUTE {
                let needed = &mut needed[usize::try_from(minute).unwrap()];
                *needed = tracks.max(*needed);
            }
            now = until;
            books.advance(at(now));
        }
        books.advance(at(70 * MINUTE));
        for (minute, needed) in (0..).zip(needed) {
            assert!(tracks_in(&books, minute) >= needed.into(), "seed {seed}, minute {minute}, {needed}");
        }
        let share = books.user_share(&User::new("ann").unwrap()).unwrap();
        assert_eq!(share.committed.get(), committed(&books), "seed {seed}");
    }
}
