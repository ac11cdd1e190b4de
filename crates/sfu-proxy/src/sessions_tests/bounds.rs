//! The bounds of sessions, calls and tracks.

use super::*;
use turn_limits::SHARES;

#[test]
fn an_address_that_opens_sessions_too_fast_is_refused() {
    let mut table = Table::default();
    let fast = |table: &mut Table, n: u32| table.open(&format!("s{n}"), Some("r"), caller(1));
    for n in 0..NEW_SESSIONS.burst {
        fast(&mut table, n).unwrap();
    }
    assert_eq!(fast(&mut table, 98), Err(SfuFault::TOO_MANY_SESSIONS.retry_in(secs(1))));
    table.now += secs(1);
    assert_eq!((fast(&mut table, 98), fast(&mut table, 99).is_err()), (Ok(()), true));
    assert_eq!(table.open("other", Some("r"), caller(2)), Ok(()), "another address has its own");
}

#[test]
fn an_address_has_at_most_64_sessions_and_those_without_media_give_way() {
    let mut table = Table::default();
    for n in 0..PER_ADDRESS_MAX {
        table.now += secs(1);
        table.open(&format!("s{n}"), Some("r"), caller(1)).unwrap();
        table.add(&format!("s{n}"), &push(1), &[0]);
    }
    table.now += secs(1);
    assert_eq!(table.open("more", Some("r"), caller(1)), Err(SfuFault::TOO_MANY_SESSIONS.retry_in(RETRY)));
    table.sessions.look_now(&id("s5"), table.now);
    assert!(table.open("more", Some("r"), caller(1)).is_err(), "nobody has seen that its track is gone");
    table.see_nothing("s5");
    table.open("more", Some("r"), caller(1)).unwrap();
    assert!(!table.sessions.knows(&id("s5")) && table.sessions.count() == PER_ADDRESS_MAX);
}

#[test]
fn a_session_that_makes_calls_too_fast_is_refused() {
    let mut table = Table::with(&[("a", "r")]);
    let mut call = |now| {
        let begun = table.sessions.call_begins(&id("a"), now);
        if begun.is_ok() {
            table.sessions.call_ends(&id("a"), 0, true, now);
        }
        begun
    };
    for _ in 0..CALLS.burst {
        call(Duration::ZERO).unwrap();
    }
    assert_eq!(call(Duration::ZERO), Err(SfuFault::TOO_FAST));
    assert_eq!(call(secs(1)), Ok(()));
    assert_eq!(table.sessions.call_begins(&id("unknown"), secs(1)), Err(SfuFault::GONE));
}

#[test]
fn an_address_has_at_most_64_calls_on_their_way() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.open("other", Some("r"), caller(2)).unwrap();
    let begin = |table: &mut Table, name: &str| table.sessions.call_begins(&id(name), table.now);
    for n in 0..CALLS_PER_ADDRESS_MAX {
        begin(&mut table, if n % 2 == 0 { "a" } else { "b" }).unwrap();
    }
    assert_eq!(begin(&mut table, "a"), Err(SfuFault::TOO_FAST));
    assert_eq!(begin(&mut table, "other"), Ok(()));
    table.sessions.call_ends(&id("b"), 0, true, table.now);
    assert_eq!((begin(&mut table, "a"), begin(&mut table, "b").is_err()), (Ok(()), true));
}

#[test]
fn while_as_many_calls_as_fit_are_on_their_way_no_other_is_made_and_sessions_are_looked_at() {
    let mut table = Table::default();
    for n in 0..SHARES {
        let (name, address) = (format!("s{n}"), u8::try_from(n).unwrap());
        table.open(&name, Some("r"), caller(address)).unwrap();
        for _ in 0..CALLS_PER_ADDRESS_MAX {
            table.sessions.call_begins(&id(&name), table.now).unwrap();
        }
    }
    assert_eq!(table.open("more", Some("r"), caller(99)), Err(SfuFault::FULL));
    table.sessions.call_ends(&id("s0"), 0, true, table.now);
    table.open("more", Some("r"), caller(99)).unwrap();
    table.sessions.call_begins(&id("more"), table.now).unwrap();
    assert_eq!(table.sessions.call_begins(&id("s0"), table.now), Err(SfuFault::FULL));
    table.settle();
    assert_eq!(table.due().len(), 9);
}

#[test]
fn calls_at_the_same_time_do_not_ask_for_more_tracks_than_there_is_room_for() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    let half = PER_SESSION_MAX / 2;
    let begun = |begun: Result<u64, SfuFault>| begun.map(drop);
    let first = table.ask("a", &push(half)).unwrap();
    let others = RequestedTracks { channel_count: half, ..push(0) };
    let second = table.ask("a", &others).unwrap();
    // The SFU has not answered yet.
    assert_eq!(begun(table.ask("a", &others)), Err(SfuFault::TOO_MANY_TRACKS));
    assert_eq!(begun(table.ask("b", &push(half))), Ok(()), "another session");
    table.answer("a", first, Some(&tracks(&(0..half).collect::<Vec<_>>())));
    // One half is there, one is coming.
    assert_eq!(begun(table.ask("a", &others)), Err(SfuFault::TOO_MANY_TRACKS));
    table.sessions.answered(&id("a"), second, &[], None);
    assert_eq!(begun(table.ask("a", &others)), Ok(()), "the SFU has refused the other half");
    table.sessions.remove(&id("a"));
    table.sessions.remove(&id("b"));
    assert_eq!(table.sessions.addresses.tracks.all(), 0);
}

#[test]
fn a_full_table_refuses_unless_a_session_has_no_media() {
    let mut table = Table::default();
    let address = |n: usize| ClientKey::V4(Ipv4Addr::from_bits(u32::try_from(n).unwrap()));
    for n in 0..SESSIONS_MAX {
        let owner = Caller { user: None, grant: None, address: address(n) };
        table.open(&format!("s{n}"), Some("r"), owner).unwrap();
    }
    let more = Caller { user: None, grant: None, address: address(SESSIONS_MAX) };
    assert_eq!(table.open("more", Some("r"), more.clone()), Err(SfuFault::FULL));
    table.add("s0", &push(1), &[0]);
    table.see_nothing("s1");
    table.open("more", Some("r"), more).unwrap();
    assert!(table.sessions.knows(&id("s0")) && table.sessions.count() == SESSIONS_MAX);
}

#[test]
fn the_sessions_of_an_address_have_at_most_8192_tracks() {
    let mut table = Table::default();
    for n in 0..32 {
        table.now += secs(1);
        table.open(&n.to_string(), Some("r"), caller(1)).unwrap();
        table.ask(&n.to_string(), &push(PER_SESSION_MAX)).unwrap();
    }
    for (name, address) in [("more", 1), ("other", 2)] {
        table.now += secs(1);
        table.open(name, Some("r"), caller(address)).unwrap();
    }
    let one_more = |name: &str| table.sessions.check_request(&id(name), push(1)).map(drop);
    assert_eq!([one_more("more"), one_more("other")], [Err(SfuFault::TOO_MANY_TRACKS), Ok(())]);
}
