//! To whom a session belongs, and in which room it is.

use super::*;

#[test]
fn a_session_pulls_only_from_its_own_room() {
    let mut table = Table::with(&[("a", "blue"), ("b", "blue"), ("c", "red")]);
    table.open("none", None, caller(1)).unwrap();
    table.open("none2", None, caller(1)).unwrap();
    let check =
        |from: &str, wanted: RequestedTracks| table.sessions.check_request(&id(from), wanted).map(drop);
    assert_eq!(check("a", pull(&["b"])), Ok(()));
    assert_eq!(check("a", pull(&["a"])), Ok(()), "its own tracks are of its room");
    assert_eq!(check("a", pull(&["c"])), Err(SfuFault::OTHER_ROOM));
    // One foreign track refuses the request.
    assert_eq!(check("a", pull(&["b", "c"])), Err(SfuFault::OTHER_ROOM));
    assert_eq!(check("a", pull(&["unknown"])), Err(SfuFault::OTHER_ROOM));
    assert_eq!(check("none", pull(&["none2"])), Err(SfuFault::OTHER_ROOM), "no room is not a room");
    assert_eq!(check("none", push(1)), Ok(()));
    assert_eq!(check("unknown", push(1)), Err(SfuFault::GONE));
}

#[test]
fn a_session_without_a_lock_belongs_to_its_user_or_grant_or_address() {
    let user = |name: &str, last| Caller { user: User::new(name), ..caller(last) };
    let grant = |n, last| Caller { grant: Some(GrantId::new([n; 16])), ..caller(last) };
    let mut table = Table::default();
    table.open("user", Some("r"), user("ada", 1)).unwrap();
    table.open("grant", Some("r"), grant(1, 1)).unwrap();
    table.open("address", Some("r"), caller(1)).unwrap();
    let renewal = GrantId::new([3; 16]);
    let chain = |one, other| one == other || (one, other) == (GrantId::new([1; 16]), renewal);
    let may =
        |session: &str, who: &Caller| table.sessions.check_owner(&id(session), who, false, chain).is_ok();
    assert!(may("user", &user("ada", 2)), "a user may change its address");
    assert!(!may("user", &user("eve", 1)) && !may("user", &caller(1)));
    assert!(may("grant", &grant(1, 2)) && !may("grant", &grant(2, 1)));
    assert!(!may("grant", &caller(1)), "the same address without the grant");
    assert!(may("grant", &grant(3, 2)), "a renewal");
    assert!(may("address", &caller(1)) && !may("address", &caller(2)));
    let check = |session: &str| table.sessions.check_owner(&id(session), &caller(9), true, chain);
    assert_eq!(
        (check("user"), check("address"), check("unknown")),
        (Ok(User::new("ada")), Ok(None), Err(SfuFault::GONE)),
        "a lock opens what is there"
    );
}

#[test]
fn the_room_of_a_caller_is_known_if_all_its_sessions_in_a_call_have_one_room() {
    let mut table = Table::with(&[("a", "r"), ("b", "r"), ("c", "other")]);
    table.open("d", None, caller(1)).unwrap();
    table.open("e", Some("far"), caller(2)).unwrap();
    let room = |table: &Table, names: &[&str]| {
        let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
        table.sessions.only_room(&ids).map(|room| room.to_string())
    };
    assert_eq!(room(&table, &["a", "b", "d", "gone"]).as_deref(), Some("r"));
    assert_eq!(room(&table, &["a", "c"]), None, "two rooms");
    assert_eq!(room(&table, &["d"]), None);
    assert_eq!(table.sessions.only_room(table.sessions.of_caller(&caller(2))).as_deref(), Some("far"));
    assert_eq!(table.sessions.only_room(table.sessions.of_caller(&caller(1))), None);
    assert_eq!(table.sessions.of_caller(&caller(3)).count(), 0);
    table.see_nothing("c");
    assert_eq!(room(&table, &["a", "c"]).as_deref(), Some("r"), "the other has left its call");
}

#[test]
fn the_sessions_of_a_user_end_also_if_they_only_send() {
    let mut table = Table::default();
    let of = |name: &str| Caller { user: User::new(name), ..caller(1) };
    table.open("a", Some("r"), of("ann")).unwrap();
    table.open("b", Some("r"), of("bob")).unwrap();
    table.add("a", &push(1), &[0]);
    assert_eq!(
        table.sessions.end_where(|session| session.holder().user() == User::new("ann").as_ref(), table.now),
        1
    );
    assert_eq!(table.wait(Duration::ZERO), [id("a")]);
    assert!(table.sessions.knows(&id("b")));
}
