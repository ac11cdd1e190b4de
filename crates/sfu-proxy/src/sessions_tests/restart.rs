//! What is reported to the ledger, and what crosses a restart: which sessions are open, and how much they take.

use super::*;

/// The sessions that have changed, each with its life and what it takes, and whether a look has found it.
fn changed(table: &mut Table) -> Vec<(SessionId, Option<LifeAndTaken>, bool)> {
    let changed = std::mem::take(&mut table.sessions.changed).into_iter();
    changed.map(|(id, is_found)| (id.clone(), table.row(&id), is_found)).collect()
}

#[test]
fn the_ledger_is_told_what_a_session_takes_until_it_ends() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    assert_eq!(changed(&mut table).len(), 2);
    table.add("a", &push(1), &[0]);
    assert_eq!(changed(&mut table), [], "it takes nothing");
    let call = table.ask("a", &pull(&["b", "b"])).unwrap();
    let taking = |asked, confirmed| Some((LIFE, videos(asked, confirmed)));
    assert_eq!(changed(&mut table), [(id("a"), taking(2, 0), false)], "what the SFU is asked for counts");
    table.answer("a", call, Some(&tracks(&[1, 2])));
    assert_eq!(changed(&mut table), [(id("a"), taking(2, 2), false)]);
    table.see("a", &tracks(&[0, 1, 2]));
    assert_eq!(changed(&mut table), [(id("a"), taking(2, 2), true)], "a look has found it");
    table.sessions.look_failed(&id("a"), table.now);
    assert_eq!(changed(&mut table), []);
    table.sessions.end_room("r", table.now);
    let ended = (Duration::ZERO, videos(2, 2));
    assert_eq!(changed(&mut table)[0], (id("a"), Some(ended), false), "it must still be closed");
    // No page uses it.
    assert_eq!(table.sessions.check_owner(&id("a"), &caller(1), true, |_, _| false), Err(SfuFault::GONE));
    table.sessions.remove(&id("a"));
    assert_eq!(changed(&mut table), [(id("a"), None, false)]);
    table.sessions.report(&id("a"), false);
    assert_eq!(changed(&mut table), [(id("a"), None, false)], "until the ledger has it");
}

#[test]
fn a_call_that_is_not_made_takes_back_what_was_promised_for_it_in_each_session() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    changed(&mut table);
    table.sessions.take_back(&id("a"), &pull(&["b"]).pulled);
    assert_eq!(changed(&mut table).len(), 2, "the session, and the one that would get replies");
}

#[test]
fn a_session_opened_before_a_restart_takes_what_it_took_until_a_look_finds_no_track() {
    let mut table = Table::default();
    for name in ["a", "b"] {
        table.sessions.restore(&session(name, LIFE, videos(5, 4)), table.now);
    }
    assert_eq!(changed(&mut table), [], "it is remembered already");
    assert_eq!(table.due().len(), 2, "at once");
    assert_eq!(table.calls(), ["r is connected: a b"]);
    assert_eq!(table.sessions.check_owner(&id("a"), &caller(1), true, |_, _| false), Err(SfuFault::GONE));
    table.open("new", Some("r"), caller(1)).unwrap();
    assert_eq!(table.ask("new", &pull(&["a"])).map(drop), Ok(()), "it is in its room");
    table.see("a", &state(&[0, 1]));
    assert_eq!((table.sessions.taken_by("a"), table.sessions.charged()), (videos(5, 4), 2));
    table.see("b", &SfuAnswer::default());
    assert_eq!(table.sessions.taken_by("b"), videos(5, 4), "a pull may come into effect late");
    table.see_nothing("b");
    assert!(!table.sessions.knows(&id("b")));
    assert_eq!(table.sessions.closable(["a"].map(id).into_iter()), [(id("a"), vec![mid(0), mid(1)])]);
    assert!(!table.sessions.may_give_way(&id("a")));
}

#[test]
fn a_session_opened_before_a_restart_whose_life_is_over_stays_until_a_look() {
    let mut table = Table::default();
    table.sessions.restore(&session("a", Duration::ZERO, Taken::default()), table.now);
    assert_eq!(table.wait(Duration::ZERO), [id("a")]);
    table.see("a", &state(&[3]));
    assert_eq!(table.wait(CLOSE_INTERVAL), [id("a")]);
    table.see_nothing("a");
    assert!(table.sessions.is_empty());
}
