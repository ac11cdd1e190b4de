//! The full table of users: a user without a row would have no limit, so nothing is handed out for one.

use super::*;

/// Room for one user.
fn one_row() -> SpenderTerms {
    let user_limit = Some(ByteCount::new(100 * MINUTE_BYTES));
    SpenderTerms { user_limit, users_max: 1, ..SpenderTerms::default() }
}

#[test]
fn a_full_table_of_users_admits_no_further_one() {
    let mut broker = Broker::new(BudgetMode::Strict, one_row());
    let ann = broker.mint(requester("ann"), SHORT).unwrap();
    let refused =
        |broker: &mut Broker| matches!(broker.hold(&requester("bob")), Err(NotAdmitted::TooManyUsers));
    assert!(refused(&mut broker));
    broker.books.advance(at(600));
    broker.books.tidy();
    assert!(refused(&mut broker), "what ann may have relayed is not counted yet");
    assert!(broker.count(at(600), true, &[(ann.id, 1)], 0));
    broker.books.advance(at(660));
    assert!(refused(&mut broker), "ann has bytes");
    broker.books.advance(at(7_200));
    assert!(!refused(&mut broker), "another period");
}

/// Nobody counted what ann's grant relayed, and it has left the history.
#[test]
fn a_user_who_has_only_uncounted_bytes_keeps_the_row() {
    let mut setup = setup(BudgetMode::Strict, SpenderTerms { ended_max: 0, ..one_row() });
    setup.sources[0].is_read = false;
    let mut broker = Broker::open(setup, at(0));
    broker.mint(requester("ann"), SHORT).unwrap();
    broker.books.advance(at(600));
    broker.books.tidy();
    assert_eq!(broker.books.grants().iter().count(), 0);
    assert_eq!(broker.hold(&requester("bob")).err(), Some(NotAdmitted::TooManyUsers));
    assert_eq!(broker.share("ann").committed, PROMISED * MINUTE_BYTES);
}

/// One free row. Two users whose credentials are minted at the same time do not both get it, and it is free again after a failure.
#[test]
fn a_mint_takes_the_row_of_its_user_before_the_credential_is_made() {
    let mut broker = Broker::new(BudgetMode::Strict, one_row());
    let no_row = Some(NotAdmitted::TooManyUsers);
    let ann = broker.hold(&requester("ann")).unwrap();
    assert_eq!(broker.hold(&requester("bob")).err(), no_row);
    let again = broker.hold(&requester("ann")).unwrap();
    broker.books.release(&ann);
    broker.books.advance(at(200));
    assert_eq!(broker.hold(&requester("bob")).err(), no_row);
    let listed = testing::spenders(&broker.books, SpenderKind::User);
    assert_eq!(listed, [], "nobody has a grant");
    broker.books.release(&again);
    // All rows are looked through once a minute.
    broker.books.advance(at(260));
    assert!(broker.mint(requester("bob"), SHORT).is_ok());
    assert_eq!(broker.hold(&requester("ann")).err(), no_row, "the grant keeps the row");
    broker.books.advance(at(7_200 + 28 * 86_400));
    broker.books.tidy();
    assert!(broker.hold(&requester("ann")).is_ok(), "a period later, nothing is left of bob's mint");
}

/// The promise of a user without a row would be in no limit, and would be taken from the row that the user gets later. The other half of
/// the rows is for users of mints.
#[test]
fn a_reporter_names_no_further_user_once_half_of_the_rows_are_taken() {
    for (users_max, named) in [(2, None), (4, Some(user("bob")))] {
        let mut broker = Broker::new(BudgetMode::Strict, SpenderTerms { users_max, ..one_row() });
        let _carl = broker.hold(&requester("carl")).unwrap();
        broker.books.open(Caller::Reporter, "call", None).unwrap();
        let bob = Spender { user: Some(user("bob")), ..Spender::default() };
        broker.books.report_spender(Caller::Reporter, "call", bob);
        let connection = broker.books.connections().iter().next().unwrap();
        assert_eq!(connection.spender.as_deref().and_then(|spender| spender.user.clone()), named);
    }
}

/// Nothing is reserved for a user in estimate mode, so nothing is lost with the row.
#[test]
fn in_estimate_mode_users_without_bytes_leave_first() {
    let mut broker = Broker::new(BudgetMode::Estimate, one_row());
    let ann = broker.mint(requester("ann"), SHORT).unwrap();
    assert!(broker.mint(requester("bob"), SHORT).is_ok(), "ann has no bytes");
    assert!(broker.count(at(60), true, &[(ann.id, 1)], 0));
    broker.books.advance(at(120));
    assert!(broker.mint(requester("carl"), SHORT).is_err(), "ann has some");
    assert!(broker.mint(requester("ann"), SHORT).is_ok());
}

/// A program that names a new user for each credential.
#[test]
fn a_server_key_names_users_in_a_quarter_of_the_rows() {
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        let mut broker = Broker::new(mode, SpenderTerms { users_max: 8, ..one_row() });
        let of_key = |user: &str| {
            let spender = Spender { server: Label::new("app"), user: User::new(user), ..Spender::default() };
            Requester { spender: spender.known(), ..Requester::default() }
        };
        let ids = ["one", "two"].map(|user| broker.mint(of_key(user), SHORT).unwrap().id);
        assert!(broker.count(at(60), true, &ids.map(|id| (id, 1)), 0));
        for _ in 0..2 {
            broker.books.advance(at(120));
            assert_eq!(broker.hold(&of_key("three")).err(), Some(NotAdmitted::TooManyUsers), "{mode:?}");
            assert!(broker.mint(of_key("one"), SHORT).is_ok(), "a known one");
            assert!(broker.mint(requester("ann"), SHORT).is_ok(), "of nobody's key");
            broker.restart();
        }
    }
}
