//! Who may pull nothing, or nothing more.

use super::*;

#[test]
fn a_user_over_the_limit_pulls_nothing_more_and_is_closed() {
    let mut books = setup_of(BudgetMode::Estimate, Some(10 * TRACK_MINUTE)).open(None, at(0));
    set(&mut books, "a", 0, 0);
    assert_eq!(pull(&mut books, 2), Ok(()));
    set(&mut books, "a", 2, 2);
    books.advance(at(4 * MINUTE));
    assert_eq!((pull(&mut books, 1), to_close(&books)), (Ok(()), vec![]));
    books.advance(at(5 * MINUTE));
    books.extend_sfu_session("a");
    assert_eq!(to_close(&books), ["a".into()]);
    let Err(NotAdmitted::Refused(refusal)) = pull(&mut books, 1) else { panic!("the user's limit is spent") };
    assert_eq!(refusal.limited.unwrap().used.get(), 10 * TRACK_MINUTE);
    assert_eq!(to_close(&books), ["a".into()], "a refusal does not open it again");
    let client = "192.0.2.1".parse().ok();
    let spender = session(0, 0).spender;
    let mint = Requester { client, spender, ..Requester::default() };
    assert!(books.reserve(IceSource::Cloudflare, Duration::from_secs(300), Duration::ZERO, &mint).is_err());
}

#[test]
fn strict_mode_promises_a_user_no_more_than_the_limit() {
    // Ten minutes of two tracks, with those by which the clocks may differ.
    let limit = 2 * (CLOCKS + 10 + CLOCKS) * TRACK_MINUTE;
    let mut books = setup_of(BudgetMode::Strict, Some(limit)).open(Some(Stored::default()), at(0));
    set(&mut books, "a", 0, 0);
    assert_eq!(pull(&mut books, 2), Ok(()));
    assert!(pull(&mut books, 3).is_err(), "45 minutes");
    set(&mut books, "a", 2, 0);
    let user = User::new("ann").unwrap();
    for minute in 1..=7 {
        books.advance(at(minute * MINUTE));
        books.extend_sfu_session("a");
        assert!(books.user_share(&user).unwrap().committed.get() <= limit, "after {minute} minutes");
        // 5 minutes are promised ahead until 10 are over.
        assert_eq!(to_close(&books).is_empty(), minute <= 5, "after {minute} minutes");
    }
    end(&mut books, "a");
    let setup = setup_of(BudgetMode::Strict, Some(limit));
    let mut again = restarted(&setup, &mut books, at(9 * MINUTE));
    let share = again.user_share(&user).unwrap();
    // What nobody counted is charged to the user.
    assert_eq!(share.committed.get(), 2 * (CLOCKS + 8 + CLOCKS) * TRACK_MINUTE);
}

#[test]
fn strict_mode_refuses_a_pull_without_room_and_closes_what_cannot_go_on() {
    let mut books = open(BudgetMode::Strict);
    set(&mut books, "a", 0, 0);
    let tracks = 1_000_000_000 / TRACK_MINUTE / PROMISED;
    let tracks = u32::try_from(tracks).unwrap();
    assert_eq!(pull(&mut books, tracks), Ok(()));
    let before = committed(&books);
    assert!(matches!(pull(&mut books, 1), Err(NotAdmitted::Refused(_))));
    assert_eq!((committed(&books), to_close(&books)), (before, vec![]), "what it has goes on");
    set(&mut books, "a", tracks, tracks);
    books.advance(at(MINUTE));
    assert_eq!(to_close(&books), [""; 0].map(Arc::from), "it is promised for longer");
    books.extend_sfu_session("a");
    assert_eq!(to_close(&books), ["a".into()], "there is no room for another minute");
    assert!(committed(&books) <= 1_000_000_000, "it is closed before its promise is over");
    end(&mut books, "a");
    assert_eq!(to_close(&books), [""; 0].map(Arc::from));
    books.advance(at(10 * MINUTE));
    let minutes = CLOCKS + 2 + CLOCKS;
    assert_eq!(committed(&books), minutes * u64::from(tracks) * TRACK_MINUTE);
}

#[test]
fn the_first_tracks_of_an_address_need_its_share() {
    let mut setup = setup_of(BudgetMode::Strict, None);
    setup.bounds.client.reserved_percent = 7;
    let mut books = setup.open(None, at(0));
    set(&mut books, "a", 0, 0);
    assert!(pull(&mut books, 2).is_err());
    assert_eq!(pull(&mut books, 1), Ok(()), "one stream always fits");
}

#[test]
fn the_first_track_fits_also_if_the_assumed_rate_is_no_whole_number_of_kbits() {
    let mut setup = setup_of(BudgetMode::Strict, None);
    setup.terms.rates.liability = BitRate::new(1_999_500);
    setup.bounds.client.reserved_percent = 1;
    let mut books = setup.open(None, at(0));
    set(&mut books, "a", 0, 0);
    assert_eq!(pull(&mut books, 1), Ok(()));
}

#[test]
fn a_revoked_or_blocked_session_is_closed_and_pulls_nothing() {
    let mut books = open(BudgetMode::Estimate);
    look(&mut books, "a", 1);
    let (user, blocked) =
        (SpenderKey::User(User::new("ann").unwrap()), NotAdmitted::Blocked(SpenderKind::User));
    books.block(&user, None).unwrap();
    assert_eq!((to_close(&books), pull(&mut books, 1)), (vec!["a".into()], Err(blocked)));
    books.allow(&user);
    assert_eq!(to_close(&books), [""; 0].map(Arc::from));
    assert_eq!(books.revoke_all_of(&user).grants.len(), 1);
    assert_eq!((to_close(&books), pull(&mut books, 1)), (vec!["a".into()], Err(blocked)));
}
